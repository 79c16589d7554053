"""One promotion between vendors whose calls are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import GateWorld, gate_world
from integration.journal import Call, Journal, forwarded
from integration.mlflow_server import MlflowServer


@contextmanager
def a_gate(
    kind: str, folder: Path, journal: Journal, running_mlflow: Callable[[], MlflowServer] | None = None
) -> Iterator[GateWorld]:
    """A gate between vendors whose calls are written down.

    Args:
        kind: registry and provider.
        folder: for its files.
        journal: that takes the calls.
        running_mlflow: gives MLflow's server, where that is the registry.
    """
    registry, provider = kind.split(", ")
    with ExitStack() as stack:
        server = None
        if registry == "mlflow":
            assert running_mlflow is not None
            real = running_mlflow()
            server = MlflowServer(stack.enter_context(forwarded(real.uri, journal)), real.database)
        world = stack.enter_context(gate_world(folder, registry, provider, server=server))
        journal.listen(world.databricks.app, world.provider.app)
        yield world


def promote(world: GateWorld) -> Promotion:
    """Train a version, ask about it, and have it approved."""
    asked = world.ask()
    world.provider.approve(world.run_id_of(asked), "reviewer-1")
    world.look()
    world.ended(asked, Phase.PROMOTED)
    return asked


def open_one(world: GateWorld, journal: Journal, run_id: str) -> list[Call]:
    """The calls from the notification of a run to the request."""
    journal.calls.clear()
    world.core.resolver.resolve(world.notify(run_id))
    for promotion_id in world.store.due(world.clock.now()).promotions:
        world.core.promoter.advance(promotion_id)
    return list(journal.calls)


def apply_one(world: GateWorld, journal: Journal, promotion: Promotion) -> list[Call]:
    """The calls from the approval to the alias, and to what is told of it."""
    world.provider.approve(world.run_id_of(promotion), "reviewer-1")
    world.store.hint_promotion(promotion.id, world.clock.now())
    journal.calls.clear()
    world.core.promoter.advance(promotion.id)
    world.ended(promotion, Phase.PROMOTED)
    return list(journal.calls)


def train_one_after_the_other(world: GateWorld, versions: int) -> str:
    """So many versions of this day, each made by a run of its own; returns the last run."""
    for _ in range(versions - 1):
        world.train_run()
        world.clock.move(seconds=60)
    return world.train_run()[0]


def train_at_the_same_time(world: GateWorld, versions: int) -> str:
    """So many runs at once, each of which makes a version; returns the last one."""
    jobs = world.databricks.jobs
    runs = [jobs.start_run(world.job_id) for _ in range(versions)]
    for run_id in runs:
        world.models.train(world.job_id, jobs.task_run_id(run_id, "train"), {"f1": 0.91})
    for run_id in runs:
        jobs.finish_run(run_id, notify=False)
    return runs[-1]
