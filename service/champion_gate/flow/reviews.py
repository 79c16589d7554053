"""What people said, read from the vendor's API: in every request that shows the evidence of a promotion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from champion_gate.domain import policy
from champion_gate.domain.approval import ApprovalRequest, Decision, Verdict
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import RequestGoneError
from champion_gate.flow.context import Context
from champion_gate.flow.opening import Opening


class Reviews:
    """Reads requests, and says what they come to."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._providers = context.providers
        self._others_asked = Opening(context).others
        self._clock = context.clock

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
        for other in self._others_asked(replace(taken, missing_since=None)):
            if other.request is not None:
                with suppress(RequestGoneError):
                    yield self._judge(other, other.request)

    def _judge(self, taken: Promotion, request: ApprovalRequest) -> tuple[Promotion, policy.Judgement]:
        state = self._providers[request.provider].read(request.target, taken)
        return taken, policy.judge(
            promotion=taken,
            seats=request.seats,
            state=state,
            allow_trainer_approval=self._gates[taken.gate].allow_trainer_approval,
            source=request.provider,
            now=self._clock.now(),
        )


def _rejected_by_people(decision: Decision | None) -> bool:
    return decision is not None and decision.verdict is Verdict.REJECTED and bool(decision.deciders)
