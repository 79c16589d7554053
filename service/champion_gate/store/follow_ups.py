"""Work that is left after a promotion's step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update

from champion_gate.domain.promotion import FollowUp, FollowUpKind
from champion_gate.errors import NotFoundError
from champion_gate.store import leases
from champion_gate.store.tables import follow_ups
from champion_gate.store.upsert import upsert
from champion_gate.store.values import from_json, to_json


def add(connection: Connection, new: Sequence[FollowUp]) -> None:
    """Insert them; one whose id is there already stays as it is, because a step may run twice."""
    for follow_up in new:
        insert = upsert(connection, follow_ups).values(
            id=follow_up.id,
            promotion_id=follow_up.promotion_id,
            kind=follow_up.kind.value,
            facts=to_json(follow_up.facts),
            due_at=follow_up.due_at,
            attempts=follow_up.attempts,
            failing_since=follow_up.failing_since,
            last_error=follow_up.last_error,
        )
        connection.execute(insert.on_conflict_do_nothing(index_elements=["id"]))


def of_promotion(connection: Connection, promotion_id: str) -> tuple[FollowUp, ...]:
    """Those that are not done yet, the first due first."""
    query = select(follow_ups).where(follow_ups.c.promotion_id == promotion_id)
    rows = connection.execute(query.order_by(follow_ups.c.due_at, follow_ups.c.id))
    return tuple(_follow_up(row) for row in rows)


def find(connection: Connection, follow_up_id: str) -> FollowUp:
    """One that is not done yet; raises NotFoundError."""
    row = connection.execute(select(follow_ups).where(follow_ups.c.id == follow_up_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no follow-up {follow_up_id}, or it is done.")
    return _follow_up(row)


def take(
    connection: Connection, follow_up_id: str, at: datetime, lease_seconds: float, token: str
) -> FollowUp | None:
    """Lease a due one."""
    row = leases.take(connection, follow_ups, follow_up_id, at=at, lease_seconds=lease_seconds, token=token)
    return None if row is None else _follow_up(row)


def release(connection: Connection, taken: FollowUp, *, done: bool) -> None:
    """Delete it if it is done, else write when to try again and give it back; raises LeaseLostError."""
    leases.held_row(connection, follow_ups, taken.id, taken.lease)
    if done:
        connection.execute(delete(follow_ups).where(follow_ups.c.id == taken.id))
        return
    connection.execute(
        update(follow_ups)
        .where(follow_ups.c.id == taken.id)
        .values(
            due_at=taken.due_at,
            attempts=taken.attempts,
            failing_since=taken.failing_since,
            last_error=taken.last_error,
            lease="",
            lease_until=None,
        )
    )


def _follow_up(row: Row[Any]) -> FollowUp:
    return FollowUp(
        id=row.id,
        promotion_id=row.promotion_id,
        kind=FollowUpKind(row.kind),
        facts=from_json(dict[str, str], row.facts),
        due_at=row.due_at,
        attempts=row.attempts,
        failing_since=row.failing_since,
        last_error=row.last_error,
        lease=row.lease,
    )
