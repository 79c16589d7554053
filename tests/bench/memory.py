"""Memory, the start, and the size of what is installed."""

from __future__ import annotations

import importlib.metadata
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load
from bench.burst import wait_for
from bench.far_ends import World, hook, migrated, world
from bench.report import Report
from bench.serving import MEGABYTE, cpu_seconds, echo_served, mapped_mb, pss_mb, wait_for_answer
from integration.process_world import ProcessWorld, process_world, until

LOCK = Path(__file__).parents[2] / "requirements.lock"
REST_SECONDS = 10
SETTLING_SECONDS = 10
IDLE_MB, GROWTH_MB = 180.0, 5.0
PROMOTIONS, GATES = (1_000, 5_000), 50


def measure(report: Report) -> dict[str, Any]:
    """The part `memory`."""
    idle, cpu = [], []
    for _ in range(report.rounds):
        with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as resting:
            idle.append(idle_mb(resting))
            cpu.append(resting_percent(resting, report.scaled(REST_SECONDS)))
    idle_median = statistics.median(idle)
    report.row("idle, Unity Catalog: PSS of master and worker", idle_median, "MB", at_most=IDLE_MB, digits=0)
    report.row("idle: of one core", statistics.median(cpu), "%")
    grown = measure_promotions(report)
    measure_start(report)
    megabytes, largest = installed()
    report.row("installed: what requirements.lock names", megabytes, "MB", beside=largest, digits=0)
    return {"idle_mb": round(idle_median, 1), "after_5000_mb": round(grown, 1)}


def idle_mb(resting: ProcessWorld) -> float:
    """After the first sweep."""
    served = resting.serve()
    until(lambda: "first looked" in served.output(), served.output)
    time.sleep(5)
    return pss_mb(served.processes())


def resting_percent(resting: ProcessWorld, seconds: float) -> float:
    """Of one core, while nothing happens."""
    before = cpu_seconds(resting.started[0].processes())
    time.sleep(seconds)
    return 100 * (cpu_seconds(resting.started[0].processes()) - before) / seconds


def measure_promotions(report: Report) -> float:
    """MB after so many promotions, from the notification to the alias, asked for in one repository on one day."""
    first, last = (report.scaled(number, least=GATES) for number in PROMOTIONS)
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), GATES) as between:
        served = between.serve(migrated(f"sqlite:///{folder}/gate.db"))
        between.far.send_webhooks(f"{served.url}/hooks/github")
        before, _ = settled_mb(between, report.rounds)
        promote(between, first)
        early, early_mapped = settled_mb(between, report.rounds)
        promote(between, last)
        late, late_mapped = settled_mb(between, report.rounds)
    report.row(
        f"after {first:,} promotions",
        early,
        "MB",
        sized=True,
        beside=f"idle here {before:.1f} MB; files are {early_mapped:.1f} MB of it",
        digits=1,
    )
    report.row(
        f"after {last:,} promotions",
        late,
        "MB",
        sized=True,
        beside=f"after {first:,}: {early:.1f} MB; files are {late_mapped:.1f} MB of it",
        at_most=round(early + GROWTH_MB, 1),
        digits=1,
    )
    return late


def promote(between: World, until_there_are: int) -> None:
    """One version after the other asks, is approved and becomes Champion, at as many gates at once as there are."""
    hooks = [hook(each) for each in between.served]
    while (promoted := between.far.promoted()) < until_there_are:
        trained = between.far.train(min(GATES, until_there_are - promoted))
        load.all_of(hooks, [load.body(job, run) for job, run in trained])
        wait_for(between.far.opened, promoted + len(trained))
        between.far.approve()
        wait_for(between.far.promoted, promoted + len(trained))


def settled_mb(between: World, rounds: int) -> tuple[float, float]:
    """Once nothing is under way: all, and the files that are mapped."""
    time.sleep(SETTLING_SECONDS)
    taken = []
    for _ in range(rounds):
        taken.append(pss_mb(between.processes()))
        time.sleep(1)
    return statistics.median(taken), mapped_mb(between.processes())


def measure_start(report: Report) -> None:
    """From the command to the first answer, on a database that is there."""
    with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as starting:
        starting.serve().stop()

        def service() -> float:
            served = starting.launch()
            wait_for_answer(served.url)
            taken = time.monotonic() - served.begun
            served.kill()
            return taken

        def echo() -> float:
            begun = time.monotonic()
            with echo_served():
                return time.monotonic() - begun

        taken = report.in_turn({"service": service, "echo": echo})
    beside = f"a bare Flask app {statistics.median(taken['echo']):.2f} s"
    report.row(
        "from `champion-gate serve` to its first answer",
        statistics.median(taken["service"]),
        "s",
        beside=beside,
    )


def installed() -> tuple[float, str]:
    """MB of the packages that the service is installed with, their compiled files included; and the largest of them."""
    sizes = {name: _size(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}
    name = max(sizes, key=lambda each: sizes[each])
    return sum(sizes.values()) / MEGABYTE, f"{name} {sizes[name] / MEGABYTE:.0f} MB"


def _size(name: str) -> int:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:  # another platform's
        return 0
    return sum(file.stat().st_size for each in files if (file := Path(str(each.locate()))).is_file())
