"""One writer an alias: the only place from which the registry's aliases are changed.

Neither Unity Catalog nor MLflow offers compare-and-set. Among our own writers a leased, fenced row gives
the same; against writers outside the gate a small race remains, and `watch` finds what they did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from champion_gate.core.aliases import AliasIntent, AliasKey, AliasLock
from champion_gate.core.ledger import LedgerEntry, LedgerKind
from champion_gate.core.ports import Clock, ModelRegistry
from champion_gate.core.promotion import FollowUp, Phase, Promotion
from champion_gate.core.store import Store
from champion_gate.errors import ConflictError, LeaseLostError, VendorNotFoundError, VendorRefusedError

LEASE_SECONDS = 90.0
"""Outlasts the total deadline of the registry's write (60 s)."""

OUTSIDE = "outside champion-gate"

_log = logging.getLogger(__name__)


class AliasBusyError(ConflictError):
    """Another writer holds the alias; it lets go within the lease."""

    code = "alias_busy"
    retryable = True


@dataclass(frozen=True)
class Ending:
    """How an approved promotion ended: PROMOTED or STALE, and why."""

    phase: Phase
    reason: str


class AliasWriter:
    """Carries approved changes out, and records those made by others."""

    def __init__(self, *, store: Store, registry: ModelRegistry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    def apply(
        self,
        promotion: Promotion,
        *,
        stale_because: str | None,
        end: Callable[[Promotion, Phase, str], tuple[Promotion, list[FollowUp]]],
    ) -> Promotion:
        """Spend an approval: set the alias once, or end the promotion as stale.

        Args:
            promotion: taken, in phase `approved`.
            stale_because: a reason known beforehand for which the approval no longer counts.
            end: makes the ended promotion and its follow-ups out of phase and reason.

        Returns:
            The promotion as stored, its lease still held.

        Raises:
            AliasBusyError: another writer is at work.
            VendorError: the registry did not answer or refused; a begun write stays on record.
        """
        lock = self._lock(promotion.alias_key)
        try:
            return self._apply_locked(lock, promotion, stale_because, end)
        finally:
            self._store.unlock_alias(lock)

    def watch(self, key: AliasKey) -> None:
        """Compare the alias with where it was last seen, and put a move made by others into the ledger.

        An unfinished write of ours is left to the promotion that began it, until that has given up.
        """
        known = self._store.known_alias(key)
        current = self._registry.get_alias(key.model, key.alias)
        if known is not None and known.intent is None and known.seen and known.known_version == current:
            return
        if known is not None and self._is_its_writers(known.intent):
            return
        lock = self._store.lock_alias(key, self._clock.now(), LEASE_SECONDS)
        if lock is None:
            return
        try:
            if not self._is_its_writers(lock.intent):
                current = self._registry.get_alias(key.model, key.alias)
                self._settle(lock, current, may_send=lambda _intent: False)
        finally:
            self._store.unlock_alias(lock)

    def _lock(self, key: AliasKey) -> AliasLock:
        lock = self._store.lock_alias(key, self._clock.now(), LEASE_SECONDS)
        if lock is None:
            raise AliasBusyError(f"Another change of {key.model}@{key.alias} is under way.")
        return lock

    def _apply_locked(
        self,
        lock: AliasLock,
        promotion: Promotion,
        stale_because: str | None,
        end: Callable[[Promotion, Phase, str], tuple[Promotion, list[FollowUp]]],
    ) -> Promotion:
        current = self._registry.get_alias(promotion.model, promotion.alias)
        lock = self._settle(
            lock, current, may_send=lambda intent: self._may_send(intent, promotion, stale_because)
        )
        current = lock.known_version
        ending = self._ending_on_record(promotion) or self._stale(promotion, current, stale_because)
        if ending is not None:
            ended, follow_ups = end(promotion, ending.phase, ending.reason)
            now = self._clock.now()
            return self._store.save_promotion(ended, now, ledger=(), follow_ups=follow_ups)
        intent = self._intent(lock, promotion)
        lock = self._store.begin_alias_change(lock, intent, self._clock.now(), LEASE_SECONDS)
        return self._write_and_record(lock, intent, promotion, end)

    def _ending_on_record(self, promotion: Promotion) -> Ending | None:
        """What the ledger says of this promotion: an approval is spent once, whoever finished the write."""
        for line in self._store.ledger_lines(promotion.alias_key, promotion_id=promotion.id):
            if line.entry.kind is not LedgerKind.ALIAS_CHANGE:
                continue
            if line.entry.facts.get("source") == "promotion":
                return Ending(Phase.PROMOTED, _promoted(promotion))
            return Ending(Phase.STALE, line.entry.reason)
        return None

    def _stale(self, promotion: Promotion, current: str | None, known_reason: str | None) -> Ending | None:
        if known_reason is not None:
            return Ending(Phase.STALE, known_reason)
        if current != promotion.champion_version:
            return Ending(Phase.STALE, moved_under(promotion, current))
        reason = self.version_changed(promotion)
        return Ending(Phase.STALE, reason) if reason else None

    def version_changed(self, promotion: Promotion) -> str | None:
        """Why the version is no longer the one that was asked for; None if it is."""
        try:
            version = self._registry.get_version(promotion.model, promotion.version.version)
        except VendorNotFoundError:
            return f"{promotion.model} v{promotion.version.version} is gone from the registry, or hidden from us."
        if not version.same_as(promotion.version):
            return (
                f"{promotion.model} v{version.version} is another version now than the one approval was asked for: "
                "its id, run or source has changed."
            )
        if version.status != promotion.version.status:
            return f"{promotion.model} v{version.version} is {version.status.value} now, no longer ready."
        return None

    def _intent(self, lock: AliasLock, promotion: Promotion) -> AliasIntent:
        decision = promotion.decision
        if decision is None or promotion.phase is not Phase.APPROVED:
            raise ConflictError(f"Promotion {promotion.id} has no approval on record.")
        return AliasIntent(
            from_version=lock.known_version,
            to_version=promotion.version.version,
            fence=lock.fence,
            actor=", ".join(decider.login for decider in decision.deciders),
            reason=f"approved: {decision.reason}",
            promotion_id=promotion.id,
            at=self._clock.now(),
        )

    def _is_its_writers(self, intent: AliasIntent | None) -> bool:
        """Whether this write was begun by somebody who still goes on trying."""
        if intent is None:
            return False
        return (
            intent.promotion_id is None
            or self._store.get_promotion(intent.promotion_id).phase is Phase.APPROVED
        )

    def _may_send(self, intent: AliasIntent, promotion: Promotion, stale_because: str | None) -> bool:
        """Whether a write that never arrived is sent again: in its own promotion's turn, if all is still as approved.

        In another's turn it is dropped, and its promotion begins anew if it may.
        """
        own = intent.promotion_id == promotion.id
        return own and self._stale(promotion, intent.from_version, stale_because) is None

    def _settle(
        self, lock: AliasLock, current: str | None, *, may_send: Callable[[AliasIntent], bool]
    ) -> AliasLock:
        """Finish what an earlier writer began, and record what others did; `known_version` is true after it."""
        intent = lock.intent
        if intent is None:
            return self._record_drift(lock, current)
        if current == intent.to_version:
            return self._finish(lock, current, [_change_entry(lock.key, intent, self._clock)])
        if current == intent.from_version and not may_send(intent):
            return self._finish(lock, current, [])
        if current == intent.from_version:
            lock = self._store.begin_alias_change(
                lock, replace(intent, fence=lock.fence), self._clock.now(), LEASE_SECONDS
            )
            self._send(lock, intent)
            return self._settle_sent(lock, intent)
        return self._finish(lock, current, [self._interrupted(lock, intent, current)])

    def _settle_sent(self, lock: AliasLock, intent: AliasIntent) -> AliasLock:
        current = self._registry.get_alias(lock.key.model, lock.key.alias)
        if current == intent.to_version:
            return self._finish(lock, current, [_change_entry(lock.key, intent, self._clock)])
        return self._finish(lock, current, [self._interrupted(lock, intent, current)])

    def _record_drift(self, lock: AliasLock, current: str | None) -> AliasLock:
        if lock.seen and lock.known_version == current:
            return lock
        before = lock.known_version if lock.seen else None
        if lock.seen:
            reason = f"moved from {_named(before)} to {_named(current)} by somebody outside champion-gate"
        else:
            reason = f"stood on {_named(current)} when champion-gate first looked"
        entry = LedgerEntry(
            kind=LedgerKind.ALIAS_CHANGE,
            registry=lock.key.registry,
            model=lock.key.model,
            alias=lock.key.alias,
            actor=OUTSIDE,
            reason=reason,
            at=self._clock.now(),
            facts={"from": before, "to": current, "source": "outside" if lock.seen else "first_seen"},
        )
        first_look_at_nothing = not lock.seen and current is None
        return self._finish(lock, current, [] if first_look_at_nothing else [entry])

    def _send(self, lock: AliasLock, intent: AliasIntent) -> None:
        self._store.check_fence(lock, self._clock.now())
        key = lock.key
        try:
            if intent.to_version is None:
                self._registry.delete_alias(key.model, key.alias)
            else:
                self._registry.set_alias(key.model, key.alias, intent.to_version)
        except VendorRefusedError:
            # A refusal is an answer: nothing was written, so nobody has to finish it.
            self._finish(lock, intent.from_version, [])
            raise

    def _write_and_record(
        self,
        lock: AliasLock,
        intent: AliasIntent,
        promotion: Promotion,
        end: Callable[[Promotion, Phase, str], tuple[Promotion, list[FollowUp]]],
    ) -> Promotion:
        self._send(lock, intent)
        current = self._registry.get_alias(lock.key.model, lock.key.alias)
        if current == intent.to_version:
            entry = _change_entry(lock.key, intent, self._clock)
            ended, follow_ups = end(promotion, Phase.PROMOTED, _promoted(promotion))
        else:
            entry = self._interrupted(lock, intent, current)
            ended, follow_ups = end(promotion, Phase.STALE, entry.reason)
        now = self._clock.now()
        try:
            self._store.finish_alias_change(
                lock, now, known_version=current, ledger=[entry], promotion=ended, follow_ups=follow_ups
            )
        except LeaseLostError:
            self._store.append_ledger([self._late(lock, intent, current)])
            raise
        return ended

    def _finish(self, lock: AliasLock, current: str | None, entries: list[LedgerEntry]) -> AliasLock:
        for entry in entries:
            _log.info("%s@%s: %s", entry.model, entry.alias, entry.reason)
        return self._store.finish_alias_change(lock, self._clock.now(), known_version=current, ledger=entries)

    def _interrupted(self, lock: AliasLock, intent: AliasIntent, current: str | None) -> LedgerEntry:
        reason = (
            f"while champion-gate was writing {_named(intent.from_version)} -> {_named(intent.to_version)}, "
            f"somebody else put the alias on {_named(current)}; the approval is not used again"
        )
        return _outside_entry(lock.key, intent, current, reason, self._clock)

    def _late(self, lock: AliasLock, intent: AliasIntent, current: str | None) -> LedgerEntry:
        reason = (
            f"a writer that had lost its turn had sent {_named(intent.from_version)} -> "
            f"{_named(intent.to_version)}; the alias then stood on {_named(current)}"
        )
        entry = _outside_entry(lock.key, intent, current, reason, self._clock)
        return replace(entry, promotion_id=None, facts={**entry.facts, "late_promotion": intent.promotion_id})


def moved_under(promotion: Promotion, current: str | None) -> str:
    """Why a promotion is stale whose alias stands elsewhere than when it was asked for."""
    return (
        f"{promotion.model}@{promotion.alias} stands on {_named(current)} now; approval was asked for "
        f"replacing {_named(promotion.champion_version)}. "
        f"To ask afresh: champion-gate promotions retry {promotion.id}"
    )


def _promoted(promotion: Promotion) -> str:
    return (
        f"{promotion.alias} of {promotion.model} moved from {_named(promotion.champion_version)} "
        f"to {_named(promotion.version.version)}"
    )


def _named(version: str | None) -> str:
    return "no version" if version is None else f"v{version}"


def _change_entry(key: AliasKey, intent: AliasIntent, clock: Clock) -> LedgerEntry:
    return LedgerEntry(
        kind=LedgerKind.ALIAS_CHANGE,
        registry=key.registry,
        model=key.model,
        alias=key.alias,
        actor=intent.actor,
        reason=intent.reason,
        at=clock.now(),
        promotion_id=intent.promotion_id,
        facts={"from": intent.from_version, "to": intent.to_version, "source": "promotion"},
    )


def _outside_entry(
    key: AliasKey, intent: AliasIntent, current: str | None, reason: str, clock: Clock
) -> LedgerEntry:
    return LedgerEntry(
        kind=LedgerKind.ALIAS_CHANGE,
        registry=key.registry,
        model=key.model,
        alias=key.alias,
        actor=OUTSIDE,
        reason=reason,
        at=clock.now(),
        promotion_id=intent.promotion_id,
        facts={
            "from": intent.from_version,
            "intended": intent.to_version,
            "to": current,
            "source": "outside",
        },
    )
