"""Operators' orders: set, remove, roll back, hold and release an alias, each on record with who and why."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

from champion_gate.domain.aliases import (
    AliasChange,
    AliasIntent,
    AliasKey,
    AliasLock,
    AliasState,
    ChangeSource,
    Hold,
    Order,
    check_reason,
)
from champion_gate.domain.callers import Caller
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ledger.entries import (
    VERSION_ID,
    hold_entry,
    is_drift,
    named,
    release_entry,
)
from champion_gate.domain.names import check_version
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    OnHoldError,
    PreconditionFailedError,
    VendorError,
    VendorNotFoundError,
)
from champion_gate.flow import rollback
from champion_gate.flow.alias_writer import AliasBusyError, AliasWriter
from champion_gate.flow.context import Context

_TRIES_TO_TAKE = 310
"""With pauses of 0.1 s, half a minute: an operator's order must not lose to a write that is being settled."""

_LINES_SINCE = 50
"""So many lines back the latest move of an alias is looked for, to say whether others made it."""

_log = logging.getLogger(__name__)


class NoSuchVersionError(InvalidInputError):
    """The registry has no such version of the model, or does not show it to us."""

    code = "no_such_version"


def ready_version(registry: ModelRegistry, model: str, version: str) -> ModelVersion:
    """A version that an operator names.

    Raises:
        NoSuchVersionError: there is no such version.
        ConflictError: it is not ready.
        VendorError: the registry did not answer or refused.
    """
    try:
        found = registry.get_version(model, version)
    except VendorNotFoundError as error:
        raise NoSuchVersionError(f"There is no v{version} of {model}, or it is hidden from us.") from error
    if found.status is not VersionStatus.READY:
        raise ConflictError(f"{model} v{version} is {found.status.value}, not ready.")
    return found


class AliasNotSetError(NotFoundError):
    """The alias stands on no version."""

    code = "alias_not_set"


