"""Starts what is measured and what it is compared with, and says what they cost."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from integration.process_world import free_port, port_of

MEGABYTE = 1024 * 1024
PATIENCE_SECONDS = 300


@contextmanager
def echo_served() -> Iterator[str]:
    """The address of a running echo, once it answers."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "--config", "python:bench.echo"]
    process = subprocess.Popen(
        [*command, "--bind", f"127.0.0.1:{port}", "bench.echo:app"], cwd=Path(__file__).parents[1]
    )
    try:
        wait_for_answer(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for_answer(url: str) -> None:
    """Return at the first good answer of /livez."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port_of(url), timeout=5)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/livez")
            if connection.getresponse().status < 300:
                return
        connection.close()
        time.sleep(0.005)
    raise TimeoutError(url)


def pss_mb(processes: Iterable[psutil.Process]) -> float:
    """What they hold in memory: what several share is counted once, in parts (proportional set size)."""
    return float(sum(each.memory_full_info().pss for each in processes)) / MEGABYTE


def mapped_mb(processes: Iterable[psutil.Process]) -> float:
    """How much of that is files: it grows when others on this machine end that had mapped the same libraries."""
    rolled = [Path(f"/proc/{each.pid}/smaps_rollup").read_text() for each in processes]
    return (
        sum(int(kib) for text in rolled for kib in re.findall(r"^Pss_File:\s+(\d+)", text, re.MULTILINE))
        / 1024
    )


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """What those that still live have spent until now."""
    spent = 0.0
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            spent += sum(each.cpu_times()[:2])
    return spent
