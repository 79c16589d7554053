"""Memory, the start, and the size of what is installed."""

from __future__ import annotations

import importlib.metadata
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import Report
from bench.serving import MEGABYTE, cpu_seconds, echo_served, pss_mb, wait_for_answer
from integration.process_world import ProcessWorld, process_world, until

LOCK = Path(__file__).parents[2] / "requirements.lock"
REST_SECONDS = 30
IDLE_MB = 180.0


def measure(report: Report) -> dict[str, Any]:
    """The part `memory`."""
    idle, cpu = [], []
    for _ in range(report.rounds):
        with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as world:
            idle.append(idle_mb(world))
            cpu.append(resting_percent(world, report.scaled(REST_SECONDS)))
    idle_median = statistics.median(idle)
    report.row("idle, Unity Catalog: PSS of master and worker", idle_median, "MB", at_most=IDLE_MB, digits=0)
    report.row("idle: of one core", statistics.median(cpu), "%")
    measure_start(report)
    megabytes, largest = installed()
    report.row("installed: what requirements.lock names", megabytes, "MB", beside=largest, digits=0)
    return {"idle_mb": round(idle_median, 1)}


def idle_mb(world: ProcessWorld) -> float:
    """After the first sweep."""
    served = world.serve()
    until(lambda: "first looked" in served.output(), served.output)
    time.sleep(5)
    return pss_mb(served.processes())


def resting_percent(world: ProcessWorld, seconds: float) -> float:
    """Of one core, while nothing happens."""
    before = cpu_seconds(world.started[0].processes())
    time.sleep(seconds)
    return 100 * (cpu_seconds(world.started[0].processes()) - before) / seconds


def measure_start(report: Report) -> None:
    """From the command to the first answer, on a database that is there."""
    with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as world:
        world.serve().stop()

        def service() -> float:
            served = world.launch()
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
    files = importlib.metadata.files(name) or []
    return sum(file.stat().st_size for each in files if (file := Path(str(each.locate()))).is_file())
