"""Another process holds SQLite's file: nobody waits without end, and not everybody waits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from champion_gate.errors import StoreUnavailableError
from champion_gate.store import Store, open_store
from integration.store_databases import SqliteDatabases
from integration.store_samples import T0, notification

BUSY = 0.5


@pytest.fixture
def url(tmp_path: Path) -> str:
    return SqliteDatabases(tmp_path).migrated()


@pytest.fixture
def locked(url: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url, busy_seconds=BUSY) as opened:
        yield opened


def refused(store: Store, run: int) -> float:
    begun = time.monotonic()
    with pytest.raises((OperationalError, StoreUnavailableError)):
        store.record_notification("hook", notification(run_id=str(run)), T0)
    return time.monotonic() - begun


@pytest.mark.usefixtures("locked")
def test_forty_hooks_wait_no_longer_than_one(store: Store) -> None:
    with ThreadPoolExecutor(40) as pool:
        waited = list(pool.map(lambda run: refused(store, run), range(40)))
    assert max(waited) < 8 * BUSY  # one after another they would wait 40 times as long


def test_so_many_wait_that_no_more_may(store: Store, locked: sqlite3.Connection) -> None:
    with ThreadPoolExecutor(120) as pool:
        waited = list(pool.map(lambda run: refused(store, run), range(120)))
    assert sum(each < BUSY / 2 for each in waited) >= 20
    locked.rollback()
    store.record_notification("hook", notification(), T0)
    assert len(store.due(T0).notifications) == 1
