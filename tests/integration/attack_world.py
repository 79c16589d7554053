"""The running service under attack: one for many tests, each with a gate, model and place of its own."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import requests

from captured_log import captured_log
from champion_gate.bootstrap import build_service
from champion_gate.flow.context import Waits
from champion_gate.store import Store
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.gitlab.server import GitLabStandIn
from impatient import REQUEST_APPEARS
from integration.attacked_gate import (
    AUDIENCE,
    GITHUB_SECRET,
    HOOK,
    KINDS,
    PEOPLE,
    PLAIN_TOKEN,
    ROBOT,
    SIGNING_TOKEN,
    Asked,
    AttackedGate,
)
from integration.attacked_places import OnFreeGitLab, OnGitHub, OnGitLab
from integration.gate_world import api_token
from integration.github_world import app_keys
from integration.process_world import elsewhere, free_port
from integration.serving import served
from integration.store_databases import path_of, sqlite_store

T = TypeVar("T")

_KINDS: Mapping[str, type[OnGitHub | OnGitLab]] = {
    "github": OnGitHub,
    "gitlab": OnGitLab,
    "gitlab-free": OnFreeGitLab,
}


@dataclass
class AttackWorld:
    """The stand-ins, the running service between them, and gates that no test has used yet."""

    folder: Path
    store: Store
    port: int
    databricks: DatabricksStandIn
    github: GitHubStandIn
    gitlab: GitLabStandIn
    environ: dict[str, str] = field(default_factory=dict)
    unused: dict[str, list[AttackedGate]] = field(default_factory=dict)
    logged: io.StringIO = field(default_factory=io.StringIO)
    waiting: dict[str, tuple[Any, Asked]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the service listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        """The file with the rows."""
        return path_of(self.environ["CHAMPION_GATE_DATABASE_URL"])

    @cached_property
    def operator(self) -> dict[str, str]:
        """The headers of the operator's calls."""
        return {"Authorization": f"Bearer {api_token(self.store)}"}

    def gate(self, kind: str) -> Any:
        """A gate that no test has used yet."""
        return self.unused[kind].pop()

    def asked(self, kind: str) -> tuple[Any, Asked]:
        """A gate whose people are asked, and go on being asked: attacks that must leave no trace share it."""
        if kind in self.waiting:
            gate, asked = self.waiting[kind]
            if gate.view(asked)["phase"] == "pending_approval":
                return gate, asked
        gate = self.gate(kind)
        self.waiting[kind] = (gate, gate.ask())
        return self.waiting[kind]

    def get(self, path: str) -> Any:
        """What the API answers to the operator."""
        answer = requests.get(f"{self.url}/api/v1{path}", headers=self.operator, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    def post_hook(self, vendor: str, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        """Post to `/hooks/…` as anybody can."""
        return requests.post(
            f"{self.url}/hooks/{vendor}",
            data=body,
            headers={"Content-Type": "application/json", **elsewhere(), **headers},
            timeout=20,
        )

    def mend(self) -> None:
        """Take back what a test has had go wrong."""
        self.databricks.faults.clear()
        for standin in (self.github, self.gitlab):
            standin.faults.clear()
        self.github.workflow_runs.present_conclusion = self.gitlab.ci.present_status = "success"
        self.gitlab.ci.allow_failure = False
        self.gitlab.ci.cancels_manual_jobs = True

    def log(self) -> str:
        """Everything that the service has logged."""
        return self.logged.getvalue()

    def last_lines(self) -> str:
        """The end of the log, for whoever reads a failed test."""
        return "\n".join(self.log().splitlines()[-15:])


def at_once(what: Sequence[Callable[[], T]]) -> list[T]:
    """Do all of these at the same moment, each in a thread; returns what they return, in order."""
    barrier = Barrier(len(what))

    def run(one: Callable[[], T]) -> T:
        barrier.wait(30)
        return one()

    with ThreadPoolExecutor(len(what)) as pool:
        return [each.result(90) for each in [pool.submit(run, one) for one in what]]


@contextmanager
def attack_world(folder: Path, *, trigger: bool = False, **counts: int) -> Iterator[AttackWorld]:
    """The stand-ins and the running service; nothing that was started outlives the block.

    Args:
        folder: for gates.yaml.
        trigger: open GitLab's pipelines with a trigger token, which is good for one project only.
        counts: how many gates of each kind, `gitlab_free` for "gitlab-free".
    """
    databricks, github = DatabricksStandIn(), GitHubStandIn()
    gitlab = GitLabStandIn(prefix="/gitlab")
    with ExitStack() as stack:
        database_url, store = stack.enter_context(sqlite_store())
        world = AttackWorld(folder, store, free_port(), databricks, github, gitlab)
        urls = {
            "databricks": stack.enter_context(serve(databricks.app)),
            "github": stack.enter_context(serve(github.app)),
            "gitlab": f"{stack.enter_context(serve(gitlab.app))}/gitlab",
        }
        _set_up(world)
        stack.callback(gitlab.close)
        stack.callback(github.close)
        kinds = [kind for kind in KINDS for _ in range(counts.get(kind.replace("-", "_"), 0))]
        gates = [_KINDS[kind](world, number) for number, kind in enumerate(kinds, 1)]
        for kind in KINDS:
            world.unused[kind] = [gate for gate, its in zip(gates, kinds, strict=True) if its == kind]
        for gate in gates:
            databricks.catalog.set_alias(gate.model, "Champion", databricks.catalog.add_version(gate.model))
        # Known before anybody has called the stand-ins, so that no test needs another to come first.
        github.oidc.issuer.url, gitlab.id_tokens.issuer.url = urls["github"], urls["gitlab"]
        _write_gates(folder, urls, gates)
        trigger_for = world.unused["gitlab"] if trigger else ()
        world.environ = {"CHAMPION_GATE_DATABASE_URL": database_url, **_environ(world, urls, trigger_for)}
        world.logged = stack.enter_context(captured_log())
        host = {"host": urls["databricks"], "token": "standin-token"}
        service = build_service(world.environ, databricks=host, waits=Waits(request_appears=REQUEST_APPEARS))
        stack.enter_context(served(service, world.port))
        stack.callback(databricks.faults.clear)
        yield world


def _set_up(world: AttackWorld) -> None:
    github, gitlab = world.github, world.gitlab
    for login in (*PEOPLE, "administrator"):
        github.add_user(login)
    # As long as its job runs, a token may be posted; and a decision must not wait for the job's end.
    github.workflow_runs.jobs_finish = gitlab.ci.jobs_finish = False
    # Every delivery is lost: the service looks when a test has it look.
    github.webhooks.lost = gitlab.webhooks.lost = True
    github.webhooks.url, github.webhooks.secret = f"{world.url}/hooks/github", GITHUB_SECRET
    gitlab.webhooks.url, gitlab.webhooks.signing_token = f"{world.url}/hooks/gitlab", SIGNING_TOKEN


def _write_gates(folder: Path, urls: Mapping[str, str], gates: Sequence[AttackedGate]) -> None:
    file = {
        "registry": "databricks-uc",
        "github": {"url": urls["github"], "oidc": {"issuer": urls["github"], "audience": AUDIENCE}},
        "gitlab": {"url": urls["gitlab"], "oidc": {"audience": AUDIENCE}},
        "gates": [gate.settings() for gate in gates],
    }
    (folder / "gates.yaml").write_text(json.dumps(file))


def _environ(
    world: AttackWorld, urls: Mapping[str, str], trigger_for: Sequence[AttackedGate]
) -> dict[str, str]:
    private, public = app_keys()
    app = world.github.add_app("champion-gate", public)
    gitlab = {
        "CHAMPION_GATE_GITLAB_READ_TOKEN": world.gitlab.add_token("reader"),
        "CHAMPION_GATE_GITLAB_SIGNING_TOKEN": SIGNING_TOKEN,
        "CHAMPION_GATE_GITLAB_WEBHOOK_TOKEN": PLAIN_TOKEN,
        "CHAMPION_GATE_GITLAB_API_TOKEN": world.gitlab.add_token(ROBOT, ("api",)),
    }
    for gate in trigger_for:
        assert isinstance(gate, OnGitLab)
        gitlab["CHAMPION_GATE_GITLAB_TRIGGER_TOKEN"] = world.gitlab.add_trigger(gate.project, ROBOT)
    return {
        **gitlab,
        "CHAMPION_GATE_CONFIG": f"{world.folder}/gates.yaml",
        "CHAMPION_GATE_PORT": str(world.port),
        "CHAMPION_GATE_PUBLIC_URL": world.url,
        "CHAMPION_GATE_SWEEP_SECONDS": "3600",
        "CHAMPION_GATE_PROXY_HOPS": "1",
        "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": HOOK[0],
        "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": HOOK[1],
        "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET": GITHUB_SECRET,
        "CHAMPION_GATE_GITHUB_APP_CLIENT_ID": app.client_id,
        "CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY": private,
        "DATABRICKS_HOST": urls["databricks"],
        "DATABRICKS_TOKEN": "standin-token",
    }
