"""The ledger's rows: appended under a lock on the head, never changed, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, text, update

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import (
    GENESIS,
    ChainedText,
    LedgerEntry,
    LedgerHead,
    LedgerKind,
    LedgerLine,
    break_in_chain,
    chain,
    chain_hash,
    read_body,
    write_body,
)
from champion_gate.domain.ledger.entries import OUTSIDE_SOURCE
from champion_gate.domain.text import storable
from champion_gate.errors import ConflictError
from champion_gate.store.engine import Transactions
from champion_gate.store.releases import let_all_read
from champion_gate.store.tables import ledger, ledger_head

_CHUNK = 500  # rows; a ledger of years must not lie in memory
_HEAD = select(ledger_head).where(ledger_head.c.id == 1)
_LOCKED_HEAD = _HEAD.with_for_update()
_MOVING_HEAD = update(ledger_head).where(ledger_head.c.id == 1)
_APPENDING = insert(ledger)
_UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError)
"""What reading a body raises that is not one that we wrote."""
_HINT = "Somebody has changed the database by hand. Compare it with a backup."

# The triggers that keep the database from changing or deleting a line, as the migrations make them.
_SQLITE = {
    "ledger_keeps_update": "BEFORE UPDATE ON ledger",
    "ledger_keeps_delete": "BEFORE DELETE ON ledger",
    "ledger_keeps_replace": (
        "BEFORE INSERT ON ledger WHEN EXISTS ( SELECT 1 FROM ledger "
        "WHERE number = NEW.number OR previous_hash = NEW.previous_hash OR hash = NEW.hash )"
    ),
}
_SQLITE_ACTION = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
_POSTGRESQL = {
    # tgtype, postgresql.org/docs/current/catalog-pg-trigger.html and pg_trigger.h: 1 each row, 2 before,
    # 8 delete, 16 update, 32 truncate.
    "ledger_keeps_rows": 1 + 2 + 8 + 16,
    "ledger_keeps_all": 2 + 32,
}
_POSTGRESQL_ACTION = "BEGIN RAISE EXCEPTION 'the ledger is append-only'; END"


class Ledger(Transactions):
    """The ledger: appended, read, checked; never changed."""

    def ledger_lines(
        self,
        key: AliasKey | None = None,
        *,
        promotion_id: str | None = None,
        kind: LedgerKind | None = None,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 200,
    ) -> tuple[LedgerLine, ...]:
        """Lines of one alias or of one promotion, newest first.

        Args:
            key: which alias; None: all.
            promotion_id: which promotion; None: all.
            kind: only lines of this kind.
            after: only lines with a higher number.
            before: only lines with a lower number.
            limit: how many at most; None: all there are.

        Raises:
            ConflictError: one of them has been edited. Only `verify_ledger` notices all that can be done.
        """
        query = select(ledger).where(ledger.c.number > after).order_by(ledger.c.number.desc()).limit(limit)
        if key is not None:
            columns: list[ColumnElement[str]] = [ledger.c.registry, ledger.c.model, ledger.c.alias]
            if promotion_id is not None:
                # A promotion has few lines and an alias many: its index, which SQLite would take, knows no expression.
                columns = [column.concat("") for column in columns]
            wanted = (key.registry, key.model, key.alias)
            query = query.where(*(column == value for column, value in zip(columns, wanted, strict=True)))
        if promotion_id is not None:
            query = query.where(ledger.c.promotion_id == promotion_id)
        if kind is not None:
            query = query.where(ledger.c.kind == kind.value)
        if before is not None:
            query = query.where(ledger.c.number < before)
        return tuple(_line(row) for row in self._rows(query))

    def outside_moves(self) -> Mapping[tuple[str, str], int]:
        """How often somebody outside the gate moved which alias: (model, alias) -> moves."""
        moves = ledger.c.kind == LedgerKind.ALIAS_CHANGE.value
        # A reason cannot say this: in JSON its quotes are escaped.
        outside = ledger.c.body.contains(f'"source":"{OUTSIDE_SOURCE}"', autoescape=True)
        counted = (
            select(ledger.c.model, ledger.c.alias, func.count().label("moves"))
            .where(moves, outside)
            .group_by(ledger.c.model, ledger.c.alias)
        )
        return {(row.model, row.alias): row.moves for row in self._rows(counted)}

    def ledger_head(self) -> LedgerHead:
        """The number and hash of the newest line; number 0 and GENESIS where there is none.

        Raises:
            ConflictError: somebody took the head away by hand.
        """
        row = self._row(_HEAD)
        if row is None:
            raise ConflictError("The ledger's head is missing.", hint=_HINT)
        return LedgerHead(row.number, row.hash)

    def ledger_export(self, since: datetime | None = None) -> Iterator[ChainedText]:
        """Every line as it is kept, oldest first and without gaps, from the first one written at `since` or later.

        Several replicas' clocks write here, so a later line may bear an earlier time: it is given out all the same.
        The rows are read in pieces, as of the moment when the first is asked for; a connection is held until
        the last was read or the iterator is closed.
        """
        begun = since is None
        with self._snapshot() as connection:
            for row in _oldest_first(connection):
                begun = begun or _is_since(row.body, since)
                if begun:
                    yield _chained(row)

    def verify_ledger(self) -> int:
        """Recompute the whole chain and return how many lines there are.

        Raises:
            ConflictError: naming the first line that is not as it was written, or saying that the head or a
                trigger is not as it was made.
        """
        previous: ChainedText | None = None
        with self._snapshot() as connection:
            heads = connection.execute(select(ledger_head).order_by(ledger_head.c.id)).all()
            for row in _oldest_first(connection):
                line = _chained(row)
                problem = break_in_chain(previous, line) or _differs_from_body(row)
                if problem is not None:
                    raise ConflictError(problem, hint=_HINT)
                previous = line
            problem = _wrong_head(heads, previous) or _missing_triggers(connection)
            if problem is not None:
                raise ConflictError(problem, hint=_HINT)
        return 0 if previous is None else previous.number


def append_lines(connection: Connection, entries: Sequence[LedgerEntry]) -> None:
    """Append lines in this transaction; the head's row stays locked until it ends."""
    if not entries:
        return
    let_all_read(connection, entries)
    last = connection.execute(_LOCKED_HEAD).one()
    number, previous_hash = last.number, last.hash
    rows = []
    for entry in entries:
        line = chain(number + 1, previous_hash, entry)
        number, previous_hash = line.number, line.hash
        rows.append(_row(line, entry))
    connection.execute(_APPENDING, rows)
    connection.execute(_MOVING_HEAD, {"number": number, "hash": previous_hash})


