"""An approval is spent once: the alias is set as it was approved, or the promotion ends as stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from champion_gate.domain.aliases import ARRIVES_WITHIN, AliasIntent, AliasLock, ChangeSource
from champion_gate.domain.copies import not_the_copy_because
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ledger.entries import (
    FIRST_SEEN,
    SOURCE_MODEL,
    SOURCE_VERSION,
    SOURCE_VERSION_ID,
    VERSION_ID,
    named,
)
from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import (
    ConflictError,
    OnHoldError,
    VendorNotFoundError,
    VendorUnavailableError,
    VersionMissingError,
)
from champion_gate.flow.alias_writer import AliasWriter, Settled
from champion_gate.flow.context import Context
from champion_gate.flow.copies import Copies
from champion_gate.flow.gate_rules import GateRules
from champion_gate.flow.lease import Lease, told_more


@dataclass(frozen=True)
class _Ending:
    phase: Phase
    reason: str


@dataclass(frozen=True)
class _Checks:
    """What else has to be as it was approved, beside where the alias stands: each says why it is not, or raises."""

    version: Callable[[], str | None]
    rules: Callable[[], str | None]


class OrderedToEndError(ConflictError):
    """Somebody has ordered the promotion's end since its turn began."""

    code = "ordered_to_end"


class UnsettledError(ConflictError):
    """A write of the promotion has begun, and may still arrive."""

    code = "unsettled"


