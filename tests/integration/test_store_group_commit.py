"""Several threads write at the same moment: they share a transaction, and no other one's failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from champion_gate.errors import StoreUnavailableError
from champion_gate.store.engine import Database, upsert
from champion_gate.store.group_commit import GroupCommit
from champion_gate.store.tables import gates_seen
from integration.process_world import until
from integration.store_databases import SqliteDatabases
from integration.store_samples import T0

BUSY = 0.5
PATIENCE = 20


class Watched(Database):
    """Counts who has come to wait."""

    waited = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        with super().place():
            self.waited += 1
            yield


class Gates:
    """Writes names of gates, each into a row, together with whoever waits; notes what shared a transaction."""

    def __init__(self, database: Watched) -> None:
        self.database = database
        self.transactions: list[list[str | None]] = []
        self.commits = GroupCommit(database, self._write)

    def _write(self, connection: Connection, names: Sequence[str | None]) -> list[str]:
        self.transactions.append(list(names))
        for name in names:
            connection.execute(upsert(connection, gates_seen).values(gate=name, first_seen_at=T0))
        return [f"written: {name}" for name in names]

    def stored(self) -> set[str]:
        with self.database.read() as connection:
            return set(connection.scalars(select(gates_seen.c.gate)))

    def while_others_write(self, pool: ThreadPoolExecutor, *names: str | None) -> list[Future[str]]:
        """Add each from a thread of its own, all of them before the turn of the first comes."""
        with self.database.write():
            before = self.database.waited
            added = [pool.submit(self.commits.add, name) for name in names]
            until(lambda: self.database.waited == before + len(names), "they do not wait")
        return added


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[Gates]:
    with closing(Watched(SqliteDatabases(tmp_path).migrated(), busy_seconds=PATIENCE)) as database:
        yield Gates(database)


def test_what_waits_for_the_turn_shares_a_transaction(gates: Gates) -> None:
    with ThreadPoolExecutor(20) as pool:
        names = [f"g{number}" for number in range(20)]
        added = gates.while_others_write(pool, *names)
        results = [each.result(PATIENCE) for each in added]
    assert gates.commits.under_way == 0
    assert results == [f"written: {name}" for name in names]
    assert len(gates.transactions) <= 2, "the last to come may just miss the first"
    assert gates.stored() == set(names)


def test_one_that_the_database_does_not_take_fails_no_other(gates: Gates) -> None:
    with ThreadPoolExecutor(3) as pool:
        first, bad, last = gates.while_others_write(pool, "a", None, "b")
        assert (first.result(PATIENCE), last.result(PATIENCE)) == ("written: a", "written: b")
        with pytest.raises(IntegrityError):
            bad.result(PATIENCE)
    assert gates.stored() == {"a", "b"}


def test_the_next_is_taken_after_a_failure(gates: Gates) -> None:
    with pytest.raises(IntegrityError):
        gates.commits.add(None)
    assert gates.commits.add("a") == "written: a"


def test_where_the_turn_does_not_come_all_are_told_so(tmp_path: Path) -> None:
    url = SqliteDatabases(tmp_path).migrated()
    with closing(Watched(url, busy_seconds=BUSY)) as database, ThreadPoolExecutor(5) as pool:
        gates, go_on = Gates(database), threading.Event()

        def hold() -> None:
            with database.write():
                assert go_on.wait(PATIENCE)

        holding = pool.submit(hold)
        refused = [pool.submit(gates.commits.add, name) for name in ("a", "b", "c")]
        for each in refused:
            with pytest.raises(StoreUnavailableError):
                each.result(PATIENCE)
        go_on.set()
        holding.result(PATIENCE)
        assert gates.commits.add("d") == "written: d"
        assert gates.stored() == {"d"}
