"""The ledger edited by hand in the database, on SQLite and PostgreSQL: what shows, and by what it shows.

Whoever edits here is careful: the triggers that keep the rows are put back afterwards.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, text

from champion_gate.domain.ledger.chain import GENESIS, NotedHead, chain, chain_hash, read_body
from champion_gate.domain.ledger.export import check_part, read_jsonl, write_jsonl
from champion_gate.domain.ledger.receipt import read_receipt, receipt_of
from champion_gate.domain.ledger.receipt_check import check_receipt
from champion_gate.errors import ConflictError
from champion_gate.store import Store
from champion_gate.store.engine import Database
from integration.store_samples import T0, append_ledger, entry
from ledger_samples import change_entry, decision_entry, promoted

pytestmark = pytest.mark.part("rest", "postgresql")

pytest_plugins = ("integration.store_fixtures",)

PROMOTED = promoted()
COLUMNS = ("number", "kind", "registry", "model", "alias", "promotion_id", "body", "previous_hash", "hash")


@pytest.fixture
def ledger(store: Store) -> Store:
    """Six lines: the second is a decision, the fourth the change that it led to."""
    entries = [entry(f"line {number}", promotion_id="p-0") for number in range(1, 7)]
    entries[1], entries[3] = decision_entry(PROMOTED), change_entry(PROMOTED)
    append_ledger(store, entries)
    return store


@contextmanager
def by_hand(database_url: str) -> Iterator[Connection]:
    """A SQL prompt with the ledger's triggers out of the way; they are back when the block ends."""
    database = Database(database_url)
    try:
        with database.write() as connection:
            if database.is_sqlite:
                found = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'"
                triggers = connection.execute(text(found)).all()
                for name, _ in triggers:
                    connection.exec_driver_sql(f"DROP TRIGGER {name}")
                yield connection
                for _, sql in triggers:
                    connection.exec_driver_sql(sql)
            else:
                connection.execute(text("ALTER TABLE ledger DISABLE TRIGGER USER"))
                yield connection
                connection.execute(text("ALTER TABLE ledger ENABLE TRIGGER USER"))
    finally:
        database.close()


def run(connection: Connection, *statements: str, **values: object) -> None:
    for statement in statements:
        connection.execute(text(statement), values)


def edit_body(connection: Connection, number: int, old: str, new: str, *, recompute: bool) -> None:
    row = connection.execute(text("SELECT * FROM ledger WHERE number = :n"), {"n": number}).one()
    assert old in row.body
    body = row.body.replace(old, new)
    digest = chain_hash(row.previous_hash, body) if recompute else row.hash
    run(connection, "UPDATE ledger SET body = :b, hash = :h WHERE number = :n", b=body, h=digest, n=number)


def rewrite(connection: Connection, first: int, changes: dict[int, dict[str, object]], last: int = 6) -> None:
    """The whole chain made anew from a line on, with columns and head to fit: what a forger would do."""
    rows = connection.execute(text("SELECT * FROM ledger ORDER BY number")).mappings().all()
    previous = GENESIS if first == 1 else rows[first - 2]["hash"]
    run(connection, "DELETE FROM ledger WHERE number >= :n", n=first)
    for row in rows[first - 1 : last]:
        changed = replace(read_body(row["body"]), **changes.get(row["number"], {}))  # type: ignore[arg-type]
        line = chain(row["number"], previous, changed)
        insert(connection, {**row, "body": line.body, "previous_hash": previous, "hash": line.hash})
        previous = line.hash
    run(connection, "UPDATE ledger_head SET number = :n, hash = :h", n=last, h=previous)


def insert(connection: Connection, row: dict[str, object]) -> None:
    names = ", ".join(f":{name}" for name in COLUMNS)
    run(connection, f"INSERT INTO ledger ({', '.join(COLUMNS)}) VALUES ({names})", **row)


def insert_forged(connection: Connection, number: int, *, own_hash: str | None = None) -> None:
    """A line of the forger's own after the one before `number`."""
    before = connection.execute(
        text("SELECT hash FROM ledger WHERE number = :n"), {"n": number - 1}
    ).scalar_one()
    forged = entry("forged", promotion_id="p-0")
    line = chain(number, before, forged)
    row = {
        "number": number,
        "kind": forged.kind.value,
        "registry": forged.registry,
        "model": forged.model,
        "alias": forged.alias,
        "promotion_id": "p-0",
        "body": line.body,
        "previous_hash": own_hash or before,
        "hash": line.hash,
    }
    insert(connection, row)


def shift(connection: Connection, first: int, by: int) -> None:
    run(
        connection,
        "UPDATE ledger SET number = -number - 100 WHERE number >= :f",
        "UPDATE ledger SET number = -number - 100 + :by WHERE number < 0",
        f=first,
        by=by,
    )


def swap(connection: Connection, one: int, other: int) -> None:
    run(
        connection,
        "UPDATE ledger SET number = -1 WHERE number = :one",
        "UPDATE ledger SET number = :one WHERE number = :other",
        "UPDATE ledger SET number = :other WHERE number = -1",
        one=one,
        other=other,
    )


