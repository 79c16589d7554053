"""One service that asks at GitHub and at GitLab, a model a situation: what an installation looks like when it is upgraded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import Core, build_core
from champion_gate.domain.notifications import JobNotification
from champion_gate.domain.promotion import Promotion
from champion_gate.store import Store, open_store
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import DatabricksStandIn
from integration.gate_models import TRAINER
from integration.gate_providers import GitHubProvider, GitLabProvider
from integration.gate_world import SECRETS, CountingChance, MovableClock, SilentWakeUps

VENDORS = ("github", "gitlab")
SITUATIONS = ("failed", "refused", "lost", "waiting", "held", "writing")
"""Failed while approved; refused by the vendor; started, but the answer was lost; waiting for people; approved
under a hold; approved, and the answer to the alias write was lost on its way there."""
BEGAN = datetime(2026, 1, 5, 9, tzinfo=UTC)
FIRST_JOB = 4_100_000_000_000_001


def model_of(vendor: str, situation: str) -> str:
    """The model that is in this situation at this vendor."""
    return f"main.ml.{vendor}_{situation}"


def job_of(vendor: str, situation: str) -> int:
    """The job that trains it."""
    return FIRST_JOB + 10 * SITUATIONS.index(situation) + VENDORS.index(vendor)


@dataclass
class UpgradeWorld:
    """The stand-ins, the rows, and the core between them on a clock that is moved by hand."""

    folder: Path
    databricks: DatabricksStandIn
    github: GitHubProvider
    gitlab: GitLabProvider
    clock: MovableClock
    store: Store
    urls: dict[str, str]
    environ: dict[str, str]
    chance: CountingChance = field(default_factory=CountingChance)
    core: Core = field(init=False)

    @property
    def places(self) -> dict[str, GitHubProvider | GitLabProvider]:
        """The vendors by their names."""
        return {"github": self.github, "gitlab": self.gitlab}

    def configure(self, **gate: object) -> None:
        """Start with the usual gates, all with these changes."""
        gates = [
            {
                "name": f"{vendor}-{situation}",
                "jobs": [job_of(vendor, situation)],
                "model": model_of(vendor, situation),
                "approval": self.places[vendor].approval(),
                "identities": {TRAINER: "octo-trainer"},
                "metrics": {"f1": {"better": "higher", "max_worse": 0.01, "at_least": 0.8}},
                **gate,
            }
            for situation in SITUATIONS
            for vendor in VENDORS
        ]
        servers = {vendor: place.server(self.urls[vendor]) for vendor, place in self.places.items()}
        file = {"registry": "databricks-uc", **servers, "gates": gates}
        (self.folder / "gates.yaml").write_text(json.dumps(file))
        self.core = build_core(
            load_settings(self.environ),
            store=self.store,
            wake_ups=SilentWakeUps(),
            clock=self.clock,
            chance=self.chance,
            databricks={"host": self.urls["databricks"], "token": "standin-token"},
            sleep=lambda _seconds: None,
        )

    def train(self, vendor: str, situation: str) -> Promotion:
        """A job run that registers a version, its notification, and the promotion as far as it comes now."""
        job_id = str(job_of(vendor, situation))
        jobs, catalog, model = self.databricks.jobs, self.databricks.catalog, model_of(vendor, situation)
        run_id = jobs.start_run(job_id)
        made_by = {
            "mlflow.databricks.jobID": job_id,
            "mlflow.databricks.jobRunID": jobs.task_run_id(run_id, "train"),
        }
        catalog.add_version(model, run_id=catalog.add_mlflow_run(metrics={"f1": 0.91}, tags=made_by))
        jobs.finish_run(run_id, "SUCCESS", notify=False)
        workspace = self.databricks.workspace_id
        notification = JobNotification("jobs.on_success", workspace, job_id, run_id, f"train-{situation}")
        self.store.record_notification("hook", notification, self.clock.now())
        self.settle()
        return self.promotion(vendor, situation)

    def promotion(self, vendor: str, situation: str) -> Promotion:
        """The newest promotion of a model."""
        return self.store.list_promotions(model=model_of(vendor, situation)).items[0]

    def request_id(self, promotion: Promotion) -> str:
        """The vendor's id of its request."""
        request = self.store.get_promotion(promotion.id).request
        assert request is not None
        assert request.external_id is not None
        return request.external_id

    def approve(self, vendor: str, situation: str) -> None:
        """A reviewer approves, and the service hears of it."""
        promotion = self.promotion(vendor, situation)
        self.places[vendor].approve(self.request_id(promotion), "reviewer-1")
        self.look(promotion)

    def look(self, promotion: Promotion) -> None:
        """Have a promotion looked at, and settle."""
        self.store.hint_promotion(promotion.id, self.clock.now())
        self.settle()

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

    def wait(self, **time: float) -> None:
        """Let time pass, in steps of ten minutes."""
        until = self.clock.now() + timedelta(**time)
        while self.clock.now() < until:
            self.clock.time = min(until, self.clock.now() + timedelta(minutes=10))
            self.settle()


@contextmanager
def upgrade_world(folder: Path, database_url: str, *, at: datetime = BEGAN) -> Iterator[UpgradeWorld]:
    """Both vendors and the catalog with a Champion v1 a model, on a database that is there already."""
    clock = MovableClock()
    clock.time = at
    databricks = DatabricksStandIn(now=lambda: int(clock.now().timestamp() * 1000))
    github, gitlab = GitHubProvider(clock.now), GitLabProvider(clock.now, "environment", rules=True)
    places: dict[str, GitHubProvider | GitLabProvider] = {"github": github, "gitlab": gitlab}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(serve(place.app)) for name, place in places.items()}
        urls["databricks"] = stack.enter_context(serve(databricks.app))
        for place in places.values():
            stack.callback(place.stop)
        store = stack.enter_context(open_store(database_url))
        environ = {
            **SECRETS,
            "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
            "CHAMPION_GATE_DATABASE_URL": database_url,
            **github.environ(),
            **gitlab.environ(),
        }
        world = UpgradeWorld(folder, databricks, github, gitlab, clock, store, urls, environ)
        for situation in SITUATIONS:
            for vendor in VENDORS:
                model = model_of(vendor, situation)
                databricks.jobs.add_job(f"train-{situation}", job_id=job_of(vendor, situation))
                databricks.catalog.add_model(model)
                databricks.catalog.set_alias(model, "Champion", databricks.catalog.add_version(model))
        world.configure()
        yield world
