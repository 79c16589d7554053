from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from champion_gate.errors import ConflictError
from champion_gate.store import SqlStore
from champion_gate.store.engine import Database
from integration.store_samples import KEY, entry

pytest_plugins = ("integration.store_fixtures",)


@pytest.fixture
def raw(database_url: str) -> Iterator[Database]:
    """The database as somebody with a SQL prompt has it."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def ledger(store: SqlStore) -> SqlStore:
    store.append_ledger([entry(f"line {number}") for number in range(1, 6)])
    return store


def run(raw: Database, *statements: str) -> None:
    with raw.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def unguarded(ledger: SqlStore, raw: Database) -> Database:
    """The same after the triggers were dropped."""
    if raw.is_sqlite:
        run(raw, *(f"DROP TRIGGER ledger_keeps_{what}" for what in ("update", "delete", "replace")))
    else:
        run(raw, *(f"DROP TRIGGER ledger_keeps_{what} ON ledger" for what in ("rows", "all")))
    return raw


def test_an_untouched_chain_is_whole(ledger: SqlStore) -> None:
    assert ledger.verify_ledger() == 5
    newest, *_, oldest = ledger.ledger_lines()
    assert (newest.number, oldest.number, oldest.previous_hash) == (5, 1, "0" * 64)
    assert newest.entry == entry("line 5")


def test_an_empty_ledger_is_whole(store: SqlStore) -> None:
    store.append_ledger([])
    assert store.verify_ledger() == 0


def test_the_chain_goes_on_after_each_append(ledger: SqlStore) -> None:
    ledger.append_ledger([entry("line 6")])
    sixth, fifth = ledger.ledger_lines(limit=2)
    assert sixth.previous_hash == fifth.hash
    assert ledger.verify_ledger() == 6


def test_odd_characters_and_nested_facts_survive(store: SqlStore) -> None:
    odd = entry(
        "naïve \x00 \ud800 \u2028 'quote' \U0001f600",
        facts={"deciders": [{"login": "zoë"}], "n": None, "f": 0.1, "ok": True},
    )
    store.append_ledger([odd])
    assert store.ledger_lines()[0].entry == odd
    assert store.verify_ledger() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET body = '{}' WHERE number = 3",
        "DELETE FROM ledger WHERE number = 5",
        "DELETE FROM ledger",
    ],
)
def test_the_database_refuses_to_change_a_line(ledger: SqlStore, raw: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        run(raw, statement)
    assert ledger.verify_ledger() == 5


def test_the_database_refuses_to_replace_or_truncate(ledger: SqlStore, raw: Database) -> None:
    replacing = "INSERT OR REPLACE INTO ledger SELECT * FROM ledger WHERE number = 2"
    with pytest.raises(DBAPIError, match="append-only"):
        run(raw, replacing if raw.is_sqlite else "TRUNCATE ledger")
    assert ledger.verify_ledger() == 5


def test_two_lines_cannot_follow_the_same_one(ledger: SqlStore, raw: Database) -> None:
    fork = "INSERT INTO ledger SELECT 6, kind, registry, model, alias, NULL, body, previous_hash, 'x' FROM ledger WHERE number = 5"
    with pytest.raises(DBAPIError):
        run(raw, fork)


@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (["UPDATE ledger SET body = replace(body, 'ann', 'bob') WHERE number = 3"], "Line 3 .* edited"),
        (["UPDATE ledger SET hash = 'f' || substr(hash, 2, 62) || 'g' WHERE number = 2"], "Line 2 .* edited"),
        (["UPDATE ledger SET model = 'main.ml.other' WHERE number = 4"], "Line 4 .* edited"),
        (["UPDATE ledger SET promotion_id = 'p-9' WHERE number = 1"], "Line 1 .* edited"),
        (["UPDATE ledger SET body = 'not json' WHERE number = 1"], "Line 1 .* edited"),
        (["DELETE FROM ledger WHERE number = 1"], "Line 1 .* missing"),
        (["DELETE FROM ledger WHERE number = 3"], "Line 3 .* missing"),
        (["DELETE FROM ledger WHERE number >= 4"], "Line 4 .* missing"),
        (["DELETE FROM ledger"], "Line 1 .* missing"),
        (
            ["DELETE FROM ledger WHERE number = 2", "UPDATE ledger SET number = 2 WHERE number = 3"],
            "Line 2 .* does not follow",
        ),
        (
            [
                "UPDATE ledger SET number = 99 WHERE number = 2",
                "UPDATE ledger SET number = 2 WHERE number = 3",
                "UPDATE ledger SET number = 3 WHERE number = 99",
            ],
            "Line 2 .* does not follow",
        ),
    ],
)
def test_a_change_behind_the_triggers_back_names_the_first_wrong_line(
    ledger: SqlStore, unguarded: Database, statements: list[str], complaint: str
) -> None:
    run(unguarded, *statements)
    with pytest.raises(ConflictError, match=complaint):
        ledger.verify_ledger()


def test_a_last_line_forged_with_a_right_hash_is_noticed(ledger: SqlStore, unguarded: Database) -> None:
    with unguarded.write() as connection:
        connection.execute(text("DELETE FROM ledger WHERE number = 5"))
        connection.execute(text("UPDATE ledger_head SET number = 4, hash = :h"), {"h": previous(ledger)})
    ledger.append_ledger([entry("forged")])
    with unguarded.write() as connection:
        connection.execute(text("UPDATE ledger_head SET hash = 'the real one'"))
    with pytest.raises(ConflictError, match="Line 5"):
        ledger.verify_ledger()


def previous(ledger: SqlStore) -> str:
    return ledger.ledger_lines(KEY, limit=2)[1].hash
