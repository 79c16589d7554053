"""The workflow template: linted by four tools, executed by act, and deaf to what hostile evidence says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from champion_gate_standins.github.repositories import TEMPLATE_INPUTS
from champion_gate_standins.github.server import GitHubStandIn

pytestmark = pytest.mark.spread(2)

TEMPLATE = Path(__file__).parents[2] / "deploy" / "github" / "champion-gate.yml"
BIN = Path(sys.executable).parent


def template() -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    loaded = yaml.safe_load(TEMPLATE.read_text())
    assert isinstance(loaded, dict)
    return {("on" if key is True else key): value for key, value in loaded.items()}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with the template where GitHub wants it; some linters look at the path."""
    folder = tmp_path / "repository"
    (folder / ".github" / "workflows").mkdir(parents=True)
    shutil.copy(TEMPLATE, folder / ".github" / "workflows" / "champion-gate.yml")
    return folder


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    home = folder.parent / "home"
    (home / ".config" / "act").mkdir(parents=True, exist_ok=True)
    (home / ".config" / "act" / "actrc").touch()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1", **variables}
    return subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- what it says ----------------------------------------------------------------------------------------


@pytest.mark.needs("zizmor")
@pytest.mark.parametrize("persona", ["regular", "pedantic", "auditor"])
def test_zizmor_finds_nothing(repository: Path, persona: str) -> None:
    path = ".github/workflows/champion-gate.yml"
    done = run(repository, "zizmor", "--offline", "--no-progress", f"--persona={persona}", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("actionlint")
def test_actionlint_finds_nothing(repository: Path) -> None:
    done = run(repository, "actionlint", ".github/workflows/champion-gate.yml")
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.needs("check-jsonschema")
def test_it_is_valid_by_githubs_workflow_schema(repository: Path) -> None:
    path = ".github/workflows/champion-gate.yml"
    done = run(repository, "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_may_do_nothing_and_runs_nobody_elses_code() -> None:
    workflow = template()
    assert workflow["permissions"] == {}
    assert list(workflow["on"]) == ["workflow_dispatch"]
    assert set(workflow["jobs"]) == {"present", "approve"}
    assert "permissions" not in workflow["jobs"]["present"]
    assert workflow["jobs"]["approve"]["permissions"] == {"id-token": "write"}
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "uses" not in step
            assert "${{" not in step["run"], "nothing may be interpolated into a script"
    assert "secrets." not in TEMPLATE.read_text()


def test_the_gated_job_waits_for_the_evidence_and_for_each_environment() -> None:
    approve = template()["jobs"]["approve"]
    assert approve["needs"] == "present"
    assert approve["name"] == "approve (${{ matrix.environment }})"
    assert approve["environment"] == {"name": "${{ matrix.environment }}"}
    assert approve["strategy"] == {
        "fail-fast": False,
        "matrix": {"environment": "${{ fromJSON(inputs.environments) }}"},
    }
    assert "if" not in approve
    assert "continue-on-error" not in approve


def test_one_request_never_cancels_another() -> None:
    assert template()["concurrency"] == {
        "group": "champion-gate-${{ inputs.promotion_id }}",
        "cancel-in-progress": False,
    }


def test_the_stand_in_runs_this_very_template() -> None:
    workflow = template()
    given = workflow["on"]["workflow_dispatch"]["inputs"]
    assert tuple(given) == TEMPLATE_INPUTS
    assert all((one["required"], one["type"]) == (True, "string") for one in given.values())
    github = GitHubStandIn()
    github.add_repository("example/ml-deploy")
    values = {name: f"<{name}>" for name in given} | {"environments": '["champion"]'}
    shown = re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], workflow["run-name"])
    run = github.dispatch("example/ml-deploy", values, login="x")
    assert run.display_title == shown
    assert [job.name for job in run.jobs] == ["present", "approve (champion)"]
    assert run.workflow.file == TEMPLATE.name


# --- what it does ----------------------------------------------------------------------------------------


@dataclass
class Executed:
    """What act reports: every job's result, and every order that a step gave to the runner."""

    log: str
    events: list[dict[str, Any]]

    def results(self) -> dict[str, str]:
        """Job name -> result; act adds a number to the jobs of a matrix, for its log only."""
        ended = [line for line in self.events if "jobResult" in line]
        return {re.sub(r"-\d+ *$", "", one["job"].rpartition("/")[2]): one["jobResult"] for one in ended}

    def orders(self) -> list[tuple[str, str]]:
        return [
            (line["command"], line.get("content", line["msg"])) for line in self.events if "command" in line
        ]


