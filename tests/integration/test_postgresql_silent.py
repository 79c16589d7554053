"""PostgreSQL connections that go silent, and sessions that hold what everybody needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from champion_gate.store import Store, open_store
from champion_gate.store.engine import Database
from champion_gate.store.postgresql import connect
from integration.silent_relay import SilentRelay, through, to_server
from integration.store_databases import PostgresqlDatabases
from integration.store_samples import T0, append_ledger, entry, notification

pytest_plugins = ("integration.store_fixtures",)

ANSWER = 1.0


@pytest.fixture
def behind(postgresql_databases: PostgresqlDatabases) -> str:
    return postgresql_databases.migrated()


@pytest.fixture
def relay(behind: str) -> Iterator[SilentRelay]:
    made = SilentRelay(lambda: to_server(behind))
    yield made
    made.close()


@pytest.fixture(name="through")
def through_the_relay(behind: str, relay: SilentRelay) -> str:
    return through(relay, behind)


@pytest.fixture
def store(through: str) -> Iterator[Store]:
    with open_store(through, answer_seconds=ANSWER) as opened:
        yield opened


def test_every_thread_goes_on_after_the_connections_went_silent(store: Store, relay: SilentRelay) -> None:
    threads = 10
    with ThreadPoolExecutor(threads) as pool:
        list(
            pool.map(
                lambda i: store.record_notification("hook", notification(run_id=str(i)), T0), range(threads)
            )
        )
        relay.go_silent()
        begun = time.monotonic()

        def until_it_is_taken(run: int) -> int:
            for attempt in range(5):
                try:
                    store.record_notification("hook", notification(run_id=str(run)), T0)
                except OperationalError:
                    continue
                return attempt
            raise AssertionError("never taken")

        list(pool.map(until_it_is_taken, range(100, 100 + threads)))
    # Each answer is waited for once; with no bound the first would still be.
    assert time.monotonic() - begun < 15 * ANSWER
    assert len(store.due(T0).notifications) == 2 * threads


def test_a_session_that_holds_the_ledgers_head_does_not_hold_who_waits_for_it(
    behind: str, store: Store
) -> None:
    with psycopg.connect(behind) as other:
        other.execute("SELECT * FROM ledger_head FOR UPDATE")
        with pytest.raises(OperationalError):
            append_ledger(store, [entry("a")])
        store.record_notification("hook", notification(), T0)
    append_ledger(store, [entry("a")])
    assert [line.number for line in store.ledger_lines()] == [1]


def test_a_frozen_process_loses_what_it_holds(behind: str) -> None:
    with open_store(behind) as other, connect(behind, answer_seconds=ANSWER) as frozen:
        frozen.execute("SELECT * FROM ledger_head FOR UPDATE")
        append_ledger(other, [entry("a")])  # waits until the server has ended the idle one
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            frozen.execute("SELECT 1")


def test_a_migration_takes_its_time(postgresql_databases: PostgresqlDatabases) -> None:
    url = postgresql_databases.migrated()
    with closing(Database(url, answer_seconds=None)) as database, database.read() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "0"
    with closing(Database(url)) as database, database.read() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "20s"