def swap_texts(connection: Connection, one: int, other: int) -> None:
    """Only what two lines say, each with a hash that fits where it now stands."""
    query = text("SELECT body, previous_hash FROM ledger WHERE number = :n")
    rows = {number: connection.execute(query, {"n": number}).one() for number in (one, other)}
    for here, there in ((one, other), (other, one)):
        body, previous = rows[there].body, rows[here].previous_hash
        run(
            connection,
            "UPDATE ledger SET body = :b, hash = :h WHERE number = :n",
            b=body,
            h=chain_hash(previous, body),
            n=here,
        )


def sql(*statements: str) -> Callable[[Connection], None]:
    return lambda connection: run(connection, *statements)


def in_turn(*attacks: Callable[[Connection], None]) -> Callable[[Connection], None]:
    def attack(connection: Connection) -> None:
        for each in attacks:
            each(connection)

    return attack


def insert_in_the_middle(connection: Connection) -> None:
    shift(connection, 4, 1)
    insert_forged(connection, 4, own_hash="e" * 64)


NOTICED: dict[str, tuple[Callable[[Connection], None], str]] = {
    "a text": (lambda c: edit_body(c, 3, "ann", "eve", recompute=False), "Line 3 .* edited"),
    "a text, with its hash": (
        lambda c: edit_body(c, 3, "ann", "eve", recompute=True),
        "Line 4 .* does not follow",
    ),
    "the last text, with its hash": (
        lambda c: edit_body(c, 6, "ann", "eve", recompute=True),
        "Line 6 .* not the one that was appended last",
    ),
    "white space in a text": (lambda c: edit_body(c, 2, "{", "{ ", recompute=False), "Line 2 .* edited"),
    "a hash": (sql(f"UPDATE ledger SET hash = '{'a' * 64}' WHERE number = 3"), "Line 3 .* edited"),
    "the last hash": (sql(f"UPDATE ledger SET hash = '{'a' * 64}' WHERE number = 6"), "Line 6 .* edited"),
    "a previous hash": (
        sql(f"UPDATE ledger SET previous_hash = '{'a' * 64}' WHERE number = 3"),
        "Line 3 .* does not follow",
    ),
    "the first previous hash": (
        sql(f"UPDATE ledger SET previous_hash = '{'a' * 64}' WHERE number = 1"),
        "Line 1 .* does not follow",
    ),
    "a kind": (sql("UPDATE ledger SET kind = 'hold' WHERE number = 2"), "Line 2 .* edited"),
    "a registry": (sql("UPDATE ledger SET registry = 'x' WHERE number = 2"), "Line 2 .* edited"),
    "a model": (sql("UPDATE ledger SET model = 'x' WHERE number = 2"), "Line 2 .* edited"),
    "an alias": (sql("UPDATE ledger SET alias = 'x' WHERE number = 2"), "Line 2 .* edited"),
    "a promotion": (sql("UPDATE ledger SET promotion_id = 'p-9' WHERE number = 2"), "Line 2 .* edited"),
    "no promotion": (sql("UPDATE ledger SET promotion_id = NULL WHERE number = 2"), "Line 2 .* edited"),
    "the first row removed": (sql("DELETE FROM ledger WHERE number = 1"), "Line 1 .* missing"),
    "a row removed": (sql("DELETE FROM ledger WHERE number = 3"), "Line 3 .* missing"),
    "the last row removed": (sql("DELETE FROM ledger WHERE number = 6"), "Line 6 .* missing"),
    "all rows removed": (sql("DELETE FROM ledger"), "Line 1 .* missing"),
    "a row removed and the rest renumbered": (
        in_turn(sql("DELETE FROM ledger WHERE number = 3"), lambda c: shift(c, 4, -1)),
        "Line 3 .* does not follow",
    ),
    "the first row removed and the rest renumbered": (
        in_turn(sql("DELETE FROM ledger WHERE number = 1"), lambda c: shift(c, 2, -1)),
        "Line 1 .* does not follow",
    ),
    "two rows swapped": (lambda c: swap(c, 2, 3), "Line 2 .* does not follow"),
    "two rows far apart swapped": (lambda c: swap(c, 1, 6), "Line 1 .* does not follow"),
    "two texts swapped": (lambda c: swap_texts(c, 3, 5), "Line 3 .* edited|Line 4 .* does not follow"),
    "a row inserted": (insert_in_the_middle, "Line 4 .* does not follow"),
    "a row appended": (lambda c: insert_forged(c, 7), "Line 7 .* was not appended by the service"),
    "all renumbered": (lambda c: shift(c, 1, 1), "Line 1 .* missing"),
    "the last one renumbered": (lambda c: shift(c, 6, 1), "Line 6 .* missing"),
    "a row numbered zero": (sql("UPDATE ledger SET number = 0 WHERE number = 1"), "Line 1 .* missing"),
    "the head's hash": (sql(f"UPDATE ledger_head SET hash = '{'a' * 64}'"), "Line 6 .* appended last"),
    "the head's number": (sql("UPDATE ledger_head SET number = 7"), "Line 7 .* missing"),
    "a lower head": (sql("UPDATE ledger_head SET number = 5"), "Line 6 .* was not appended by the service"),
    "the head removed": (sql("DELETE FROM ledger_head"), "head is missing"),
    "a second head": (
        sql(f"INSERT INTO ledger_head (id, number, hash) VALUES (2, 6, '{'a' * 64}')"),
        "a head that the service did not make",
    ),
    "rewritten from a line on, but for the head": (
        in_turn(lambda c: rewrite(c, 3, {3: {"actor": "eve"}}), sql("UPDATE ledger_head SET hash = 'old'")),
        "Line 6 .* not the one that was appended last",
    ),
}


