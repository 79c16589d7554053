"""What the service costs while nothing happens: memory after one sweep, and processor time."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.report import Report
from integration.mlflow_server import mlflow_server
from integration.process_world import ProcessWorld, process_world, until

WATCHED_SECONDS = 30.0
MEGABYTE = 1024 * 1024


@contextlib.contextmanager
def resting(folder: Path, registry: str) -> Iterator[ProcessWorld]:
    """A service whose first sweep is over."""
    kind = "uc" if registry == "uc" else "mlflow"
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(process_world(folder, kind))
        if registry == "server":
            world.models.registry = stack.enter_context(mlflow_server(folder))
            world.write_gates(world.gate())
        served = world.serve()
        until(lambda: "first looked" in served.output(), served.output)
        time.sleep(5)
        yield world


def pss(world: ProcessWorld) -> float:
    """Summed over master and worker, in MB."""
    return float(sum(p.memory_full_info().pss for p in world.started[0].processes())) / MEGABYTE


def unshared(world: ProcessWorld) -> float:
    """As `pss` would be if no other process of this machine used the same files, in MB."""
    worker, master = world.started[0].workers()[0], psutil.Process(world.started[0].process.pid)
    return float(worker.memory_info().rss + master.memory_full_info().uss) / MEGABYTE


def cpu_percent(world: ProcessWorld) -> float:
    """Of one core."""

    def spent() -> float:
        return sum(sum(p.cpu_times()[:2]) for p in world.started[0].processes())

    before = spent()
    time.sleep(WATCHED_SECONDS)
    return 100 * (spent() - before) / WATCHED_SECONDS


def main() -> None:
    """Measure and print."""
    report = Report("At rest, after one sweep")
    registries = [
        ("uc", "Unity Catalog", 180.0),
        ("mlflow", "MLflow, an SQLite file", 240.0),
        ("server", "MLflow, a server", 240.0),
    ]
    for registry, name, limit in registries:
        with tempfile.TemporaryDirectory() as folder, resting(Path(folder), registry) as world:
            report.line(f"{name}: summed PSS of master and worker", pss(world), "MB", limit)
            report.line(f"{name}: the same with no file shared with others", unshared(world), "MB", limit)
            report.line(f"{name}: of one core, over {WATCHED_SECONDS:g} s", cpu_percent(world), "%", 1, 2)
    report.end()


main()
