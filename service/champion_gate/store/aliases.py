"""The one-writer row of each alias: leased, fenced, with the write that was about to happen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, Hold
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step
from champion_gate.errors import ConflictError, LeaseLostError
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.leases import free_at, lease_until
from champion_gate.store.ledger import append_lines
from champion_gate.store.promotions import asks_for, hint, save
from champion_gate.store.releases import let_all_read
from champion_gate.store.steps import add_steps
from champion_gate.store.tables import aliases, promotions
from champion_gate.store.values import from_json, from_plain, to_json


class Aliases(Transactions):
    """The one-writer row of each alias."""

    def lock_alias(self, key: AliasKey, at: datetime, lease_seconds: float) -> AliasLock | None:
        """Take the one-writer row with a higher fence; None while another holds it."""
        lease = {"lease": self._token(), "lease_until": lease_until(at, lease_seconds)}
        with self._write() as connection:
            first = upsert(connection, aliases).values(
                registry=key.registry, model=key.model, alias=key.alias, fence=1, seen=False, **lease
            )
            statement = first.on_conflict_do_update(
                index_elements=["registry", "model", "alias"],
                set_={"fence": aliases.c.fence + 1, **lease},
                where=free_at(aliases, at),
            )
            row = connection.execute(statement.returning(aliases)).one_or_none()
        return None if row is None else _lock(row)

    def check_fence(self, lock: AliasLock, at: datetime) -> None:
        """Raise LeaseLostError unless this is still the holder and its lease still runs."""
        if self._row(select(aliases.c.fence).where(_still_held(lock, at))) is None:
            raise _lost(lock)

    def begin_alias_change(
        self, lock: AliasLock, intent: AliasIntent, at: datetime, lease_seconds: float
    ) -> AliasLock:
        """Commit the intent before the registry is called, and lease the row anew.

        An open one may only be begun again, not replaced by another.

        Raises:
            LeaseLostError: another holds the row, or the lease ran out.
            ConflictError: another write was begun and nobody finished it.
        """
        if intent.fence != lock.fence:
            raise ValueError(f"the intent's fence is {intent.fence}, the lock's {lock.fence}")
        held = select(aliases).where(_still_held(lock, at)).with_for_update()
        until = lease_until(at, lease_seconds)
        with self._write() as connection:
            row = connection.execute(held).one_or_none()
            if row is None:
                raise _lost(lock)
            open_intent = _intent(row)
            if open_intent is not None and _change(open_intent) != _change(intent):
                raise ConflictError(
                    f"An earlier change of {lock.key.model}@{lock.key.alias} is not finished yet."
                )
            let_all_read(connection, intent)
            return _write_row(connection, lock, at, intent=to_json(intent), lease_until=until)

    def finish_alias_change(
        self,
        lock: AliasLock,
        at: datetime,
        *,
        known_version: str | None,
        ledger: Sequence[LedgerEntry] = (),
        promotion: Promotion | None = None,
        steps: Sequence[Step] = (),
        hold: Hold | None = None,
        dropped: AliasIntent | None = None,
        carried_out: bool = False,
        refused: str | None = None,
    ) -> AliasLock:
        """Clear the intent and store where the alias stands, all in one transaction.

        With it go the ledger lines, the promotion (written as by `save_promotion`, its lease kept) and, if
        one is given, a hold that is placed in lieu of the one there may be. A write that was `dropped` is
        remembered with those before it until none of them can arrive any more; one that was carried out shows that
        the registry lets us, and why it does not is what was `refused`. Where the alias stands elsewhere
        than before, the requests for it that wait for people are hinted.

        Raises:
            LeaseLostError: the fence, or the promotion's lease, is lost.
            ConflictError: the promotion's phase cannot follow the stored one.
        """
        placed: dict[str, Any] = {} if hold is None else {"hold": to_json(hold)}
        placed |= {"refused": refused} if carried_out or refused else {}
        given_up = [*lock.dropped, *([] if dropped is None else [dropped])]
        still_to_come = to_json([each for each in given_up if at < each.arrives_before])
        with self._write() as connection:
            let_all_read(connection, hold, dropped)
            finished = _write_row(
                connection,
                lock,
                at,
                intent=None,
                seen=True,
                known_version=known_version,
                dropped=still_to_come,
                **placed,
            )
            if promotion is not None:
                save(connection, promotion, at, release=False)
            if lock.seen and lock.known_version != known_version:
                hint(connection, at, asks_for(lock.key), promotions.c.phase == Phase.PENDING_APPROVAL.value)
            append_lines(connection, ledger)
            add_steps(connection, steps)
            return finished

    def set_hold(
        self, lock: AliasLock, at: datetime, hold: Hold | None, *, ledger: Sequence[LedgerEntry] = ()
    ) -> AliasLock:
        """Place a hold, or with None release the one that stands; raises LeaseLostError.

        With a release every open promotion for the alias is hinted, in the same transaction.
        """
        with self._write() as connection:
            let_all_read(connection, hold)
            held = _write_row(connection, lock, at, hold=None if hold is None else to_json(hold))
            if hold is None:
                hint(connection, at, asks_for(lock.key))
            append_lines(connection, ledger)
            return held

    def note_refusal(self, key: AliasKey, refused: str | None) -> None:
        """Store why the registry does not let us move the alias; None where it does."""
        row = {"registry": key.registry, "model": key.model, "alias": key.alias}
        with self._write() as connection:
            first = upsert(connection, aliases).values(**row, fence=0, seen=False, refused=refused)
            connection.execute(
                first.on_conflict_do_update(index_elements=list(row), set_={"refused": refused})
            )

    def unlock_alias(self, lock: AliasLock) -> None:
        """Give the row back; nothing if it is lost already."""
        with self._write() as connection:
            connection.execute(update(aliases).where(_holder(lock)).values(lease="", lease_until=None))

    def known_alias(self, key: AliasKey) -> AliasLock | None:
        """The row as it is, without taking it; None if nobody ever did."""
        row = self._row(select(aliases).where(_of(key)))
        return None if row is None else _lock(row)

    def known_aliases(self) -> Mapping[AliasKey, AliasLock]:
        """All rows as they are."""
        return {(lock := _lock(row)).key: lock for row in self._rows(select(aliases))}


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


def _change(intent: AliasIntent) -> tuple[str | None, ...]:
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
        refused=row.refused,
    )
