"""The run of a validation job: started once, and read until it has ended.

Its step's configuration says which version of which model asks for which alias, and has what `gates.Validation.frozen` tells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.gates import MODEL_PARAMETER, VERSION_PARAMETER
from champion_gate.domain.jobs import not_ours_because
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import WAITED_FOR, Step, StepPhase, ended
from champion_gate.domain.validation import Verdict, job_facts, verdict
from champion_gate.errors import VendorError, VendorRefusedError
from champion_gate.flow.context import Context

_log = logging.getLogger(__name__)


class ValidationRuns:
    """Carries validation steps out. Stateless: everything it knows is in the rows or at Databricks."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._jobs = context.jobs
        self._clock = context.clock
        self._chance = context.chance
        self._waits = context.waits

    def carry_out(self, taken: Step) -> Step:
        """Start the job, or look what has become of its run.

        Returns:
            The step as it is to be given back: it succeeded where the run said yes or no, and failed where it could
            not run.

        Raises:
            LeaseLostError: it took too long.
            VendorError: Databricks did not answer or refused.
        """
        promotion = self._store.get_promotion(taken.promotion_id)
        if promotion.phase is not WAITED_FOR[taken.kind]:
            return self._not_wanted(taken, promotion)
        begun = taken if taken.external_id is not None else self._started(taken, promotion)
        try:
            state, we = self._jobs.read(begun.external_id or ""), self._jobs.principal()
        except VendorError as error:
            if self._clock.now() < _over_at(begun) + self._waits.cancel:
                raise
            return self._failed(begun, f"The validation could not run: its run cannot be read: {error}")
        given = _parameters(begun, promotion)
        why = not_ours_because(state, begun.config["job"], given, we=we, planned_at=begun.planned_at)
        if why is not None:
            return self._failed(begun, f"The validation could not run: {why}")
        if state.outcome is None:
            return self._goes_on(begun)
        return self._judged(begun, verdict(state, begun.known))

    def _started(self, taken: Step, promotion: Promotion) -> Step:
        """Have the job run. The token is stored before, so that whoever comes after a crash gets the same run."""
        parameters = _parameters(taken, promotion)
        begun = taken if taken.phase is StepPhase.RUNNING else self._begun(taken, parameters)
        run = self._jobs.start(begun.config["job"], parameters, begun.token)
        _log.info("step %s: run %s of job %s", begun.id, run.run_id, begun.config["job"])
        reason = f"Job {begun.config['job']} validates it before people are asked."
        return self._store.save_step(replace(begun, external_id=run.run_id, url=run.url, reason=reason))

    def _begun(self, taken: Step, parameters: Mapping[str, str]) -> Step:
        job = self._jobs.describe(taken.config["job"])
        missing = sorted(parameters.keys() - set(job.parameters))
        if missing:
            raise VendorRefusedError(
                "Databricks",
                f"job {job.job_id} does not define the job parameter{'s' if missing[1:] else ''} {', '.join(missing)}.",
                hint="Add them to the job: what becomes of others is not known.",
            )
        begun = replace(
            taken,
            phase=StepPhase.RUNNING,
            token=taken.token or self._chance.token(),
            starts=taken.starts + 1,
            started_at=self._clock.now(),
            known={**job_facts(job), "parameters": taken.config["parameters"]},
        )
        return self._store.save_step(begun)

    def _goes_on(self, taken: Step) -> Step:
        """Look again later; a run that takes too long is cancelled."""
        now, over = self._clock.now(), _over_at(taken)
        if now >= over + self._waits.cancel:
            return self._failed(taken, f"{_too_long(taken)} It was cancelled, and goes on all the same.")
        if now >= over:
            self._jobs.cancel(taken.external_id or "")
            return replace(taken, reason=_too_long(taken), due_at=now + self._waits.look_soon)
        rested = (now - (taken.started_at or now)) / 10
        pause = min(max(self._waits.run_look, rested), self._waits.run_look_longest)
        return replace(taken, due_at=min(now + pause, over))

    def _judged(self, taken: Step, said: Verdict) -> Step:
        text = canonical(said.result)
        told = replace(taken, result_json=text, result_sha256=sha256_of(text))
        if said.passed is not None:
            return ended(told, StepPhase.SUCCEEDED, said.reason, self._clock.now())
        late = f"{_too_long(taken)} " if self._clock.now() >= _over_at(taken) else ""
        return self._failed(told, f"{late}{said.reason}")

    def _failed(self, taken: Step, why: str) -> Step:
        return ended(taken, StepPhase.FAILED, why, self._clock.now())

    def _not_wanted(self, taken: Step, promotion: Promotion) -> Step:
        """The promotion has ended, or failed, so that nobody waits for what the run will say.

        A start that was not answered is sent again with its token, which tells the run; there is no other way to it.
        """
        begun = taken
        if taken.phase is StepPhase.RUNNING and taken.external_id is None:
            begun = self._started(taken, promotion)
        why = f"Promotion {promotion.id} is {promotion.phase.value}."
        if begun.external_id is not None:
            self._jobs.cancel(begun.external_id)
            why = f"{why} Run {begun.external_id} is cancelled."
        return ended(begun, StepPhase.OVERTAKEN, why, self._clock.now())


def _parameters(step: Step, promotion: Promotion) -> dict[str, str]:
    named = {MODEL_PARAMETER: promotion.source_model, VERSION_PARAMETER: promotion.version.version}
    return {**step.config["parameters"], **named}


def _over_at(step: Step) -> datetime:
    """When its run has taken too long; it was begun by then."""
    begun_at = step.started_at or step.planned_at
    return begun_at + timedelta(seconds=step.config["timeout_seconds"])


def _too_long(step: Step) -> str:
    limit = timedelta(seconds=step.config["timeout_seconds"])
    return f"The validation took longer than {limit} (timeout), and its run was cancelled."