class Approvals:
    """Applies approvals through the alias's one writer, or ends their promotions."""

    def __init__(self, context: Context) -> None:
        self._rules = GateRules(context)
        self._lease = Lease(context)
        self._store = context.store
        self._registry = context.registry
        self._together = context.together
        self._alias_writer = AliasWriter(context)
        self._copies = Copies(context)
        self._clock = context.clock
        self._meters = context.meters
        self._waits = context.waits

    def apply(self, promotion: Promotion) -> None:
        """Set the alias once, or end the promotion as stale; a version of another model is copied before.

        Args:
            promotion: taken, in phase `approved` or `copying`; it is given back as it has ended, or waits for its copy.

        Raises:
            OnHoldError: the approval still counts, and has to wait for the hold's release.
            UnclearError: whether it still counts cannot be told at the moment.
            OrderedToEndError: nothing was written, because its end has just been ordered.
            CopyFailedError: there is no copy that could get the alias.
            AliasBusyError: another writer is at work.
            LeaseLostError: it took too long; whoever has the alias or the promotion now goes on.
            VendorError: the registry did not answer or refused; a begun write stays on record.
        """
        with self._alias_writer.taken(promotion.alias_key) as taken:
            lock, checks = self._settled(taken, promotion)
            ending = self._ending_on_record(promotion) or self._stale(promotion, lock.known_version, checks)
            if ending is not None:
                self._lease.end(promotion, ending.phase, ending.reason)
                return
            self._check_order(promotion)
            if lock.hold is not None:
                raise OnHoldError(f"Approved; {promotion.alias} of {promotion.model} is {lock.hold}.")
            ready = self._with_copy(promotion)
            if ready is None:
                return
            promotion = ready
            sent = self._alias_writer.send(lock, self._intent(lock, promotion))
            ending = _Ending(Phase.PROMOTED, _promoted(promotion))
            if sent.lost is not None:
                ending = _Ending(Phase.STALE, sent.lost.reason)
            ended, steps = self._lease.ended(promotion, ending.phase, ending.reason)
            self._alias_writer.record(sent, ended, steps)
        if sent.lost is None:
            self._meters.applied(promotion.approved_at, self._clock.now())
        self._lease.give_back(ended)

    def _with_copy(self, promotion: Promotion) -> Promotion | None:
        """The promotion with its copy, where one is needed; None where the turn is over."""
        gate = self._rules.gate_of(promotion)
        if gate is None or gate.promote_to is None:
            return promotion
        ready = self._copies.taken(promotion, gate.promote_to)
        if ready is None or ready.copied is None:
            return None
        changed = self._changed_since(ready, ready.copied)
        if changed is None:
            return ready
        self._lease.end(ready, Phase.STALE, changed)
        return None

    def _settled(self, taken: AliasLock, promotion: Promotion) -> tuple[AliasLock, _Checks]:
        """Look where the alias stands, and beside that whether the rest is as it was approved.

        All of it has to be seen after the approval was stored and before the alias is written; none needs another.
        """
        checks = self._checks(promotion)

        def settle() -> Settled:
            return self._alias_writer.settle(
                taken, may_send=lambda intent: self._may_send(taken, intent, promotion)
            )

        if taken.intent is not None:
            return settle().lock, checks
        found, version, rules = self._together.outcomes(settle, checks.version, checks.rules)
        settled = found()
        # What was read beside a look that had to be repeated is old by now.
        return settled.lock, _Checks(version, rules) if settled.at_once else checks

    def withdraw(self, promotion: Promotion, order: EndRequest) -> None:
        """End an approved promotion that waits, unless a write of its own has been carried out.

        Args:
            promotion: taken, in phase `approved` or `copying`; nothing has been sent for it since `order.at`. It is given
                back as it has ended: promoted where its write has arrived.
            order: how and why it ends, if it may.

        Raises:
            AliasBusyError: another writer is at work.
            UnsettledError: its write has not arrived, and still may.
            VendorError: it has begun a write, and the registry does not tell what came of it.
        """
        with self._alias_writer.taken(promotion.alias_key) as lock:
            sent = lock.sent_for(promotion.id)
            if sent is not None:
                self._settle_own(lock, sent, promotion, order)
            ending = self._ending_on_record(promotion) or _Ending(order.phase, order.reason)
            self._lease.end(promotion, ending.phase, ending.reason)

    def _settle_own(
        self, lock: AliasLock, sent: AliasIntent, promotion: Promotion, order: EndRequest
    ) -> None:
        """Find out what came of the promotion's own write, and drop it where it can no longer arrive."""
        # An approval that waited too long was over before the write that it has begun since.
        until = max(order.at + ARRIVES_WITHIN, sent.arrives_before)

        def check_is_over() -> None:
            if self._clock.now() < until:
                raise UnsettledError(
                    f"{lock.key.alias} of {lock.key.model} was being put on {named(sent.to_version)}; it ends once "
                    "it is certain that this does not come to pass."
                )

        def may_send(intent: AliasIntent) -> bool:
            if intent.promotion_id == promotion.id:
                check_is_over()
            return False

        settled = self._alias_writer.settle(lock, may_send=may_send)
        if settled.lock.sent_for(promotion.id) is not None and self._ending_on_record(promotion) is None:
            check_is_over()

    def apply_until(self, promotion: Promotion, within: timedelta) -> datetime | None:
        """Until when an approval may wait: `within` from when it was read, or from the release of a hold in that time."""
        if promotion.approved_at is None:
            return None
        after = promotion.request.ledger_line if promotion.request is not None else 0
        until = promotion.approved_at + within
        for line in reversed(self._store.ledger_lines(promotion.alias_key, after=after, limit=None)):
            if line.entry.kind is LedgerKind.RELEASE and promotion.approved_at < line.entry.at <= until:
                until = line.entry.at + within
        return until

    def moved(self, promotion: Promotion) -> str | None:
        """Why the approval does not apply: the alias does not stand where it did, or has been elsewhere since.

        Raises:
            VendorError: the registry did not answer or refused.
        """
        current = self._alias_writer.stands(promotion.alias_key)
        if current != promotion.champion_version:
            return _moved_under(promotion, current)
        return self.moved_and_back(promotion)

    def moved_and_back(self, promotion: Promotion) -> str | None:
        """Why the approval does not apply although the alias stands where it did: it has been elsewhere since.

        What the reviewers compared with may have been taken back for a reason that they did not know.
        """
        after = promotion.request.ledger_line if promotion.request is not None else 0
        for line in self._store.ledger_lines(promotion.alias_key, after=after, limit=None):
            facts = line.entry.facts
            if (
                line.entry.kind is LedgerKind.ALIAS_CHANGE
                and line.entry.promotion_id != promotion.id
                and facts.get("source") != FIRST_SEEN
                and facts.get("from") == promotion.champion_version
            ):
                return (
                    f"{promotion.model}@{promotion.alias} has been moved away from "
                    f"{named(promotion.champion_version)} and back since approval was asked for (line "
                    f"{line.number} of the ledger). To ask afresh: champion-gate promotions retry {promotion.id}"
                )
        return None

    def version_changed(self, promotion: Promotion, shown: ModelVersion | None = None) -> str | None:
        """Why the version is no longer the one that was asked for; None if it is.

        Args:
            promotion: whose version it is.
            shown: the version, where it has just been read.

        Raises:
            VersionMissingError: it is not there, for less than ten minutes so far.
            VendorUnavailableError: the registry leaves out what it told before, says what we do not know, or
                shows the version as it was before it was ready: that is no other version.
            VendorRefusedError: it is hidden from us.
        """
        return self._changed_since(promotion, promotion.version, shown)

    def _changed_since(
        self, promotion: Promotion, before: ModelVersion, shown: ModelVersion | None = None
    ) -> str | None:
        """The same of the version, or of its copy, as it was then."""
        try:
            version = shown or self._registry.get_version(before.model, before.version)
        except VendorNotFoundError as error:
            self.check_gone(promotion, before.model, before.version, error)
            return f"{before.model} v{before.version} is gone from the registry, or hidden from us."
        version.check_told(before, self._registry.name)
        if not version.same_as(before) and (why := _changed_into(version, before, promotion)) is not None:
            return why
        if version.status is VersionStatus.PENDING:
            raise VendorUnavailableError(
                self._registry.name, f"{before.model} v{version.version} is pending now."
            )
        if version.status != before.status:
            return f"{before.model} v{version.version} is {version.status.value} now, no longer ready."
        return None

    def check_gone(self, promotion: Promotion, model: str, number: str, error: VendorNotFoundError) -> None:
        """Make sure that a version is gone for good: the list that would name it shows others, and this long.

        Args:
            promotion: whose version it is, or who would replace it; then the list must show its own version, if
                that is one of this model.
            model: whose version it is.
            number: the version that is not found.
            error: what its reading was answered with.

        Raises:
            VendorNotFoundError: the list says otherwise, or nothing.
            VersionMissingError: it has not been missing for ten minutes.
        """
        now = self._clock.now()
        listed = {each.version for each in self._registry.list_versions(model)}
        hides = model == promotion.source_model and promotion.version.version not in listed | {number}
        if not listed or number in listed or hides:
            raise error
        since = promotion.version_missing_since or now
        if now < since + self._waits.version_gone:
            raise VersionMissingError(
                self._registry.name,
                f"{model} v{number} is not there. Looked for again at {since + self._waits.version_gone:%H:%M:%S} UTC.",
                retry_after=(since + self._waits.version_gone - now).total_seconds(),
            )

    def _check_order(self, promotion: Promotion) -> None:
        """Raise OrderedToEndError where somebody has ordered the end since the promotion was taken."""
        order = self._store.get_promotion(promotion.id).end_request
        if order not in {None, promotion.end_request}:
            raise OrderedToEndError(f"The end of promotion {promotion.id} has been ordered just now.")

    def _ending_on_record(self, promotion: Promotion) -> _Ending | None:
        """What the ledger says of this promotion: an approval is spent once, whoever finished the write."""
        for line in self._store.ledger_lines(promotion.alias_key, promotion_id=promotion.id):
            if line.entry.kind is not LedgerKind.ALIAS_CHANGE:
                continue
            if line.entry.facts.get("source") == ChangeSource.PROMOTION.value:
                return _Ending(Phase.PROMOTED, _promoted(promotion))
            return _Ending(Phase.STALE, line.entry.reason)
        return None

    def _checks(self, promotion: Promotion) -> _Checks:
        return _Checks(
            version=lambda: self._changed(promotion),
            rules=lambda: self._rules.stale_because(promotion),
        )

    def _changed(self, promotion: Promotion) -> str | None:
        """Why the version, or its copy, is no longer what was approved."""
        changed = self.version_changed(promotion)
        if changed is not None or promotion.copied is None:
            return changed
        return self._changed_since(promotion, promotion.copied)

    def _stale(self, promotion: Promotion, current: str | None, checks: _Checks) -> _Ending | None:
        if current != promotion.champion_version:
            return _Ending(Phase.STALE, _moved_under(promotion, current))
        reason = self.moved_and_back(promotion) or checks.version() or checks.rules()
        return _Ending(Phase.STALE, reason) if reason else None

    def _intent(self, lock: AliasLock, promotion: Promotion) -> AliasIntent:
        decision = promotion.decision
        ready = promotion.phase.is_applied and promotion.is_copied is (promotion.copied is not None)
        if decision is None or not ready:
            raise ConflictError(f"Promotion {promotion.id} has no approval on record.")
        return AliasIntent(
            from_version=lock.known_version,
            to_version=promotion.target.version,
            fence=lock.fence,
            actor=", ".join(decider.login for decider in decision.deciders),
            reason=f"approved: {decision.reason}",
            promotion_id=promotion.id,
            at=self._clock.now(),
            facts={VERSION_ID: promotion.target.version_id, **_source_facts(promotion)},
        )

    def _may_send(self, lock: AliasLock, intent: AliasIntent, promotion: Promotion) -> bool:
        """Whether a write that never arrived is sent again: in its own promotion's turn, if all is still as approved.

        In another's turn it is dropped, and its promotion begins anew if it may; so too under a hold.
        """
        if intent.promotion_id != promotion.id or lock.hold is not None:
            return False
        self._check_order(promotion)
        return self._stale(promotion, intent.from_version, self._checks(promotion)) is None


