"""The ledger in parts, its head, and its export."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from champion_gate.domain.ledger.chain import GENESIS, ChainedText, LedgerHead, break_in_chain
from champion_gate.errors import ConflictError
from champion_gate.store import Store, open_store
from champion_gate.store.engine import Database
from integration.store_databases import SqliteDatabases
from integration.store_samples import KEY, after, append_ledger, entry

pytestmark = pytest.mark.part("rest", "postgresql")

pytest_plugins = ("integration.store_fixtures",)


@pytest.fixture
def ledger(store: Store) -> Store:
    """Six lines, a second apart; line 3's clock was fast, line 5 is of another alias."""
    seconds = (0, 1, 99, 3, 4, 5)
    append_ledger(
        store,
        [
            entry(f"line {number}", at=after(at), alias="Shadow" if number == 5 else KEY.alias)
            for number, at in enumerate(seconds, start=1)
        ],
    )
    return store


def run(database_url: str, *statements: str) -> None:
    database = Database(database_url)
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))
    database.close()


def without_triggers(database_url: str) -> list[str]:
    if database_url.startswith("sqlite"):
        return [f"DROP TRIGGER ledger_keeps_{what}" for what in ("update", "delete", "replace")]
    return ["ALTER TABLE ledger DISABLE TRIGGER ALL"]


def is_unbroken(lines: list[ChainedText]) -> bool:
    return all(break_in_chain(previous, line) is None for previous, line in pairwise(lines))


def test_parts_continue_behind_one_another(ledger: Store) -> None:
    found, before = [], None
    while part := ledger.ledger_lines(KEY, before=before, limit=2):
        found += [line.number for line in part]
        before = part[-1].number
    assert found == [6, 4, 3, 2, 1]
    assert ledger.ledger_lines(before=1) == ()


def test_without_a_limit_all_lines_come(store: Store) -> None:
    append_ledger(store, [entry(str(number)) for number in range(250)])
    assert len(store.ledger_lines()) == 200
    assert len(store.ledger_lines(limit=None)) == 250
    assert len(store.ledger_lines(before=250, limit=None)) == 249


def test_a_promotions_lines_are_found_within_its_alias_too(store: Store) -> None:
    append_ledger(
        store,
        [
            entry("a", promotion_id="p-1"),
            entry("b", promotion_id="p-2"),
            entry("c", promotion_id="p-1", alias="Shadow"),
            entry("d", promotion_id="p-1"),
        ],
    )
    found = store.ledger_lines(KEY, promotion_id="p-1")
    assert [line.entry.reason for line in found] == ["d", "a"]
    assert [line.number for line in store.ledger_lines(KEY, promotion_id="p-1", before=4, limit=1)] == [1]


def test_a_line_that_was_edited_is_not_given_out(ledger: Store, database_url: str) -> None:
    run(
        database_url,
        *without_triggers(database_url),
        "UPDATE ledger SET body = replace(body, 'ann', 'bob') WHERE number = 2",
    )
    assert [line.number for line in ledger.ledger_lines(limit=4)] == [6, 5, 4, 3]
    with pytest.raises(ConflictError, match=r"Line 2 .* edited"):
        ledger.ledger_lines()


def test_the_head_is_the_newest_line(store: Store) -> None:
    assert store.ledger_head() == LedgerHead(0, GENESIS)
    append_ledger(store, [entry("a"), entry("b")])
    newest = store.ledger_lines(limit=1)[0]
    assert store.ledger_head() == LedgerHead(2, newest.hash)


def test_a_head_that_was_taken_away_is_said(ledger: Store, database_url: str) -> None:
    run(database_url, "DELETE FROM ledger_head")
    with pytest.raises(ConflictError, match="head is missing"):
        ledger.ledger_head()


def test_an_export_has_every_line_as_it_is_kept(ledger: Store) -> None:
    found = list(ledger.ledger_export())
    assert [line.number for line in found] == [1, 2, 3, 4, 5, 6]
    assert found[0].previous_hash == GENESIS
    assert is_unbroken(found)
    assert LedgerHead(found[-1].number, found[-1].hash) == ledger.ledger_head()


def test_an_export_of_an_empty_ledger_is_empty(store: Store) -> None:
    assert list(store.ledger_export()) == []
    assert list(store.ledger_export(after(0))) == []


@pytest.mark.parametrize(
    ("since", "first"),
    [
        (after(-1), 1),
        (after(0), 1),
        (after(0.000001), 2),
        (after(1), 2),
        (after(1).astimezone(timezone(timedelta(hours=-7))), 2),
        (after(2), 3),
        (after(3), 3),
        (after(99), 3),
    ],
)
def test_an_export_begins_with_the_first_line_since_then_and_has_no_gaps(
    ledger: Store, since: datetime, first: int
) -> None:
    found = list(ledger.ledger_export(since))
    assert [line.number for line in found] == list(range(first, 7))
    assert is_unbroken(found)


def test_an_export_since_a_time_that_no_line_has_is_empty(ledger: Store) -> None:
    assert list(ledger.ledger_export(after(100))) == []


def test_an_export_begins_with_a_line_whose_time_cannot_be_read(ledger: Store, database_url: str) -> None:
    run(database_url, *without_triggers(database_url), "UPDATE ledger SET body = 'not json' WHERE number = 2")
    assert [line.number for line in ledger.ledger_export(after(100))] == [2, 3, 4, 5, 6]


def test_an_export_is_as_of_the_moment_when_it_began(store: Store) -> None:
    append_ledger(store, [entry(str(number)) for number in range(1200)])
    lines = store.ledger_export()
    next(lines)
    append_ledger(store, [entry("later")])
    assert sum(1 for _ in lines) == 1199
    assert sum(1 for _ in store.ledger_export()) == 1201


def test_writers_go_on_during_an_export_that_nobody_finishes(ledger: Store) -> None:
    begun = [ledger.ledger_export() for _ in range(3)]
    for lines in begun:
        next(lines)
    append_ledger(ledger, [entry("line 7")])
    assert ledger.verify_ledger() == 7


def test_exports_that_are_given_up_give_their_connections_back(ledger: Store) -> None:
    for _ in range(40):
        lines: Iterator[ChainedText] = ledger.ledger_export()
        next(lines)
        del lines
    assert ledger.verify_ledger() == 6


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 21))
def test_wherever_clocks_stood_nothing_since_then_is_left_out(
    sqlite_databases: SqliteDatabases, times: list[int], since: int
) -> None:
    with open_store(sqlite_databases.migrated()) as store:
        append_ledger(store, [entry(at=after(at)) for at in times])
        found = [line.number for line in store.ledger_export(after(since).astimezone(UTC))]
    late = [number for number, at in enumerate(times, start=1) if at >= since]
    assert found == list(range(late[0], len(times) + 1) if late else [])
