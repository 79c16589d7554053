"""The whole gate in one process: the real core, store and adapters between the stand-ins, on a clock that is moved by hand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import Core, SystemChance, SystemClock, build_core
from champion_gate.domain.callers import Role
from champion_gate.domain.notifications import JobNotification, NotificationPhase, StoredNotification
from champion_gate.domain.ports.runtime import WakeUps
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step
from champion_gate.domain.together import Together
from champion_gate.flow.api_tokens import ApiTokens
from champion_gate.flow.context import Waits
from champion_gate.settings.loading import Settings
from champion_gate.store import Store, open_store
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn, Fault
from champion_gate_standins.github.server import GitHubStandIn
from champion_gate_standins.github.state import Run
from integration.gate_models import (
    TRAINER,
    CatalogModels,
    MlflowModels,
    Models,
    mlflow_file,
)
from integration.gate_providers import PROVIDERS, REPOSITORY, GitHubProvider, Provider
from integration.gate_reviews import ReviewProvider
from integration.mlflow_server import MlflowServer
from integration.store_databases import path_of, sqlite_store

__all__ = [
    "GATE",
    "REPOSITORY",
    "SECRETS",
    "GateWorld",
    "MovableClock",
    "api_token",
    "gate_world",
]

SECRETS = {
    "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": "databricks",
    "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": "a-hook-password-for-tests",
    "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET": "a-webhook-secret-for-tests",
}


class MovableClock:
    """Time as the test says it is; the gate's own machine may be wrong about it."""

    def __init__(self) -> None:
        # A real MLflow registry dates versions by the machine's clock, so this one starts there too.
        self.time = datetime.now(UTC).replace(microsecond=0)
        self.gate_is_ahead = timedelta()

    def now(self) -> datetime:
        """What the gate takes for the time."""
        return self.time + self.gate_is_ahead

    def at_the_vendors(self) -> datetime:
        return self.time

    def move(self, **by: float) -> None:
        self.time += timedelta(**by)


class CountingChance:
    """The same ids in the same order, every time."""

    def __init__(self) -> None:
        self.given = 0

    def token(self) -> str:
        self.given += 1
        return f"{self.given:016d}"

    def fraction(self) -> float:
        return 0.5


class SilentWakeUps:
    """Every message is lost: only the rows say what is to be done."""

    def notification(self, notification_id: str) -> None: ...
    def promotion(self, promotion_id: str) -> None: ...
    def step(self, step_id: str) -> None: ...


