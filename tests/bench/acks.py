"""Acknowledgements a second: notifications that are on disk when they are answered.

Beside each stand what a bare Flask app answers under the same gunicorn settings, which stores nothing, and how often
the database commits in a loop, without HTTP.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import func, select

from bench import load
from bench.far_ends import hook, migrated, world
from bench.load import Load
from bench.postgresql import postgresql
from bench.report import Report, percentile, ratio
from bench.serving import echo_served
from champion_gate.store.engine import Database
from champion_gate.store.tables import notifications

UNWATCHED = "4711"
LOAD_SECONDS, RATE_SECONDS, LOOP_SECONDS, WARM_UP_SECONDS = 4, 6, 1, 1
LEAST_RATIO, MOST_MS = 0.4, 50.0
RUNS_APART = 1_000_000

_runs = count(10**12, RUNS_APART)
"""Where the runs begin of which each load tells."""


@dataclass
class Taken:
    """What the rounds measured on one database."""

    echo: list[Load] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    acks: dict[str, list[Load]] = field(default_factory=lambda: {"unwatched": [], "watched": []})
    p99_ms: dict[str, list[float]] = field(default_factory=lambda: {"unwatched": [], "watched": []})


def measure(report: Report) -> dict[str, Any]:
    """The part `acks`."""
    with tempfile.TemporaryDirectory() as folder:
        files = (f"sqlite:///{folder}/{number}.db" for number in count())
        found = {"sqlite": on("SQLite", lambda: next(files), sqlite_commits, report)}
    with postgresql() as server:
        found["postgresql"] = on("PostgreSQL", server.database, postgresql_commits, report)
    return found


def on(
    name: str, database: Callable[[], str], commits: Callable[[str, float], float], report: Report
) -> dict[str, float]:
    """Measure on one kind of database."""
    taken, seconds = Taken(), report.scaled(LOAD_SECONDS)
    for _ in range(report.rounds):
        with echo_served() as url:
            load.as_fast_as_answered(f"{url}/echo", UNWATCHED, next(_runs), WARM_UP_SECONDS)
            taken.echo.append(load.as_fast_as_answered(f"{url}/echo", UNWATCHED, next(_runs), seconds))
        taken.commits.append(commits(database(), report.scaled(LOOP_SECONDS)))
        for kind, loads in taken.acks.items():
            with served(database(), kind) as (url, job, rows):
                loads.append(acknowledged(url, rows, job, seconds))
    for _ in range(report.rounds):
        for kind, loads in taken.acks.items():
            half = statistics.median(each.rate for each in loads) / 2
            with served(database(), kind) as (url, job, _):
                late = load.at_rate(url, job, next(_runs), half, report.scaled(RATE_SECONDS))
                taken.p99_ms[kind].append(1000 * percentile(late, 99))
    return reported(name, taken, report)


@contextmanager
def served(database_url: str, kind: str) -> Iterator[tuple[str, str, Callable[[], int]]]:
    """A warm service on a new database: its address, a job of the kind, and how many notifications are stored.

    It and its world are new for each load: what the workers have not looked at yet of the one before would slow it.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        world(Path(folder)) as between,
        closing(Database(migrated(database_url))) as database,
    ):
        url = hook(between.serve(database_url))
        load.as_fast_as_answered(url, UNWATCHED, next(_runs), WARM_UP_SECONDS)

        def rows() -> int:
            with database.read() as connection:
                return connection.execute(select(func.count()).select_from(notifications)).scalar_one()

        yield url, between.far.watched_job() if kind == "watched" else UNWATCHED, rows


def acknowledged(url: str, rows: Callable[[], int], job: str, seconds: float) -> Load:
    """Load it, and look that as many notifications are stored as were answered."""
    before = rows()
    loaded = load.as_fast_as_answered(url, job, next(_runs), seconds)
    assert rows() - before >= loaded.answered
    return loaded


def reported(name: str, taken: Taken, report: Report) -> dict[str, float]:
    """The rows, and the numbers of the kind of job that does worse."""
    echo = [each.rate for each in taken.echo]
    ratios, slow = {}, {}
    for kind, loads in taken.acks.items():
        rates = [each.rate for each in loads]
        ratios[kind] = ratio(rates, echo)
        slow[kind] = statistics.median(taken.p99_ms[kind])
        job = f"{name}, {kind} job"
        acks = f"{statistics.median(rates):,.0f}/s"
        report.row(
            f"{job}: acks, to an echo",
            ratios[kind],
            sized=True,
            beside=f"{acks}, echo {statistics.median(echo):,.0f}/s",
            at_least=LEAST_RATIO,
        )
        report.row(
            f"{job}: acks, to a loop that commits",
            ratio(rates, taken.commits),
            sized=True,
            beside=f"{acks}, loop {statistics.median(taken.commits):,.0f}/s",
        )
        report.row(
            f"{job}: 99th percentile at half of that rate",
            slow[kind],
            "ms",
            sized=True,
            beside=f"at full rate {statistics.median(each.p99_ms for each in loads):,.0f} ms",
            at_most=MOST_MS,
            digits=0,
        )
    client = statistics.median(each.client for each in taken.echo)
    report.row(f"{name}: the client, of one core, while it loads the echo", client)
    return {
        "ratio_to_echo": round(min(ratios.values()), 3),
        "p99_ms_at_half_rate": round(max(slow.values()), 1),
    }


def sqlite_commits(url: str, seconds: float) -> float:
    """Commits a second, as durable as the service's."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, body TEXT)")

        def commit(number: int) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO bare VALUES (?, ?)", (number, load.body(UNWATCHED, number).decode())
            )
            connection.execute("COMMIT")

        return a_second(commit, seconds)


def postgresql_commits(url: str, seconds: float) -> float:
    """Commits a second, over one connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (id BIGINT PRIMARY KEY, body TEXT)")

        def commit(number: int) -> None:
            connection.execute(
                "INSERT INTO bare VALUES (%s, %s)", (number, load.body(UNWATCHED, number).decode())
            )

        return a_second(commit, seconds)


def a_second(act: Callable[[int], None], seconds: float) -> float:
    """How often it is done in a second."""
    begun = time.perf_counter()
    for number in count():
        if time.perf_counter() - begun >= seconds:
            break
        act(number)
    return number / (time.perf_counter() - begun)
