"""The product's story: from a version that asks for an alias to the alias set, or to the reason why not.

`advance` is what every path ends in: a webhook, a poll, an operator's command and the sweep. It takes the
promotion's row, re-reads the world, goes as far as the world allows, and gives the row back:

    requested         `RequestOpener` freezes the evidence and asks people for approval
    validating        the gate's validation job runs before that, where it has one (`Validations`)
    pending_approval  `ApprovalRequests` reads what they said from the vendor's API
    approved          `Approvals` sets the alias, once
    copying           before that, where the alias is another model's, the version is copied there (`Copies`)

The work around it, such as tags, is `Steps`'; operators' orders come by `PromotionOrders`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from champion_gate.domain import policy
from champion_gate.domain.approval import ApprovalRequest, Decision, Verdict
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.domain.steps import Step
from champion_gate.errors import (
    ConflictError,
    GateError,
    LeaseLostError,
    OnHoldError,
    RequestGoneError,
    UnexpectedError,
    VendorError,
)
from champion_gate.flow.apply_approval import Approvals, OrderedToEndError, UnsettledError
from champion_gate.flow.approval_requests import MOST_STARTS, ApprovalRequests
from champion_gate.flow.context import Context
from champion_gate.flow.gate_rules import GateRules, UnclearError
from champion_gate.flow.lease import Lease, expired_reason
from champion_gate.flow.open_request import RequestOpener

_log = logging.getLogger(__name__)


class Promoter:
    """Advances promotions. Stateless: everything it knows is in the rows or at the vendors'."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._rules = GateRules(context)
        self._store = context.store
        self._providers = context.providers
        self._opener = RequestOpener(context)
        self._approvals = Approvals(context)
        self._requests = ApprovalRequests(context)
        self._lease = Lease(context)
        self._clock = context.clock
        self._chance = context.chance
        self._meters = context.meters
        self._waits = context.waits

    def advance(self, promotion_id: str) -> None:
        """Take the promotion as far as the world allows now. Safe to call at any time, any number of times."""
        taken = self._lease.take(promotion_id)
        if taken is None:
            return
        steps = {
            Phase.REQUESTED: self._opener.open,
            Phase.VALIDATING: self._opener.open,
            Phase.PENDING_APPROVAL: self._decide,
            Phase.APPROVED: self._apply,
            Phase.COPYING: self._apply,
        }
        try:
            steps[taken.phase](taken)
        except LeaseLostError:
            _log.warning("promotion %s is in another worker's hands now", promotion_id)
        except GateError as error:
            self._lease.put_off(taken, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not strand an approval
            _log.exception("promotion %s met an error of our own", promotion_id)
            self._lease.put_off(taken, UnexpectedError.of(error))

    def _decide(self, taken: Promotion) -> None:
        request = taken.request
        if request is None or request.external_id is None:
            raise ConflictError(f"Promotion {taken.id} waits for a request that is not on record.")
        stale = self._rules.settings_changed(taken)
        if stale is not None:
            self._lease.end(taken, Phase.STALE, stale)
            return
        try:
            taken, judgement = self._requests.judgement(taken, request)
        except RequestGoneError as gone:
            self._not_found(taken, request, gone)
            return
        if judgement.decision is not None:
            self._decided(taken, judgement.decision)
        elif judgement.again_at is not None and not self._is_overdue(taken):
            doubted = replace(taken, seen_once=judgement.seen_once)
            self._lease.wait(doubted, judgement.waiting_because, judgement.again_at - self._clock.now())
        elif judgement.unread and self._is_read_on(taken):
            self._lease.wait(taken, judgement.waiting_because, self._waits.recheck_seldom)
        elif judgement.stale:
            self._lease.end(taken, Phase.STALE, judgement.waiting_because)
        elif judgement.expired:
            self._lease.end(taken, Phase.EXPIRED, judgement.waiting_because)
        elif taken.end_request is not None:
            self._lease.end(taken, taken.end_request.phase, taken.end_request.reason)
        else:
            self._keep_waiting(taken, judgement)

    def _is_read_on(self, taken: Promotion) -> bool:
        """Whether it is to end, and what was let start in time is given time to be judged before it does."""
        until = self._lease.read_until(taken)
        over = taken.end_request is not None or (
            taken.request is not None and self._clock.now() > taken.request.expires_at
        )
        return over and until is not None and self._clock.now() < until.at

    def _is_overdue(self, taken: Promotion) -> bool:
        """Whether its end was ordered so long ago that nothing is waited for any more."""
        until = self._lease.read_until(taken)
        return taken.end_request is not None and until is not None and self._clock.now() >= until.at

    def _not_found(self, taken: Promotion, request: ApprovalRequest, gone: RequestGoneError) -> None:
        """The request is gone once it has been so for a while: a vendor that forgets it for a moment ends nothing."""
        now = self._clock.now()
        since, order = taken.missing_since or now, taken.end_request
        if now < since + self._waits.request_gone and not self._is_overdue(taken):
            why = f"{gone.message} Looked for again at {since + self._waits.request_gone:%H:%M:%S} UTC."
            self._lease.wait(replace(taken, missing_since=since), why, since + self._waits.request_gone - now)
        elif order is not None:
            self._lease.end(taken, order.phase, f"{order.reason} {gone.message}")
        elif now > request.expires_at:
            self._lease.end(taken, Phase.EXPIRED, f"{expired_reason(request)} {gone.message}")
        else:
            reason = (
                f"The request can no longer be decided: {gone.message} "
                f"To ask afresh: champion-gate promotions retry {taken.id}"
            )
            self._decided(taken, Decision(Verdict.REJECTED, (), reason, request.provider, now))

    def _decided(self, taken: Promotion, decision: Decision) -> None:
        line = LedgerEntry(
            kind=LedgerKind.DECISION,
            registry=taken.registry,
            model=taken.model,
            alias=taken.alias,
            actor=", ".join(decider.login for decider in decision.deciders) or decision.source,
            reason=decision.reason,
            at=self._clock.now(),
            promotion_id=taken.id,
            facts=_decision_facts(taken, decision),
        )
        if decision.verdict is Verdict.REJECTED:
            rejected = replace(taken, decision=decision)
            self._lease.end(rejected, Phase.REJECTED, decision.reason, ledger=[line])
            self._time(taken, decision)
            return
        approved = self._lease.save(
            replace(
                taken,
                phase=Phase.APPROVED,
                decision=decision,
                approved_at=self._clock.now(),
                reason=decision.reason,
                retry=Retry(),
            ),
            ledger=[line],
            steps=self._lease.status_steps(taken),
        )
        _log.info("promotion %s is approved: %s", taken.id, decision.reason)
        self._time(taken, decision)
        self._set_alias(approved)

    def _time(self, taken: Promotion, decision: Decision) -> None:
        opened_at = taken.request.opened_at if taken.request else None
        self._meters.decided(decision.verdict.value, opened_at, decision.decided_at)

    def _keep_waiting(self, taken: Promotion, judgement: policy.Judgement) -> None:
        self._lease.keep(taken)
        moved = self._approvals.moved(taken)
        newer = self._opener.newer_request(taken, self._gates[taken.gate])
        if newer is not None:
            reason = f"v{newer.version.version} asks for {taken.alias} now ({newer.id})."
            self._lease.end(taken, Phase.SUPERSEDED, reason)
        elif moved is not None:
            self._lease.end(taken, Phase.STALE, moved)
        elif (changed := self._approvals.version_changed(taken)) is not None:
            self._lease.end(taken, Phase.STALE, changed)
        else:
            waiting = replace(taken, outstanding=judgement.outstanding, seen_once={})
            interval = self._until_look(taken, judgement)
            steps = self._doubles(taken)
            if judgement.outstanding != taken.outstanding:
                steps += self._lease.status_steps(taken)
            self._lease.wait(waiting, judgement.waiting_because, interval, steps)

    def _until_look(self, taken: Promotion, judgement: policy.Judgement) -> timedelta:
        if judgement.soon:
            return self._waits.look_soon
        twice = taken.request is not None and taken.request.starts >= MOST_STARTS
        if twice or not judgement.unreviewed:
            # The sweep's list tells neither of a second request, nor of what holds up an approval.
            return self._waits.recheck_seldom
        # Spread, or a thousand that were opened together would be read together every time.
        return self._waits.look * (1 + self._chance.fraction())

    def _doubles(self, taken: Promotion) -> list[Step]:
        """Orders to cancel other requests for what was asked for twice; others' the sweep's list shows.

        Where they cannot be listed, the next look does it.
        """
        request = taken.request
        if request is None or request.starts < MOST_STARTS:
            return []
        try:
            found = self._providers[request.provider].duplicates(request.target, taken)
        except VendorError as error:
            _log.warning("doubles of promotion %s cannot be looked for: %s", taken.id, error)
            return []
        return [self._lease.cancel_step(taken, double) for double in found]

    def _apply(self, taken: Promotion) -> None:
        if taken.approved_at is None:  # an earlier release read the approval
            taken = self._lease.save(replace(taken, approved_at=self._clock.now()))
        order = self._withdrawal(taken)
        if order is None:
            self._set_alias(taken)
            return
        try:
            self._approvals.withdraw(taken, order)
        except UnsettledError as unsettled:
            self._lease.wait(taken, unsettled.message, self._waits.look_after_write)

    def _set_alias(self, approved: Promotion) -> None:
        try:
            self._approvals.apply(approved)
        except (OnHoldError, UnclearError, OrderedToEndError) as waits:
            self._lease.wait(approved, waits.message, self._until_next_look(approved))

    def _withdrawal(self, taken: Promotion) -> EndRequest | None:
        """Why an approved promotion is not applied any more: somebody has said so, or it has waited too long."""
        order, gate = taken.end_request, self._rules.gate_of(taken)
        if order is not None and order.phase is Phase.CANCELLED:
            return order
        until = None if gate is None else self._approvals.apply_until(taken, gate.apply_within)
        if gate is None or until is None or self._clock.now() <= until:
            return None
        reason = (
            f"Approved, and not applied before {until:%Y-%m-%d %H:%M} UTC (apply_within of gate {gate.name}). "
            f"To ask afresh: champion-gate promotions retry {taken.id}"
        )
        return EndRequest(Phase.EXPIRED, "champion-gate", reason, until)

    def _until_next_look(self, approved: Promotion) -> timedelta:
        if approved.end_request is not None and approved.end_request.phase is Phase.CANCELLED:
            return self._waits.look_soon
        gate, now = self._rules.gate_of(approved), self._clock.now()
        until = None if gate is None else self._approvals.apply_until(approved, gate.apply_within)
        seldom = self._waits.recheck_seldom
        left = seldom if until is None else until + timedelta(seconds=1) - now
        return max(min(left, seldom), self._waits.look_soon)


def _decision_facts(promotion: Promotion, decision: Decision) -> Mapping[str, object]:
    """What an auditor needs to know what exactly was decided."""
    request = promotion.request
    return {
        "verdict": decision.verdict.value,
        "deciders": [
            {"login": d.login, "user_id": d.user_id, "seat": d.seat, "comment": d.comment}
            for d in decision.deciders
        ],
        "decided_at": decision.decided_at.isoformat(),
        "version": promotion.version.version,
        "version_id": promotion.version.version_id,
        "champion": promotion.champion_version,
        "evidence_sha256": promotion.evidence_sha256,
        **({"source_model": promotion.source_model} if promotion.is_copied else {}),
        "approval_settings_sha256": promotion.approval_sha256,
        "provider": decision.source,
        "request": request.external_id if request is not None else None,
        "url": request.url if request is not None else None,
    }