@pytest.mark.parametrize("name", NOTICED)
def test_verify_notices(name: str, ledger: Store, database_url: str) -> None:
    attack, complaint = NOTICED[name]
    assert ledger.verify_ledger() == 6
    with by_hand(database_url) as connection:
        attack(connection)
    with pytest.raises(ConflictError, match=complaint):
        ledger.verify_ledger()


def test_triggers_that_were_put_back_as_they_were_are_no_complaint(ledger: Store, database_url: str) -> None:
    with by_hand(database_url):
        pass
    assert ledger.verify_ledger() == 6


# --- what only a copy of the head shows -------------------------------------------------------------------

UNNOTICED: dict[str, tuple[Callable[[Connection], None], int]] = {
    "the tail cut together with the head": (lambda c: rewrite(c, 5, {}, last=4), 4),
    "the whole chain rewritten": (lambda c: rewrite(c, 1, {1: {"actor": "eve"}}), 6),
    "the chain rewritten from a line on": (lambda c: rewrite(c, 4, {4: {"actor": "eve"}}), 6),
    "the last line rewritten": (lambda c: rewrite(c, 6, {6: {"actor": "eve"}}), 6),
    "a line of the promotion rewritten": (
        lambda c: rewrite(c, 2, {2: {"facts": {**decision_entry(PROMOTED).facts, "version": "3"}}}),
        6,
    ),
}


def receipt_now(store: Store) -> bytes:
    lines = store.ledger_lines(promotion_id=PROMOTED.id, limit=None)
    return json.dumps(receipt_of(PROMOTED, lines, store.ledger_head(), T0)).encode()


@pytest.mark.parametrize("name", UNNOTICED)
def test_a_forgery_of_the_whole_rest_shows_by_a_noted_head_and_by_a_receipt(
    name: str, ledger: Store, database_url: str
) -> None:
    head = ledger.ledger_head()
    noted = NotedHead(head.number, head.hash)
    sent = receipt_now(ledger)
    check_part(ledger.ledger_export(), noted)
    assert check_receipt(read_receipt(sent), ledger.ledger_export()).problems == ()
    attack, left = UNNOTICED[name]
    with by_hand(database_url) as connection:
        attack(connection)
    assert ledger.verify_ledger() == left, "the chain alone shows nothing"
    assert check_part(ledger.ledger_export()).head.number == left
    for each in (noted, NotedHead(None, head.hash)):
        with pytest.raises(ConflictError, match="rewritten or cut since"):
            check_part(ledger.ledger_export(), each)
    assert check_receipt(read_receipt(sent), ledger.ledger_export()).problems
    append_ledger(ledger, [entry("life goes on")] * 3)
    with pytest.raises(ConflictError, match="rewritten or cut since"):
        check_part(ledger.ledger_export(), noted)


def test_what_a_forger_appends_with_a_fitting_head_shows_nowhere(ledger: Store, database_url: str) -> None:
    """The chain proves that nothing was changed since it was written, not that what was written was true."""
    head = ledger.ledger_head()
    with by_hand(database_url) as connection:
        insert_forged(connection, 7)
        run(
            connection, "UPDATE ledger_head SET number = 7, hash = (SELECT hash FROM ledger WHERE number = 7)"
        )
    assert ledger.verify_ledger() == 7
    assert check_part(ledger.ledger_export(), NotedHead(head.number, head.hash)).head.number == 7


# --- an export is what the database holds -------------------------------------------------------------------


def test_an_export_of_the_database_is_verified_without_it(ledger: Store) -> None:
    export = "".join(write_jsonl(ledger.ledger_export())).encode()
    part = check_part(read_jsonl(io.BytesIO(export)))
    assert (part.lines, part.head) == (6, ledger.ledger_head())


IN_AN_EXPORT = (
    "a text",
    "a text, with its hash",
    "white space in a text",
    "a hash",
    "a previous hash",
    "a row removed",
    "a row removed and the rest renumbered",
    "two rows swapped",
    "two texts swapped",
    "a row inserted",
)


@pytest.mark.parametrize("name", IN_AN_EXPORT)
def test_a_broken_chain_shows_in_an_export_too(name: str, ledger: Store, database_url: str) -> None:
    with by_hand(database_url) as connection:
        NOTICED[name][0](connection)
    with pytest.raises(ConflictError, match=r"Line \d of the ledger"):
        check_part(read_jsonl(io.BytesIO("".join(write_jsonl(ledger.ledger_export())).encode())))
