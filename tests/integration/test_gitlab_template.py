"""GitLab's template: validated, executed by gitlab-ci-local and plain shells, and deaf to hostile inputs."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from hypothesis import given
from hypothesis import strategies as st

from champion_gate_standins.gitlab.server import GitLabStandIn
from champion_gate_standins.gitlab.state import TEMPLATE_INPUTS
from integration.scripted_gate import LOST, Reply, ScriptedGate, scripted_gate, without_waiting

pytestmark = pytest.mark.spread(2)

TEMPLATE = Path(__file__).parents[2] / "deploy" / "gitlab" / "champion-gate.gitlab-ci.yml"
BIN = Path(sys.executable).parent
HEADER, BODY = TEMPLATE.read_text().split("\n---\n")
BLOCK = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")
SHELLS = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"], "sh": ["sh", "-e"]}
TOKEN = "head.claims.signature"


def declared() -> dict[str, dict[str, Any]]:
    inputs = yaml.safe_load(HEADER)["spec"]["inputs"]
    assert isinstance(inputs, dict)
    return inputs


def encoded(evidence: str) -> str:
    return base64.b64encode(evidence.encode()).decode()


def inputs(**changes: str) -> dict[str, str]:
    values = {"promotion_id": "p1", "model": "main.ml.churn", "version": "2", "alias": "Champion"}
    values |= {"environment": "champion", "gate_url": "https://gate.example.com"}
    return values | {"evidence_base64": encoded("# Evidence"), **changes}


def rendered(**changes: str) -> str:
    """What GitLab makes of the file: inputs are checked, then put into its text (interpolation/text_template.rb)."""
    values = inputs(**changes)
    for name, value in values.items():
        assert re.fullmatch(declared()[name]["regex"], value), (name, value)
    return BLOCK.sub(lambda block: values[block[1]], BODY)


def pipeline(**changes: str) -> dict[str, Any]:
    loaded = yaml.safe_load(rendered(**changes))
    assert isinstance(loaded, dict)
    return loaded


# --- what it says ----------------------------------------------------------------------------------------


@pytest.mark.needs("check-jsonschema")
@pytest.mark.parametrize("document", [HEADER, BODY, rendered()], ids=["header", "body", "rendered"])
def test_it_is_valid_by_gitlabs_schema(tmp_path: Path, document: str) -> None:
    path = tmp_path / ".gitlab-ci.yml"
    path.write_text(document)
    command: list[str | Path] = [BIN / "check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stand_in_takes_these_very_inputs() -> None:
    assert {name: one["regex"] for name, one in declared().items()} == dict(TEMPLATE_INPUTS)
    for name, one in declared().items():
        assert one["type"] == "string"
        assert re.fullmatch(one["regex"], one["default"]), f"GitLab would refuse every push over {name}"
    assert set(BLOCK.findall(BODY)) == set(declared())


def test_the_stand_in_runs_this_very_pipeline() -> None:
    gitlab = GitLabStandIn()
    gitlab.add_project("example/ml-deploy", id=42, members={"bot": 40})
    run = gitlab.start(42, inputs(), username="bot", source="trigger")
    jobs = {name: one for name, one in pipeline().items() if isinstance(one, dict) and "script" in one}
    assert run.name == pipeline()["workflow"]["name"]
    assert {job.name for job in run.jobs} == set(jobs)
    gated = gitlab.job(run.id)
    assert (gated.manual, gated.allow_failure) == (True, jobs["approve"]["rules"][0]["allow_failure"])
    assert gated.environment
    assert gated.environment.name == jobs["approve"]["environment"]["name"]


def test_the_gated_job_waits_for_somebody_and_nothing_can_do_without_it() -> None:
    approve = pipeline()["approve"]
    assert approve["rules"] == [{"when": "manual", "allow_failure": False}]
    assert approve["environment"] == {"name": "champion"}
    assert approve["id_tokens"] == {"GATE_TOKEN": {"aud": "champion-gate"}}
    assert not {"allow_failure", "when", "needs", "retry"} & set(approve)
    assert pipeline()["stages"] == ["present", "approve"]
    assert pipeline()["default"] == {"interruptible": False, "timeout": "5m"}


def test_only_a_request_of_champion_gate_starts_it() -> None:
    assert pipeline()["workflow"]["rules"] == [
        {"if": '"p1" == "none"', "when": "never"},
        {"if": '$CI_PIPELINE_SOURCE == "trigger"'},
        {"if": '$CI_PIPELINE_SOURCE == "api"'},
    ]
    assert pipeline()["workflow"]["auto_cancel"] == {"on_new_commit": "none"}


def test_it_runs_nobody_elses_code() -> None:
    assert not {"include", "image", "services"} & set(pipeline())
    for name in ("present", "approve"):
        assert not {"image", "services", "extends", "before_script", "trigger", "secrets"} & set(
            pipeline()[name]
        )
    assert set(pipeline()["present"]["variables"]) == {"GIT_STRATEGY", "EVIDENCE"}


def test_no_variable_says_where_the_token_goes() -> None:
    """Whoever runs a manual job may be allowed to set any variable; only the token itself is one."""
    (script,) = pipeline()["approve"]["script"]
    assert set(re.findall(r"\$\{?([A-Z]\w*)", script)) == {"GATE_TOKEN"}
    assert set(pipeline()["approve"]["variables"]) == {"GIT_STRATEGY"}


def shape(node: object) -> object:
    if isinstance(node, dict):
        return {key: shape(value) for key, value in node.items()}
    return [shape(value) for value in node] if isinstance(node, list) else type(node)


SHAPE = shape(pipeline())
VALUES = st.fixed_dictionaries(
    {name: st.from_regex(form, fullmatch=True) for name, form in TEMPLATE_INPUTS.items()}
)


@given(values=VALUES)
def test_whatever_the_expressions_let_through_stays_a_value(values: dict[str, str]) -> None:
    """GitLab interpolates before it parses: a quote or a line end that got through could add a job."""
    loaded = pipeline(**values)
    assert shape(loaded) == SHAPE
    assert loaded["present"]["variables"]["EVIDENCE"] == values["evidence_base64"]
    assert loaded["approve"]["environment"]["name"] == values["environment"]
    (script,) = loaded["approve"]["script"]
    assert f"url='{values['gate_url']}/api/v1/promotions/{values['promotion_id']}/decision'\n" in script


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "m'\nevil: {script: [id]}"),
        ("model", "$SECRET"),
        ("model", "m\u2028"),
        ("model", "mod\u00e8le"),
        ("version", "2'"),
        ("version", "2\n"),
        ("alias", "Champion'"),
        ("environment", "champion\n  action: stop"),
        ("environment", "$HOME"),
        ("promotion_id", "../p2"),
        ("promotion_id", "p1'; id; '"),
        ("gate_url", "http://gate.example.com"),
        ("gate_url", "https://user@gate.example.com"),
        ("gate_url", "http://127.0.0.1:80@gate.example.com"),
        ("gate_url", "https://gate.example.com?x="),
        ("gate_url", "https://gate.example.com'; id; '"),
        ("gate_url", "https://gate.example.com\n"),
        ("evidence_base64", "# Evidence"),
        ("evidence_base64", "YQ==\nevil:"),
    ],
)
def test_a_value_that_could_be_more_is_refused(name: str, value: str) -> None:
    assert not re.fullmatch(declared()[name]["regex"], value)


# --- what it does ----------------------------------------------------------------------------------------


@dataclass
class World:
    gate: ScriptedGate
    folder: Path
    path: str
    authority: Path

    def shell(self, job: str, shell: str = "bash", **more: str) -> subprocess.CompletedProcess[str]:
        """Run a job's script as a runner does: written to the shell's standard input."""
        changes = {key: more.pop(key) for key in list(more) if key in TEMPLATE_INPUTS}
        one = pipeline(**{"gate_url": self.gate.url, **changes})[job]
        variables = {"PATH": f"{self.path}:{os.environ['PATH']}", "CURL_CA_BUNDLE": str(self.authority)}
        return subprocess.run(
            SHELLS[shell],
            input="\n".join(one["script"]),
            cwd=self.folder,
            env={**one["variables"], **variables, "GATE_TOKEN": TOKEN, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def ci(self, *arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the pipeline by gitlab-ci-local, which makes no ID tokens."""
        (self.folder / ".gitlab-ci.yml").write_text(text or rendered(gate_url=self.gate.url))
        for step in ("init", "add"):
            subprocess.run(["git", step, "."], cwd=self.folder, check=True, capture_output=True, timeout=60)
        with (self.folder / ".git" / "config").open("a") as config:
            config.write('[remote "origin"]\n\turl = https://gitlab.example.com/example/ml-deploy.git\n')
        given = {"CI_PIPELINE_SOURCE": "trigger", "GATE_TOKEN": TOKEN, **variables}
        options = [f"--variable={name}={value}" for name, value in given.items()]
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        command: list[str | Path] = [
            BIN / "gitlab-ci-local",
            "--force-shell-executor",
            "--no-color",
            *options,
            *arguments,
        ]
        return subprocess.run(
            command,
            cwd=self.folder,
            env={
                "PATH": f"{self.path}:{os.environ['PATH']}",
                "HOME": str(home),
                "CURL_CA_BUNDLE": str(self.authority),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def world(tmp_path: Path, authority: trustme.CA) -> Iterator[World]:
    folder = tmp_path / "project"
    folder.mkdir()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with scripted_gate(authority) as gate:
        yield World(gate, folder, without_waiting(tmp_path / "bin"), tmp_path / "ca.pem")


PROBLEM = {"title": "Stale", "status": 409, "detail": 'It said "no"\n::error::', "hint": "Ask afresh."}
OUTCOMES: dict[str, tuple[list[Reply], int, list[str]]] = {
    "promoted at once": ([(200, {"phase": "promoted"})], 0, ["Promotion p1 is promoted."]),
    "under way at first": (
        [(202, {"phase": "approved"}), (202, {}), (200, {"phase": "promoted"})],
        0,
        ["Promotion p1 is approved.", "Promotion p1 is under way.", "Promotion p1 is promoted."],
    ),
    "a copy that takes longer": (
        [*[(202, {"phase": "copying"})] * 12, LOST, (200, {"phase": "promoted"})],
        0,
        ["Promotion p1 is copying.", "Promotion p1 is promoted."],
    ),
    "a lost answer": ([LOST, (200, {"phase": "promoted"})], 0, ["No answer yet (HTTP 000)"]),
    "the gate restarts": (
        [(503, "<html>"), (502, ""), (429, {}), (200, {"phase": "promoted"})],
        0,
        ["No answer yet (HTTP 503)", "Promotion p1 is promoted."],
    ),
    "others have to approve": ([(200, {"phase": "pending_approval"})], 1, ["is pending_approval."]),
    "another end": ([(200, {"phase": "rejected"})], 1, ["is rejected."]),
    "no phase": ([(200, {"ok": True})], 1, ["in an unknown phase"]),
    "no JSON": ([(200, "promoted")], 1, ["in an unknown phase"]),
    "a phase inside a text": (
        [(200, {"comment": '{"phase": "promoted"}', "phase": "failed"})],
        1,
        ["is failed."],
    ),
    "stale": (
        [(409, PROBLEM)],
        1,
        ["Refused (HTTP 409)", "title: Stale", r"detail: It said \"no\"\n::error::", "hint: Ask afresh."],
    ),
    "not let in": ([(401, {"title": "Not let in"})], 1, ["Refused (HTTP 401)", "title: Not let in"]),
    "a page of a proxy": ([(403, "<h1>no</h1>")], 1, ["Refused (HTTP 403)"]),
    "a redirect": ([(307, {}), (200, {"phase": "promoted"})], 1, ["Refused (HTTP 307)"]),
    "never an outcome": ([(202, {"phase": "approved"})], 1, ["The outcome is not known yet"]),
    "never an answer": ([LOST], 1, ["The outcome is not known yet"]),
}
SLOW = {"a copy that takes longer"}


@pytest.mark.parametrize("shell", list(SHELLS))
@pytest.mark.parametrize(
    ("replies", "status", "words"),
    [
        pytest.param(*each, id=name, marks=[pytest.mark.part("rest")] if name in SLOW else [])
        for name, each in OUTCOMES.items()
    ],
)
def test_the_gated_job_ends_well_only_if_the_version_is_promoted(
    world: World, shell: str, replies: list[Reply], status: int, words: list[str]
) -> None:
    world.gate.replies = replies
    done = world.shell("approve", shell)
    assert done.returncode == status, done.stdout + done.stderr
    for each in words:
        assert each in done.stdout, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if not line.startswith("champion-gate: ")] == []
    assert TOKEN not in done.stdout + done.stderr
    assert len(world.gate.posts) <= max(15, len(replies))
    for post in world.gate.posts:
        assert (post.path, post.token, post.body) == ("/api/v1/promotions/p1/decision", TOKEN, b"{}")
    assert list(world.folder.iterdir()) == []


def test_the_token_goes_to_nobody_whose_certificate_is_not_trusted(world: World, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    done = world.shell("approve", CURL_CA_BUNDLE=str(tmp_path / "other.pem"))
    assert done.returncode == 1
    assert world.gate.posts == []
    assert "certificate" in done.stderr


def test_variables_given_to_the_job_do_not_lead_the_token_elsewhere(world: World, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with scripted_gate() as elsewhere:
        (tmp_path / "home" / ".curlrc").write_text(f'url = "{elsewhere.url}/curlrc"\n')
        hostile = dict.fromkeys(("url", "GATE_URL", "CHAMPION_GATE_URL"), elsewhere.url)
        more = {"promotion": "p2", "HOME": str(tmp_path / "home"), "CURL_HOME": str(tmp_path / "home")}
        done = world.shell("approve", **{**hostile, **more, "answer": "/dev/full", "status": "200"})
        assert done.returncode == 0, done.stdout + done.stderr
        assert elsewhere.posts == []
    assert [post.path for post in world.gate.posts] == ["/api/v1/promotions/p1/decision"]


HOSTILE = {
    "the runner's own marks": "section_start:1:x[collapsed=true]\r\x1b[0K\x1b[31;1mJob succeeded\x1b[0m",
    "the end of a here-document": "EOF\ntouch owned\nEOF\n'; touch owned; '\n\"; touch owned; \"",
    "shell expansions": "$(touch owned) `touch owned` ${IFS} $HOME $GATE_TOKEN \\ %s %n \\x41 !! ~",
    "interpolation": "$[[ inputs.gate_url ]] $CI_JOB_TOKEN ${CI_JOB_TOKEN}",
    "YAML": "\napprove:\n  script: [touch owned]\n---\n- &x '\n",
    "options and odd characters": "-n -e --version \t\x7f\u202e\u00e9\U0001f600\nlast line without an end",
}
UNSHOWN = dict.fromkeys([*range(9), *range(11, 32), 127])


@pytest.mark.parametrize("shell", list(SHELLS))
@pytest.mark.parametrize("evidence", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_evidence_is_shown_and_does_nothing(world: World, shell: str, evidence: str) -> None:
    done = world.shell("present", shell, evidence_base64=encoded(evidence))
    assert (done.returncode, done.stderr) == (0, "")
    shown = [f"| {line}" for line in evidence.translate(UNSHOWN).split("\n")]
    assert done.stdout.rstrip("\n").split("\n") == "\n".join(shown).rstrip("\n").removesuffix("\n| ").split(
        "\n"
    )
    (page,) = world.folder.iterdir()
    assert page.read_bytes() == evidence.encode()


def test_the_largest_evidence_that_github_takes_is_shown_whole_here_too(world: World) -> None:
    evidence = "line of evidence\n" * 3_800
    done = world.shell("present", evidence_base64=encoded(evidence))
    assert done.stdout.count("| line of evidence\n") == 3_800


def test_a_file_that_an_earlier_job_left_is_not_written_through(world: World, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (world.folder / "champion-gate-evidence.md").symlink_to(tmp_path / "precious")
    assert world.shell("present").returncode == 0
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.needs("gitlab-ci-local", "rsync", "git")
def test_a_ci_runner_shows_the_evidence_and_leaves_the_gated_job_alone(world: World) -> None:
    done = world.ci()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "present > | # Evidence" in done.stdout
    assert "approve" not in done.stdout
    assert world.gate.posts == []


@pytest.mark.part("rest")
@pytest.mark.needs("gitlab-ci-local", "rsync", "git")
def test_a_ci_runner_ends_the_released_job_by_what_the_gate_says(world: World) -> None:
    world.gate.replies = [LOST, (202, {"phase": "approved"}), (200, {"phase": "promoted"})]
    done = world.ci("--manual", "approve")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS  approve" in done.stdout
    assert {post.token for post in world.gate.posts} == {TOKEN}
    assert TOKEN not in done.stdout

    world.gate.replies = [(409, PROBLEM)]
    done = world.ci("approve")
    assert done.returncode != 0
    assert "champion-gate: hint: Ask afresh." in done.stdout


@pytest.mark.part("rest")
@pytest.mark.needs("gitlab-ci-local", "rsync", "git")
def test_a_ci_runner_reads_the_inputs_of_the_file_itself(world: World) -> None:
    shutil.copy(TEMPLATE, world.folder / "champion-gate.yml")
    given = inputs(gate_url=world.gate.url, evidence_base64=encoded("Seen through an include."))
    include = {"include": [{"local": "champion-gate.yml", "inputs": given}]}
    done = world.ci("--manual", "approve", text=yaml.safe_dump(include))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "present > | Seen through an include." in done.stdout
    assert [post.path for post in world.gate.posts] == ["/api/v1/promotions/p1/decision"]


@pytest.mark.part("rest")
@pytest.mark.part("full", "api", "push")
@pytest.mark.needs("gitlab-ci-local", "rsync", "git")
@pytest.mark.parametrize(
    ("source", "promotion", "starts"),
    [
        ("trigger", "p1", True),
        ("api", "p1", True),
        ("push", "p1", False),
        ("web", "p1", False),
        ("trigger", "none", False),
    ],
)
def test_a_ci_runner_finds_the_rules_to_hold_for_nobody_else(
    world: World, source: str, promotion: str, starts: bool
) -> None:
    """gitlab-ci-local reads rules of jobs only, so the pipeline's are put into one."""
    rules = pipeline(promotion_id=promotion)["workflow"]["rules"]
    text = yaml.safe_dump({"probe": {"script": ["true"], "rules": rules}, "other": {"script": ["true"]}})
    done = world.ci("--list", text=text, CI_PIPELINE_SOURCE=source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("probe" in done.stdout) == starts, done.stdout + done.stderr