@dataclass
class GateWorld:
    """Everything a test acts on, and what it looks at afterwards."""

    folder: Path
    databricks: DatabricksStandIn
    models: Models
    clock: MovableClock
    databricks_url: str
    job_id: str
    store: Store
    environ: dict[str, str]
    provider: Provider
    provider_url: str
    approval: dict[str, object]
    chance: CountingChance = field(default_factory=CountingChance)
    github_settings: dict[str, str] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    wake_ups: WakeUps = field(default_factory=SilentWakeUps)
    sleep: Callable[[float], None] = lambda _seconds: None
    waits: Waits = field(default_factory=Waits)
    timeouts: Timeouts | None = None
    together: Together | None = None
    core: Core = field(init=False)
    settings: Settings = field(init=False)

    @property
    def database(self) -> Path:
        """The file with the rows."""
        return path_of(self.environ["CHAMPION_GATE_DATABASE_URL"])

    @property
    def github(self) -> GitHubStandIn:
        """The stand-in, where the gate asks in GitHub."""
        assert isinstance(self.provider, GitHubProvider | ReviewProvider)
        return self.provider.standin

    @property
    def github_url(self) -> str:
        """Where it is."""
        return self.provider_url

    # --- what the world does ---

    def train(self, metrics: Mapping[str, float] | None = None, *, user: str | None = TRAINER) -> str:
        """A job run that registers a version and ends well, and its notification. Returns the version."""
        run_id, version = self.train_run(metrics, user=user)
        self.notify(run_id)
        return version

    def train_run(
        self,
        metrics: Mapping[str, float] | None = None,
        *,
        result: str = "SUCCESS",
        user: str | None = TRAINER,
    ) -> tuple[str, str]:
        """The same without a notification. Returns run and version."""
        run_id = self.databricks.jobs.start_run(self.job_id)
        task = self.databricks.jobs.task_run_id(run_id, "train")
        version = self.models.train(self.job_id, task, metrics or {"f1": 0.91}, user=user)
        self.databricks.jobs.finish_run(run_id, result, notify=False)
        return run_id, version

    def notify(self, run_id: str, **changes: str) -> str:
        """A notification of a run arrives and is committed."""
        fields = {
            "event_type": "jobs.on_success",
            "workspace_id": self.databricks.workspace_id,
            "job_id": self.job_id,
            "run_id": run_id,
            "job_name": "train-churn",
        }
        notification = JobNotification(**{**fields, **changes})
        return self.store.record_notification("hook", notification, self.clock.now())

    def approve(
        self, promotion: Promotion, login: str = "reviewer-1", environment: str | Sequence[str] = "champion"
    ) -> None:
        """A person presses Approve in GitHub."""
        self.github.review(self.run_id_of(promotion), environment, login, approve=True, comment="looks good")

    def reject(self, promotion: Promotion, login: str = "reviewer-1") -> None:
        """A person presses Reject in GitHub."""
        self.github.review(self.run_id_of(promotion), "champion", login, approve=False, comment="not yet")

    def break_databricks(self, path: str, **how: object) -> Fault:
        """Let calls to this path (a regular expression) go wrong."""
        return self.databricks.faults.add(Fault(path, **how))  # type: ignore[arg-type]

    # --- what the gate does ---

    def reconfigure(self, **changes: object) -> None:
        """Restart with other settings of the one gate (None removes a key)."""
        usual = {**GATE, "approval": self.approval}
        gate = {**usual, "jobs": [int(self.job_id)], "model": self.models.model, **changes}
        gate = {key: value for key, value in gate.items() if value is not None}
        self.write_gates([gate])

    def write_gates(self, gates: list[dict[str, object]]) -> None:
        """Restart with these gates."""
        server = {**self.provider.server(self.provider_url), **self.github_settings}
        top = self.provider.server_key or self.provider.key
        file = {"registry": self.models.registry, top: server, "gates": gates, **self.extra}
        text = yaml.safe_dump(json.loads(json.dumps(file)))  # by way of JSON: no YAML aliases
        (self.folder / "gates.yaml").write_text(text)
        self.settings = load_settings(self.environ)
        self.start()

    def start(self) -> None:
        """Start anew with the same settings."""
        self.core = build_core(
            self.settings,
            store=self.store,
            wake_ups=self.wake_ups,
            clock=self.clock,
            chance=self.chance,
            databricks={"host": self.databricks_url, "token": "standin-token"},
            sleep=self.sleep,
            waits=self.waits,
            timeouts=self.timeouts,
            together=self.together,
        )

    def settle(self) -> None:
        """Advance every row that is due, until none is."""
        for _ in range(50):
            due = self.store.due(self.clock.now())
            if not (due.notifications or due.promotions or due.steps):
                return
            for notification_id in due.notifications:
                self.core.resolver.resolve(notification_id)
            for promotion_id in due.promotions:
                self.core.promoter.advance(promotion_id)
            for step_id in due.steps:
                self.core.steps.carry_out(step_id)
        raise AssertionError("the rows never come to rest")

    def ask(self, metrics: Mapping[str, float] | None = None) -> Promotion:
        """Train a version and have people asked about it."""
        version = self.train(metrics)
        self.settle()
        (found,) = (p for p in self.promotions() if p.version.version == version)
        assert found.phase is Phase.PENDING_APPROVAL, (found.phase, found.reason, found.retry.last_error)
        return found

    def look(self) -> None:
        """Have every open promotion looked at again, as hints do, and settle."""
        for promotion in self.promotions():
            self.store.hint_promotion(promotion.id, self.clock.now())
        self.settle()

    def turn(self, promotion: Promotion) -> None:
        """One look at a promotion by one worker, and nothing after it."""
        self.store.hint_promotion(promotion.id, self.clock.now())
        self.core.promoter.advance(promotion.id)

    def wait(self, **time: float) -> None:
        """Let time pass, then do what is due."""
        self.clock.move(**time)
        self.settle()

    def live(self, **time: float) -> None:
        """Let time pass, and do each thing just when it is due."""
        until = self.clock.now() + timedelta(**time)
        self.settle()
        while (due := self._next_due()) is not None and due <= until:
            self.clock.time = max(due, self.clock.time)
            self.settle()
        self.clock.time = until

    def _next_due(self) -> datetime | None:
        tables = ("promotions", "notifications", "steps")
        rows = " UNION ALL ".join(f"SELECT due_at FROM {table}" for table in tables)
        with closing(sqlite3.connect(self.database)) as database:
            (first,) = database.execute(f"SELECT min(due_at) FROM ({rows})").fetchone()
        return None if first is None else datetime.fromisoformat(first)

    def crash(self) -> None:
        """The process is killed and another starts: all leases are those of the dead."""
        self.store.release_all_leases()
        self.start()

    def sweep(self) -> None:
        """One whole sweep with all its looks, then everything that it woke."""
        for look in self.core.sweep.run():
            self.core.sweep.look(look)
        self.settle()

    # --- what the test looks at ---

    def promotions(self) -> tuple[Promotion, ...]:
        """All promotions, newest first."""
        return self.store.list_promotions(limit=500).items

    def promotion(self, phase: Phase | None = None) -> Promotion:
        """The only promotion (of this phase)."""
        found = [p for p in self.promotions() if phase is None or p.phase is phase]
        described: list[object] = [
            (p.id, p.phase.value, p.reason, p.retry.last_error) for p in self.promotions()
        ]
        assert len(found) == 1, described or [(n.phase.value, n.reason) for n in self.notifications()]
        return found[0]

    def notifications(self) -> tuple[StoredNotification, ...]:
        """All notifications, newest first."""
        return self.store.list_notifications(limit=500).items

    def notification(self, phase: NotificationPhase | None = None) -> StoredNotification:
        """The only notification."""
        (found,) = self.notifications()
        assert phase is None or found.phase is phase, (found.phase, found.reason)
        return found

    def again(self, promotion: Promotion) -> Promotion:
        """The promotion as it is now."""
        return self.store.get_promotion(promotion.id)

    def ended(self, promotion: Promotion, phase: Phase) -> str:
        """Assert that it is in this phase; returns its reason."""
        now = self.again(promotion)
        assert now.phase is phase, (now.phase, now.reason, now.retry.last_error)
        return now.reason

    def ci_run(self, promotion: Promotion) -> Run:
        """Its CI run at the stand-in."""
        return self.github.run(self.run_id_of(promotion))

    def run_id_of(self, promotion: Promotion) -> str:
        """The CI run of a promotion."""
        request = self.store.get_promotion(promotion.id).request
        assert request is not None
        assert request.external_id is not None
        return request.external_id

    def ledger(self) -> list[tuple[str, str]]:
        """Kind and reason of every line, oldest first; the chain is whole."""
        self.store.verify_ledger()
        return [
            (line.entry.kind.value, line.entry.reason)
            for line in reversed(self.store.ledger_lines(limit=1000))
        ]

    def moves(self) -> list[tuple[object, object, str]]:
        """(from, to, actor) of every alias change, oldest first."""
        return [
            (line.entry.facts.get("from"), line.entry.facts.get("to"), line.entry.actor)
            for line in reversed(self.store.ledger_lines(limit=1000))
            if line.entry.kind.value == "alias_change"
        ]

    def after_moves(self) -> tuple[Step, ...]:
        """The steps that follow the alias's moves, in the order in which they were planned."""
        lines = reversed(self.store.ledger_lines(limit=1000))
        named = [line.entry.facts.get("after") for line in lines]
        return self.store.steps_named([str(each) for ids in named if isinstance(ids, list) for each in ids])

    def after_drift(self, *kinds: str) -> tuple[Step, ...]:
        """The steps (of these kinds) that follow moves made outside, oldest move first."""
        named = [line.entry.facts.get("drift") for line in reversed(self.store.ledger_lines(limit=1000))]
        drifts = dict.fromkeys(each for each in named if each is not None)
        kinds = kinds or ("drift-lookup", "reopen", "restore")
        return self.store.steps_named([f"{drift}-{kind}" for drift in drifts for kind in kinds])

    def evidence(self, promotion: Promotion) -> dict[str, object]:
        """The frozen evidence."""
        document = json.loads(self.store.get_promotion(promotion.id).evidence_json or "null")
        assert isinstance(document, dict)
        return document