def execute(
    repository: Path, *, evidence: str = "# Evidence", environments: str = '["champion"]', **more: str
) -> Executed:
    values = {"promotion_id": "p1", "model": "main.ml.churn", "version": "2", "alias": "Champion"}
    values |= {"evidence": evidence, "environments": environments, **more}
    (repository.parent / "trigger.json").write_text(json.dumps({"inputs": values}))
    done = run(
        repository,
        "act",
        "workflow_dispatch",
        "--json",
        *("-e", "../trigger.json"),
        *("-P", "ubuntu-latest=-self-hosted"),
        *("-W", ".github/workflows/champion-gate.yml"),
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Executed(done.stdout + done.stderr, events)


@pytest.mark.needs("act")
def test_it_shows_the_evidence_and_then_runs_one_job_for_each_environment(repository: Path) -> None:
    evidence = "## Champion\n\n| | v1 | v2 |\n|---|---|---|\n| f1 | 0.8 | 0.9 |"
    done = execute(repository, evidence=evidence, environments='["champion", "Prod EU"]')
    assert done.orders()[0] == ("summary", f"{evidence}\n"), done.log
    assert set(done.results()) == {"present", "approve (champion)", "approve (Prod EU)"}
    assert done.results()["present"] == "success", done.log


HOSTILE = {
    "a workflow command": "::error::boo\n::set-output name=a::b\n::add-mask::champion\n::stop-commands::x\n##[error]boo",
    "the end of a here-document": "EOF\ntouch owned\nEOF\n'; touch owned; '\n\"; touch owned; \"",
    "shell expansions": "$(touch owned) `touch owned` ${IFS} $HOME \\ %s %n \\x41 !! ~",
    "an expression": "${{ github.token }} ${{ secrets.X }} ${{ '}}' }}",
    "assignments": "evidence<<EOF\nA=B\nEOF\nPATH=/nowhere\nLD_PRELOAD=x",
    "options and odd characters": "-n -e --version \t\x7f\u202e\u00e9\U0001f600\r\nlast line without an end",
}


@pytest.mark.part("rest")
@pytest.mark.needs("act")
@pytest.mark.parametrize("evidence", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_evidence_is_shown_and_does_nothing(repository: Path, evidence: str) -> None:
    owned = repository.parent / "owned"
    evidence = evidence.replace("owned", str(owned))
    more = {"model": f"$(touch {owned})", "alias": f"'; touch {owned}; '", "version": "::error::x"}
    done = execute(repository, evidence=evidence, **more)
    shown, *later = done.orders()
    assert shown == ("summary", f"{evidence}\n"), done.log
    assert {(name, text[:4]) for name, text in later} <= {("summary", "    ")}, done.log
    assert done.results()["present"] == "success", done.log
    assert not owned.exists()


@pytest.mark.needs("act")
def test_the_same_evidence_would_take_over_a_template_that_interpolates(repository: Path) -> None:
    path = repository / ".github" / "workflows" / "champion-gate.yml"
    careless = path.read_text().replace("printf '%s\\n' \"$EVIDENCE\"", "echo '${{ inputs.evidence }}'")
    careless = careless.replace(' >> "$GITHUB_STEP_SUMMARY"', "")
    path.write_text(careless)
    owned = repository.parent / "owned"
    done = execute(repository, evidence=f"'; touch {owned}; echo '\n::set-output name=a::b")
    assert owned.exists(), done.log
    assert "set-output" in [name for name, _ in done.orders()], done.log


@pytest.mark.part("rest")
@pytest.mark.needs("act")
def test_the_largest_evidence_that_we_send_is_shown_whole(repository: Path) -> None:
    evidence = "line of evidence\n" * 3_500
    assert execute(repository, evidence=evidence).orders()[0] == ("summary", f"{evidence}\n")


@pytest.mark.part("rest")
@pytest.mark.needs("act")
@pytest.mark.parametrize("environments", ["champion", "[]", "null", '[""]'])
def test_without_a_list_of_environments_no_approval_job_succeeds(repository: Path, environments: str) -> None:
    done = execute(repository, environments=environments)
    assert done.results()["present"] == "success"
    assert "success" not in {result for name, result in done.results().items() if name != "present"}
