"""Lists in parts: newest first, each part continuing behind the last row of the one before."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Row, Select, tuple_

from champion_gate.domain.canonical import utc_text
from champion_gate.domain.rows import Page
from champion_gate.errors import InvalidInputError
from champion_gate.store.values import UtcTime

T = TypeVar("T")

_LONGEST = 500
_IDENTITY = re.compile(r"[a-z0-9-]{1,64}")


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
            tuple_(time, identity) < tuple_(*_read_cursor(cursor), types=[UtcTime, identity.type])
        )
    rows = connection.execute(query.order_by(time.desc(), identity.desc()).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    following = (
        _write_cursor(getattr(rows[-1], time.name), getattr(rows[-1], identity.name)) if more else None
    )
    return Page(load(rows), following)


def _write_cursor(time: datetime, identity: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([utc_text(time), identity]).encode()).decode()


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        time, identity = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        at = datetime.fromisoformat(time).astimezone(UTC)
        # Its own form again, or it was made up: other forms of the time, an object in lieu of the list.
        is_ours = _IDENTITY.fullmatch(identity) is not None and _write_cursor(at, identity) == cursor
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        is_ours = False
    if not is_ours:
        raise InvalidInputError(
            "The cursor cannot be read.", hint="Take it as it was given, or start without one."
        )
    return at, identity
