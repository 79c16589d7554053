"""What a promotion is about, read from the world: the job run behind a version, its people, and what ties them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from champion_gate.domain.gates import Gate, Source, VersionSource
from champion_gate.domain.job_runs import JobRun, RunResult, Trainer, each_once
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.promotion import Subject
from champion_gate.domain.versions import ModelVersion, TrainingRun
from champion_gate.errors import VendorNotFoundError
from champion_gate.flow import candidates
from champion_gate.flow.context import Context
from champion_gate.flow.gate_rules import GateRules, Refusal, first_found_by, without_rivals_tasks
from champion_gate.flow.made_elsewhere import Declined, Elsewhere
from champion_gate.flow.sought import Linked, NotFound, Sought, Word

_WORDS: Mapping[str, Word] = {
    VersionSource.TASK_OUTPUT: Word.RUN,
    VersionSource.MLFLOW_RUN: Word.NOBODY,
    VersionSource.TAG: Word.REGISTRANT,
    VersionSource.TRUSTED_TAG: Word.TRUSTED,
}


class Subjects:
    """Reads who and what is behind a version. Stateless."""

    def __init__(self, context: Context) -> None:
        self._gates = context.gates
        self._rules = GateRules(context)
        self._job_runs = context.job_runs
        self._registry = context.registry
        self._elsewhere = Elsewhere(context)
        self._clock = context.clock
        self._together = context.together

    def of(self, gate: Gate, version: ModelVersion, job_run_id: str, found_by: str) -> Subject | Refusal:
        """What is asked, out of the job run that is named: the people behind it must be known.

        Args:
            gate: which gate asks.
            version: of its model.
            job_run_id: empty for a version that no watched job made.
            found_by: in which way it was found.

        Raises:
            VendorError: Databricks or the registry did not answer or refused.
        """
        if first_found_by(found_by) != Source.REGISTRY:
            return self._out_of_run(gate, version, job_run_id, found_by)
        made = self._elsewhere.subject(gate, version, found_by)
        if isinstance(made, Declined):
            return Refusal(made.reason, unclear=made.phase.is_open)
        return self._rules.refusal(gate, made) or made

    def _out_of_run(
        self, gate: Gate, version: ModelVersion, job_run_id: str, found_by: str
    ) -> Subject | Refusal:
        try:
            run = self._job_runs.get_run(job_run_id)
        except VendorNotFoundError:
            return Refusal(f"There is no job run {job_run_id}, or it is hidden from us.", unclear=True)
        if run.result is RunResult.RUNNING or run.end is None:
            return Refusal(f"Run {run.run_id} has not ended yet ({run.result_detail}).", unclear=True)
        refused = self._rules.refusal_of_run(gate, run.job_id, run.facts())
        if refused is not None:
            return refused
        gates = tuple(self._gates.values())
        own = without_rivals_tasks(run, gate, gates, self._job_runs)
        now, together = self._clock.now(), self._together
        sought = Sought(gate, own, gates, self._job_runs, self._registry, now, together=together)
        first = first_found_by(found_by)
        how = f"found by {first}" if first in _WORDS else f"named by {found_by or 'nobody knows whom'}"
        named = candidates.named_version(sought, version, how, _WORDS.get(first, Word.REGISTRANT))
        if isinstance(named, NotFound):
            return Refusal(named.reason, unclear=named.may_appear)
        subject = self.behind(named, run, own, found_by)
        return self._rules.refusal(gate, subject) or subject

    def behind(self, linked: Linked, run: JobRun, own: JobRun, found_by: str) -> Subject:
        """What is asked about a version that comes from the run."""
        return Subject(
            version=linked.version,
            job_id=run.job_id,
            job_run_id=run.run_id,
            job_url=run.url,
            trainers=trainers_of(run, linked.version, linked.training, self._registry, linked.people),
            found_by=found_by,
            origin=linked.marks,
            run=own.facts(),
        )

    def again(self, gate: Gate, before: Subject, version: ModelVersion | None = None) -> Subject | Refusal:
        """The same subject, read once more where something of it is not known; whoever was known stays.

        Rows of earlier releases do not say by what the version was tied to its run, and asked for less.

        Args:
            gate: which gate asks.
            before: what was known.
            version: the version as it is told now, where less was told of it then.

        Raises:
            VendorError: as for `of`.
        """
        unknown = is_somebody_unknown(before.trainers) and not gate.allow_trainer_approval
        if version is None and before.origin and not unknown:
            return before
        version = version or self._registry.get_version(gate.model, before.version.version)
        found = self.of(gate, version, before.job_run_id, before.found_by)
        if isinstance(found, Refusal):
            return found
        known = [each for each in before.trainers if not is_somebody_unknown([each])]
        return replace(found, trainers=tuple(dict.fromkeys([*known, *found.trainers])))


def is_somebody_unknown(trainers: Iterable[Trainer]) -> bool:
    """Whether one of them was not told, perhaps only at that moment; so too where there are none."""
    every = list(trainers)
    return not every or not all((each.name or "").strip() for each in every)


def trainers_of(
    run: JobRun,
    version: ModelVersion,
    training: TrainingRun | None,
    registry: ModelRegistry,
    more: Iterable[Trainer] = (),
) -> tuple[Trainer, ...]:
    """Everybody behind a version; whoever should be told and is not stands there with the name None.

    Args:
        run: the job run; its creators and run-as.
        version: its creator is demanded where the registry records creators.
        training: the MLflow run behind it; its user is demanded where the version has an MLflow run.
        registry: tells whether it records creators.
        more: the people of another job run that trained it.
    """
    trainers = [*run.trainers, *more]
    if version.created_by or registry.records_creators:
        trainers.append(Trainer("version creator", version.created_by))
    if training is not None:
        trainers.append(Trainer("MLflow run user", training.user))
    elif version.run_id is not None:
        trainers.append(Trainer("MLflow run user", None))
    return each_once(trainers)
