"""What the released job of the workflow template does, executed by act against a scripted gate."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
import trustme

from champion_gate_standins.common.server import serve
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.github.state import Run
from integration.scripted_gate import LOST, Reply, ScriptedGate, scripted_gate, without_waiting

pytestmark = pytest.mark.spread(2)

FOLDER = Path(__file__).parents[2] / "deploy" / "github"
TEMPLATE = FOLDER / "champion-gate.yml"
FILE = Path(".github") / "workflows" / "champion-gate.yml"
BIN = Path(sys.executable).parent
REPOSITORY = "example/ml-deploy"


@dataclass
class Executed:
    log: str
    events: list[dict[str, Any]]

    def result(self, job: str = "approve (champion)") -> str:
        """How a job ended; act adds a number to the jobs of a matrix, for its log only."""
        ended = {
            re.sub(r"-\d+ *$", "", one["job"].rpartition("/")[2]): str(one["jobResult"])
            for one in self.events
            if "jobResult" in one
        }
        return ended[job]

    def summary(self) -> str:
        shown = [one["content"] for one in self.events if one.get("command") == "summary"]
        return str(shown[-1])

    def orders(self) -> list[str]:
        return [one["command"] for one in self.events if "command" in one]


@dataclass
class World:
    github: GitHubStandIn
    run: Run
    gate: ScriptedGate
    folder: Path
    path: str
    authority: str

    def act(self, *, gate_url: str | None = None, **more: str) -> Executed:
        """Run the workflow with what GitHub gives to the run's released job."""
        (self.folder / FILE).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE, self.folder / FILE)
        home = self.folder.parent / "home"
        (home / ".config" / "act").mkdir(parents=True, exist_ok=True)
        (home / ".config" / "act" / "actrc").touch()
        (self.folder.parent / "trigger.json").write_text(json.dumps({"inputs": {**self.run.inputs, **more}}))
        given = self.github.oidc.request_variables(self.run, "champion")
        given |= {"CURL_CA_BUNDLE": self.authority}
        command: list[str | Path] = [BIN / "act", "workflow_dispatch", "--json", "-e", "../trigger.json"]
        command += ["-P", "ubuntu-latest=-self-hosted", "-W", FILE]
        command += [f"--env={name}={value}" for name, value in given.items()]
        url = self.gate.url if gate_url is None else gate_url
        command += [f"--var=CHAMPION_GATE_URL={url}"] if url else []
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": f"{self.path}:{os.environ['PATH']}", "HOME": str(home), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return Executed(done.stdout + done.stderr, events)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    authority, github = trustme.CA(), GitHubStandIn()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    folder = tmp_path / "repository"
    folder.mkdir()
    github.add_repository(REPOSITORY)
    github.protect_branch(REPOSITORY)
    github.add_user("rita")
    github.protect_environment(REPOSITORY, "champion", ["rita"])
    github.workflow_runs.jobs_finish = False
    given = {"promotion_id": "p1", "model": "main.ml.churn", "version": "2", "alias": "Champion"}
    given |= {"evidence": "# Evidence", "environments": '["champion"]'}
    with ExitStack() as stack:
        base = stack.enter_context(serve(github.app))
        stack.enter_context(closing(github))
        gate = stack.enter_context(scripted_gate(authority))
        requests.get(f"{base}/.well-known/jwks", timeout=10)  # tells the stand-in its own address
        run = github.dispatch(REPOSITORY, given, login="svc")
        github.review(run.id, "champion", "rita", approve=True)
        yield World(github, run, gate, folder, without_waiting(tmp_path / "bin"), str(tmp_path / "ca.pem"))


@pytest.mark.needs("act")
def test_the_released_job_shows_its_id_token_and_ends_well_once_promoted(world: World) -> None:
    world.gate.replies = [LOST, (202, {"phase": "approved"}), (200, {"phase": "promoted"})]
    done = world.act()
    assert (done.result("present"), done.result()) == ("success", "success"), done.log
    assert done.summary() == "    Promotion p1 is promoted.\n"
    assert {(post.path, post.body) for post in world.gate.posts} == {
        ("/api/v1/promotions/p1/decision", b"{}")
    }
    (token,) = {post.token for post in world.gate.posts}
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["aud"], claims["run_id"]) == ("champion-gate", str(world.run.id))
    assert claims["environment"] == "champion"
    assert done.orders() == ["summary", "add-mask", "summary"]
    shown = [one for one in done.events if one.get("command") != "add-mask"]
    assert token not in json.dumps(shown)


