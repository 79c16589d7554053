"""Finds the model version that a job run made, and the people behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from champion_gate.core.gates import Gate, VersionSource
from champion_gate.core.job_runs import JobRun, Trainer
from champion_gate.core.names import check_model, check_version
from champion_gate.core.ports import JobRuns, ModelRegistry
from champion_gate.core.text import one_line
from champion_gate.core.versions import ModelVersion, TrainingRun, VersionDetails
from champion_gate.errors import InvalidNameError, VendorNotFoundError, VendorRefusedError

RUN_TAG = "champion_gate_job_run_id"
"""The version tag in which a training job writes its job run's id."""

_AROUND_RUN = timedelta(days=1)
_AFTER_RUN = timedelta(minutes=10)
_MOST_TRAINING_RUNS = 200
_MOST_NAMED = 10


@dataclass(frozen=True)
class Found:
    """The one version of the gate's model that the run made."""

    version: ModelVersion
    by: VersionSource


@dataclass(frozen=True)
class NotFound:
    """There is no version, or not exactly one, or none that can be believed; the reason is for people."""

    reason: str


@dataclass(frozen=True)
class _Silent:
    """This source says nothing about the gate's model, so another may be asked."""

    reason: str


def find_version(gate: Gate, run: JobRun, job_runs: JobRuns, registry: ModelRegistry) -> Found | NotFound:
    """Find the version of the gate's model that this run made, the way the gate says.

    AUTO asks task output, tag and MLflow runs in this order; the first that says anything decides, also
    when what it says cannot be used.

    Args:
        gate: its `model` has been checked and, where the registry folds case, is lower-case.
        run: ended, with the task runs that count.
        job_runs: for what the tasks say themselves.
        registry: where the model is.

    Raises:
        VendorUnavailableError: later it may work.
    """
    sources: dict[VersionSource, Callable[[], Found | NotFound | _Silent]] = {
        VersionSource.TASK_OUTPUT: lambda: _by_task_output(gate, run, job_runs, registry),
        VersionSource.TAG: lambda: _by_tag(gate, run, registry),
        VersionSource.MLFLOW_RUN: lambda: _by_mlflow_run(gate, run, registry),
    }
    asked = list(sources) if gate.version is VersionSource.AUTO else [gate.version]
    reasons: list[str] = []
    for source in asked:
        said = sources[source]()
        if not isinstance(said, _Silent):
            return said
        reasons.append(said.reason)
    return NotFound(f"No version of {gate.model} was found for job run {run.run_id}. {' '.join(reasons)}")


def trainers_of(run: JobRun, details: VersionDetails, registry: ModelRegistry) -> tuple[Trainer, ...]:
    """Everybody behind a version; whoever should be told and is not stands there with the name None.

    Args:
        run: the job run; its creators and run-as.
        details: the version's creator (demanded where the registry records creators) and its MLflow run's
            user (demanded where the version has an MLflow run).
        registry: tells whether it records creators.
    """
    trainers = list(run.trainers)
    if details.version.created_by or registry.records_creators:
        trainers.append(Trainer("version creator", details.version.created_by))
    if details.training_run is not None:
        trainers.append(Trainer("MLflow run user", details.training_run.user))
    elif details.version.run_id is not None:
        trainers.append(Trainer("MLflow run user", None))
    distinct: dict[tuple[str, str], Trainer] = {}
    for each in trainers:
        distinct.setdefault((each.role, (each.name or "").casefold()), each)
    return tuple(distinct.values())


def named_version(
    version: ModelVersion, run: JobRun, registry: ModelRegistry, by: str
) -> ModelVersion | NotFound:
    """The version that somebody names for this run, if it can be believed that the run made it.

    Args:
        version: as the registry has it.
        run: ended, with the task runs that count.
        registry: where the model is.
        by: who or what names it, for people.
    """
    return _if_linked(version, run, registry, by)


# --- the three sources ------------------------------------------------------------------------------------


