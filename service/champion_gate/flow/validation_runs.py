"""The run of a validation job: started once, and read until it has ended.

Its step's configuration says which version of which model asks for which alias, and has what `gates.Validation.frozen` tells.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.gates import MODEL_PARAMETER, VERSION_PARAMETER
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import WAITED_FOR, Step, StepPhase, ended
from champion_gate.domain.validation import Verdict, job_facts, verdict
from champion_gate.errors import VendorRefusedError
from champion_gate.flow.awaited_runs import AwaitedRuns
from champion_gate.flow.context import Context

_log = logging.getLogger(__name__)


class ValidationRuns:
    """Carries validation steps out. Stateless: everything it knows is in the rows or at Databricks."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._jobs = context.jobs
        self._clock = context.clock
        self._chance = context.chance
        self._runs = AwaitedRuns(context)

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
            return self._runs.not_wanted(taken, promotion, self._started)
        begun = taken if taken.external_id is not None else self._started(taken, promotion)
        found = self._runs.ended(begun, _parameters(begun, promotion))
        return found if isinstance(found, Step) else self._judged(begun, verdict(found, begun.known))

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

    def _judged(self, taken: Step, said: Verdict) -> Step:
        text = canonical(said.result)
        told = replace(taken, result_json=text, result_sha256=sha256_of(text))
        if said.passed is not None:
            return ended(told, StepPhase.SUCCEEDED, said.reason, self._clock.now())
        return self._runs.doubted(taken, f"{self._runs.late(taken)}{said.reason}", told)


def _parameters(step: Step, promotion: Promotion) -> dict[str, str]:
    named = {MODEL_PARAMETER: promotion.source_model, VERSION_PARAMETER: promotion.version.version}
    return {**step.config["parameters"], **named}
