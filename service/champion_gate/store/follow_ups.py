"""Work that is left after a promotion's step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from champion_gate.domain.promotion import FollowUp
from champion_gate.errors import NotFoundError
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.leases import Leases
from champion_gate.store.tables import follow_ups
from champion_gate.store.values import from_plain, to_json

LEASES = Leases(follow_ups)
_ONE = select(follow_ups).where(follow_ups.c.id == bindparam("row"))
_OF_PROMOTION = (
    select(follow_ups)
    .where(follow_ups.c.promotion_id == bindparam("promotion"))
    .order_by(follow_ups.c.due_at, follow_ups.c.id)
)


class FollowUps(Transactions):
    """Follow-ups and the leases on them."""

    def get_follow_ups(self, promotion_id: str) -> tuple[FollowUp, ...]:
        """Those of a promotion that are not done yet, the first due first."""
        return tuple(_follow_up(row) for row in self._rows(_OF_PROMOTION, promotion=promotion_id))

    def get_follow_up(self, follow_up_id: str) -> FollowUp:
        """One row; raises NotFoundError, also when it is done."""
        row = self._row(_ONE, row=follow_up_id)
        if row is None:
            raise NotFoundError(f"There is no follow-up {follow_up_id}, or it is done.")
        return _follow_up(row)

    def order_follow_up(self, new: FollowUp) -> None:
        """Store one by itself; where its id is there already, that one stays as it is."""
        with self._write() as connection:
            add_follow_ups(connection, [new])

    def take_follow_up(self, follow_up_id: str, at: datetime, lease_seconds: float) -> FollowUp | None:
        """Lease a due one."""
        token = self._token()
        with self._write() as connection:
            row = LEASES.take(connection, follow_up_id, at=at, lease_seconds=lease_seconds, token=token)
        return None if row is None else _follow_up(row)

    def release_follow_up(self, taken: FollowUp, *, done: bool) -> None:
        """Give it back with its retry and due_at, or delete it when it is done.

        Raises:
            LeaseLostError: another holds it.
        """
        is_it = follow_ups.c.id == taken.id
        with self._write() as connection:
            LEASES.held_row(connection, taken)
            if done:
                connection.execute(delete(follow_ups).where(is_it))
                return
            connection.execute(
                update(follow_ups)
                .where(is_it)
                .values(
                    due_at=taken.due_at,
                    **asdict(taken.retry),
                    lease="",
                    lease_until=None,
                )
            )


def add_follow_ups(connection: Connection, new: Sequence[FollowUp]) -> None:
    """Insert them; one whose id is there already stays as it is, because a step may run twice."""
    for follow_up in new:
        insert = upsert(connection, follow_ups).values(
            id=follow_up.id,
            promotion_id=follow_up.promotion_id,
            kind=follow_up.kind.value,
            facts=to_json(follow_up.facts),
            due_at=follow_up.due_at,
            **asdict(follow_up.retry),
        )
        connection.execute(insert.on_conflict_do_nothing(index_elements=["id"]))


def _follow_up(row: Row[Any]) -> FollowUp:
    return from_plain(FollowUp, {**row._asdict(), "facts": json.loads(row.facts), "retry": row._asdict()})
