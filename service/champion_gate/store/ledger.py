"""The ledger's rows: appended under a lock on the head, never changed, checked as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from champion_gate.core.aliases import AliasKey
from champion_gate.core.ledger import ChainedText, LedgerEntry, LedgerLine, break_in_chain, chain, read_body
from champion_gate.errors import ConflictError
from champion_gate.store.tables import ledger, ledger_head, storable

_CHUNK = 500


def append(connection: Connection, entries: Sequence[LedgerEntry]) -> None:
    """Append lines in this transaction; the head's row stays locked until it ends."""
    if not entries:
        return
    head = connection.execute(select(ledger_head).with_for_update()).one()
    number, previous_hash = head.number, head.hash
    rows = []
    for entry in entries:
        line = chain(number + 1, previous_hash, entry)
        number, previous_hash = line.number, line.hash
        rows.append(_row(line, entry))
    connection.execute(insert(ledger), rows)
    connection.execute(update(ledger_head).values(number=number, hash=previous_hash))


def lines(
    connection: Connection, key: AliasKey | None, promotion_id: str | None, limit: int
) -> tuple[LedgerLine, ...]:
    """Lines of one alias or of one promotion or of all, newest first."""
    query = select(ledger).order_by(ledger.c.number.desc()).limit(limit)
    if key is not None:
        query = query.where(
            ledger.c.registry == key.registry, ledger.c.model == key.model, ledger.c.alias == key.alias
        )
    if promotion_id is not None:
        query = query.where(ledger.c.promotion_id == promotion_id)
    return tuple(
        LedgerLine(row.number, read_body(row.body), row.previous_hash, row.hash)
        for row in connection.execute(query)
    )


def verify(connection: Connection) -> int:
    """Recompute the chain from its beginning and return its length.

    Raises:
        ConflictError: naming the first line that is not as it was written.
    """
    # The head is read first: lines appended by others meanwhile are then beyond it, not missing.
    head = connection.execute(select(ledger_head)).one()
    previous: ChainedText | None = None
    query = select(ledger).order_by(ledger.c.number)
    with connection.execution_options(yield_per=_CHUNK).execute(query) as found:
        for row in found:
            line = ChainedText(row.number, row.body, row.previous_hash, row.hash)
            problem = break_in_chain(previous, line) or _differs_from_body(row)
            if problem is None and line.number == head.number and line.hash != head.hash:
                problem = f"Line {line.number} of the ledger is not the one that was appended last."
            if problem is not None:
                raise ConflictError(problem, hint=_HINT)
            previous = line
    length = 0 if previous is None else previous.number
    if length < head.number:
        raise ConflictError(f"Line {length + 1} of the ledger is missing.", hint=_HINT)
    return length


_HINT = "Somebody has changed the database by hand. Compare it with a backup."


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


def _differs_from_body(row: Row[Any]) -> str | None:
    """Why the columns by which a line is found do not say what its text says."""
    problem = f"Line {row.number} of the ledger has been edited."
    try:
        entry = read_body(row.body)
    except ValueError:
        return problem
    columns = (row.kind, row.registry, row.model, row.alias, row.promotion_id)
    written = (
        entry.kind.value,
        *map(storable, (entry.registry, entry.model, entry.alias)),
        entry.promotion_id,
    )
    return None if columns == written else problem
