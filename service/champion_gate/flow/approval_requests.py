"""Requests at the vendors': people are asked once, what became of the call is found out, and what they said is read.

To open a request is a call that must not be repeated blindly: each one asks people again. So whatever the
vendor answers, the request is looked for before another is opened, and two are opened at most.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from champion_gate.domain import evidence, policy
from champion_gate.domain.approval import ApprovalRequest, Decision, FoundRequests, OpenedRequest, Verdict
from champion_gate.domain.gates import NewerVersion
from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.domain.steps import StepKind, planned
from champion_gate.errors import GateError, RequestGoneError, VendorUnavailableError
from champion_gate.flow.context import Context
from champion_gate.flow.lease import Lease

MOST_STARTS = 2
"""How often a request is opened whose fate is not told, until an operator allows as many more."""

_log = logging.getLogger(__name__)


class ApprovalRequests:
    """Opens frozen requests, finds those whose opening was not confirmed, and reads what people say in them."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._store = context.store
        self._providers = context.providers
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._lease = Lease(context)
        self._waits = context.waits
        self._replicas_differ = context.replicas_differ

    def open(self, frozen: Promotion, request: ApprovalRequest) -> None:
        """Open the request. Whatever becomes of the call, the stored intent lets the next turn find it.

        Args:
            frozen: with the evidence that people are to see.
            request: what is to be opened; its `starts` are those before this one.
        """
        provider = self._providers[request.provider]
        starts = 1 if provider.goes_on else request.starts + 1
        started = replace(request, starts=starts, asked_at=self._clock.now())
        intended = self._lease.save(replace(frozen, request=started, reason="Asking for approval."))
        markdown = evidence.render_markdown(
            json.loads(intended.evidence_json or "{}"), intended.evidence_sha256 or ""
        )
        try:
            opened = provider.open(request.target, intended, markdown)
        except GateError as error:
            if not isinstance(error, VendorUnavailableError) or not error.outcome_unknown:
                # Certain: nothing was opened. Where nothing ever was, all begins anew.
                self._lease.save(replace(intended, request=request if request.starts else None))
            raise
        if opened is not None:
            self._opened(intended, (opened,))
        else:
            self.search(intended)

    def search(self, taken: Promotion) -> FoundRequests | None:
        """Look for a request that was to be opened and whose id is not known.

        Returns:
            What was found instead, once it is certain that none will be; None where one was found, or may
            still appear: then the turn is over.
        """
        request = taken.request
        if request is None:
            return FoundRequests()
        provider = self._providers.get(request.provider)
        found = FoundRequests() if provider is None else provider.find(request.target, taken)
        self._cancel(taken, found.outdated)
        # Without its sign: a clock that was set back must not make this last.
        since = abs(self._clock.now() - (request.asked_at or request.intent_at))
        if found.ours:
            self._opened(taken, found.ours)
        elif since < self._waits.request_appears and not (provider is not None and provider.goes_on):
            why = "Asked for approval; waiting for the request to appear."
            self._lease.wait(taken, why, self._waits.request_search, mended=False)
        else:
            return found
        return None

    def may_ask(self, taken: Promotion) -> bool:
        """Whether it may be opened (once more)."""
        return taken.request is None or taken.request.starts < taken.request.most_starts

    def wait_for_operator(self, taken: Promotion, found: FoundRequests) -> None:
        """Give the row back until somebody mends what keeps its request from being known, or it expires."""
        request = taken.request
        if request is None:
            return
        why = (
            f"Approval was asked for {request.starts} times at {request.provider}, and no request that bears "
            f"[{taken.correlation_id}] has appeared. {found.remark or _WHAT_TO_CHECK} Nothing is asked again "
            f"by itself. Once that is mended: champion-gate promotions retry {taken.id} (asks "
            f"{MOST_STARTS} times more at most); or: champion-gate promotions cancel {taken.id}"
        )
        # The last error stays to be seen, but this is no failing any more: it was possible to look.
        self._lease.wait(
            replace(taken, retry=Retry(last_error=taken.retry.last_error)),
            why,
            self._waits.request_search_seldom,
            mended=False,
        )

    def allow_more(self, promotion_id: str, why: str) -> bool:
        """Let an operator have it opened again.

        Returns:
            Whether it waits for that: not while it is being worked on, either.
        """
        self._store.hint_promotion(promotion_id, self._clock.now())
        taken = self._lease.take(promotion_id)
        if taken is None:
            return False
        request = taken.request
        waits = taken.phase.is_before_people and request is not None and not self.may_ask(taken)
        if waits and request is not None:
            request = replace(request, most_starts=request.starts + MOST_STARTS)
            gate = self._gates.get(taken.gate)
            if gate is not None:
                expires_at = max(request.expires_at, self._clock.now() + gate.expires_after)
                request = replace(request, expires_at=expires_at)
            taken = replace(taken, request=request, reason=why)
        self._lease.save(replace(taken, due_at=self._clock.now()), release=True)
        return waits

    def judgement(self, taken: Promotion, request: ApprovalRequest) -> tuple[Promotion, policy.Judgement]:
        """What counts where several requests show the same evidence, with the request in which that was said adopted.

        What people said goes before an end for which nobody stands, and a no in any request before a yes in another.

        Raises:
            RequestGoneError: the adopted request is gone, and people have let nothing start in another.
        """
        gone: RequestGoneError | None = None
        found: list[tuple[Promotion, policy.Judgement]] = []
        try:
            found.append(self._judge(replace(taken, missing_since=None), request))
        except RequestGoneError as error:
            gone = error
        own_decision = found[0][1].decision if found else None
        if own_decision is None or not _rejected_by_people(own_decision):
            found += self._others_judged(taken)
        decided = [each for each in found if each[1].decision is not None and each[1].decision.deciders]
        if decided:
            return min(decided, key=lambda each: not _rejected_by_people(each[1].decision))
        if gone is not None or own_decision is not None:
            for other, judgement in found:
                if judgement.soon or judgement.again_at is not None:
                    return other, judgement
        if gone is not None:
            raise gone
        return found[0]

    def _others_judged(self, taken: Promotion) -> Iterator[tuple[Promotion, policy.Judgement]]:
        for other in self._others(replace(taken, missing_since=None)):
            if other.request is not None:
                with suppress(RequestGoneError):
                    yield self._judge(other, other.request)

    def _judge(self, taken: Promotion, request: ApprovalRequest) -> tuple[Promotion, policy.Judgement]:
        # What is said while it is read may be in time and not be seen: only a read that begins too late lets it expire.
        now = self._clock.now()
        state = self._providers[request.provider].read(request.target, taken)
        return taken, policy.judge(
            promotion=taken,
            seats=request.seats,
            state=state,
            allow_trainer_approval=self._gates[taken.gate].allow_trainer_approval,
            source=request.provider,
            now=now,
        )

    def _others(self, taken: Promotion) -> tuple[Promotion, ...]:
        """The promotion with each other request in turn that was opened with the same evidence.

        People may have decided in one of them before it was known that it had been opened.

        Raises:
            VendorError: they cannot be listed.
        """
        request = taken.request
        if request is None or request.starts < MOST_STARTS or not request.correlation_id:
            return ()
        found = self._providers[request.provider].find(request.target, taken).ours
        return tuple(
            replace(taken, request=_as_found(request, other))
            for other in found
            if other.external_id != request.external_id
        )

    def _cancel(self, taken: Promotion, outdated: tuple[str, ...]) -> None:
        ordered = {left.config.get("external_id") for left in self._store.open_steps(taken.id)}
        cancels = [self._lease.cancel_step(taken, each) for each in outdated if each not in ordered]
        if cancels:
            self._lease.save(taken, steps=cancels)

    def _opened(self, taken: Promotion, found: tuple[OpenedRequest, ...]) -> None:
        first, *doubles = found
        if taken.request is None:
            return
        now = self._clock.now()
        request = replace(_as_found(taken.request, first), opened_at=now)
        pending = replace(
            taken,
            phase=Phase.PENDING_APPROVAL,
            request=request,
            reason="Waiting for approval.",
            due_at=now if taken.end_request else now + self._waits.request_search,
            retry=Retry(),
            version_missing_since=None,
        )
        steps = [self._lease.cancel_step(taken, double.external_id) for double in doubles]
        steps += self._lease.status_steps(pending)
        gate = self._gates.get(taken.gate)
        if gate is not None and gate.challenger is not None:
            config = {**taken.asked, "challenger": gate.challenger}
            steps.append(planned(taken.id, StepKind.CHALLENGER, config, now))
        self._lease.save(pending, release=True, steps=steps)
        for step in steps:
            self._wake_ups.step(step.id)
        _log.info("promotion %s waits for approval at %s", taken.id, first.url)
        self.supersede_older(pending)

    def supersede_older(self, opened: Promotion) -> None:
        """Have the requests for older versions end, where the gate wants that, now that this one is open."""
        gate = self._gates.get(opened.gate)
        if gate is None or gate.newer_version is not NewerVersion.SUPERSEDE:
            return
        if self._replicas_differ() is not None:  # the next sweep does it
            return
        for other in self._store.open_promotions(opened.alias_key):
            if other.is_overtaken_by(opened) and not other.phase.is_applied:
                end = EndRequest(
                    phase=Phase.SUPERSEDED,
                    actor="champion-gate",
                    reason=f"The newer v{opened.version.version} asks for {opened.alias} now ({opened.id}).",
                    at=self._clock.now(),
                )
                if self._store.request_end(other.id, end):
                    self._wake_ups.promotion(other.id)


def _as_found(request: ApprovalRequest, found: OpenedRequest) -> ApprovalRequest:
    pins = {**request.pins, **found.pins}
    return replace(request, external_id=found.external_id, url=found.url, pins=pins)


def _rejected_by_people(decision: Decision | None) -> bool:
    return decision is not None and decision.verdict is Verdict.REJECTED and bool(decision.deciders)


_WHAT_TO_CHECK = (
    "Check there whether one was started, whether its name still ends with the id as in champion-gate's "
    "template (`run-name` on GitHub, `workflow: name` on GitLab), and whether our credentials see it."
)
