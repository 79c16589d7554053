"""One worker's turn with a promotion's row: how what came of it is written down, put off, or ends the promotion."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate.domain.retry import BUDGET, Retry, next_try
from champion_gate.domain.steps import Step, StepKind, planned
from champion_gate.errors import GateError, LeaseLostError, VersionMissingError
from champion_gate.flow.context import Context, Waits
from champion_gate.flow.notices import NoticePlans

_KEEPS_A_LEASE = 4
"""So often in a lease: from the last on, it outlasts any one call to a vendor."""

_SAID_BY_PEOPLE = frozenset({Phase.PROMOTED, Phase.REJECTED, Phase.CANCELLED})
_log = logging.getLogger(__name__)


def now_and_then(keep: Callable[[], None], clock: Clock, waits: Waits) -> Callable[[], None]:
    """What leases a row anew, however often it is called, only once a good part of its lease is over.

    Args:
        keep: leases it anew.
        clock: where the time comes from; the row has just been leased.
        waits: tells how long a lease is.
    """
    kept_at = clock.now()

    def keep_if_late() -> None:
        nonlocal kept_at
        now = clock.now()
        if now - kept_at >= timedelta(seconds=waits.lease_seconds / _KEEPS_A_LEASE):
            kept_at = now
            keep()

    return keep_if_late


class Lease:
    """Writes what came of a turn. Holds no state of its own; the row's lease says whose turn it is."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._providers = context.providers
        self._notices = NoticePlans(context)
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._chance = context.chance
        self._waits = context.waits
        self._replicas_differ = context.replicas_differ

    def take(self, promotion_id: str) -> Promotion | None:
        """Lease the row; None where it has ended, is not due, or somebody else is at it."""
        return self._store.take_promotion(promotion_id, self._clock.now(), self._waits.lease_seconds)

    def keep(self, taken: Promotion) -> None:
        """Lease the row anew between calls that may each take long; raises LeaseLostError."""
        self._store.keep_promotion(taken, self._clock.now(), self._waits.lease_seconds)

    def keeper(self, taken: Promotion) -> Callable[[], None]:
        """What leases the row anew between calls, once a good part of the lease is over; raises LeaseLostError.

        Where calls of several threads go on side by side, each of them may say so.
        """
        return now_and_then(lambda: self.keep(taken), self._clock, self._waits)

    def save(
        self,
        promotion: Promotion,
        *,
        release: bool = False,
        ledger: list[LedgerEntry] | None = None,
        steps: list[Step] | None = None,
    ) -> Promotion:
        """Write what the turn has come to so far; with `release` the turn is over, else the lease begins anew."""
        saved = self._store.save_promotion(
            promotion,
            self._clock.now(),
            release=release,
            ledger=ledger or [],
            steps=[*(steps or []), *self._notices.of_promotion(promotion)],
        )
        if not release:
            self.keep(saved)
        return saved

    def wait(
        self,
        taken: Promotion,
        why: str,
        interval: timedelta,
        steps: list[Step] | None = None,
        *,
        mended: bool = True,
    ) -> None:
        """Give the row back with the reason why it waits, to be looked at again after `interval`.

        Args:
            taken: the promotion.
            why: the reason, in words for people.
            interval: until the next look.
            steps: work that this leaves.
            mended: whether an error that was met before is over; if not, it goes on counting.
        """
        now = self._clock.now()
        due_at = now + interval
        asked = taken.phase.is_before_people or taken.phase is Phase.PENDING_APPROVAL
        if asked and taken.request is not None and now < taken.request.expires_at:
            due_at = min(due_at, taken.request.expires_at + timedelta(seconds=1))
        until = self.read_until(taken)
        if until is not None and now < until.at:
            due_at = min(due_at, until.at)
        waiting = replace(taken, reason=why, due_at=due_at, version_missing_since=None)
        if mended:
            waiting = replace(waiting, retry=Retry())
        self.save(waiting, release=True, steps=steps or [])

    def end(
        self,
        taken: Promotion,
        phase: Phase,
        reason: str,
        steps: list[Step] | None = None,
        ledger: list[LedgerEntry] | None = None,
    ) -> None:
        """End the promotion, with its ledger lines and the work that is left, in one transaction.

        While replicas read different gates.yaml it ends only by what people said: all else may be true of this one's
        alone. It waits then.
        """
        if phase not in _SAID_BY_PEOPLE and (differ := self._replicas_differ()) is not None:
            order = taken.end_request
            if order is None or order.phase is not Phase.CANCELLED:
                why = f"{differ} By this replica's it would end as {phase.value}: {reason}"
                self.wait(taken, why, self._waits.same_gates, mended=False)
                return
            phase, reason = order.phase, order.reason
        ended, own = self.ended(taken, phase, reason)
        self.save(ended, release=True, ledger=ledger or [], steps=[*(steps or []), *own])
        self._after_end(ended)

    def give_back(self, ended: Promotion) -> None:
        """Give back what has been stored as it ended, and wake workers for the work that is left."""
        self.save(ended, release=True)
        self._after_end(ended)

    def ended(self, taken: Promotion, phase: Phase, reason: str) -> tuple[Promotion, list[Step]]:
        """The promotion as it ends, and what is left: tags on the version, the CI run and its doubles to be cancelled.

        Where it ends as `told_more` says, asking anew is left too.
        """
        now = self._clock.now()
        ended = replace(
            taken,
            phase=phase,
            reason=reason,
            ended_at=now,
            due_at=None,
            retry=Retry(),
        )
        request = taken.request
        steps = [self._tag_step(ended), *self._removal_steps(taken)]
        if phase is Phase.STALE and reason == told_more(taken):
            steps.append(planned(ended.id, StepKind.REOPEN, {"promotions": [ended.id]}, now))
        if request is not None:
            steps += self._request_steps(ended, request)
            steps.append(planned(ended.id, StepKind.CANCEL_DOUBLES, {}, now))
        return ended, steps

    def _after_end(self, ended: Promotion) -> None:
        _log.info("promotion %s is %s: %s", ended.id, ended.phase.value, ended.reason)
        self._wake_steps(ended)

    def _wake_steps(self, ended: Promotion) -> None:
        for step in self._store.open_steps(ended.id):
            self._wake_ups.step(step.id)

    def put_off(self, begun: Promotion, error: GateError) -> None:
        """Plan another try, or fail. While people are asked, an unreadable vendor only keeps it waiting.

        That goes on for a while after the expiry, or after a newer version has asked: what was decided in time
        must still be found. An operator's order waits for it for a few minutes only.

        Args:
            begun: the promotion as it was taken; what the turn has stored since is kept.
            error: what stopped the turn.
        """
        taken = replace(self._store.get_promotion(begun.id), hints=begun.hints)
        if taken.lease != begun.lease:
            return
        now = self._clock.now()
        pending = taken.phase is Phase.PENDING_APPROVAL
        retry, due_at = next_try(
            error,
            taken.retry,
            now=now,
            fraction=self._chance.fraction(),
            budget=None if pending else BUDGET,
        )
        _log.warning("promotion %s: attempt %d failed: %s", taken.id, retry.attempts, error)
        kept = replace(taken, retry=retry)
        if isinstance(error, VersionMissingError):
            kept = replace(kept, version_missing_since=taken.version_missing_since or now)
        until = self.read_until(taken)
        over = until is not None and now >= until.at
        try:
            if until is not None and over and (until.phase is Phase.CANCELLED or retry.is_often):
                expired = until.phase is Phase.EXPIRED
                why = (
                    f"It could not be read: {error}"
                    if expired
                    else f"(its decision could not be read: {error})"
                )
                self.end(kept, until.phase, f"{until.reason} {why}")
            elif due_at is None and until is None:
                self._fail(kept, error)
            else:
                due_at = due_at or now + self._waits.cancel
                self.save(
                    replace(kept, due_at=due_at if until is None or over else min(due_at, until.at)),
                    release=True,
                )
        except LeaseLostError:
            _log.warning("promotion %s is in another worker's hands now", begun.id)

    def read_until(self, taken: Promotion) -> EndRequest | None:
        """How the promotion ends, and from when on, although its decision cannot be read; None: not by that.

        One that is approved may have begun a write, so whoever holds the alias ends it. A cancel goes before all else:
        it alone ends what has been tried only a few times.
        """
        order, request = taken.end_request, taken.request
        ends: list[EndRequest] = []
        if order is not None and not taken.phase.is_applied:
            patience = self._waits.cancel if order.phase is Phase.CANCELLED else BUDGET
            ends.append(replace(order, at=order.at + patience))
        if taken.phase is Phase.PENDING_APPROVAL and request is not None:
            at = request.expires_at + BUDGET
            ends.append(EndRequest(Phase.EXPIRED, "champion-gate", expired_reason(request), at))
        return min(ends, key=lambda each: (each.phase is not Phase.CANCELLED, each.at), default=None)

    def _fail(self, taken: Promotion, error: GateError) -> None:
        reason = f"{error} Failed while {taken.phase.value}. Mend the cause, then: champion-gate promotions retry {taken.id}"
        failed = replace(
            taken,
            phase=Phase.FAILED,
            failed_from=taken.phase,
            reason=reason,
            due_at=None,
            ended_at=self._clock.now(),
        )
        self.save(failed, release=True, steps=self._removal_steps(taken))
        _log.error("promotion %s failed: %s", taken.id, reason)
        self._wake_steps(failed)

    def cancel_step(self, promotion: Promotion, external_id: str) -> Step:
        """The durable order to cancel a request at the vendor."""
        config, now = {"external_id": external_id}, self._clock.now()
        return planned(promotion.id, StepKind.CANCEL_REQUEST, config, now, name=external_id)

    def status_steps(self, promotion: Promotion) -> list[Step]:
        """The order to show how it stands where people are asked, if that is shown there."""
        shown = StepKind.STATUS in self._wanted(promotion.request)
        return [planned(promotion.id, StepKind.STATUS, {}, self._clock.now())] if shown else []

    def _wanted(self, request: ApprovalRequest | None) -> frozenset[StepKind]:
        """Which steps its request has at the vendor."""
        provider = self._providers.get(request.provider) if request is not None else None
        if request is None or provider is None or request.external_id is None:
            return frozenset()
        return provider.steps(request.target)

    def _request_steps(self, ended: Promotion, request: ApprovalRequest) -> list[Step]:
        """What is left to be done with the request of a promotion that has ended."""
        wanted, now = self._wanted(request), self._clock.now()
        steps = self.status_steps(ended)
        if StepKind.COMMENT in wanted:
            steps.append(planned(ended.id, StepKind.COMMENT, {}, now))
        is_promoted = ended.phase is Phase.PROMOTED
        if is_promoted and StepKind.MERGE in wanted:
            steps.append(planned(ended.id, StepKind.MERGE, ended.asked, now))
        elif request.external_id is not None and (not is_promoted or StepKind.CANCEL_REQUEST in wanted):
            steps.append(self.cancel_step(ended, request.external_id))
        return steps

    def _removal_steps(self, taken: Promotion) -> list[Step]:
        """The order to take away the alias of a candidate, where one was to be set."""
        return [
            planned(taken.id, StepKind.CHALLENGER_REMOVAL, step.config, self._clock.now())
            for step in self._store.steps_of(taken.id)
            if step.kind is StepKind.CHALLENGER
        ]

    def _tag_step(self, ended: Promotion) -> Step:
        tags = {"champion_gate_status": ended.phase.value, "champion_gate_promotion": ended.id}
        if ended.phase is Phase.PROMOTED and ended.decision is not None:
            tags["champion_gate_approved_by"] = ", ".join(
                decider.login for decider in ended.decision.deciders
            )
        return planned(ended.id, StepKind.TAG_VERSION, tags, self._clock.now())


def told_more(promotion: Promotion) -> str:
    """Why a promotion is stale of whose version people were shown less than the registry tells now."""
    version = promotion.version
    return (
        f"The registry tells more of {version.model} v{version.version} now than when approval was asked for. It is asked "
        f"about anew; where that fails: champion-gate promotions retry {promotion.id}"
    )


def expired_reason(request: ApprovalRequest) -> str:
    """Why a request ends whose decision cannot be read: what people said there, nobody can tell."""
    return f"The time to decide was over on {request.expires_at:%Y-%m-%d} at {request.expires_at:%H:%M} UTC."
