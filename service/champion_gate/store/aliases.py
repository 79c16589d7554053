"""The one-writer row of each alias: leased, fenced, with the write that was about to happen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, Hold
from champion_gate.errors import ConflictError, LeaseLostError
from champion_gate.store.leases import free_at, lease_until
from champion_gate.store.tables import aliases
from champion_gate.store.upsert import upsert
from champion_gate.store.values import from_json, from_plain, to_json


def lock(
    connection: Connection, key: AliasKey, at: datetime, lease_seconds: float, token: str
) -> AliasLock | None:
    """Take the row with a higher fence; None while another holds it."""
    lease = {"lease": token, "lease_until": lease_until(at, lease_seconds)}
    statement = upsert(connection, aliases).values(
        registry=key.registry, model=key.model, alias=key.alias, fence=1, seen=False, **lease
    )
    row = connection.execute(
        statement.on_conflict_do_update(
            index_elements=["registry", "model", "alias"],
            set_={"fence": aliases.c.fence + 1, **lease},
            where=free_at(aliases, at),
        ).returning(aliases)
    ).one_or_none()
    return None if row is None else _lock(row)


def check_fence(connection: Connection, held: AliasLock, at: datetime) -> None:
    """Raise LeaseLostError unless this is still the holder and its lease still runs."""
    if connection.scalar(select(aliases.c.fence).where(_still_held(held, at))) is None:
        raise _lost(held)


def begin(
    connection: Connection, held: AliasLock, intent: AliasIntent, at: datetime, lease_seconds: float
) -> AliasLock:
    """Write the intent, and lease the row anew: the registry's write is about to begin. An open one may only be begun again, not replaced by another.

    Raises:
        LeaseLostError: another holds the row, or the lease ran out.
        ConflictError: another write was begun and nobody finished it.
    """
    if intent.fence != held.fence:
        raise ValueError(f"the intent's fence is {intent.fence}, the lock's {held.fence}")
    row = connection.execute(select(aliases).where(_still_held(held, at)).with_for_update()).one_or_none()
    if row is None:
        raise _lost(held)
    open_intent = _intent(row)
    if open_intent is not None and _write(open_intent) != _write(intent):
        raise ConflictError(f"An earlier change of {held.key.model}@{held.key.alias} is not finished yet.")
    return _write_row(
        connection, held, at, intent=to_json(intent), lease_until=lease_until(at, lease_seconds)
    )


def finish(
    connection: Connection,
    held: AliasLock,
    at: datetime,
    known_version: str | None,
    *,
    hold: Hold | None,
    dropped: AliasIntent | None,
) -> AliasLock:
    """Clear the intent and store where the alias stands, what may arrive late, and a hold if there is a new one.

    Raises:
        LeaseLostError: another holds the row, or the lease ran out.
    """
    values: dict[str, Any] = {} if hold is None else {"hold": to_json(hold)}
    given_up = (*held.dropped, *(() if dropped is None else (dropped,)))
    values["dropped"] = to_json([each for each in given_up if at < each.arrives_before])
    return _write_row(connection, held, at, intent=None, seen=True, known_version=known_version, **values)


def set_hold(connection: Connection, held: AliasLock, at: datetime, hold: Hold | None) -> AliasLock:
    """Place or release a hold; raises LeaseLostError."""
    return _write_row(connection, held, at, hold=None if hold is None else to_json(hold))


def unlock(connection: Connection, held: AliasLock) -> None:
    """Give the row back; nothing if it is lost already."""
    connection.execute(update(aliases).where(_holder(held)).values(lease="", lease_until=None))


def let_begin_by(connection: Connection, at: datetime) -> None:
    """Let no write whose outcome is not known have been sent later than now: the clock was ahead then."""
    unsettled = or_(aliases.c.intent.is_not(None), aliases.c.dropped.is_not(None))
    for row in connection.execute(select(aliases).where(unsettled).with_for_update()).all():
        lock = _lock(row)
        intent = None if lock.intent is None else to_json(_sent_by(lock.intent, at))
        dropped = to_json([_sent_by(each, at) for each in lock.dropped])
        connection.execute(update(aliases).where(_of(lock.key)).values(intent=intent, dropped=dropped))


def _sent_by(intent: AliasIntent, at: datetime) -> AliasIntent:
    return replace(intent, at=min(intent.at, at), sent_at=intent.sent_at and min(intent.sent_at, at))


def find(connection: Connection, key: AliasKey) -> AliasLock | None:
    """The row as it is."""
    row = connection.execute(select(aliases).where(_of(key))).one_or_none()
    return None if row is None else _lock(row)


def _write_row(connection: Connection, held: AliasLock, at: datetime, **values: Any) -> AliasLock:
    row = connection.execute(
        update(aliases).where(_still_held(held, at)).values(**values).returning(aliases)
    ).one_or_none()
    if row is None:
        raise _lost(held)
    return _lock(row)


def _of(key: AliasKey) -> ColumnElement[bool]:
    return and_(
        aliases.c.registry == key.registry, aliases.c.model == key.model, aliases.c.alias == key.alias
    )


def _holder(held: AliasLock) -> ColumnElement[bool]:
    return and_(
        _of(held.key), aliases.c.fence == held.fence, aliases.c.lease == held.lease, aliases.c.lease != ""
    )


def _still_held(held: AliasLock, at: datetime) -> ColumnElement[bool]:
    return and_(_holder(held), aliases.c.lease_until > at)


def _write(intent: AliasIntent) -> tuple[str | None, ...]:
    return intent.from_version, intent.to_version, intent.promotion_id, intent.source, intent.actor


def _lost(held: AliasLock) -> LeaseLostError:
    return LeaseLostError(f"The lock on {held.key.model}@{held.key.alias} is lost.")


def _intent(row: Row[Any]) -> AliasIntent | None:
    return None if row.intent is None else from_json(AliasIntent, row.intent)


def _dropped(text: str | None) -> tuple[AliasIntent, ...]:
    return tuple(from_plain(AliasIntent, each) for each in json.loads(text or "[]"))


def _lock(row: Row[Any]) -> AliasLock:
    return AliasLock(
        key=AliasKey(row.registry, row.model, row.alias),
        fence=row.fence,
        lease=row.lease,
        seen=row.seen,
        known_version=row.known_version,
        intent=_intent(row),
        hold=None if row.hold is None else from_json(Hold, row.hold),
        dropped=_dropped(row.dropped),
    )
