"""The copy that gets the alias once people have approved a version of another model: begun, waited for, and taken."""

from __future__ import annotations

from dataclasses import replace

from champion_gate.domain.copies import job_shown
from champion_gate.domain.gates import PromoteTo
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.domain.steps import Step, StepKind, StepPhase, planned
from champion_gate.errors import ConflictError
from champion_gate.flow.context import Context
from champion_gate.flow.copy_runs import copied_of
from champion_gate.flow.lease import Lease


class CopyFailedError(ConflictError):
    """There is no copy that could get the alias; an operator has to look."""

    code = "copy_failed"


class Copies:
    """Decides by the rows; `CopyRuns` calls the vendors."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._waits = context.waits
        self._lease = Lease(context)

    def taken(self, promotion: Promotion, copy: PromoteTo) -> Promotion | None:
        """The promotion with the copy that is to get the alias; None where that is only begun or waited for.

        Args:
            promotion: approved, and all else is as it was approved; given back where None is returned.
            copy: what the gate says of it.

        Raises:
            CopyFailedError: it failed.
        """
        if promotion.phase is Phase.APPROVED:
            self._begin(promotion, copy)
            return None
        step = self._step(promotion)
        if step.phase.is_open:
            self._lease.wait(promotion, _under_way(step), self._waits.recheck_seldom)
            return None
        if step.phase is not StepPhase.SUCCEEDED:
            raise CopyFailedError(step.reason)
        if promotion.copied is not None:
            return promotion
        return self._lease.save(replace(promotion, copied=copied_of(step)))

    def _begin(self, promotion: Promotion, copy: PromoteTo) -> None:
        now = self._clock.now()
        shown = job_shown(promotion.evidence_json)
        config = {
            **promotion.asked,
            "source_model": promotion.source_model,
            "destination": promotion.model,
            "job": copy.job_id,
            "timeout_seconds": copy.timeout.total_seconds(),
            "copier": shown and shown["run_as"][0]["name"],
        }
        step = planned(promotion.id, StepKind.COPY, config, now)
        copying = replace(
            promotion,
            phase=Phase.COPYING,
            reason=_under_way(step),
            due_at=now + self._waits.recheck_seldom,
            retry=Retry(),
        )
        self._lease.save(copying, release=True, steps=[step])
        self._wake_ups.step(step.id)

    def _step(self, promotion: Promotion) -> Step:
        return self._store.get_step(f"{promotion.id}-{StepKind.COPY.value}")


def _under_way(step: Step) -> str:
    words = [step.reason or f"Approved; it is copied to {step.config['destination']}."]
    if step.retry.last_error:
        words.append(f"It is tried again: {step.retry.last_error}")
    return " ".join([*words, *([step.url] if step.url else [])])
