"""Operators' orders about steps: try one again, or skip it."""

from __future__ import annotations

import logging

from champion_gate.domain.aliases import check_reason
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.ledger.entries import step_entry
from champion_gate.domain.ports.runtime import Clock, WakeUps
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import Step, StepKind, StepPhase, ended, taken_up_again
from champion_gate.errors import ConflictError
from champion_gate.store import Store

_log = logging.getLogger(__name__)


class StepOrders:
    """Takes operators' orders. It needs nothing but the rows: workers carry out what is due."""

    def __init__(self, store: Store, wake_ups: WakeUps, clock: Clock) -> None:
        self._store = store
        self._wake_ups = wake_ups
        self._clock = clock

    def retry(self, step_id: str, *, actor: str, reason: str | None = None) -> Step:
        """Take a failed or skipped step up again, or try one at once that is put off.

        Raises:
            NotFoundError: there is no such step.
            ConflictError: it succeeded, was overtaken, runs at the vendor, or is being worked on; or its promotion
                does not wait for it any more.
        """
        why = f"Taken up again by {actor}" + (f": {reason}" if reason else ".")

        def revise(step: Step) -> Step:
            again = {StepPhase.PLANNED, StepPhase.FAILED, StepPhase.SKIPPED}
            if step.phase not in again and not _is_only_asked_for(step):
                raise ConflictError(f"Step {step_id} is {step.phase.value}: there is nothing to retry.")
            if step.kind is StepKind.VALIDATE:
                self._check_waits(step)
            if step.kind is StepKind.COPY and not step.phase.is_open:
                raise ConflictError(
                    "A copy is taken up again with its promotion.",
                    hint=f"champion-gate promotions retry {step.promotion_id}",
                )
            return taken_up_again(step, why, self._clock.now())

        return self._ordered(step_id, self._store.order_step(step_id, revise), why)

    def skip(self, step_id: str, *, actor: str, reason: str) -> Step:
        """End a step that has failed or is put off: nothing tries it any more.

        Raises:
            NotFoundError: there is no such step.
            ConflictError: it has ended otherwise, runs at the vendor, or is being worked on; or its promotion waits
                for it: a validation, or a copy.
        """
        check_reason(reason)
        why = f"Skipped by {actor}: {reason}"

        def revise(step: Step) -> Step:
            if step.kind is StepKind.VALIDATE:
                raise ConflictError(
                    "A validation cannot be skipped: without it nobody is asked.",
                    hint=f"champion-gate steps retry {step_id}, or champion-gate promotions cancel {step.promotion_id}",
                )
            if step.kind is StepKind.COPY:
                raise ConflictError(
                    "A copy cannot be skipped: without it nothing gets the alias.",
                    hint=f"champion-gate promotions cancel {step.promotion_id}",
                )
            is_put_off = step.phase is StepPhase.PLANNED or _is_only_asked_for(step)
            if not is_put_off and step.phase is not StepPhase.FAILED:
                raise ConflictError(f"Step {step_id} is {step.phase.value}, and cannot be skipped.")
            return ended(step, StepPhase.SKIPPED, why, self._clock.now())

        def line(skipped: Step) -> list[LedgerEntry]:
            entry = step_entry(skipped, actor)
            return [] if entry is None else [entry]

        return self._ordered(step_id, self._store.order_step(step_id, revise, line), why)

    def _check_waits(self, step: Step) -> None:
        """Raise ConflictError where the promotion waits for no validation."""
        promotion = self._store.get_promotion(step.promotion_id)
        if promotion.phase is not Phase.VALIDATING:
            raise ConflictError(
                f"Promotion {promotion.id} is {promotion.phase.value}, and waits for no validation."
            )

    def _ordered(self, step_id: str, step: Step, why: str) -> Step:
        _log.info("step %s: %s", step_id, why)
        self._wake_ups.step(step_id)
        return step


def _is_only_asked_for(step: Step) -> bool:
    """Whether a job was to be started, and no run of it is known: the start is refused, or not answered."""
    starts_a_job = step.kind in {StepKind.JOB, StepKind.VALIDATE}
    return starts_a_job and step.phase is StepPhase.RUNNING and step.external_id is None
