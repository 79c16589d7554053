"""Posts notifications: as fast as they are answered (`wrk` where there is one), or so many a second."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from bench.report import percentile
from integration.gate_world import SECRETS
from integration.process_world import port_of

WORKSPACE = 1234567890123456
CONNECTIONS = 50
HEADERS = {
    "Authorization": "Basic "
    + b64encode(
        f"{SECRETS['CHAMPION_GATE_DATABRICKS_HOOK_USERNAME']}:"
        f"{SECRETS['CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD']}".encode()
    ).decode(),
    "Content-Type": "application/json",
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What came of it.

    Attributes:
        rate: good answers a second.
        client: the share of one core that sending took.
    """

    answered: int
    rate: float
    p50_ms: float
    p99_ms: float
    client: float


def body(job_id: str, run_id: int | str) -> bytes:
    """A notification as Databricks posts it."""
    sent = {
        "event_type": "jobs.on_success",
        "workspace_id": WORKSPACE,
        "run": {"run_id": int(run_id)},
        "job": {"job_id": int(job_id), "name": "train"},
    }
    return json.dumps(sent).encode()


def as_fast_as_answered(url: str, job_id: str, first_run: int, seconds: float) -> Load:
    """Keep all connections busy, each with one request after the other, every one about another run.

    Raises:
        AssertionError: a request was not answered, or not well.
    """
    spent, begun = _client_seconds(), time.perf_counter()
    if shutil.which("wrk") is None:
        taken = asyncio.run(_for_a_while(url, (body(job_id, run) for run in count(first_run + 1)), seconds))
        elapsed = time.perf_counter() - begun
        found = {"answered": len(taken), "seconds": elapsed, "p50_ms": 1000 * statistics.median(taken)}
        found["p99_ms"] = 1000 * percentile(taken, 99)
    else:
        found = _wrk(url, job_id, first_run, seconds)
    client = (_client_seconds() - spent) / (time.perf_counter() - begun)
    answered = int(found["answered"])
    return Load(answered, answered / found["seconds"], found["p50_ms"], found["p99_ms"], client)


def at_rate(url: str, job_id: str, first_run: int, rate: float, seconds: float) -> list[float]:
    """Post so many a second, however slowly they are answered; returns the seconds from when each was due."""
    bodies = [body(job_id, first_run + number) for number in range(1, round(rate * seconds) + 1)]
    return asyncio.run(_due(url, bodies, 1 / rate))


def all_of(urls: list[str], bodies: Iterable[bytes]) -> list[float]:
    """Post all of these, spread over the addresses; returns the seconds that each took."""
    return asyncio.run(_everything(urls, iter(bodies)))


def _wrk(url: str, job_id: str, first_run: int, seconds: float) -> dict[str, float]:
    script = Path(__file__).with_name("notify.lua")
    headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
    size = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "--timeout", "30s"]
    command = ["wrk", *size, *headers, "-s", str(script), url, "--", job_id, str(first_run)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    assert not found["bad"], said
    return found


def _client_seconds() -> float:
    used = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


class _Connection:
    """One that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
        self._reader, self._writer = reader, writer
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}Content-Length: ".encode()

    async def post(self, sent: bytes) -> None:
        self._writer.write(b"%s%d\r\n\r\n%s" % (self._head, len(sent), sent))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        answer = await self._reader.readexactly(int(length[1]))
        assert head.startswith((b"HTTP/1.1 202", b"HTTP/1.1 200")), (head, answer)


async def _connect(urls: list[str]) -> list[_Connection]:
    made = []
    for number in range(CONNECTIONS):
        url = urls[number % len(urls)]
        port = port_of(url)
        path = url.partition(f":{port}")[2]
        made.append(_Connection(*await asyncio.open_connection("127.0.0.1", port), path))
    return made


async def _everything(urls: list[str], bodies: Iterable[bytes]) -> list[float]:
    taken: list[float] = []

    async def go_on(connection: _Connection) -> None:
        for sent in bodies:  # shared: each takes the next
            begun = time.perf_counter()
            await connection.post(sent)
            taken.append(time.perf_counter() - begun)

    await asyncio.gather(*map(go_on, await _connect(urls)))
    return taken


async def _for_a_while(url: str, bodies: Iterable[bytes], seconds: float) -> list[float]:
    deadline = time.perf_counter() + seconds
    return await _everything([url], _until(deadline, bodies))


def _until(deadline: float, bodies: Iterable[bytes]) -> Iterable[bytes]:
    for sent in bodies:
        if time.perf_counter() > deadline:
            return
        yield sent


async def _due(url: str, bodies: list[bytes], interval: float) -> list[float]:
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for connection in await _connect([url]):
        free.put_nowait(connection)
    taken: list[float] = []
    begun = time.perf_counter()

    async def post(sent: bytes, due: float) -> None:
        connection = await free.get()
        await connection.post(sent)
        taken.append(time.perf_counter() - due)
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number, sent in enumerate(bodies):
            due = begun + number * interval
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            tasks.create_task(post(sent, due))
    return taken
