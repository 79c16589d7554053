"""Many gates: what one replica holds, and what a sweep asks for, while nothing happens."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.far_ends import migrated, world
from bench.report import Report
from bench.serving import MEGABYTE, PATIENCE_SECONDS, cpu_seconds, pss_mb
from integration.process_world import until

GATES = (10, 100, 1_000)
SWEEP_SECONDS = 60.0
SWEEPS = 2
REPOSITORIES = 10


def measure(report: Report) -> dict[str, Any]:
    """The part `gates`."""
    return {
        str(gates): measure_one(report, gates) for gates in (report.scaled(each, least=2) for each in GATES)
    }


def measure_one(report: Report, gates: int) -> dict[str, Any]:
    """So many gates, each with a job, a model and a Champion of its own."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder), gates, REPOSITORIES) as between:
        bytes_a_gate = (Path(folder) / "gates.yaml").stat().st_size / gates
        served = between.serve(migrated(f"sqlite:///{folder}/gate.db"))
        until(lambda: served.output().count("first looked") == gates, served.output, PATIENCE_SECONDS)
        first_sweep = time.monotonic() - served.begun
        time.sleep(SWEEP_SECONDS)
        taken = [pss_mb(between.processes()) for _ in range(report.rounds)]
        cpu, asked = cpu_seconds(between.processes()), between.far.asked()
        time.sleep(SWEEPS * SWEEP_SECONDS)
        cpu = (cpu_seconds(between.processes()) - cpu) / SWEEPS
        calls = (between.far.asked() - asked) / SWEEPS
    name = f"{gates:,} gates"
    report.row(f"{name}: PSS of master and worker", statistics.median(taken), "MB", digits=0)
    report.row(f"{name}: from the command until all has been looked at once", first_sweep, "s", digits=1)
    report.row(f"{name}: calls a sweep", calls, digits=0)
    report.row(
        f"{name}: CPU of a sweep",
        cpu,
        "s",
        beside=f"{100 * cpu / SWEEP_SECONDS:.1f} % of one core, at one sweep a minute",
    )
    report.row(
        f"{name}: gates.yaml",
        bytes_a_gate * gates / MEGABYTE,
        "MiB",
        beside=f"{bytes_a_gate:.0f} bytes a gate",
    )
    return {"mb": round(statistics.median(taken), 1), "calls": round(calls), "cpu_seconds": round(cpu, 2)}