def _changed_into(version: ModelVersion, before: ModelVersion, promotion: Promotion) -> str | None:
    """Why what is told of a version is not what people were asked about; None for a copy of which only more is told."""
    if not version.completes(before):
        return (
            f"{before.model} v{version.version} is another version now than the one approval was asked for: "
            "its id, run or source has changed."
        )
    if before is not promotion.copied:
        return told_more(promotion)
    return None if version.source is None else not_the_copy_because(version, {}, promotion.version)


def _moved_under(promotion: Promotion, current: str | None) -> str:
    """Why a promotion is stale whose alias stands elsewhere than when it was asked for."""
    return (
        f"{promotion.model}@{promotion.alias} stands on {named(current)} now; approval was asked for "
        f"replacing {named(promotion.champion_version)}. "
        f"To ask afresh: champion-gate promotions retry {promotion.id}"
    )


def _source_facts(promotion: Promotion) -> dict[str, str | None]:
    if promotion.copied is None:
        return {}
    source = promotion.version
    return {
        SOURCE_MODEL: source.model,
        SOURCE_VERSION: source.version,
        SOURCE_VERSION_ID: source.version_id,
    }


def _promoted(promotion: Promotion) -> str:
    made = (
        ""
        if promotion.copied is None
        else f", a copy of {promotion.source_model} v{promotion.version.version}"
    )
    return (
        f"{promotion.alias} of {promotion.model} moved from {named(promotion.champion_version)} "
        f"to {named(promotion.target.version)}{made}"
    )
