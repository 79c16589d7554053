"""The Store's part that keeps each alias's one-writer row."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, Hold
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.promotion import FollowUp, Promotion
from champion_gate.store import aliases, promotions
from champion_gate.store.sql_base import SqlBase, append


class SqlAliases(SqlBase):
    """The one-writer row of each alias."""

    def lock_alias(self, key: AliasKey, at: datetime, lease_seconds: float) -> AliasLock | None:
        """Take the one-writer row with a higher fence; None while another holds it."""
        with self._write() as connection:
            return aliases.lock(connection, key, at, lease_seconds, self._token())

    def check_fence(self, lock: AliasLock, at: datetime) -> None:
        """Raise LeaseLostError unless this is still the holder and its lease still runs."""
        with self._read() as connection:
            aliases.check_fence(connection, lock, at)

    def begin_alias_change(
        self, lock: AliasLock, intent: AliasIntent, at: datetime, lease_seconds: float
    ) -> AliasLock:
        """Commit the intent before the registry is called, and lease the row anew; raises LeaseLostError."""
        with self._write() as connection:
            return aliases.begin(connection, lock, intent, at, lease_seconds)

    def finish_alias_change(
        self,
        lock: AliasLock,
        at: datetime,
        *,
        known_version: str | None,
        ledger: Sequence[LedgerEntry] = (),
        promotion: Promotion | None = None,
        follow_ups: Sequence[FollowUp] = (),
        hold: Hold | None = None,
        dropped: AliasIntent | None = None,
    ) -> AliasLock:
        """Clear the intent and store where the alias stands, with all that goes with it, or nothing.

        A write that was `dropped` is remembered with those before it until none of them can arrive any more.

        Raises:
            LeaseLostError: the fence, or the promotion's lease, is lost.
            ConflictError: the promotion's phase cannot follow the stored one.
        """
        with self._write() as connection:
            finished = aliases.finish(connection, lock, at, known_version, hold=hold, dropped=dropped)
            if promotion is not None:
                promotions.save(connection, promotion, at, release=False)
            append(connection, ledger, follow_ups)
            return finished

    def set_hold(
        self, lock: AliasLock, at: datetime, hold: Hold | None, *, ledger: Sequence[LedgerEntry] = ()
    ) -> AliasLock:
        """Place a hold, or with None release it and hint all that wait; raises LeaseLostError."""
        with self._write() as connection:
            held = aliases.set_hold(connection, lock, at, hold)
            if hold is None:
                promotions.hint_open(connection, lock.key, at)
            append(connection, ledger, ())
            return held

    def unlock_alias(self, lock: AliasLock) -> None:
        """Give the row back; nothing if it is lost already."""
        with self._write() as connection:
            aliases.unlock(connection, lock)

    def known_alias(self, key: AliasKey) -> AliasLock | None:
        """The row as it is, without taking it; None if nobody ever did."""
        with self._read() as connection:
            return aliases.find(connection, key)
