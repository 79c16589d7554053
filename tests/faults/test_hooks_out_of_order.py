"""Hooks are hints: whether they come, how often, when and in which order changes nothing about what is asked and set."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from flask import Response, request

from champion_gate.adapters.mlflow.webhook import EVENTS
from champion_gate.bootstrap import build_service
from champion_gate.domain.promotion import Phase
from champion_gate_standins.common.server import StandInApp, serve
from champion_gate_standins.databricks.server import Hook
from integration.gate_providers import GitHubProvider, GitLabProvider
from integration.gate_world import SECRETS, GateWorld, gate_world
from integration.mlflow_server import MlflowServer
from integration.posted_world import RunningClock
from integration.process_world import until
from integration.serving import served
from unit.test_hooks_mlflow import SECRET as MLFLOW_SECRET

pytest_plugins = ("integration.mlflow_fixtures",)

LATEST = 1.5
"""Seconds by which a hook is late where they come in any order; a sweep comes every second."""
_OF_THE_WAY = {"Host", "Content-Length", "Connection", "Transfer-Encoding", "Accept-Encoding"}


@dataclass(frozen=True)
class Letter:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Post:
    """Stands between the vendors and the service, takes whatever they send, and hands it on as the test says.

    Attributes:
        url: of the service.
        hand_on: called with each that comes.
    """

    url: str
    hand_on: Callable[[Post, Letter], None]
    came: list[Letter] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    _under_way: list[Future[None]] = field(default_factory=list)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))

    def app(self) -> StandInApp:
        made = StandInApp("post")

        @made.post("/<path:path>")
        def take(path: str) -> Response:
            headers = {name: value for name, value in request.headers.items() if name not in _OF_THE_WAY}
            letter = Letter(path, headers, request.get_data())
            self.came.append(letter)
            self.hand_on(self, letter)
            return Response(status=202)

        return made

    def deliver(self, letter: Letter, after: float = 0.0) -> None:
        """Hand it on, beside whatever else is handed on."""
        self._under_way.append(self._pool.submit(self._deliver, letter, after))

    def _deliver(self, letter: Letter, after: float) -> None:
        threading.Event().wait(after)
        answer = requests.post(f"{self.url}/{letter.path}", letter.body, headers=letter.headers, timeout=30)
        self.answers.append(answer.status_code)

    def deliver_all_again(self) -> None:
        """Everything that ever came, the latest first, twice."""
        for letter in reversed(self.came):
            for _ in range(2):
                self.deliver(letter)
                self.wait()

    def wait(self) -> None:
        """Until everything has been handed on."""
        for each in list(self._under_way):
            each.result()


def drop(post: Post, letter: Letter) -> None: ...


def double(post: Post, letter: Letter) -> None:
    post.deliver(letter)
    post.deliver(letter)


def mix_up(post: Post, letter: Letter) -> None:
    late = random.Random(f"{len(post.came)} {letter.path}").uniform(0, LATEST)
    post.deliver(letter, late)
    post.deliver(letter, LATEST - late)


MAIL = {"dropped": drop, "doubled": double, "mixed up": mix_up}
WAYS = {"github": "uc", "gitlab-rules": "uc", "mlflow": "mlflow"}
IN_CI = {("github", "mixed up"), ("gitlab-rules", "doubled")}


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    way: str = request.param
    server: MlflowServer | None = request.getfixturevalue("running_mlflow") if way == "mlflow" else None
    provider = "github" if way == "mlflow" else way
    with gate_world(tmp_path, WAYS[way], provider, RunningClock(), server=server) as made:
        yield made


def send_by(stack: ExitStack, world: GateWorld, post_url: str) -> None:
    """Have every vendor send its hooks here."""
    hook = Hook(
        f"{post_url}/hooks/databricks",
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
        SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
    )
    job = world.databricks.jobs.job(world.job_id)
    assert job is not None
    job.hook = hook
    if isinstance(world.provider, GitHubProvider):
        world.provider.standin.webhooks.url = f"{post_url}/hooks/github"
        world.provider.standin.webhooks.secret = SECRETS["CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"]
    elif isinstance(world.provider, GitLabProvider):
        world.provider.standin.webhooks.url = f"{post_url}/hooks/gitlab"
        world.provider.standin.webhooks.signing_token = world.environ["CHAMPION_GATE_GITLAB_SIGNING_TOKEN"]
    if world.models.registry.startswith("http"):
        from mlflow import MlflowClient  # noqa: PLC0415 - slow

        client = MlflowClient(world.models.registry, world.models.registry)
        made = client.create_webhook("gate", f"{post_url}/hooks/mlflow", [*EVENTS], secret=MLFLOW_SECRET)
        stack.callback(client.delete_webhook, made.webhook_id)


def train(world: GateWorld) -> str:
    """A run that registers a version, ends well, and has its job's hook called."""
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    version = world.models.train(world.job_id, task, {"f1": 0.91})
    world.databricks.jobs.finish_run(run_id)
    return version


@pytest.mark.parametrize(
    ("world", "way", "mail"),
    [
        pytest.param(way, way, mail, marks=pytest.mark.part("rest" if (way, mail) in IN_CI else "full"))
        for way in WAYS
        for mail in MAIL
    ],
    indirect=["world"],
)
def test_two_runs_lead_to_one_move(world: GateWorld, way: str, mail: str) -> None:
    """The older version's promotion gives way to the newer one's, whichever is heard of first."""
    world.reconfigure(**({"source": "both", "trainers": ["octo-trainer"]} if way == "mlflow" else {}))
    environ = {
        **world.environ,
        "CHAMPION_GATE_SWEEP_SECONDS": "1",
        "CHAMPION_GATE_MLFLOW_WEBHOOK_SECRET": MLFLOW_SECRET,
    }
    databricks = {"host": world.databricks_url, "token": "standin-token"}
    service = build_service(environ, clock=world.clock, databricks=databricks)
    with ExitStack() as stack:
        url = stack.enter_context(served(service))
        post = Post(url, MAIL[mail])
        send_by(stack, world, stack.enter_context(serve(post.app())))
        train(world)
        newer = train(world)

        def waiting() -> object:
            return [
                each
                for each in world.promotions()
                if each.version.version == newer and each.phase is Phase.PENDING_APPROVAL
            ]

        (pending,) = until(waiting, lambda: str(world.promotions()))
        world.provider.approve(world.run_id_of(pending), "reviewer-1")
        until(lambda: world.again(pending).phase is Phase.PROMOTED, lambda: str(world.again(pending)))
        post.wait()
        post.deliver_all_again()
        # What the last of them had looked at is over once nothing is due.
        until(lambda: not any(vars(world.store.due(world.clock.now())).values()), "work is left")
        assert {each.version.version: each.phase for each in world.promotions()} == {
            "2": Phase.SUPERSEDED,
            newer: Phase.PROMOTED,
        }
        assert world.moves()[1:] == [("1", newer, "reviewer-1")]
        assert world.models.champion() == newer
        assert list(world.provider.requests().values()).count("success") == 1
        assert set(post.answers) <= {200, 202}
        assert {letter.path.split("/")[1] for letter in post.came} == expected_senders(way)
        world.store.verify_ledger()


def expected_senders(way: str) -> set[str]:
    return {"databricks", "github" if way == "mlflow" else way.partition("-")[0]} | (
        {"mlflow"} if way == "mlflow" else set()
    )
