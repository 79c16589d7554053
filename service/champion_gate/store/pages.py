"""Lists in parts: newest first, each part continuing behind the last row of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Row, Select, tuple_

from champion_gate.domain.canonical import utc_text
from champion_gate.domain.names import is_row_id
from champion_gate.domain.rows import Page, read_cursor, write_cursor
from champion_gate.store.values import UtcTime

T = TypeVar("T")

_LONGEST = 500


def page(
    connection: Connection,
    query: Select[Any],
    newest: tuple[Column[datetime], Column[str]],
    *,
    cursor: str | None,
    limit: int,
    load: Callable[[Sequence[Row[Any]]], tuple[T, ...]],
) -> Page[T]:
    """One part of a list. Rows that are added later come before the first part, so no part shifts.

    Args:
        connection: an open transaction.
        query: what to list, without an order.
        newest: the time and the id by which the list is ordered; neither ever changes in a row.
        cursor: from the part before; None for the first.
        limit: rows in this part, 1 to 500; others are brought into that range.
        load: makes values out of rows.

    Raises:
        InvalidInputError: the cursor is not one that we made.
    """
    limit = max(1, min(limit, _LONGEST))
    time, identity = newest
    if cursor is not None:
        query = query.where(
            tuple_(time, identity) < tuple_(*read_cursor(cursor, place_of), types=[UtcTime, identity.type])
        )
    rows = connection.execute(query.order_by(time.desc(), identity.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    if not more:
        return Page(load(rows), None)
    last = [utc_text(getattr(rows[-1], time.name)), getattr(rows[-1], identity.name)]
    return Page(load(rows), write_cursor(last))


def place_of(found: Any) -> tuple[datetime, str]:
    """Time and id out of a cursor; raises as `read_cursor` wants it."""
    time, identity = found
    at = datetime.fromisoformat(time).astimezone(UTC)
    # No other form of the time, nor an object in lieu of the list.
    if found != [utc_text(at), identity] or not is_row_id(identity):
        raise ValueError("this is no place in a list")
    return at, identity