def _oldest_first(connection: Connection) -> Iterator[Row[Any]]:
    query = select(ledger).order_by(ledger.c.number)
    with connection.execution_options(yield_per=_CHUNK).execute(query) as found:
        yield from found


def _row(line: ChainedText, entry: LedgerEntry) -> dict[str, Any]:
    return {
        "number": line.number,
        "kind": entry.kind.value,
        "registry": entry.registry,
        "model": entry.model,
        "alias": entry.alias,
        "promotion_id": entry.promotion_id,
        "body": line.body,
        "previous_hash": line.previous_hash,
        "hash": line.hash,
    }


def _chained(row: Row[Any]) -> ChainedText:
    return ChainedText(row.number, row.body, row.previous_hash, row.hash)


def _line(row: Row[Any]) -> LedgerLine:
    try:
        if row.hash == chain_hash(row.previous_hash, row.body):
            return LedgerLine(row.number, read_body(row.body), row.previous_hash, row.hash)
    except _UNREADABLE:
        pass
    raise ConflictError(_edited(row.number), hint=_HINT)


def _edited(number: int) -> str:
    return f"Line {number} of the ledger has been edited."


def _is_since(body: str, since: datetime | None) -> bool:
    """Whether a line was written then or later; one that cannot be read may have been."""
    if since is None:
        return True
    try:
        return read_body(body).at >= since
    except _UNREADABLE:
        return True


def _differs_from_body(row: Row[Any]) -> str | None:
    """Why a line is not what we write, although its hash is right."""
    try:
        entry = read_body(row.body)
        as_written = write_body(row.number, entry) == row.body and _columns_agree(row, entry)
    except _UNREADABLE:
        as_written = False
    return None if as_written else _edited(row.number)


def _columns_agree(row: Row[Any], entry: LedgerEntry) -> bool:
    """Whether the columns by which a line is found say what its text says, and its text says words."""
    columns = (row.kind, row.registry, row.model, row.alias, row.promotion_id)
    written = (
        entry.kind.value,
        *map(storable, (entry.registry, entry.model, entry.alias)),
        entry.promotion_id,
    )
    words = (entry.actor, entry.reason)
    return (
        columns == written and all(isinstance(word, str) for word in words) and isinstance(entry.facts, dict)
    )


def _wrong_head(heads: Sequence[Row[Any]], last: ChainedText | None) -> str | None:
    """Why the head is not the end of this chain."""
    if not heads:
        return "The ledger's head is missing."
    if [row.id for row in heads] != [1]:
        return "The ledger has a head that the service did not make."
    number, last_hash = (0, GENESIS) if last is None else (last.number, last.hash)
    if heads[0].number > number:
        return f"Line {number + 1} of the ledger is missing."
    if heads[0].number < number:
        return f"Line {heads[0].number + 1} of the ledger was not appended by the service."
    if heads[0].hash != last_hash:
        return f"Line {number} of the ledger is not the one that was appended last."
    return None


def _missing_triggers(connection: Connection) -> str | None:
    """Which trigger is gone, switched off or weakened; None while all stand as they were made."""
    on_sqlite = connection.dialect.name == "sqlite"
    expected = set(_SQLITE if on_sqlite else _POSTGRESQL)
    missing = sorted(expected - (_on_sqlite(connection) if on_sqlite else _on_postgresql(connection)))
    if not missing:
        return None
    return f"Every line of the ledger is as it was written, but its trigger {missing[0]} is not in force."


def _on_sqlite(connection: Connection) -> set[str]:
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'")
    found = {row.name: " ".join(row.sql.split()) for row in connection.execute(query)}
    return {
        name
        for name, when in _SQLITE.items()
        if found.get(name) == f"CREATE TRIGGER {name} {when} {_SQLITE_ACTION}"
    }


def _on_postgresql(connection: Connection) -> set[str]:
    query = text(
        "SELECT t.tgname, t.tgtype, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE t.tgrelid = 'ledger'::regclass AND t.tgenabled IN ('O', 'A') "
        "AND t.tgqual IS NULL AND t.tgattr = ''::int2vector"
    )
    found = {
        row.tgname: row.tgtype
        for row in connection.execute(query)
        if " ".join(row.prosrc.split()) == _POSTGRESQL_ACTION
    }
    return {name for name, kind in _POSTGRESQL.items() if found.get(name) == kind}