def _by_task_output(
    gate: Gate, run: JobRun, job_runs: JobRuns, registry: ModelRegistry
) -> Found | NotFound | _Silent:
    versions: set[str] = set()
    others: set[str] = set()
    for output in job_runs.task_outputs(run):
        try:
            model = check_model(output.model, three_level=registry.folds_case)
            if not _same_name(model, gate.model, registry):
                others.add(model)  # another gate's model, perhaps: no word about ours
                continue
            versions.add(check_version(output.version))
        except InvalidNameError as error:
            return NotFound(
                f"The output of task run {output.task_run_id} cannot be used: {one_line(str(error), 500)}"
            )
    if not versions:
        named = f", but of {_some(sorted(others))}" if others else ""
        return _Silent(f"No task's output names a version of it{named}.")
    if len(versions) > 1:
        return NotFound(
            f"The outputs of the tasks of job run {run.run_id} contradict each other: they name versions"
            f" {_some(sorted(versions, key=int))} of {gate.model}."
        )
    (version,) = versions
    try:
        found = registry.get_version(gate.model, version)
    except VendorNotFoundError as error:
        return NotFound(
            f"A task's output names version {version} of {gate.model}, which is not there, or not visible to"
            f" us ({one_line(str(error), 300)})."
        )
    linked = _if_linked(found, run, registry, "task output")
    return linked if isinstance(linked, NotFound) else Found(linked, VersionSource.TASK_OUTPUT)


def _by_tag(gate: Gate, run: JobRun, registry: ModelRegistry) -> Found | NotFound | _Silent:
    tagged = registry.versions_tagged(gate.model, RUN_TAG, run.run_id)
    if not tagged:
        return _Silent(f"None bears the tag {RUN_TAG}={run.run_id}.")
    candidates = list(tagged)
    if len(tagged) > 1:
        runs = _TrainingRuns(registry)
        candidates = [each for each in tagged if not _is_replaced(runs.of(each), run)]
    if len(candidates) != 1:
        return NotFound(
            f"{len(tagged)} versions of {gate.model} bear the tag {RUN_TAG}={run.run_id}"
            f" ({_numbers(tagged)}), and {len(candidates)} of them come from attempts that no retry or repair"
            " has replaced; one is needed."
        )
    linked = _if_linked(candidates[0], run, registry, "tag")
    return linked if isinstance(linked, NotFound) else Found(linked, VersionSource.TAG)


def _by_mlflow_run(gate: Gate, run: JobRun, registry: ModelRegistry) -> Found | NotFound | _Silent:
    runs = _TrainingRuns(registry)
    near = [each for each in registry.list_versions(gate.model) if each.run_id and _is_near(each, run)]
    looked_at = near[:_MOST_TRAINING_RUNS]
    made = [each for each in looked_at if _is_of(runs.of(each), run) and _workspace_fits(each, run)]
    if len(made) == 1:
        return Found(made[0], VersionSource.MLFLOW_RUN)
    if made:
        return NotFound(
            f"The MLflow runs of {len(made)} versions of {gate.model} ({_numbers(made)}) belong to job run"
            f" {run.run_id}; one is needed. Let the job say which: by a task's output or by the version tag"
            f" {RUN_TAG}."
        )
    return _Silent(_why_none_made(looked_at, near, runs, run))


def _why_none_made(
    looked_at: Sequence[ModelVersion], near: Sequence[ModelVersion], runs: _TrainingRuns, run: JobRun
) -> str:
    reason = (
        f"Of {len(looked_at)} versions made around the time of the run, no MLflow run belongs to its tasks."
    )
    if len(near) > len(looked_at):
        reason += f" {len(near) - len(looked_at)} older ones were not looked at."
    replaced = [each for each in looked_at if _is_replaced(runs.of(each), run)]
    if replaced:
        reason += f" Those of {_numbers(replaced)} belong to attempts that a retry or repair has replaced."
    if runs.unreadable:
        reason += f" These MLflow runs cannot be read: {_some(sorted(runs.unreadable))}."
    return reason