PROBLEM = {"title": "Stale", "status": 409, "detail": 'It said "no"\n::error::', "hint": "Ask afresh."}
OUTCOMES: dict[str, tuple[list[Reply], str, list[str]]] = {
    "others have to approve": ([(200, {"phase": "pending_approval"})], "success", ["is pending_approval."]),
    "another end": ([(200, {"phase": "rejected"})], "failure", ["is rejected."]),
    "no phase": ([(200, "promoted")], "failure", ["in an unknown phase"]),
    "stale": (
        [(409, PROBLEM)],
        "failure",
        ["Refused (HTTP 409)", "title: Stale", r"detail: It said \"no\"\n::error::", "hint: Ask afresh."],
    ),
    "not let in": ([(401, {"title": "Not let in"})], "failure", ["Refused (HTTP 401)", "title: Not let in"]),
    "a redirect": ([(307, {}), (200, {"phase": "promoted"})], "failure", ["Refused (HTTP 307)"]),
    "the gate restarts": (
        [(503, "<html>"), (429, {}), (200, {"phase": "promoted"})],
        "success",
        ["is promoted."],
    ),
    "a copy that takes longer": (
        [*[(202, {"phase": "copying"})] * 20, (502, "<html>"), (200, {"phase": "promoted"})],
        "success",
        ["is promoted."],
    ),
    "a copy that fails": (
        [(202, {"phase": "copying"}), (200, {"phase": "failed"})],
        "failure",
        ["is failed."],
    ),
    "never an outcome": ([(202, {"phase": "approved"})], "failure", ["The outcome is not known yet."]),
}


@pytest.mark.part("rest")
@pytest.mark.needs("act")
@pytest.mark.parametrize(("replies", "result", "words"), list(OUTCOMES.values()), ids=list(OUTCOMES))
def test_the_released_job_ends_as_the_gate_says(
    world: World, replies: list[Reply], result: str, words: list[str]
) -> None:
    world.gate.replies = replies
    done = world.act()
    assert done.result() == result, done.log
    for each in words:
        assert each in done.summary()
    assert all(line.startswith("    ") for line in done.summary().splitlines())
    assert set(done.orders()) <= {"summary", "add-mask"}
    assert len(world.gate.posts) <= max(15, len(replies))
    assert len({post.token for post in world.gate.posts}) == (5 if len(replies) > 15 else 1)


@pytest.mark.part("rest")
@pytest.mark.needs("act")
def test_a_job_that_gets_no_id_token_says_so_and_calls_nobody(world: World) -> None:
    world.github.end_job(world.run.id, "champion")
    done = world.act()
    assert done.result() == "failure"
    assert "GitHub gave this job no ID token (HTTP 401)." in done.summary()
    assert world.gate.posts == []


@pytest.mark.part("rest")
@pytest.mark.needs("act")
@pytest.mark.parametrize(
    ("gate_url", "promotion"),
    [
        ("", "p1"),
        ("http://gate.example.com", "p1"),
        ("https://user@gate.example.com", "p1"),
        ("http://127.0.0.1:1@localhost", "p1"),
        ("https://gate.example.com/?x=", "p1"),
        (None, "../p2"),
        (None, "p1?x="),
        (None, '$(touch "$HOME/owned")'),
        (None, "p1\np2"),
    ],
)
def test_the_token_goes_nowhere_but_to_the_gates_own_address(
    world: World, gate_url: str | None, promotion: str
) -> None:
    done = world.act(gate_url=gate_url, promotion_id=promotion)
    assert done.result() == "failure", done.log
    assert "CHAMPION_GATE_URL" in done.summary()
    assert "add-mask" not in done.orders()
    assert world.gate.posts == []
    assert not (world.folder.parent / "home" / "owned").exists()


@pytest.mark.needs("act")
def test_the_token_goes_to_nobody_whose_certificate_is_not_trusted(world: World, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    world.authority = str(tmp_path / "other.pem")
    done = world.act()
    assert done.result() == "failure"
    assert world.gate.posts == []
