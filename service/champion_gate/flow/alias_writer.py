"""One writer an alias: the only place from which the registry's aliases are changed.

Neither Unity Catalog nor MLflow offers compare-and-set. Among our own writers a leased, fenced row gives
the same; against writers outside the gate a small race remains, and the sweep finds what they did.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, ChangeSource, Hold
from champion_gate.domain.drift import (
    LOOKED_UP,
    NOT_CONFIGURED,
    NOT_RECORDED,
    identified,
    steps_of_drift,
)
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.ledger.entries import (
    change_entry,
    drift_entry,
    hold_entry,
    interrupted_entry,
    is_drift,
    late_entry,
    named,
)
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step
from champion_gate.domain.values import UNITY_CATALOG
from champion_gate.errors import (
    ConflictError,
    ForbiddenError,
    LeaseLostError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate.flow.after import steps_after
from champion_gate.flow.context import Context
from champion_gate.flow.notices import NoticePlans

_SENDS = 2  # once more where the registry does not show the write; then the worker tries later

_log = logging.getLogger(__name__)


class AliasBusyError(ConflictError):
    """Another writer holds the alias; it lets go within the lease."""

    code = "alias_busy"
    retryable = True
    longest_pause = 10.0


@dataclass(frozen=True)
class Settled:
    """The alias's row in our hands: nothing unfinished is left, and `lock.known_version` is true.

    Attributes:
        finished: a change that an earlier writer had begun, and that was found carried out just now.
        at_once: whether one look showed it: nothing was waited for, recorded or written.
    """

    lock: AliasLock
    finished: AliasIntent | None = None
    at_once: bool = False


@dataclass(frozen=True)
class Sent:
    """A write that has gone out and been looked for; what came of it is not on record yet.

    Attributes:
        lock: held, with the intent on record.
        stands: where the alias stands now.
        lost: the ledger's line where that is not where it was put, which another may have chosen; else None.
        earlier: the same write as another sent it before, who may be frozen: it may arrive a second time.
    """

    lock: AliasLock
    intent: AliasIntent
    stands: str | None
    lost: LedgerEntry | None
    earlier: AliasIntent | None = None


class AliasWriter:
    """Carries changes out one after the other, and records those made by others."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._notices = NoticePlans(context)
        self._registry = context.registry
        self._audit = context.audit
        self._managed = context.managed
        self._clock = context.clock
        self._sleep = context.sleep
        self._meters = context.meters
        self._waits = context.waits

    @contextmanager
    def taken(self, key: AliasKey) -> Iterator[AliasLock]:
        """Hold the alias's row while the block runs; whatever was begun before stays unfinished.

        Raises:
            AliasBusyError: another writer is at work.
        """
        lock = self._store.lock_alias(key, self._clock.now(), self._waits.alias_lease_seconds)
        if lock is None:
            raise AliasBusyError(f"Another change of {key.model}@{key.alias} is under way.")
        try:
            yield lock
        finally:
            self._store.unlock_alias(lock)

    def stands(self, key: AliasKey) -> str | None:
        """Where the alias stands; None if nowhere. Elsewhere than it was last seen only if it does so for some seconds.

        Raises:
            VendorError: the registry did not answer or refused.
        """
        known = self._store.known_alias(key)
        return self._seen_again(known, self._registry.get_alias(key.model, key.alias))

    def settle(
        self,
        lock: AliasLock,
        *,
        may_send: Callable[[AliasIntent], bool] = lambda _intent: False,
        late: AliasIntent | None = None,
    ) -> Settled:
        """Look where the alias stands, finish what an earlier writer began, and record what others did.

        Args:
            lock: held.
            may_send: whether a write that does not show is sent again; it is dropped otherwise.
            late: a write that went out after its turn was over: a move to its version is not somebody else's.

        Raises:
            VendorError: the registry did not answer or refused.
            LeaseLostError: it took too long.
        """
        intent = lock.intent
        if intent is None:
            first = self._registry.get_alias(lock.key.model, lock.key.alias)
            if lock.is_settled_at(first):
                return Settled(lock, at_once=True)
            return self._record_move(lock, self._seen_again(lock, first), late)
        current = self._look(lock.key, intent.to_version)
        if current == intent.to_version:
            return Settled(self._finish_written(lock, intent), intent)
        if current != intent.from_version:
            entry = self._interrupted(lock, intent, current)
            return Settled(self._finish(lock, current, [entry], dropped=intent))
        if not may_send(intent):
            return Settled(self._finish(lock, current, [], dropped=intent))
        sent = self.send(lock, replace(intent, fence=lock.fence))
        written = self.record(replace(sent, earlier=intent))
        return Settled(written, intent if written.known_version == intent.to_version else None)

    def write(self, lock: AliasLock, intent: AliasIntent) -> AliasLock:
        """`send` and `record` a change that ends no promotion; `known_version` tells where the alias stands then."""
        return self.record(self.send(lock, intent))

    def send(self, lock: AliasLock, intent: AliasIntent) -> Sent:
        """Commit the intent, call the registry, read back.

        Where the registry goes on to show the alias as it stood before, the call is made a second time.

        Args:
            lock: held and settled.
            intent: with the lock's fence.

        Raises:
            VendorError: the registry did not answer, refused, or does not show the write. The intent stays on
                record unless the registry refused, and shows that nothing was written.
            LeaseLostError: it took too long; whoever has the alias now records what came of it.
        """
        sent_before = intent.sent_at is not None
        for _ in range(_SENDS):
            now = self._clock.now()
            lock = self._store.begin_alias_change(
                lock, replace(intent, sent_at=now), now, self._waits.alias_lease_seconds
            )
            refused = self._send(lock, intent)
            stands = self._read_back(lock.key, intent)
            if stands == intent.to_version:
                return Sent(lock, intent, stands, None)
            if not intent.is_still_at_start(stands):
                return Sent(lock, intent, stands, self._interrupted(lock, intent, stands))
            if refused is not None:
                # The refusal was an answer: this call wrote nothing, so nobody has to finish it.
                dropped = lock.intent if sent_before else None
                told = str(refused) if isinstance(refused, ForbiddenError) else None
                self._finish(lock, stands, [], dropped=dropped, refused=told)
                raise refused
            sent_before = True
        shown, to = named(intent.from_version), named(intent.to_version)
        raise VendorUnavailableError(
            self._registry.name,
            f"{lock.key.model}@{lock.key.alias} was put on {to} twice, and is still shown on {shown}.",
            outcome_unknown=True,
        )

    def record(self, sent: Sent, promotion: Promotion | None = None, steps: Sequence[Step] = ()) -> AliasLock:
        """Put into the ledger what came of a write, in one transaction with the promotion that it ends.

        Args:
            sent: the write.
            promotion: as it has ended by it.
            steps: what that leaves to be done.

        Returns:
            The row; `known_version` tells where the alias stands now.

        Raises:
            LeaseLostError: it took too long; whoever has the alias now records what came of it.
        """
        try:
            if sent.lost is None:
                return self._finish_written(sent.lock, sent.intent, promotion, steps, sent.earlier)
            return self._finish(
                sent.lock,
                sent.stands,
                [sent.lost],
                promotion=promotion,
                steps=steps,
                dropped=sent.intent,
            )
        except LeaseLostError:
            self._settle_late(sent.lock.key, sent.intent)
            raise

    def is_tried_again(self, intent: AliasIntent | None) -> bool:
        """Whether this write was begun by a promotion that still goes on trying; operators begin anew."""
        if intent is None or intent.promotion_id is None:
            return False
        return self._store.get_promotion(intent.promotion_id).phase.is_applied

    def _record_move(self, lock: AliasLock, current: str | None, late: AliasIntent | None) -> Settled:
        """Tell who moved it, if it was: a write of ours that had been given up, or somebody outside."""
        if lock.is_settled_at(current):
            return Settled(lock)
        if lock.seen and lock.known_version == current:
            return Settled(self._finish(lock, current, []))  # forgets what cannot arrive any more
        arrived = self._arrived(lock, current, late) if lock.seen else None
        if arrived is not None and arrived.from_version == lock.known_version and self._counts(arrived):
            return Settled(self._finish_written(lock, arrived), arrived)
        if arrived is not None:
            return Settled(self._finish(lock, current, [late_entry(lock, arrived, self._clock.now())]))
        version_id = self._version_id(lock.key, current)
        is_gone = current is None and lock.seen and self._is_gone(lock)
        entry = drift_entry(lock, current, version_id, self._clock.now(), is_gone=is_gone)
        return Settled(self._finish(lock, current, [] if entry is None else [entry]))

    def _interrupted(self, lock: AliasLock, intent: AliasIntent, current: str | None) -> LedgerEntry:
        late = self._arrived(lock, current)
        return interrupted_entry(lock.key, intent, current, self._clock.now(), late)

    @staticmethod
    def _arrived(lock: AliasLock, current: str | None, late: AliasIntent | None = None) -> AliasIntent | None:
        """The write of ours, given up before, that put the alias there; None if none may have."""
        given_up = (*lock.dropped, *(() if late is None else (late,)))
        return next((each for each in reversed(given_up) if each.to_version == current), None)

    def _counts(self, arrived: AliasIntent) -> bool:
        """Whether it is still wanted: an order always is, an approval until its promotion has ended."""
        if arrived.promotion_id is None:
            return True
        phase = self._store.get_promotion(arrived.promotion_id).phase
        return phase.is_applied or phase is Phase.FAILED

    def _version_id(self, key: AliasKey, version: str | None) -> str | None:
        """Which version of this number it is; None where the registry does not say."""
        if version is None:
            return None
        try:
            return self._registry.get_version(key.model, version).version_id
        except VendorRefusedError:
            return None

    def _is_gone(self, lock: AliasLock) -> bool:
        """Whether the version on which the alias stood is not there any more: it takes its aliases with it."""
        try:
            self._registry.get_version(lock.key.model, lock.known_version or "")
        except VendorNotFoundError:
            return True
        except VendorRefusedError:
            return False
        return False

    def _about_drift(self, lock: AliasLock, entry: LedgerEntry) -> tuple[LedgerEntry, list[Step]]:
        """The line of a move made outside under its own name, and what follows it; any other line as it is."""
        if not is_drift(entry):
            return entry, []
        on_unity_catalog = self._registry.name == UNITY_CATALOG
        unknown = NOT_CONFIGURED if on_unity_catalog else NOT_RECORDED
        who = unknown if self._audit is None else LOOKED_UP
        told = identified(entry, lock.fence, self._managed.drift(lock.key), who)
        pinned = [
            each.id
            for each in self._store.open_promotions(lock.key)
            if each.request is not None and each.champion_version == entry.facts.get("from")
        ]
        before = self._store.ledger_lines(lock.key, kind=LedgerKind.ALIAS_CHANGE, limit=1)
        return told, steps_of_drift(told, before, pinned)

    def _settle_late(self, key: AliasKey, intent: AliasIntent) -> None:
        """Our write went out, and our turn was over before it was on record: have it told in its place.

        While another holds the alias, that one tells; the next look does where the registry is away.
        """
        try:
            with self.taken(key) as lock:
                if not self.is_tried_again(lock.intent):
                    self.settle(lock, late=intent)
        except (AliasBusyError, LeaseLostError, VendorError) as error:
            _log.warning("%s@%s: a late write is left to the next look: %s", key.model, key.alias, error)

    def _send(self, lock: AliasLock, intent: AliasIntent) -> VendorRefusedError | None:
        """Call the registry once; returns its refusal, after which the alias is looked at all the same."""
        self._store.check_fence(lock, self._clock.now())
        key = lock.key
        try:
            if intent.to_version is None:
                self._registry.delete_alias(key.model, key.alias)
            else:
                self._registry.set_alias(key.model, key.alias, intent.to_version)
        except VendorRefusedError as refused:
            refused.of_write = True
            return refused
        return None

    def _read_back(self, key: AliasKey, intent: AliasIntent) -> str | None:
        try:
            return self._look(key, intent.to_version)
        except VendorError as error:
            error.outcome_unknown = True  # the write went out, whatever becomes of this look
            raise

    def _look(self, key: AliasKey, expected: str | None) -> str | None:
        """Where the alias stands; while that is not where it is expected, looked at again for some seconds."""
        return self._look_again(key, expected, self._registry.get_alias(key.model, key.alias))

    def _seen_again(self, known: AliasLock | None, first: str | None) -> str | None:
        """Where the alias stands after a first look, which is believed where it was never seen before."""
        if known is None or not known.seen:
            return first
        return self._look_again(known.key, known.known_version, first)

    def _look_again(self, key: AliasKey, expected: str | None, current: str | None) -> str | None:
        for pause in self._waits.alias_looks_seconds:
            if current == expected:
                break
            self._sleep(pause)
            current = self._registry.get_alias(key.model, key.alias)
        return current

    def _finish_written(
        self,
        lock: AliasLock,
        intent: AliasIntent,
        promotion: Promotion | None = None,
        steps: Sequence[Step] = (),
        earlier: AliasIntent | None = None,
    ) -> AliasLock:
        """Record a change that arrived; a rollback's hold is placed with it, or the next run would undo it."""
        now = self._clock.now()
        after = steps_after(self._managed, lock.key, intent)
        entries = [change_entry(lock.key, intent, now, after)]
        hold = None
        stands = lock.hold is not None and not lock.hold.by_rollback  # and goes on, with its own reason
        if intent.source is ChangeSource.ROLLBACK and not stands:
            hold = Hold(intent.actor, intent.reason, now, by_rollback=True)
            facts = {**intent.facts, "version": intent.to_version, "source": intent.source.value}
            entries.append(hold_entry(lock.key, hold, facts))
        planned = [*steps, *after]
        return self._finish(
            lock,
            intent.to_version,
            entries,
            promotion=promotion,
            steps=planned,
            hold=hold,
            dropped=earlier,
            carried_out=True,
        )

    def _finish(
        self,
        lock: AliasLock,
        current: str | None,
        entries: list[LedgerEntry],
        *,
        promotion: Promotion | None = None,
        steps: Sequence[Step] = (),
        hold: Hold | None = None,
        dropped: AliasIntent | None = None,
        carried_out: bool = False,
        refused: str | None = None,
    ) -> AliasLock:
        found = [self._about_drift(lock, entry) for entry in entries]
        entries = [entry for entry, _ in found]
        told = self._notices.of_moves(entries)
        if promotion is not None:
            told += self._notices.of_promotion(promotion)
        finished = self._store.finish_alias_change(
            lock,
            self._clock.now(),
            known_version=current,
            ledger=entries,
            promotion=promotion,
            steps=[*steps, *(step for _, theirs in found for step in theirs), *told],
            hold=hold,
            dropped=dropped,
            carried_out=carried_out,
            refused=refused,
        )
        for entry in entries:
            _log.info("%s@%s: %s: %s", entry.model, entry.alias, entry.kind.value, entry.reason)
            if is_drift(entry):
                self._meters.drifted()
        return finished
