"""The machine that was measured on, in words: numbers mean nothing without it."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

FSYNCS = 100


def machine() -> str:
    """What stays the same from run to run."""
    memory = psutil.virtual_memory().total / 1024**3
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load by {client()}"
    )


def moment() -> str:
    """What differs from hour to hour: how busy it is, and what a commit has to wait for."""
    return f"load average {os.getloadavg()[0]:.1f} before, an fsync {_fsync_ms():.2f} ms"


def client() -> str:
    """What sends requests as fast as they are answered."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return "Python"
    said = subprocess.run([wrk, "--version"], check=False, capture_output=True, text=True).stdout
    return " ".join(said.split()[:2]) or "wrk"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _fsync_ms() -> float:
    """Where the databases of the benchmarks lie."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(FSYNCS):
            begun = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)
