"""The ledger's rows: appended under a lock on the head, never changed, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, insert, select, update

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import (
    GENESIS,
    ChainedText,
    LedgerEntry,
    LedgerHead,
    LedgerLine,
    break_in_chain,
    chain,
    chain_hash,
    read_body,
    write_body,
)
from champion_gate.errors import ConflictError
from champion_gate.store.ledger_triggers import missing_triggers
from champion_gate.store.tables import ledger, ledger_head, storable

_CHUNK = 500
_HEAD = select(ledger_head).where(ledger_head.c.id == 1)
_UNREADABLE = (ValueError, TypeError, AttributeError, RecursionError)
"""What reading a body raises that is not one that we wrote."""
_HINT = "Somebody has changed the database by hand. Compare it with a backup."


def append(connection: Connection, entries: Sequence[LedgerEntry]) -> None:
    """Append lines in this transaction; the head's row stays locked until it ends."""
    if not entries:
        return
    last = connection.execute(_HEAD.with_for_update()).one()
    number, previous_hash = last.number, last.hash
    rows = []
    for entry in entries:
        line = chain(number + 1, previous_hash, entry)
        number, previous_hash = line.number, line.hash
        rows.append(_row(line, entry))
    connection.execute(insert(ledger), rows)
    connection.execute(
        update(ledger_head).where(ledger_head.c.id == 1).values(number=number, hash=previous_hash)
    )


def lines(
    connection: Connection,
    key: AliasKey | None,
    promotion_id: str | None,
    *,
    after: int,
    before: int | None,
    limit: int | None,
) -> tuple[LedgerLine, ...]:
    """Lines of one alias or of one promotion or of all, newest first.

    Raises:
        ConflictError: one of them has been edited. Only `verify` notices all that can be done to the ledger.
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
    if before is not None:
        query = query.where(ledger.c.number < before)
    return tuple(_line(row) for row in connection.execute(query))


def head(connection: Connection) -> LedgerHead:
    """The end of the chain.

    Raises:
        ConflictError: the head's row is gone.
    """
    row = connection.execute(_HEAD).one_or_none()
    if row is None:
        raise ConflictError("The ledger's head is missing.", hint=_HINT)
    return LedgerHead(row.number, row.hash)


def export(connection: Connection, since: datetime | None) -> Iterator[ChainedText]:
    """The lines as they are kept, from the first one that was written at `since` or later, without gaps.

    Several replicas' clocks write here, so a later line may bear an earlier time: it is given out all the same.
    """
    begun = since is None
    for row in _in_chunks(connection, select(ledger).order_by(ledger.c.number)):
        begun = begun or _is_since(row.body, since)
        if begun:
            yield _chained(row)


def verify(connection: Connection) -> int:
    """Recompute the chain from its beginning and return its length.

    Args:
        connection: in a transaction that reads as of one moment.

    Raises:
        ConflictError: naming the first line that is not as it was written, or saying what else was changed.
    """
    heads = connection.execute(select(ledger_head).order_by(ledger_head.c.id)).all()
    previous: ChainedText | None = None
    for row in _in_chunks(connection, select(ledger).order_by(ledger.c.number)):
        line = _chained(row)
        problem = break_in_chain(previous, line) or _differs_from_body(row)
        if problem is not None:
            raise ConflictError(problem, hint=_HINT)
        previous = line
    problem = _wrong_head(heads, previous) or missing_triggers(connection)
    if problem is not None:
        raise ConflictError(problem, hint=_HINT)
    return 0 if previous is None else previous.number


def _in_chunks(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
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
