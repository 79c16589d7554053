"""How long people wait for a process of ours: `champion-gate --help`, and `serve` until /livez."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import Report, least
from integration.process_world import process_world

HELP_SECONDS, LIVEZ_SECONDS = 0.3, 2.0


def help_seconds() -> float:
    """`champion-gate --help`."""
    program = Path(sys.executable).with_name("champion-gate")
    begun = time.perf_counter()
    subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    report = Report("Starting")
    report.line("champion-gate --help", least(10, help_seconds), "s", HELP_SECONDS, 2)
    with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as world:

        def start_seconds() -> float:
            served = world.launch()
            served.wait_until_alive()
            taken = time.monotonic() - served.begun
            served.kill()
            return taken

        def first_start_seconds() -> float:
            for file in Path(folder).glob("gate*.db*"):
                file.unlink()
            return start_seconds()

        first = least(5, first_start_seconds)
        report.line("serve until /livez, database made anew, least of 5", first, "s", LIVEZ_SECONDS, 2)
        report.line("serve until /livez, least of 5 starts", least(5, start_seconds), "s", LIVEZ_SECONDS, 2)
    report.end()


main()