GATE: dict[str, object] = {
    "name": "churn",
    "approval": {
        "github": {
            "repository": REPOSITORY,
            "workflow": "champion-gate.yml",
            "ref": "main",
            "environments": ["champion"],
        }
    },
    "identities": {TRAINER: "octo-trainer"},
    "metrics": {"f1": {"better": "higher", "max_worse": 0.01, "at_least": 0.8}},
}


def api_token(store: Store | str, role: Role = Role.OPERATOR, name: str = "") -> str:
    """A token of the API that never expires, made as `champion-gate tokens create` does.

    Args:
        store: where it is kept, or the database's address.
        role: what it may do.
        name: the actor of its calls; one of its own by default.
    """
    if isinstance(store, str):
        with open_store(store) as opened:
            return api_token(opened, role, name)
    chance = SystemChance()
    tokens = ApiTokens(store, SystemClock(), chance)
    _, text = tokens.create(name or f"{role}-{chance.token()}", role, expires_at=None, created_by="test")
    return text


@contextmanager
def gate_world(
    folder: Path,
    registry: str = "uc",
    provider: str = "github",
    clock: MovableClock | None = None,
    *,
    server: MlflowServer | None = None,
    model: str | None = None,
    rows: AbstractContextManager[tuple[str, Store]] | None = None,
    **gate: object,
) -> Iterator[GateWorld]:
    """A Champion v1, a watched job, a place where people approve, and the gate between them.

    Args:
        folder: for the database, gates.yaml and the MLflow registry.
        registry: "uc" or "mlflow".
        provider: one of PROVIDERS, or "github-review".
        clock: the time of everything.
        server: where MLflow's registry is; an SQLite file if None.
        model: the registered model's name in MLflow, where it matters.
        rows: the database's URL and its store; an SQLite file if None.
        gate: changes to the one gate.
    """
    clock = clock or MovableClock()
    databricks = DatabricksStandIn(now=lambda: int(clock.at_the_vendors().timestamp() * 1000))
    there = {**PROVIDERS, "github-review": ReviewProvider}[provider](clock.at_the_vendors)
    with ExitStack() as stack:
        databricks_url = stack.enter_context(serve(databricks.app))
        provider_url = stack.enter_context(serve(there.app))
        stack.callback(there.stop)
        database_url, store = stack.enter_context(rows or sqlite_store())
        models: Models
        if registry == "uc":
            models = CatalogModels(databricks)
        else:
            models = MlflowModels(
                folder, server or stack.enter_context(mlflow_file()), model or (None if server else "churn")
            )
        job_id = databricks.jobs.add_job("train-churn", run_as=TRAINER, creator=TRAINER)
        world = GateWorld(
            folder=folder,
            databricks=databricks,
            provider=there,
            models=models,
            clock=clock,
            databricks_url=databricks_url,
            provider_url=provider_url,
            job_id=job_id,
            store=store,
            environ={
                **SECRETS,
                "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
                "CHAMPION_GATE_DATABASE_URL": database_url,
                **there.environ(),
            },
            approval=there.approval(),
        )
        first = models.train(job_id, "1", {"f1": 0.9, "auc": 0.95})
        models.move_alias(first)
        clock.move(hours=1)
        world.reconfigure(**gate)
        yield world
