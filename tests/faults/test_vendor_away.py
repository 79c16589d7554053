"""A vendor is away for an hour while everything goes on around it: two minutes after its return all of it is found."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import StepPhase
from champion_gate.errors import GateError
from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import Fault
from integration.gate_models import TRAINER, CatalogModels
from integration.gate_world import GATE, GateWorld, gate_world
from integration.mlflow_server import MlflowServer, handed_on

ASKED, TOLD, MISSED = "asked", "told", "missed"
QUIET = 10
"""Minutes."""
MOST_TRIES = 12
"""A look's call is sent up to 11 times where connections are closed under it and no pause between takes time, as here."""

pytest_plugins = ("integration.mlflow_fixtures",)

pytestmark = pytest.mark.timeout(300)


@dataclass
class Busy:
    """Three gates: people are asked at one, one's run is told about, and of one's run no message comes.

    Attributes:
        jobs: gate -> the job that it watches.
        models: gate -> its model, whose Champion is v1.
        batch: the job that runs after a move of the first one's alias.
    """

    gate: GateWorld
    jobs: dict[str, str]
    models: dict[str, CatalogModels]
    batch: str

    def train(self, name: str, *, notify: bool) -> None:
        """A run that registers a version and ends well."""
        jobs = self.gate.databricks.jobs
        run_id = jobs.start_run(self.jobs[name])
        self.models[name].train(self.jobs[name], jobs.task_run_id(run_id, "train"), {"f1": 0.91})
        jobs.finish_run(run_id, notify=False)
        if notify:
            self.gate.notify(run_id, job_id=self.jobs[name], job_name=f"train-{name}")

    def minutes(self, minutes: int, every: int = 1) -> None:
        """Let time pass: what is due is done when it is, and so often there is a sweep, whatever fails."""
        for _ in range(minutes // every):
            self.gate.live(minutes=every)
            for look in self.gate.core.sweep.run():
                with suppress(GateError):
                    self.gate.core.sweep.look(look)
            self.gate.settle()

    def of(self, name: str) -> Promotion | None:
        """The one promotion of a gate."""
        found = [each for each in self.gate.promotions() if each.gate == name]
        assert len(found) <= 1
        return found[0] if found else None

    def phases(self) -> dict[str, Phase | None]:
        return {name: each.phase if (each := self.of(name)) else None for name in self.jobs}

    def calls(self) -> int:
        """How many calls the vendors have had."""
        return len(self.gate.databricks.requests) + len(self.gate.provider.faults.requests)


def busy(world: GateWorld) -> Busy:
    there = world.databricks
    parameters = dict.fromkeys(("model_name", "model_version", "alias", "promotion_id"), "")
    made = Busy(world, {}, {}, there.jobs.add_job("batch", parameters=parameters))
    for name in (ASKED, TOLD, MISSED):
        job = made.jobs[name] = there.jobs.add_job(f"train-{name}", run_as=TRAINER, creator=TRAINER)
        made.models[name] = CatalogModels(there, f"main.ml.{name}")
        made.models[name].move_alias(made.models[name].train(job, "1", {"f1": 0.9}))
    world.clock.move(hours=1)
    world.write_gates(
        [
            {
                **GATE,
                "approval": world.approval,
                "name": name,
                "jobs": [int(job)],
                "model": made.models[name].model,
                "expires_after": "1h",
                "after": [{"job": int(made.batch)}] if name == ASKED else [],
            }
            for name, job in made.jobs.items()
        ]
    )
    return made


# --- who is away, and how it shows --------------------------------------------------------------------------

Leave = Callable[[GateWorld, str], Callable[[], None]]
SILENT = "says nothing"
HOW: dict[str, dict[str, object]] = {
    "refuses connections": {"drop": True},
    "is unavailable": {"status": 503},
    "wants a pause": {"status": 429},
    SILENT: {"hang": 3600.0},
}
QUICK, RARELY = Timeouts(connect=1.0, read=0.3, total=2.0), 5
"""How long a silent vendor is waited for, and all how many minutes there is a sweep, so that its hour takes minutes."""


def databricks_leaves(path: str) -> Leave:
    def leave(world: GateWorld, how: str) -> Callable[[], None]:
        does = {"hang": threading.Event()} if how == SILENT else HOW[how]
        world.databricks.faults.add(Fault(path, retry_after=60, **does))
        return world.databricks.faults.clear

    return leave


def provider_leaves(world: GateWorld, how: str) -> Callable[[], None]:
    world.provider.faults.add(".", headers={"Retry-After": "60"}, **HOW[how])
    return world.provider.faults.clear


WHO: dict[str, Leave] = {
    "jobs": databricks_leaves("/jobs/"),
    "registry": databricks_leaves("/unity-catalog/"),
    "workspace": databricks_leaves("."),
    "github": provider_leaves,
    "gitlab-rules": provider_leaves,
    "github-review": provider_leaves,
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
IN_CI = {("workspace", "is unavailable")}


def part(who: str, how: str) -> str:
    return "rest" if (who, how) in IN_CI else "full"


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Busy]:
    who: str = request.param
    with gate_world(tmp_path, "uc", "github" if who in {"jobs", "registry", "workspace"} else who) as made:
        yield busy(made)


@pytest.mark.parametrize(
    ("world", "who", "how"),
    [pytest.param(who, who, how, marks=pytest.mark.part(part(who, how))) for who in WHO for how in HOW],
    indirect=["world"],
)
def test_all_is_found_two_minutes_after_its_return(world: Busy, who: str, how: str) -> None:
    """The approval is given before the request expires, and can be read only after that."""
    world.train(ASKED, notify=True)
    world.minutes(1)
    pending = world.of(ASKED)
    assert pending is not None
    assert pending.phase is Phase.PENDING_APPROVAL
    calls = world.calls()
    world.minutes(QUIET)
    quiet = (world.calls() - calls) / QUIET

    every = 1
    if how == SILENT:
        world.gate.timeouts, every = QUICK, RARELY
        world.gate.start()
    come_back = WHO[who](world.gate, how)
    calls = world.calls()
    world.minutes(10, every)
    world.gate.provider.approve(world.gate.run_id_of(pending), "reviewer-1")
    world.train(TOLD, notify=True)
    world.train(MISSED, notify=False)
    world.minutes(50, every)
    assert world.calls() - calls < 60 * MOST_TRIES * quiet
    come_back()
    world.gate.timeouts = None
    world.gate.start()
    world.minutes(2)

    expected = {ASKED: Phase.PROMOTED, TOLD: Phase.PENDING_APPROVAL, MISSED: Phase.PENDING_APPROVAL}
    assert world.phases() == expected
    assert world.models[ASKED].champion() == "2"
    assert [step.phase for step in world.gate.after_moves()] == [StepPhase.SUCCEEDED]
    assert len(world.gate.databricks.starts.started) == 1
    assert world.gate.provider.asked() == 3


@pytest.mark.part("full")
@pytest.mark.parametrize("how", HOW)
def test_an_mlflow_server_is_away_for_an_hour(tmp_path: Path, running_mlflow: MlflowServer, how: str) -> None:
    app = Flask("mlflow")
    app.add_url_rule("/<path:path>", view_func=lambda path: handed_on(running_mlflow.uri), methods=METHODS)  # noqa: ARG005 - Flask gives it
    front = Faults(app.wsgi_app)
    app.wsgi_app = front  # type: ignore[method-assign] # Flask's own way to wrap one
    with (
        serve(app) as url,
        gate_world(
            tmp_path, "mlflow", server=MlflowServer(url, running_mlflow.database), newer_version="keep"
        ) as gate,
    ):
        world = Busy(gate, {}, {}, "")
        pending = gate.ask()
        run_id, version = gate.train_run({"f1": 0.95})
        every = 1
        if how == SILENT:
            gate.timeouts, every = QUICK, RARELY
            gate.start()
        front.add(".", headers={"Retry-After": "60"}, **HOW[how])
        world.minutes(10, every)
        gate.approve(pending)
        gate.notify(run_id)
        world.minutes(50, every)
        assert gate.again(pending).phase is Phase.APPROVED
        front.clear()
        assert gate.models.champion() == "1"
        world.minutes(2)

        assert {each.version.version: each.phase for each in gate.promotions()} == {
            "2": Phase.PROMOTED,
            version: Phase.PENDING_APPROVAL,
        }
        assert gate.models.champion() == "2"
        assert [move for move in gate.moves() if move[0]] == [("1", "2", "reviewer-1")]
        assert gate.provider.asked() == 2
        gate.store.verify_ledger()
