"""README's "Set it up", run as it is printed, from stand-ins that know nothing of champion-gate to a green doctor."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from champion_gate.settings.env_file import read_env_file
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn
from champion_gate_standins.github.server import ADMINISTRATOR, GitHubStandIn
from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import DEVELOPER, MAINTAINER
from integration.commands import clean_environ, command_line, run_command
from integration.github_world import app_keys
from integration.process_world import Served, free_port, until
from integration.setup_world import MODEL, SECRET, SERVICE, TRAINER, empty_workspace
from integration.test_setup_github import form_of

ROOT = Path(__file__).parents[2]
REPOSITORY = "example/ml-deploy"
_PATIENCE = 30  # seconds
OURS = ".venv/bin/champion-gate"
UNTIL_IT_RUNS = ["service.ping", "service.database"]
"""What cannot be known before the service was started."""

pytestmark = pytest.mark.part("rest")


def _printed() -> list[list[str]]:
    section = (ROOT / "README.md").read_text().split("\n## Set it up\n")[1].split("\n## ")[0]
    block = re.search(r"^```sh\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
    assert block
    return [shlex.split(line, comments=True) for line in block[1].splitlines()]


def _doubted(told: str) -> list[str]:
    """The checks of which it is not known how they are; all others are ok."""
    found = re.findall(r"^(ok|FAIL|warning|not known) +([a-z._]+)", told, flags=re.MULTILINE)
    assert {verdict for verdict, _ in found} <= {"ok", "not known"}, told
    return [check for verdict, check in found if verdict != "ok"]


@pytest.fixture
def github() -> Iterator[tuple[GitHubStandIn, str]]:
    """A repository that only has a protected branch, and the people."""
    there = GitHubStandIn()
    there.add_repository(REPOSITORY, workflow=None)
    there.protect_branch(REPOSITORY)
    for login in ("octo-lead", "octo-trainer"):
        there.add_user(login)
    there.app_pages.new_key = lambda: load_pem_private_key(app_keys()[0].encode(), None)  # type: ignore[assignment, return-value]
    with serve(there.app) as url:
        yield there, url
    there.close()


def _browse(line: str) -> None:
    """What a person does with a browser: press the button on GitHub's page, and install the App."""
    if page := re.match(r"Open (http://127\.0\.0\.1:\d+/\S+) in a browser", line):
        action, fields = form_of(requests.get(page[1], timeout=_PATIENCE).text)
        assert action is not None
        shown = requests.post(action, data=fields, timeout=_PATIENCE)
        made = requests.post(action, data=form_of(shown.text)[1], timeout=_PATIENCE, allow_redirects=False)
        requests.get(made.headers["Location"], timeout=_PATIENCE)
    elif page := re.match(r"Open (\S+/installations/new) and install", line):
        assert requests.post(page[1], data={"repository": REPOSITORY}, timeout=_PATIENCE).ok