class AliasOrders:
    """Carries operators' orders out through the alias's one writer."""

    def __init__(self, context: Context) -> None:
        self._managed = context.managed
        self._store = context.store
        self._registry = context.registry
        self._alias_writer = AliasWriter(context)
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._pause = partial(context.sleep, context.waits.alias_busy_seconds)

    def state(self, model: str, alias: str) -> AliasState:
        """Where the alias stands in the registry now, and its hold.

        Raises:
            NotManagedError: no gate names it.
            VendorError: the registry did not answer or refused.
        """
        return self._state(self._managed.key(model, alias))

    def put(self, model: str, alias: str, version: str, order: Order) -> AliasChange:
        """Put the alias on a version.

        Raises:
            NotManagedError: no gate names it.
            NoSuchVersionError: there is no such version.
            OnHoldError, PreconditionFailedError: the order's conditions are not met.
            ConflictError: the version is not ready, or somebody else moved the alias at the same moment.
            VendorError: the registry did not answer or refused.
        """
        key = self._managed.key(model, alias)
        found = ready_version(self._registry, key.model, check_version(version))
        with self._taken(key) as taken:
            lock = self._alias_writer.settle(taken).lock
            self._check(lock, order)
            return self._change(lock, found, order, ChangeSource.MANUAL)

    def delete(self, model: str, alias: str, order: Order) -> AliasChange:
        """Take the alias away.

        Raises:
            AliasNotSetError: it stands on no version.
            OnHoldError, PreconditionFailedError, ConflictError, VendorError: as for `put`.
        """
        key = self._managed.key(model, alias)
        with self._taken(key) as taken:
            lock = self._alias_writer.settle(taken).lock
            self._check(lock, order)
            if lock.known_version is None:
                raise AliasNotSetError(f"{key.model} has no alias {key.alias}.")
            return self._change(lock, None, order, ChangeSource.MANUAL)

    def roll_back(self, model: str, alias: str, order: Order) -> AliasChange:
        """Put the alias back on the version before, as the ledger has it, and place a hold.

        Raises:
            ConflictError: there is no version before on record, or it is gone from the registry.
            OnHoldError, PreconditionFailedError, VendorError: as for `put`. The hold of an earlier rollback
                needs no override of an order that says from which version it rolls back: of two operators
                who press at once, one is refused.
        """
        key = self._managed.key(model, alias)
        with self._taken(key) as taken:
            settled = self._alias_writer.settle(taken)
            lock, finished = settled.lock, settled.finished
            if finished is not None and finished.source is ChangeSource.ROLLBACK:
                rollback.check_finished(lock, finished, order)
                return AliasChange(self._known(lock), finished.from_version, changed=True)
            self._check(lock, order, is_rollback=True)
            found = rollback.target(self._registry, lock, self._store.ledger_lines(key, limit=None))
            return self._change(lock, found, order, ChangeSource.ROLLBACK)

    def hold(self, model: str, alias: str, *, caller: Caller, reason: str) -> AliasState:
        """Keep the alias where it is, in lieu of the hold that there may be. Needs no answer of the registry.

        Raises:
            NotManagedError: no gate names it.
            AliasBusyError: another writer is at work.
        """
        key = self._managed.key(model, alias)
        check_reason(reason)
        with self._taken(key) as taken:
            hold = Hold(caller.actor, reason, self._clock.now())
            standing = taken.hold
            if standing is not None and (standing.actor, standing.reason) == (hold.actor, hold.reason):
                return self._state_if_told(taken)
            facts = {**_facts(caller), "version": taken.known_version}
            held = self._store.set_hold(taken, hold.at, hold, ledger=[hold_entry(key, hold, facts)])
        _log.info("%s@%s is %s", key.model, key.alias, hold)
        return self._state_if_told(held)

    def release(self, model: str, alias: str, *, caller: Caller, reason: str) -> AliasState:
        """Take the hold away, and have those that waited looked at.

        Raises:
            NotManagedError: no gate names it.
            NotFoundError: there is no hold.
            AliasBusyError: another writer is at work.
        """
        key = self._managed.key(model, alias)
        check_reason(reason)
        with self._taken(key) as taken:
            now = self._clock.now()
            if taken.hold is None:
                raise NotFoundError(f"There is no hold on {key.model}@{key.alias}.")
            facts = {**_facts(caller), "held_by": taken.hold.actor, "held_because": taken.hold.reason}
            line = release_entry(key, now, facts, actor=caller.actor, reason=reason)
            released = self._store.set_hold(taken, now, None, ledger=[line])
        _log.info("%s@%s is released by %s: %s", key.model, key.alias, caller.actor, reason)
        self._wake(key)
        return self._state_if_told(released)

    @contextmanager
    def _taken(self, key: AliasKey) -> Iterator[AliasLock]:
        """The alias's row, waited for while another writer has it for a moment."""
        with ExitStack() as stack:
            for _ in range(_TRIES_TO_TAKE):
                with suppress(AliasBusyError):
                    lock = stack.enter_context(self._alias_writer.taken(key))
                    break
                self._pause()
            else:
                lock = stack.enter_context(self._alias_writer.taken(key))
            yield lock

    def _check(self, lock: AliasLock, order: Order, *, is_rollback: bool = False) -> None:
        hold, key = lock.hold, lock.key
        knows = is_rollback and order.only_if is not None and not order.only_if.any_version
        if hold is not None and not order.override_hold and not (knows and hold.by_rollback):
            hint = "Release it, or override the hold."
            if is_rollback and hold.by_rollback:
                hint = "To roll back once more, say from which version (If-Match, --only-if), or override the hold."
            raise OnHoldError(f"{key.alias} of {key.model} is {hold}.", hint=hint)
        if order.only_if is not None and not order.only_if.allows(lock.known_version):
            raise PreconditionFailedError(
                f"{key.alias} of {key.model} stands on {named(lock.known_version)} now; nothing was changed."
            )

    def _change(
        self, lock: AliasLock, version: ModelVersion | None, order: Order, source: ChangeSource
    ) -> AliasChange:
        before, to = lock.known_version, None if version is None else version.version
        if before == to:
            return AliasChange(self._known(lock), before, changed=False)
        facts = _facts(order.caller)
        facts[VERSION_ID] = None if version is None else version.version_id
        if lock.hold is not None:
            facts["hold"] = str(lock.hold)
        intent = AliasIntent(
            from_version=before,
            to_version=to,
            fence=lock.fence,
            actor=order.caller.actor,
            reason=order.reason,
            promotion_id=None,
            at=self._clock.now(),
            source=source,
            facts=facts,
        )
        try:
            written = self._alias_writer.write(lock, intent)
        except VendorError as error:
            if error.outcome_unknown:
                error.hint = "It may have been carried out: look at the alias before you try again."
            raise
        self._wake(lock.key)
        if written.known_version != to:
            raise ConflictError(
                f"Somebody else put {lock.key.alias} of {lock.key.model} on {named(written.known_version)} "
                "at the same moment; look before you try again."
            )
        return AliasChange(self._known(written), before, changed=True)

    def _wake(self, key: AliasKey) -> None:
        """Those that ask for this alias see at once what has changed for them."""
        for promotion in self._store.open_promotions(key):
            self._store.hint_promotion(promotion.id, self._clock.now())
            self._wake_ups.promotion(promotion.id)

    def _state(self, key: AliasKey) -> AliasState:
        version = self._registry.get_alias(key.model, key.alias)
        known = self._store.known_alias(key)
        return AliasState(key, version, None if known is None else known.hold, self._outside(key))

    def _outside(self, key: AliasKey) -> str | None:
        """What the ledger has of the latest move, where others made it: the move, who it was, and what was left undone."""
        lines = self._store.ledger_lines(key, limit=_LINES_SINCE)
        latest = next((each for each in lines if each.entry.kind is LedgerKind.ALIAS_CHANGE), None)
        if latest is None or not is_drift(latest.entry):
            return None
        since = [each for each in reversed(lines) if each.number > latest.number]
        known = [each.entry.reason for each in since if each.entry.kind is LedgerKind.DRIFT]
        return "; ".join([latest.entry.reason, *known])

    def _state_if_told(self, lock: AliasLock) -> AliasState:
        """The state after a hold or release, which must not fail because the registry is away."""
        try:
            return self._state(lock.key)
        except VendorError:
            return self._known(lock)

    @staticmethod
    def _known(lock: AliasLock) -> AliasState:
        return AliasState(lock.key, lock.known_version, lock.hold)


def _facts(caller: Caller) -> dict[str, str | None]:
    return {"authenticated_by": caller.authenticated_by, "address": caller.address}
