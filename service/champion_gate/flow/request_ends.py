"""What is shown where people were asked: how their request stands, what became of it, and where it is kept."""

from __future__ import annotations

from dataclasses import replace

from champion_gate.domain import markdown
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ports.approval import ApprovalProvider
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.seats import progress
from champion_gate.domain.steps import Step, StepPhase, ended
from champion_gate.domain.text import one_line
from champion_gate.errors import VendorRefusedError
from champion_gate.flow.context import Context

_LONGEST_STATUS = 140
"""Of GitHub's commit statuses; who shows them elsewhere has room for it."""
_LONGEST_REASON = 2000


class RequestEnds:
    """Carries these steps out. Stateless."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._providers = context.providers
        self._clock = context.clock

    def show_status(self, taken: Step) -> Step:
        """Show how the promotion stands; it may have come further meanwhile, and is looked at again then."""
        promotion = self._store.get_promotion(taken.promotion_id)
        provider, request = self._asked(promotion)
        words = _status(promotion, request)
        provider.show_status(request.target, promotion, words)
        if _status(self._store.get_promotion(taken.promotion_id), request) != words:
            return replace(taken, due_at=self._clock.now())
        return self._succeeded(taken, f"Shown: {words}")

    def comment(self, taken: Step) -> Step:
        """Say what became of the request, with the line of the ledger."""
        promotion = self._store.get_promotion(taken.promotion_id)
        provider, request = self._asked(promotion)
        lines = self._store.ledger_lines(promotion.alias_key, promotion_id=promotion.id)
        text = (
            f"**{promotion.phase.value.capitalize()}.** {markdown.code(promotion.reason, _LONGEST_REASON)}\n\n"
            f"Promotion {markdown.code(promotion.id)}"
        )
        told = [line for line in lines if line.entry.kind in {LedgerKind.ALIAS_CHANGE, LedgerKind.DECISION}]
        if told:
            text += f", line {told[0].number} of the ledger ({markdown.code(told[0].hash)})"
        provider.comment(request.target, promotion, f"{text}.")
        return self._succeeded(taken, "It is said there what became of the request.")

    def merge(self, taken: Step) -> Step:
        """Keep what was approved."""
        promotion = self._store.get_promotion(taken.promotion_id)
        provider, request = self._asked(promotion)
        return self._succeeded(taken, provider.merge(request.target, promotion))

    def _asked(self, promotion: Promotion) -> tuple[ApprovalProvider, ApprovalRequest]:
        request = promotion.request
        provider = self._providers.get(request.provider) if request is not None else None
        if request is None or provider is None:
            raise VendorRefusedError("The provider", "where people were asked is not configured any more.")
        return provider, request

    def _succeeded(self, taken: Step, reason: str) -> Step:
        return ended(taken, StepPhase.SUCCEEDED, reason, self._clock.now())


def _status(promotion: Promotion, request: ApprovalRequest) -> str:
    """How it stands, in few words."""
    if promotion.phase is Phase.PENDING_APPROVAL:
        return one_line(progress(len(request.seats), promotion.awaited_seats), _LONGEST_STATUS)
    words = one_line(f"{promotion.phase.value}: {promotion.reason}", _LONGEST_STATUS)
    return words[:_LONGEST_STATUS]
