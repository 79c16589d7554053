"""Everybody whom the service talks to, in a process of their own, with a proxy before each and a journal of what happened."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn, Hook
from champion_gate_standins.github.accounts import RefusedError as GitHubRefusedError
from champion_gate_standins.gitlab.state import RefusedError as GitLabRefusedError
from champion_gate_standins.notices.server import NoticeReceivers
from faults.journal import Journal, watch_databricks, watch_github, watch_gitlab, watch_notices
from faults.proxy import FAULTS, HOOK_FAULTS, Answer, Call, FaultProxy, Hold, Weather
from integration.gate_models import TRAINER, CatalogModels
from integration.gate_providers import (
    BOT,
    PROVIDERS,
    REPOSITORY,
    TRAINER_LOGIN,
    GitHubProvider,
    GitLabProvider,
    Provider,
)
from integration.gate_reviews import ReviewProvider
from integration.gate_world import GATE, SECRETS
from integration.notices_world import addresses
from integration.own_process import in_own_process
from integration.whole_way import Around, around

ALL_PROVIDERS = {**PROVIDERS, "github-review": ReviewProvider}
ALLOWED = ("reviewer-1", "reviewer-2")
"""Whose approval counts; the trainer may press too."""
_SEEN_EVERY_SECONDS = 0.05


@dataclass
class _Gate:
    number: int
    models: CatalogModels
    job: str
    around: Around


@dataclass
class People:
    """How those behave who are asked; what they do is drawn anew for each request.

    Attributes:
        trainer_first: how often the trainer is the first to press.
        rejects: how often somebody says no.
        seconds: the longest that they take.
        act: whether they do anything at all.
    """

    trainer_first: float = 0.0
    rejects: float = 0.0
    seconds: float = 0.0
    act: bool = True


@dataclass
class _Asked:
    due: float
    presses: list[tuple[str, bool]] = field(default_factory=list)


class FarEnds:
    """Databricks, a CI/CD system, a receiver of notices, and the people there.

    So many gates, each with all that there can be around a promotion, and a Champion v1 of both of its models.
    """

    def __init__(self, provider: str, gates: int, journal: Path, service: int, seed: str) -> None:
        """Begin to serve.

        Args:
            provider: one of ALL_PROVIDERS.
            gates: how many.
            journal: the file.
            service: the port at which the service will be.
            seed: of everything that is left to chance here.
        """
        self._journal = Journal(journal)
        self._chance = random.Random(seed)
        self._weather = Weather(random.Random(f"weather {seed}"))
        self._post = Weather(random.Random(f"post {seed}"), faults=HOOK_FAULTS)
        self._databricks = DatabricksStandIn()
        self._provider: Provider = ALL_PROVIDERS[provider](lambda: datetime.now(UTC))
        self._receivers = NoticeReceivers()
        self._people = People()
        self._asked: dict[str, _Asked] = {}
        self._servers = ExitStack()  # never left: they end with their process
        self._proxies: dict[str, FaultProxy] = {}
        watch_databricks(self._databricks, self._journal)
        watch_notices(self._receivers, self._journal)
        self._watch_provider()
        self._stand_behind_proxies(service)
        self._approval = self._provider.approval()
        self._gates = [self._made(number) for number in range(gates)]
        threading.Thread(target=self._live, daemon=True).start()

    # --- how it is set up ---

    def _watch_provider(self) -> None:
        if isinstance(self._provider, GitLabProvider):
            watch_gitlab(self._provider.standin, self._journal)
        else:
            assert isinstance(self._provider, GitHubProvider | ReviewProvider)
            watch_github(self._provider.standin, self._journal)

    def _stand_behind_proxies(self, service: int) -> None:
        for vendor, app in (
            ("databricks", self._databricks.app),
            (self._provider.key, self._provider.app),
            ("notices", self._receivers.app),
        ):
            url = self._servers.enter_context(serve(app))
            self._proxies[vendor] = FaultProxy(vendor, int(url.rpartition(":")[2]), self._weather)
        post = FaultProxy("hooks", service, self._post, self._note_answer)
        self._proxies["hooks"] = post
        if isinstance(self._provider, GitLabProvider):
            gitlab = self._provider.standin.webhooks
            gitlab.url = f"{post.url}/hooks/gitlab"
            gitlab.signing_token = self._provider.environ()["CHAMPION_GATE_GITLAB_SIGNING_TOKEN"]
        else:
            assert isinstance(self._provider, GitHubProvider | ReviewProvider)
            github = self._provider.standin.webhooks
            github.url = f"{post.url}/hooks/github"
            github.secret = SECRETS["CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"]

    def _note_answer(self, call: Call, answer: Answer) -> None:
        if call.path == "/hooks/databricks":
            run = json.loads(call.body)["run"]["run_id"]
            self._journal.write("notified", run=str(run), status=answer.status)

    def _made(self, number: int) -> _Gate:
        hook = Hook(
            f"{self._proxies['hooks'].url}/hooks/databricks",
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_USERNAME"],
            SECRETS["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"],
        )
        jobs = self._databricks.jobs
        models = CatalogModels(self._databricks, f"main.ml.m{number}")
        job = jobs.add_job(f"train-m{number}", run_as=TRAINER, creator=TRAINER, hook=hook)

        def copied(given: Mapping[str, str], said: dict[str, Any]) -> None:
            told = said["champion_gate"]
            self._journal.write(
                "copied",
                model=told["model"],
                version=told["version"],
                source=given["model_name"],
                source_version=given["model_version"],
                reused=said["champion_gate_copy"]["reused"],
            )

        made = around(self._databricks, f"m{number}", f"churn-{number}", copied)
        for one in (models, made.destination):
            one.move_alias(one.train(job, "1", {"f1": 0.9}))
        names = zip(("validate", "copy", "score"), made.jobs, strict=True)
        self._weather.names |= {job: "train", **{each: name for name, each in names}}
        self._journal.write(
            "gate",
            model=made.destination.model,
            source=models.model,
            validation=made.jobs[0],
            batch=made.jobs[-1],
            endpoint=f"churn-{number}",
            served=["1"],
        )
        return _Gate(number, models, job, made)

    def environ(self) -> dict[str, str]:
        """What the service has to be told of them."""
        return {
            "CHAMPION_GATE_PUBLIC_URL": "https://gate.example.com",
            **SECRETS,
            **self._provider.environ(),
            "DATABRICKS_HOST": self._proxies["databricks"].url,
            "DATABRICKS_TOKEN": "standin-token",
            **{k: v for k, v in addresses(self._proxies["notices"].url).items() if "AUDIT_LOG" in k},
        }

    def gates(self) -> dict[str, Any]:
        """As gates.yaml has them."""
        gates = [
            {
                **GATE,
                "name": f"gate-{each.number}",
                "jobs": [int(each.job)],
                "model": each.models.model,
                "approval": self._approval,
                # A refusal on purpose is no right that is missing.
                "rights": "assume",
                **each.around.keys,
            }
            for each in self._gates
        ]
        server = self._provider.server_key or self._provider.key
        return {
            "registry": CatalogModels.registry,
            server: self._provider.server(self._proxies[self._provider.key].url),
            "notices": [{"name": "audit_log", "kind": "webhook", "private": True}],
            "gates": gates,
        }

    # --- what happens there ---

    def train(self, gate: int) -> str:
        """A run that registers a version, ends well and is told of; returns its id, and waits for no answer."""
        one, jobs = self._gates[gate], self._databricks.jobs
        run = jobs.start_run(one.job)
        version = one.models.train(one.job, jobs.task_run_id(run, "train"), {"f1": 0.91})
        self._journal.write("trained", run=run, job=one.job, model=one.models.model, version=version)
        jobs.finish_run(run, notify=False)
        threading.Thread(target=jobs.send_notification, args=(run,), daemon=True).start()
        return run

    def let_people(self, **how: Any) -> None:
        """Have them behave so, towards those requests that they have not seen yet."""
        self._people = People(**how)

    def _live(self) -> None:
        while True:
            time.sleep(_SEEN_EVERY_SECONDS)
            if self._people.act:
                with suppress(GitHubRefusedError, GitLabRefusedError, LookupError):
                    self._look()

    def _look(self) -> None:
        for request, status in self._provider.requests().items():
            if status != "open" or not self._provider.waits(request):
                continue
            asked = self._asked.setdefault(request, self._make_up_their_minds())
            if asked.presses and time.monotonic() >= asked.due:
                login, yes = asked.presses.pop(0)
                self._press(request, login, yes=yes)

    def _make_up_their_minds(self) -> _Asked:
        how, chance = self._people, self._chance
        person = chance.choice(ALLOWED)
        presses = [(person, chance.random() >= how.rejects)]
        if chance.random() < how.trainer_first:
            presses.insert(0, (TRAINER_LOGIN, True))
        return _Asked(time.monotonic() + chance.uniform(0, how.seconds), presses)

    def _press(self, request: str, login: str, *, yes: bool) -> None:
        """The line is written first: whatever the service does about it comes later."""
        self._journal.write("pressed", request=request, login=login, verdict="approve" if yes else "reject")
        try:
            if yes:
                self._provider.approve(request, login)
            else:
                self._provider.reject(request, login)
        except (GitHubRefusedError, GitLabRefusedError):
            self._journal.write("not pressed", request=request, login=login)

    def press(self, request: str, login: str) -> None:
        """Somebody approves."""
        self._press(request, login, yes=True)

    def note(self, what: str, **facts: Any) -> None:
        """Write down what was done elsewhere, such as what an operator has `ordered`."""
        self._journal.write(what, **facts)

    def dispatch(self, inputs: Mapping[str, str]) -> str:
        """Our own account starts the workflow by hand, as it did before or as a copy of it would; returns the run."""
        assert isinstance(self._provider, GitHubProvider)
        run = str(self._provider.standin.dispatch(REPOSITORY, inputs, login=BOT).id)
        self._journal.write("asked by others", request=run)
        return run

    def requests(self) -> dict[str, str]:
        """See Provider."""
        return self._provider.requests()

    # --- what goes wrong ---

    def rage(self, calls: float, hooks: float = 0.0, only: tuple[str, ...] = ()) -> None:
        """Have this part of the vendors' reads meet a fault from now on, and twice this part of writes and of hooks."""
        self._weather.rate, self._post.rate = calls, hooks
        self._weather.only = tuple(each for each in only if each in FAULTS)
        self._post.only = tuple(each for each in only if each in HOOK_FAULTS)

    def hold(self, shape: str, passing: int = 0, *, after: bool = False, answered: bool = False) -> None:
        """Hold up the next call of this shape; see Hold."""
        weather = self._post if shape.startswith("hooks ") else self._weather
        self._weather.hold = self._post.hold = None
        weather.hold = Hold(shape, passing, after=after, answered=answered)

    def held(self) -> Any:
        """The JSON of the call that is held up."""
        hold = self._weather.hold or self._post.hold
        assert hold is not None
        assert hold.call is not None
        return json.loads(hold.call.body)

    def is_held(self, seconds: float) -> bool:
        """Whether a call is, or comes to be, held up."""
        hold = self._weather.hold or self._post.hold
        return hold is not None and hold.held.wait(seconds)

    def let_go(self) -> None:
        """End what is held up, and hold up nothing more."""
        for weather in (self._weather, self._post):
            if weather.hold is not None:
                weather.hold.let_go.set()
                weather.hold = None

    def asked(self) -> int:
        """How many calls have come to the vendors."""
        return len(self._weather.shapes)

    def shapes(self, since: int = 0) -> list[str]:
        """Of all calls to the vendors but so many, and of all notifications and webhooks, oldest first."""
        return [*self._post.shapes, *self._weather.shapes[since:]]

    def injected(self) -> dict[tuple[str, str], int]:
        """How often which fault met which vendor."""
        return dict(self._weather.injected + self._post.injected)

    # --- in the end ---

    def close_books(self) -> None:
        """Write down how everything stands."""
        for request, status in self._provider.requests().items():
            self._journal.write("stands", request=request, status=status)
        for each in self._gates:
            for models in (each.models, each.around.destination):
                self._journal.write("holds", model=models.model, alias="Champion", version=models.champion())
                for version in self._databricks.catalog.versions(models.model):
                    self._journal.write("version", model=models.model, version=version)


@contextmanager
def far_ends(provider: str, gates: int, journal: Path, service: int, seed: str) -> Iterator[FarEnds]:
    """See FarEnds; they end with the block."""
    with in_own_process(FarEnds, provider, gates, journal, service, seed) as far:
        yield far
