"""The copy of an approved version into another model: made once, and verified to be what was approved.

Its step's configuration is `Promotion.asked` with {"source_model", "destination", "job", "timeout_seconds", "copier"};
`job` and `copier` are None where the registry copies for us.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.copies import (
    APPROVAL,
    COPIED_FROM,
    CopyReport,
    copier_of,
    facts_of,
    not_the_copy_because,
    report_of,
    tag_of,
    unfit_because,
    version_of,
)
from champion_gate.domain.gates import DESTINATION_PARAMETER, MODEL_PARAMETER, VERSION_PARAMETER
from champion_gate.domain.jobs import JobOutcome, RunState
from champion_gate.domain.json_body import UnusableBodyError
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import WAITED_FOR, Step, StepKind, StepPhase, ended, taken_up_again
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import VendorRefusedError
from champion_gate.flow.awaited_runs import AwaitedRuns, over_at
from champion_gate.flow.context import Context

RUNS = "runs"
"""Under this key a step knows the ids of all runs that it ever started."""
ABOVE = "above"
"""And under this one the highest version that was there before the registry was first asked for the copy."""
_log = logging.getLogger(__name__)


class CopyRuns:
    """Carries copy steps out. Stateless: everything it knows is in the rows or at the vendors'."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._jobs = context.jobs
        self._clock = context.clock
        self._chance = context.chance
        self._waits = context.waits
        self._gates = context.gates
        self._runs = AwaitedRuns(context)

    def carry_out(self, taken: Step) -> Step:
        """Make the copy, or look what has become of it.

        Raises:
            LeaseLostError: it took too long.
            VendorError: the vendor did not answer or refused.
        """
        promotion = self._store.get_promotion(taken.promotion_id)
        if promotion.phase is not WAITED_FOR[taken.kind]:
            return self._runs.not_wanted(taken, promotion, self._started)
        if taken.config["job"] is None:
            return self._copied_here(taken, promotion)
        begun = taken if taken.external_id is not None else self._started(taken, promotion)
        if begun.external_id is None:
            return begun
        found = self._runs.ended(begun, parameters_of(promotion))
        return found if isinstance(found, Step) else self._judged(begun, promotion, found)

    # --- by a Databricks job ---

    def _started(self, taken: Step, promotion: Promotion) -> Step:
        """Have the job run. The token is stored before, so that whoever comes after a crash gets the same run."""
        parameters = parameters_of(promotion)
        begun = taken
        if taken.phase is not StepPhase.RUNNING:
            job = self._jobs.describe(taken.config["job"])
            why = unfit_because(job, parameters, promotion.trainers)
            if why is None and copier_of(job) != taken.config["copier"]:
                why = (
                    f"Job {job.job_id}, which copies, runs as {one_line(copier_of(job) or '')} now, and people were shown "
                    f"{one_line(taken.config['copier'])}."
                )
            if why is not None:
                return self._runs.failed(taken, why)
            if (going_on := self._going_on(taken, promotion)) is not None:
                return self._store.save_step(
                    replace(
                        taken, phase=StepPhase.RUNNING, external_id=going_on, started_at=self._clock.now()
                    )
                )
            # A start whose outcome nobody knows is asked for again by its own token.
            begun = self._begun(replace(taken, token=taken.token or self._chance.token()))
        run = self._jobs.start(begun.config["job"], parameters, begun.token)
        _log.info("step %s: run %s of job %s", begun.id, run.run_id, begun.config["job"])
        known = {**begun.known, RUNS: [*dict.fromkeys([*begun.known.get(RUNS, ()), run.run_id])]}
        reason = f"Approved; job {begun.config['job']} copies it to {begun.config['destination']}."
        return self._store.save_step(
            replace(begun, external_id=run.run_id, url=run.url, reason=reason, known=known)
        )

    def _begun(self, taken: Step) -> Step:
        return self._store.save_step(
            replace(taken, phase=StepPhase.RUNNING, starts=taken.starts + 1, started_at=self._clock.now())
        )

    def _going_on(self, taken: Step, promotion: Promotion) -> str | None:
        """An earlier run of ours that has not ended: another one beside it could make a second copy."""
        for run_id in reversed(taken.known.get(RUNS, ())):
            state = self._read_earlier(run_id, taken, promotion)
            if state is not None and state.outcome is None:
                return state.run_id
        return None

    def _read_earlier(self, run_id: str, step: Step, promotion: Promotion) -> RunState | None:
        """An earlier run of this step; None where it was deleted since, or is not ours."""
        try:
            state = self._jobs.read(run_id, with_tasks=False)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return None
        return None if self._runs.not_ours(step, state, parameters_of(promotion)) else state

    def _judged(self, taken: Step, promotion: Promotion, state: RunState) -> Step:
        if state.outcome is not JobOutcome.SUCCEEDED and not taken.starts:
            gone = f"Run {state.run_id} of before made no copy ({state.code}): another one is started."
            return taken_up_again(taken, gone, self._clock.now())
        if state.outcome is not JobOutcome.SUCCEEDED:
            errors = "; ".join(one_line(task.error, 300) for task in state.tasks if task.error)
            said = ": ".join(filter(None, [state.code, one_line(state.message, 300), errors]))
            return self._runs.doubted(taken, f"{self._runs.late(taken)}The copy failed: {said}.")
        try:
            report = report_of(state, promotion.version, promotion.model)
        except UnusableBodyError as error:
            return self._runs.doubted(taken, f"The copy is not what was approved: {error}.")
        found = self._registry.get_version(promotion.model, report.version)
        if self._is_under_way(taken, found):
            return self._runs.looked_at_again(replace(taken, reason=_pending(found)))
        tags = self._registry.get_details(found).tags if found.source is None else {}
        copier, windows = taken.config["copier"], self._windows(taken, promotion, state)
        why = not_the_copy_because(found, tags, promotion.version, copier=copier, made_in=windows)
        if why is not None:
            return self._runs.doubted(taken, f"The copy is not what was approved: {why}")
        return self._made(taken, found, run=state.run_id, report=report)

    def _windows(
        self, taken: Step, promotion: Promotion, state: RunState
    ) -> Iterator[tuple[datetime, datetime]]:
        """When runs of ours went on that may have copied this version: this one, then earlier ones of it."""
        yield from _window(state)
        earlier = [(run_id, taken) for run_id in taken.known.get(RUNS, ()) if run_id != state.run_id]
        every = [
            other
            for alias in self._aliases_of(promotion)
            for other in self._store.promotions_of_version(
                replace(promotion.alias_key, alias=alias), promotion.version.version, promotion.source_model
            )
        ]
        for other in every:
            if other.id == promotion.id or not other.version.same_as(promotion.version):
                continue
            for step in self._store.steps_of(other.id):
                if step.kind is StepKind.COPY and step.config["job"] == taken.config["job"]:
                    earlier += [(run_id, step) for run_id in step.known.get(RUNS, ())]
        for run_id, step in earlier:
            if (found := self._read_earlier(run_id, step, promotion)) is not None:
                yield from _window(found)

    def _aliases_of(self, promotion: Promotion) -> set[str]:
        """For which a version may have been copied there: a copy that is there is taken for another alias too."""
        gates = self._gates.values()
        return {promotion.alias, *(gate.alias for gate in gates if gate.destination == promotion.model)}

    # --- by the registry ---

    def _copied_here(self, taken: Step, promotion: Promotion) -> Step:
        """Have the registry copy, once: a call whose outcome is not known is looked for until it cannot arrive any more.

        Also where an operator has it taken up again: an earlier call is known by the token that the step keeps.
        """
        if not taken.token or ABOVE not in taken.known:
            above = max((each.number for each in self._registry.list_versions(promotion.model)), default=0)
            first = replace(taken, token=self._chance.token(), known={ABOVE: above})
            return self._call_registry(self._begun(first), promotion)
        begun = taken if taken.phase is StepPhase.RUNNING else self._begun(taken)
        found = self._ours(begun, promotion)
        if found is not None:
            return self._verified(begun, promotion, found)
        over = (begun.started_at or self._clock.now()) + self._waits.copy_arrives
        if self._clock.now() < over:
            return replace(begun, reason="Approved; the copy is waited for.", due_at=over)
        return self._call_registry(self._begun(begun), promotion)

    def _call_registry(self, begun: Step, promotion: Promotion) -> Step:
        source = promotion.version
        tags = {COPIED_FROM: tag_of(source), APPROVAL: begun.token}
        made = self._registry.copy_version(source, promotion.model, tags)
        return self._verified(begun, promotion, made)

    def _ours(self, taken: Step, promotion: Promotion) -> ModelVersion | None:
        """What this step's call has made.

        Whoever may tag reads its token in the copy, and can put it on any version. But they cannot make an earlier one
        any more, and what was there before the call is not of it.
        """
        every = self._registry.list_versions(promotion.model)
        listed = [each for each in every if each.number > taken.known[ABOVE]]
        found = self._registry.with_tag(listed, APPROVAL, taken.token)
        return min(found, key=lambda version: version.number, default=None)

    def _verified(self, taken: Step, promotion: Promotion, found: ModelVersion) -> Step:
        if self._is_under_way(taken, found):
            return self._runs.looked_at_again(replace(taken, reason=_pending(found)))
        why = not_the_copy_because(found, {}, promotion.version)
        if why is not None:
            return self._runs.doubted(taken, f"The copy is not what was approved: {why}")
        return self._made(taken, found, run=None, report=None)

    # --- both ---

    def _is_under_way(self, taken: Step, found: ModelVersion) -> bool:
        return found.status is VersionStatus.PENDING and self._clock.now() < over_at(taken)

    def _made(self, taken: Step, found: ModelVersion, *, run: str | None, report: CopyReport | None) -> Step:
        result: dict[str, Any] = {"copied": facts_of(found), "run": run, "copier": taken.config["copier"]}
        if report is not None:
            result |= {"reused": report.reused, "contents_sha256": report.sha256, "files": report.files}
        text = canonical(result)
        told = replace(taken, result_json=text, result_sha256=sha256_of(text))
        return ended(
            told, StepPhase.SUCCEEDED, f"Copied to {found.model} v{found.version}.", self._clock.now()
        )


def parameters_of(promotion: Promotion) -> dict[str, str]:
    """The job parameters of a copying run."""
    return {
        MODEL_PARAMETER: promotion.source_model,
        VERSION_PARAMETER: promotion.version.version,
        DESTINATION_PARAMETER: promotion.model,
    }


def copied_of(step: Step) -> ModelVersion:
    """The copy that a step that succeeded has verified."""
    return version_of(json.loads(step.result_json or "{}")["copied"])


def _pending(found: ModelVersion) -> str:
    return f"Approved; {found.model} v{found.version} is {found.status.value}, and is waited for."


def _window(state: RunState) -> Iterator[tuple[datetime, datetime]]:
    if state.started_at is not None and state.ended_at is not None:
        yield state.started_at, state.ended_at
