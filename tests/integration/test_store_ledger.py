from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from champion_gate.domain.canonical import canonical
from champion_gate.domain.ledger.chain import (
    ChainedText,
    LedgerEntry,
    chain,
    chain_hash,
    write_body,
)
from champion_gate.errors import ConflictError
from champion_gate.store import Store
from champion_gate.store.engine import Database
from integration.store_samples import KEY, append_ledger, entry

pytest_plugins = ("integration.store_fixtures",)


@pytest.fixture
def raw(database_url: str) -> Iterator[Database]:
    """The database as somebody with a SQL prompt has it."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def ledger(store: Store) -> Store:
    append_ledger(store, [entry(f"line {number}") for number in range(1, 6)])
    return store


def run(raw: Database, *statements: str) -> None:
    with raw.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def unguarded(ledger: Store, raw: Database) -> Database:
    """The same after the triggers were dropped."""
    if raw.is_sqlite:
        run(raw, *(f"DROP TRIGGER ledger_keeps_{what}" for what in ("update", "delete", "replace")))
    else:
        run(raw, *(f"DROP TRIGGER ledger_keeps_{what} ON ledger" for what in ("rows", "all")))
    return raw


def test_an_untouched_chain_is_whole(ledger: Store) -> None:
    assert ledger.verify_ledger() == 5
    newest, *_, oldest = ledger.ledger_lines()
    assert (newest.number, oldest.number, oldest.previous_hash) == (5, 1, "0" * 64)
    assert newest.entry == entry("line 5")


def test_an_empty_ledger_is_whole(store: Store) -> None:
    append_ledger(store, [])
    assert store.verify_ledger() == 0


def test_the_chain_goes_on_after_each_append(ledger: Store) -> None:
    append_ledger(ledger, [entry("line 6")])
    sixth, fifth = ledger.ledger_lines(limit=2)
    assert sixth.previous_hash == fifth.hash
    assert ledger.verify_ledger() == 6


def test_odd_characters_and_nested_facts_survive(store: Store) -> None:
    odd = entry(
        "naïve \x00 \ud800 \u2028 'quote' \U0001f600",
        facts={"deciders": [{"login": "zoë"}], "n": None, "f": 0.1, "ok": True},
    )
    append_ledger(store, [odd])
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
def test_the_database_refuses_to_change_a_line(ledger: Store, raw: Database, statement: str) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        run(raw, statement)
    assert ledger.verify_ledger() == 5


def test_the_database_refuses_to_replace_or_truncate(ledger: Store, raw: Database) -> None:
    replacing = "INSERT OR REPLACE INTO ledger SELECT * FROM ledger WHERE number = 2"
    with pytest.raises(DBAPIError, match="append-only"):
        run(raw, replacing if raw.is_sqlite else "TRUNCATE ledger")
    assert ledger.verify_ledger() == 5


def test_two_lines_cannot_follow_the_same_one(ledger: Store, raw: Database) -> None:
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
        (["UPDATE ledger SET kind = 'hold' WHERE number = 3"], "Line 3 .* edited"),
        (["UPDATE ledger SET registry = 'other' WHERE number = 3"], "Line 3 .* edited"),
        (["UPDATE ledger SET alias = 'champion' WHERE number = 3"], "Line 3 .* edited"),
        (["UPDATE ledger SET previous_hash = 'x' WHERE number = 2"], "Line 2 .* does not follow"),
        (["UPDATE ledger SET number = 9 WHERE number = 5"], "Line 5 .* missing"),
        (["UPDATE ledger SET number = 0 WHERE number = 1"], "Line 1 .* missing"),
        (["UPDATE ledger SET number = number + 1000", "UPDATE ledger_head SET number = 1005"], "Line 1 .* m"),
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
    ledger: Store, unguarded: Database, statements: list[str], complaint: str
) -> None:
    run(unguarded, *statements)
    with pytest.raises(ConflictError, match=complaint):
        ledger.verify_ledger()


def test_a_last_line_forged_with_a_right_hash_is_noticed(ledger: Store, unguarded: Database) -> None:
    with unguarded.write() as connection:
        connection.execute(text("DELETE FROM ledger WHERE number = 5"))
        connection.execute(text("UPDATE ledger_head SET number = 4, hash = :h"), {"h": previous(ledger)})
    append_ledger(ledger, [entry("forged")])
    with unguarded.write() as connection:
        connection.execute(text("UPDATE ledger_head SET hash = 'the real one'"))
    with pytest.raises(ConflictError, match="Line 5"):
        ledger.verify_ledger()


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DELETE FROM ledger_head", "head is missing"),
        ("UPDATE ledger_head SET id = 2", "head that the service did not make"),
        ("INSERT INTO ledger_head VALUES (2, 5, 'x')", "head that the service did not make"),
        ("INSERT INTO ledger_head SELECT 0, number, hash FROM ledger_head", "head that the service did not"),
        ("UPDATE ledger_head SET number = 6", "Line 6 .* missing"),
        ("UPDATE ledger_head SET number = 4", "Line 5 .* not appended by the service"),
        ("UPDATE ledger_head SET hash = 'x'", "Line 5 .* not the one that was appended last"),
    ],
)
def test_a_head_changed_by_hand_is_noticed(
    ledger: Store, raw: Database, statement: str, complaint: str
) -> None:
    run(raw, statement)
    with pytest.raises(ConflictError, match=complaint):
        ledger.verify_ledger()


def test_a_head_without_any_line_is_noticed(store: Store, raw: Database) -> None:
    run(raw, "UPDATE ledger_head SET hash = 'x'")
    with pytest.raises(ConflictError, match="Line 0"):
        store.verify_ledger()


def changed_body(**changes: object) -> str:
    """What the service would write as line 6, but for the changes."""
    return canonical({**json.loads(write_body(6, entry())), **changes})


def insert_by_hand(raw: Database, line: ChainedText, as_if: LedgerEntry) -> None:
    statement = text(
        "INSERT INTO ledger (number, kind, registry, model, alias, promotion_id, body, previous_hash, hash)"
        " VALUES (:number, :kind, :registry, :model, :alias, :promotion_id, :body, :previous_hash, :hash)"
    )
    columns = {name: getattr(as_if, name) for name in ("registry", "model", "alias", "promotion_id")}
    with raw.write() as connection:
        connection.execute(statement, {**asdict(line), **columns, "kind": as_if.kind.value})


def test_a_line_appended_by_hand_is_noticed_though_its_hash_is_right(ledger: Store, raw: Database) -> None:
    forged = entry("forged")
    insert_by_hand(raw, chain(6, ledger.ledger_head().hash, forged), forged)
    with pytest.raises(ConflictError, match=r"Line 6 .* not appended by the service"):
        ledger.verify_ledger()
    with pytest.raises(DBAPIError):
        append_ledger(ledger, [entry("line 6")])


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "7",
        '"text"',
        "{}",
        "[" * 100_000,
        changed_body(number=7),
        changed_body(kind="gift"),
        changed_body(at="2025-03-01T12:00:00.123456"),
        changed_body(at="2025-03-01T13:00:00.123456+01:00"),
        changed_body(at=1740830400),
        changed_body(alias=7),
        changed_body(actor=None),
        changed_body(reason=["because"]),
        changed_body(facts=[]),
        changed_body(promotion_id="p-9"),
        changed_body(extra=1),
        changed_body().replace(",", ", "),
    ],
)
def test_a_line_that_we_do_not_write_is_noticed_though_its_hash_is_right(
    ledger: Store, raw: Database, body: str
) -> None:
    head = ledger.ledger_head()
    line = ChainedText(6, body, head.hash, chain_hash(head.hash, body))
    insert_by_hand(raw, line, entry())
    with raw.write() as connection:
        connection.execute(text("UPDATE ledger_head SET number = 6, hash = :hash"), {"hash": line.hash})
    with pytest.raises(ConflictError, match=r"Line 6 .* edited"):
        ledger.verify_ledger()


@pytest.mark.parametrize("databases", ["sqlite"], indirect=True)  # PostgreSQL takes no such text
def test_a_text_that_is_no_text_any_more_is_named(ledger: Store, unguarded: Database) -> None:
    run(unguarded, "UPDATE ledger SET body = CAST(x'7bff' AS TEXT) WHERE number = 4")
    for read in (ledger.verify_ledger, ledger.ledger_lines):
        with pytest.raises(ConflictError, match=r"Line 4 .* edited"):
            read()


@pytest.mark.parametrize("how", ["dropped", "off", "weakened"])
def test_a_trigger_that_is_not_in_force_is_said_of_an_untouched_chain(
    ledger: Store, raw: Database, how: str
) -> None:
    run(raw, *_WEAKENING[raw.is_sqlite][how])
    with pytest.raises(ConflictError, match=r"Every line .* ledger_keeps_\w+ is not in force"):
        ledger.verify_ledger()


_REFUSAL = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
_WEAKENING = {
    True: {
        "dropped": ["DROP TRIGGER ledger_keeps_replace"],
        "off": [
            "DROP TRIGGER ledger_keeps_update",
            f"CREATE TRIGGER ledger_keeps_update BEFORE UPDATE ON gates_seen {_REFUSAL}",
        ],
        "weakened": [
            "DROP TRIGGER ledger_keeps_delete",
            f"CREATE TRIGGER ledger_keeps_delete BEFORE DELETE ON ledger WHEN 0 {_REFUSAL}",
        ],
    },
    False: {
        "dropped": ["DROP TRIGGER ledger_keeps_all ON ledger"],
        "off": ["ALTER TABLE ledger DISABLE TRIGGER ledger_keeps_rows"],
        "weakened": [
            """
            CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RETURN NEW; END $$
            """,
        ],
    },
}
"""Whether it is SQLite -> what somebody does to the triggers."""


def previous(ledger: Store) -> str:
    return ledger.ledger_lines(KEY, limit=2)[1].hash
