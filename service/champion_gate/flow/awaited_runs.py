"""A run of a Databricks job for whose end a promotion waits: looked at until then, and cancelled where that takes too long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from champion_gate.domain.jobs import RunState, not_ours_because
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import Step, StepKind, StepPhase, ended
from champion_gate.errors import VendorError
from champion_gate.flow.context import Context

_NAMES = {StepKind.VALIDATE: "The validation", StepKind.COPY: "The copy"}


class AwaitedRuns:
    """Looks at runs. Stateless: the step's row says which run, and its configuration the job and the time-out."""

    def __init__(self, context: Context) -> None:
        self._jobs = context.jobs
        self._clock = context.clock
        self._waits = context.waits

    def ended(self, begun: Step, given: Mapping[str, str]) -> RunState | Step:
        """The step's run, where it is ours and has ended; else the step as it waits for that, or has failed.

        Raises:
            VendorError: the run cannot be read, and its time is not over.
        """
        try:
            state = self._jobs.read(begun.external_id or "")
            why = self.not_ours(begun, state, given)
        except VendorError as error:
            if self._clock.now() < over_at(begun) + self._waits.cancel:
                raise
            return self.failed(begun, f"{_NAMES[begun.kind]}'s run cannot be read: {error}")
        if why is not None:
            return self.doubted(begun, f"{_NAMES[begun.kind]}'s run cannot be told: {why}")
        return state if state.outcome is not None else self._going_on(begun)

    def not_ours(self, step: Step, state: RunState, given: Mapping[str, str]) -> str | None:
        """Why this is no run that the step started; None if it is."""
        we = self._jobs.principal()
        return not_ours_because(state, step.config["job"], given, we=we, planned_at=step.planned_at)

    def looked_at_again(self, taken: Step) -> Step:
        """The step as it is looked at again later; the longer it has taken, the more seldom."""
        now = self._clock.now()
        rested = (now - (taken.started_at or now)) / 10
        pause = min(max(self._waits.run_look, rested), self._waits.run_look_longest)
        return replace(taken, due_at=min(now + pause, over_at(taken)))

    def not_wanted(self, taken: Step, promotion: Promotion, start: Callable[[Step, Promotion], Step]) -> Step:
        """The step as it ends because the promotion has ended, or failed: nobody waits for the run.

        A start that was not answered is sent again with its token, which tells the run; there is no other way to it.
        """
        begun, is_jobs = taken, taken.config["job"] is not None
        if is_jobs and taken.phase is StepPhase.RUNNING and taken.external_id is None:
            begun = start(taken, promotion)
        why = f"Promotion {promotion.id} is {promotion.phase.value}."
        if begun.external_id is not None:
            self._jobs.cancel(begun.external_id)
            why = f"{why} Run {begun.external_id} is cancelled."
        return ended(begun, StepPhase.OVERTAKEN, why, self._clock.now())

    def doubted(self, taken: Step, why: str, told: Step | None = None) -> Step:
        """The step as it is looked at again, for nothing ends that has been read only once; else as it has failed.

        Args:
            taken: the step, whose reason tells whether the last look showed the same.
            why: what its run said.
            told: the step with what is kept where it fails.
        """
        if taken.reason == why:
            return self.failed(told or taken, why)
        return replace(taken, reason=why, due_at=self._clock.now() + self._waits.look_soon)

    def failed(self, taken: Step, why: str) -> Step:
        """The step as it has failed."""
        return ended(taken, StepPhase.FAILED, why, self._clock.now())

    def late(self, taken: Step) -> str:
        """That its run has taken too long, in words before others; empty where it has not."""
        return f"{_too_long(taken)} " if self._clock.now() >= over_at(taken) else ""

    def _going_on(self, taken: Step) -> Step:
        """Look again later; a run that takes too long is cancelled."""
        now, over = self._clock.now(), over_at(taken)
        if now >= over + self._waits.cancel:
            return self.failed(taken, f"{_too_long(taken)} It was cancelled, and goes on all the same.")
        if now >= over:
            self._jobs.cancel(taken.external_id or "")
            return replace(taken, reason=_too_long(taken), due_at=now + self._waits.look_soon)
        return self.looked_at_again(taken)


def over_at(step: Step) -> datetime:
    """When its run has taken too long; it was begun by then."""
    begun_at = step.started_at or step.planned_at
    return begun_at + timedelta(seconds=step.config["timeout_seconds"])


def _too_long(step: Step) -> str:
    limit = timedelta(seconds=step.config["timeout_seconds"])
    return f"{_NAMES[step.kind]} took longer than {limit} (timeout), and its run was cancelled."
