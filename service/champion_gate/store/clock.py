"""Whether the clock was set back: then what was planned or begun by it would wait for as long as it was ahead.

An hour's leap ahead looks like an hour's standstill, and is taken for one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from champion_gate.store import aliases, notifications, promotions
from champion_gate.store.tables import clock, follow_ups, gates_seen, resolutions
from champion_gate.store.tables import notifications as notification_rows
from champion_gate.store.tables import promotions as promotion_rows
from champion_gate.store.upsert import upsert

_CLOCKS_DIFFER = timedelta(minutes=1)


def note(connection: Connection, at: datetime) -> timedelta:
    """Note the time; where a later one was noted before, make every open row due, and let nothing have begun later.

    Args:
        connection: an open transaction.
        at: now.

    Returns:
        By how much the clock was set back; zero where it was not, or by no more than replicas' clocks differ.
    """
    noted: datetime | None = connection.scalar(select(clock.c.noted_at).with_for_update())
    insert = upsert(connection, clock).values(id=1, noted_at=at)
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"noted_at": at}))
    if noted is None or noted <= at + _CLOCKS_DIFFER:
        return timedelta()
    for table, open_rows in (
        (notification_rows, (notifications.OPEN,)),
        (promotion_rows, (promotions.OPEN,)),
        (follow_ups, ()),
    ):
        connection.execute(update(table).where(table.c.due_at > at, *open_rows).values(due_at=at))
    for failing in (notification_rows, resolutions, promotion_rows, follow_ups):
        connection.execute(update(failing).where(failing.c.failing_since > at).values(failing_since=at))
    promotions.let_begin_by(connection, at)
    aliases.let_begin_by(connection, at)
    ahead = gates_seen.c.first_seen_at > at
    connection.execute(update(gates_seen).where(ahead).values(first_seen_at=at))
    return noted - at