# --- whether a version comes from a run -------------------------------------------------------------------


class _TrainingRuns:
    """Reads MLflow runs, each once; one that is not there or not ours to see counts as none.

    Attributes:
        unreadable: ids of those that are.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self.unreadable: set[str] = set()
        self._registry = registry
        self._known: dict[str, TrainingRun | None] = {}

    def of(self, version: ModelVersion) -> TrainingRun | None:
        """The MLflow run behind the version."""
        run_id = version.run_id
        if not run_id:
            return None
        if run_id not in self._known:
            try:
                self._known[run_id] = self._registry.get_training_run(run_id)
            except VendorRefusedError as error:
                if error.concerns_all:
                    raise
                self._known[run_id] = None
                self.unreadable.add(one_line(run_id, 64))
        return self._known[run_id]


def _is_of(training: TrainingRun | None, run: JobRun) -> bool:
    """Whether the MLflow run was made by a task run of this run that counts."""
    return training is not None and (training.job_id, training.job_run_id) in {
        (task.job_id, task.run_id) for task in run.tasks
    }


def _is_replaced(training: TrainingRun | None, run: JobRun) -> bool:
    """Whether it was made by an attempt of this run that a later one has replaced."""
    return (
        training is not None
        and training.job_run_id in run.earlier_task_run_ids
        and training.job_id in {run.job_id, *(task.job_id for task in run.tasks)}
    )


def _if_linked(
    version: ModelVersion, run: JobRun, registry: ModelRegistry, by: str
) -> ModelVersion | NotFound:
    """The version, if it can be believed that this run made it, whatever a tag or an output says."""
    runs = _TrainingRuns(registry)
    training = runs.of(version)
    if training is not None and (training.job_id or training.job_run_id):
        # Job tags that name another task run outweigh who made it and when: principals are shared by jobs.
        linked = _is_of(training, run)
    else:
        linked = not runs.unreadable and _is_made_by_trainer(version, run)
    if linked and _workspace_fits(version, run):
        return version
    unreadable = (
        f" Its MLflow run {one_line(version.run_id or '')} cannot be read." if runs.unreadable else ""
    )
    return NotFound(
        f"Version {version.version} of {version.model} is named by the {by} of job run"
        f" {run.run_id}, but nothing shows that this run made it: its MLflow run bears the job tags of none of"
        f" the run's tasks in this workspace, and it was not made during the run by one of the run's principals.{unreadable}"
    )


def _is_made_by_trainer(version: ModelVersion, run: JobRun) -> bool:
    """Whether one of the run's principals made the version while it ran, or shortly after."""
    if not version.created_by or version.created_at is None or run.start is None or run.end is None:
        return False
    principals = {each.name.strip().casefold() for each in run.trainers if each.name}
    return (
        version.created_by.strip().casefold() in principals - {""}
        and run.start <= version.created_at <= run.end + _AFTER_RUN
    )


def _workspace_fits(version: ModelVersion, run: JobRun) -> bool:
    """Job and run ids are unique in one workspace only, and a Unity Catalog model may have several."""
    return not version.workspace_id or not run.workspace_id or version.workspace_id == run.workspace_id


def _is_near(version: ModelVersion, run: JobRun) -> bool:
    at = version.created_at
    if at is None:
        return True
    return (run.start is None or at >= run.start - _AROUND_RUN) and (
        run.end is None or at <= run.end + _AROUND_RUN
    )


def _same_name(one: str, other: str, registry: ModelRegistry) -> bool:
    return one.casefold() == other.casefold() if registry.folds_case else one == other


def _numbers(versions: Sequence[ModelVersion]) -> str:
    return _some([f"v{each.version}" for each in sorted(versions, key=lambda each: each.number)])


def _some(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(every[:_MOST_NAMED]) + more
