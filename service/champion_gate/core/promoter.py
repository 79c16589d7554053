"""The product's story: from a version that asks for an alias to the alias set, or to the reason why not.

`advance` is what every path ends in: a webhook, a poll, an operator's command and the sweep. It takes the
promotion's row, re-reads the world, goes as far as the world allows, and gives the row back:

    requested         `Requesting` freezes the evidence and asks people for approval
    pending_approval  `_decide` reads what they said from the vendor's API
    approved          `Spending` sets the alias, once
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from champion_gate.core import policy
from champion_gate.core.approval import Decision, Verdict
from champion_gate.core.gates import Gate
from champion_gate.core.identities import Identities
from champion_gate.core.judging import SEEN_AGAIN_AFTER
from champion_gate.core.ledger import LedgerEntry, LedgerKind
from champion_gate.core.ports import ApprovalProvider, Chance, Clock, ModelRegistry, WakeUps
from champion_gate.core.promotion import (
    EndRequest,
    FollowUp,
    FollowUpKind,
    Phase,
    Promotion,
    Subject,
    requested,
)
from champion_gate.core.requesting import Requesting
from champion_gate.core.retrying import BUDGET, next_try
from champion_gate.core.spending import Spending, moved_under
from champion_gate.core.store import Store
from champion_gate.core.turn import LEASE_SECONDS, Turn
from champion_gate.errors import (
    ConflictError,
    GateError,
    LeaseLostError,
    OnHoldError,
    UnexpectedError,
    VendorError,
    VendorRefusedError,
)

_LOOK_AGAIN = timedelta(minutes=10)
_LOOK_AGAIN_SOON = timedelta(seconds=5)

_log = logging.getLogger(__name__)


class Promoter:
    """Advances promotions. Stateless: everything it knows is in the rows or at the vendors'."""

    def __init__(
        self,
        *,
        gates: Mapping[str, Gate],
        store: Store,
        registry: ModelRegistry,
        providers: Mapping[str, ApprovalProvider],
        requesting: Requesting,
        spending: Spending,
        identities: Identities,
        wake_ups: WakeUps,
        clock: Clock,
        chance: Chance,
        turn: Turn,
    ) -> None:
        self._gates = gates
        self._store = store
        self._registry = registry
        self._providers = providers
        self._requesting = requesting
        self._spending = spending
        self._identities = identities
        self._wake_ups = wake_ups
        self._clock = clock
        self._chance = chance
        self._turn = turn

    def advance(self, promotion_id: str) -> None:
        """Take the promotion as far as the world allows now. Safe to call at any time, any number of times."""
        taken = self._turn.take(promotion_id)
        if taken is None:
            return
        steps = {
            Phase.REQUESTED: self._requesting.request,
            Phase.PENDING_APPROVAL: self._decide,
            Phase.APPROVED: self._apply,
        }
        try:
            steps[taken.phase](taken)
        except LeaseLostError:
            _log.warning("promotion %s is in another worker's hands now", promotion_id)
        except GateError as error:
            self._turn.put_off(taken, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not strand an approval
            _log.exception("promotion %s met an error of our own", promotion_id)
            self._turn.put_off(taken, UnexpectedError.of(error))

    def cancel(self, promotion_id: str, *, actor: str, reason: str) -> None:
        """Order an open promotion to end; whoever advances it re-reads the decision first.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: it has ended, is approved already, or has been ordered to end.
        """
        promotion = self._store.get_promotion(promotion_id)
        if promotion.phase not in {Phase.REQUESTED, Phase.PENDING_APPROVAL}:
            raise ConflictError(
                f"Promotion {promotion_id} is {promotion.phase.value}; only one that is requested or waits for "
                "approval can be cancelled."
            )
        end = EndRequest(phase=Phase.CANCELLED, actor=actor, reason=reason, at=self._clock.now())
        if not self._store.request_end(promotion_id, end):
            raise ConflictError(f"Promotion {promotion_id} has been ordered to end already.")
        self._wake_ups.promotion(promotion_id)

    def retry(self, promotion_id: str, *, actor: str, reason: str | None = None) -> str:
        """Take a failed promotion up again where it failed; ask afresh for a version whose promotion ended otherwise.

        One whose request was opened as often as it may be, and never appeared, is opened again.

        Args:
            promotion_id: which.
            actor: who wants it.
            reason: why, if they say.

        Returns:
            The id of the promotion that goes on: the same, or the fresh one.

        Raises:
            NotFoundError: there is no such promotion.
            ConflictError: it is open or promoted, or the version asks already.
        """
        promotion = self._store.get_promotion(promotion_id)
        nothing = ConflictError(
            f"Promotion {promotion_id} is {promotion.phase.value}: there is nothing to retry."
        )
        if promotion.phase in {Phase.PENDING_APPROVAL, Phase.APPROVED, Phase.PROMOTED}:
            raise nothing
        gate = self._gates.get(promotion.gate)
        if gate is not None and not policy.may_feed(gate, promotion.job_id):
            raise ConflictError(f"Gate {gate.name} does not watch job {promotion.job_id} any more.")
        why = _with_reason(f"Taken up again by {actor}", reason)
        if promotion.phase is Phase.REQUESTED:
            if not self._requesting.allow_more_starts(promotion_id, why):
                raise nothing
            self._wake_ups.promotion(promotion_id)
            return promotion_id
        if promotion.phase is not Phase.FAILED:
            return self._ask_afresh(promotion, actor, reason)
        if not self._store.retry_promotion(promotion_id, self._clock.now(), why):
            raise ConflictError(f"Promotion {promotion_id} is not failed any more.")
        if promotion.failed_from is Phase.REQUESTED:
            self._requesting.allow_more_starts(promotion_id, why)
        self._wake_ups.promotion(promotion_id)
        return promotion_id

    def _ask_afresh(self, ended: Promotion, actor: str, reason: str | None) -> str:
        fresh = requested(
            f"p-{self._chance.token()}",
            ended.alias_key,
            ended.gate,
            Subject.of(ended),
            reason=_with_reason(
                f"{actor} asks afresh, after {ended.id} ended as {ended.phase.value}", reason
            ),
            at=self._clock.now(),
        )
        if self._store.create_promotion(fresh) is None:
            raise ConflictError(f"v{ended.version.version} of {ended.model} asks for {ended.alias} already.")
        self._wake_ups.promotion(fresh.id)
        return fresh.id

    def follow_up(self, follow_up_id: str) -> None:
        """Do one piece of work that an ended promotion left: cancel its request, or tag its version.

        A refusal is tried again too, for a day: meanwhile `promotions show` tells what is missing.
        """
        taken = self._store.take_follow_up(follow_up_id, self._clock.now(), LEASE_SECONDS)
        if taken is None:
            return
        try:
            self._carry_out(taken)
        except Exception as caught:  # noqa: BLE001 - a fault of ours must not be tried for ever
            error = caught if isinstance(caught, GateError) else UnexpectedError.of(caught)
            planned = next_try(
                error,
                attempts=taken.attempts,
                failing_since=taken.failing_since,
                now=self._clock.now(),
                fraction=self._chance.fraction(),
                budget=None,
            )
            given_up = planned.failing_since + BUDGET <= self._clock.now()
            _log.log(
                logging.ERROR if given_up else logging.WARNING,
                "%s of promotion %s %s: %s",
                taken.kind.value,
                taken.promotion_id,
                "is given up" if given_up else "failed and is tried again",
                error,
            )
            put_off = replace(
                taken,
                attempts=planned.attempts,
                failing_since=planned.failing_since,
                last_error=planned.last_error,
                due_at=planned.due_at or taken.due_at,
            )
            self._store.release_follow_up(put_off, done=given_up)
        else:
            self._store.release_follow_up(taken, done=True)

    def _carry_out(self, follow_up: FollowUp) -> None:
        promotion = self._store.get_promotion(follow_up.promotion_id)
        if follow_up.kind is FollowUpKind.TAG_VERSION:
            if promotion.registry != self._registry.name:
                raise VendorRefusedError(promotion.registry, "this registry is not configured any more")
            for key, value in follow_up.facts.items():
                self._registry.set_version_tag(promotion.model, promotion.version.version, key, value)
        elif promotion.request is not None:
            provider = self._providers.get(promotion.request.provider)
            if provider is None:
                raise VendorRefusedError(
                    promotion.request.provider, "this provider is not configured any more"
                )
            target = promotion.request.target
            if follow_up.kind is FollowUpKind.CANCEL_REQUEST:
                provider.cancel(target, follow_up.facts["external_id"])
            else:
                for double in provider.duplicates(target, promotion):
                    provider.cancel(target, double)

    def _decide(self, taken: Promotion) -> None:
        request = taken.request
        if request is None or request.external_id is None:
            raise ConflictError(f"Promotion {taken.id} waits for a request that is not on record.")
        stale = self._settings_changed(taken)
        if stale is not None:
            self._turn.end(taken, Phase.STALE, stale)
            return
        gate = self._gates[taken.gate]
        state = self._providers[request.provider].read(request.target, taken)
        judgement = policy.judge(
            promotion=taken,
            seats=request.seats,
            state=state,
            allow_trainer_approval=gate.allow_trainer_approval,
            source=request.provider,
            now=self._clock.now(),
        )
        if judgement.decision is not None:
            self._decided(taken, judgement.decision)
        elif judgement.seen_once:
            doubted = replace(taken, seen_once=judgement.seen_once)
            again = max(judgement.seen_once.values()) + SEEN_AGAIN_AFTER - self._clock.now()
            self._turn.wait(doubted, judgement.waiting_because, again)
        elif judgement.expired:
            self._turn.end(taken, Phase.EXPIRED, judgement.waiting_because)
        elif taken.end_request is not None:
            self._turn.end(taken, taken.end_request.phase, taken.end_request.reason)
        else:
            self._keep_waiting(taken, judgement)

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
            self._turn.end(rejected, Phase.REJECTED, decision.reason, ledger=[line])
            return
        approved = self._turn.save(
            replace(
                taken,
                phase=Phase.APPROVED,
                decision=decision,
                reason=decision.reason,
                attempts=0,
                failing_since=None,
                last_error=None,
            ),
            ledger=[line],
        )
        _log.info("promotion %s is approved: %s", taken.id, decision.reason)
        self._apply(approved)

    def _keep_waiting(self, taken: Promotion, judgement: policy.Judgement) -> None:
        current = self._registry.get_alias(taken.model, taken.alias)
        newer = self._requesting.newer_request(taken, self._gates[taken.gate])
        if newer is not None:
            reason = f"v{newer.version.version} asks for {taken.alias} now ({newer.id})."
            self._turn.end(taken, Phase.SUPERSEDED, reason)
        elif current != taken.champion_version:
            self._turn.end(taken, Phase.STALE, moved_under(taken, current))
        elif (moved := self._spending.moved_and_back(taken)) is not None:
            self._turn.end(taken, Phase.STALE, moved)
        elif (changed := self._spending.version_changed(taken)) is not None:
            self._turn.end(taken, Phase.STALE, changed)
        else:
            cancels, remark = self._doubles(taken)
            waiting = replace(taken, outstanding=judgement.outstanding)
            interval = _LOOK_AGAIN_SOON if judgement.soon else _LOOK_AGAIN
            self._turn.wait(waiting, f"{judgement.waiting_because}{remark}", interval, cancels)

    def _doubles(self, taken: Promotion) -> tuple[list[FollowUp], str]:
        """Orders to cancel other requests for this promotion; where they cannot be listed, a remark that says so."""
        request = taken.request
        if request is None:
            return [], ""
        try:
            found = self._providers[request.provider].duplicates(request.target, taken)
        except VendorError as error:
            _log.warning("doubles of promotion %s cannot be looked for: %s", taken.id, error)
            return [], f" (Whether it was asked for twice cannot be read: {error})"
        return [self._turn.cancel_follow_up(taken, double) for double in found], ""

    def _settings_changed(self, taken: Promotion) -> str | None:
        gate = policy.gate_of(taken, self._gates, self._registry.name)
        if gate is None:
            return f"Gate {taken.gate} is not configured any more."
        if not self._identities.settings_are_those_of(taken, gate):
            return f"The approval settings of gate {taken.gate} have changed since approval was asked for."
        return None

    def _apply(self, taken: Promotion) -> None:
        try:
            ended = self._spending.spend(
                taken, stale_because=self._settings_changed(taken), end=self._turn.ended_with_follow_ups
            )
        except OnHoldError as held:
            self._turn.wait(taken, held.message, _LOOK_AGAIN)
            return
        self._turn.save(ended, release=True)
        self._turn.after_end(ended)


def _with_reason(what: str, reason: str | None) -> str:
    return f"{what}: {reason}" if reason else f"{what}."


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
        "approval_settings_sha256": promotion.approval_sha256,
        "provider": decision.source,
        "request": request.external_id if request is not None else None,
        "url": request.url if request is not None else None,
    }