def test_from_a_clone_to_a_green_doctor(tmp_path: Path, github: tuple[GitHubStandIn, str]) -> None:
    make, init, databricks, at_github, doctor = _printed()
    assert {each[0] for each in (init, databricks, at_github, doctor)} == {OURS}
    subprocess.run([make[0], "-n", *make[1:]], cwd=ROOT, check=True, capture_output=True)
    there, github_url = github
    with empty_workspace() as (workspace, url, job, admin):
        answers = (
            *("https://gate.example.com", url, SERVICE, job, MODEL, SECRET),
            *(REPOSITORY, "environment", github_url, f"{TRAINER}=octo-trainer"),
        )
        done = run_command(
            *init[1:], environ={}, folder=tmp_path, sent="".join(f"{each}\n" for each in answers)
        )
        assert done.returncode == 0, done.stderr

        person = {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": admin}
        done = run_command(*databricks[1:], environ=person, folder=tmp_path, sent="y\n")
        assert done.returncode == 0, done.stderr

        person |= {"GH_TOKEN": there.add_token("octo-admin", ADMINISTRATOR), "SSH_CONNECTION": ""}
        with subprocess.Popen(
            command_line(*at_github[1:]),
            env=clean_environ(person),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    _browse(line)
            except BaseException:
                process.kill()  # it would wait for the browser
                raise
        assert process.returncode == 0
        there.merge(REPOSITORY, 1)

        # The person's own login is still in the shell, and is not what the doctor signs in with.
        seen = run_command(*doctor[1:], environ=person, folder=tmp_path)
        assert seen.returncode == 0, seen.stdout
        # The App has no right to read variables, as it needs none; so that it is there is looked at here.
        assert _doubted(seen.stdout) == ["github.deliveries", "github.variable", *UNTIL_IT_RUNS]
        assert there.repository(REPOSITORY).variables == {"CHAMPION_GATE_URL": "https://gate.example.com"}
        assert workspace.grants.guarded
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert SECRET.encode() in kept
        assert not any(person[name].encode() in kept for name in ("DATABRICKS_TOKEN", "GH_TOKEN"))


@dataclass
class GitLabWay:
    """What was set up with GitLab, from nothing."""

    gitlab: GitLabStandIn
    databricks: DatabricksStandIn
    job: str
    person: dict[str, str]


@contextmanager
def _set_up_with_gitlab(folder: Path, public_url: str) -> Iterator[GitLabWay]:
    there = GitLabStandIn()
    members = {"maria": MAINTAINER, "ann": DEVELOPER, "tom": DEVELOPER}
    project = there.add_project("ml/deploy", tier="premium", members=members, protect_default_branch=False)
    project.settings["ci_pipeline_variables_minimum_override_role"] = "developer"
    shipped = ROOT / "deploy" / "gitlab" / "champion-gate.gitlab-ci.yml"
    there.add_file(project, ".gitlab-ci.yml", shipped.read_text())
    _, init, databricks, _, _ = _printed()
    with serve(there.app) as gitlab_url, empty_workspace() as (workspace, url, job, admin):
        answers = (
            *(public_url, url, SERVICE, job, MODEL, SECRET),
            *(str(project.id), gitlab_url, "ann", f"{TRAINER}=tom"),
        )
        token = there.add_token("maria", ("api",))
        person = {"DATABRICKS_HOST": url, "DATABRICKS_TOKEN": admin, "GITLAB_TOKEN": token}
        for arguments, sent in (
            (init[1:], "".join(f"{each}\n" for each in answers)),
            (databricks[1:], "y\n"),
            (["setup", "gitlab"], "y\n"),
        ):
            done = run_command(*arguments, environ=person, folder=folder, sent=sent)
            assert done.returncode == 0, done.stderr
        yield GitLabWay(there, workspace, job, person)
    there.close()


def test_the_same_with_gitlab(tmp_path: Path) -> None:
    doctor = _printed()[-1]
    with _set_up_with_gitlab(tmp_path, "https://gate.example.com") as way:
        seen = run_command(*doctor[1:], environ=way.person, folder=tmp_path)
    assert seen.returncode == 0, seen.stdout
    assert _doubted(seen.stdout) == ["gitlab.deliveries", *UNTIL_IT_RUNS]


@pytest.mark.part("full")
def test_what_was_set_up_takes_a_version_from_its_run_to_champion(tmp_path: Path) -> None:
    port = str(free_port())
    with _set_up_with_gitlab(tmp_path, f"http://127.0.0.1:{port}") as way:
        environ = {**read_env_file(tmp_path / "champion-gate.env"), "CHAMPION_GATE_PORT": port}
        served = Served(environ, tmp_path / "service.log")
        try:
            served.wait_until_working()
            way.gitlab.run_gated_jobs(served.url)
            jobs, catalog = way.databricks.jobs, way.databricks.catalog
            run = jobs.start_run(way.job)
            task = {
                "mlflow.databricks.jobID": way.job,
                "mlflow.databricks.jobRunID": jobs.task_run_id(run, "train"),
            }
            version = catalog.add_version(
                MODEL, run_id=catalog.add_mlflow_run(metrics={"f1": 0.95}, tags=task)
            )
            assert jobs.finish_run(run) == [202]
            (pipeline,) = until(lambda: way.gitlab.pipelines, served.output)
            way.gitlab.play(way.gitlab.job(pipeline.id), "ann")
            until(lambda: catalog.alias(MODEL, "Champion") == version, served.output)
            until(lambda: way.gitlab.job(pipeline.id).status == "success", served.output)
        finally:
            served.kill()
