"""A burst: 10,000 notifications at once, until people are asked about all of them, on PostgreSQL.

One burst for each number of replicas: what a promotion costs is the mean of so many. The stand-ins' own work is not
counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import load
from bench.far_ends import World, hook, migrated, world
from bench.postgresql import Postgresql, postgresql
from bench.report import Report
from bench.serving import cpu_seconds
from champion_gate.domain.promotion import Phase
from champion_gate.store import open_store

NOTIFICATIONS, GATES = 10_000, 50
REPLICAS = (1, 2, 4)
MOST_RATIO = 1.25
PATIENCE_SECONDS = 300.0


@dataclass(frozen=True)
class Burst:
    """What one took: wall time until the last was acknowledged and asked about, and CPU seconds a promotion."""

    acknowledged: float
    median_ack: float
    opened: float
    service: float
    database: float

    @property
    def cpu(self) -> float:
        """Of service and database."""
        return self.service + self.database


def measure(report: Report) -> dict[str, Any]:
    """The part `burst`."""
    number = report.scaled(NOTIFICATIONS, least=GATES)
    bursts = {}
    with postgresql() as server:
        for replicas in REPLICAS:
            with tempfile.TemporaryDirectory() as folder, world(Path(folder), GATES, GATES) as between:
                taken = bursts[replicas] = burst(between, server, replicas, number)
            what = f"{number:,} notifications, {replicas} replica{'s' * (replicas > 1)}"
            report.row(
                f"{what}: acknowledged",
                taken.acknowledged,
                "s",
                sized=True,
                beside=f"{number / taken.acknowledged:,.0f}/s, median {1000 * taken.median_ack:,.0f} ms",
                digits=1,
            )
            report.row(
                f"{what}: all opened",
                taken.opened,
                "s",
                sized=True,
                beside=f"{number / taken.opened:,.1f} promotions/s",
                digits=0,
            )
            report.row(
                f"{what}: CPU a promotion",
                1000 * taken.cpu,
                "ms",
                sized=True,
                beside=f"service {1000 * taken.service:,.0f} ms, database {1000 * taken.database:,.0f} ms",
                digits=0,
            )
    found = bursts[REPLICAS[-1]].cpu / bursts[1].cpu
    report.row(
        f"CPU a promotion with {REPLICAS[-1]} replicas, to that with one",
        found,
        sized=True,
        beside=f"{1000 * bursts[1].cpu:,.0f} ms → {1000 * bursts[REPLICAS[-1]].cpu:,.0f} ms",
        at_most=MOST_RATIO,
    )
    return {"cpu_ratio_at_4_replicas": round(found, 2)}


def burst(between: World, server: Postgresql, replicas: int, number: int) -> Burst:
    """Send them, and wait until all are open: each exactly once."""
    url = migrated(server.database())
    bodies = [load.body(job, run) for job, run in between.far.train(number)]
    hooks = [hook(between.serve(url)) for _ in range(replicas)]
    service, database, begun = cpu_seconds(between.processes()), server.cpu_seconds(), time.perf_counter()
    taken = load.all_of(hooks, bodies)
    acknowledged = time.perf_counter() - begun
    wait_for(between.far.opened, number)
    with open_store(url) as store:
        while (
            pending := sum(1 for each in store.pending_promotions() if each.phase is Phase.PENDING_APPROVAL)
        ) < number:
            time.sleep(1)
    opened = time.perf_counter() - begun
    assert pending == between.far.opened() == number
    return Burst(
        acknowledged,
        statistics.median(taken),
        opened,
        (cpu_seconds(between.processes()) - service) / number,
        (server.cpu_seconds() - database) / number,
    )


def wait_for(count: Callable[[], int], number: int) -> None:
    """Return once there are so many.

    Raises:
        TimeoutError: there were no more for minutes.
    """
    seen, since = 0, time.monotonic()
    while (now := count()) < number:
        if now > seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise TimeoutError(f"{seen} of {number}, and no more")
        time.sleep(0.25)
