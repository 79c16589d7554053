"""Finds the model version that a job run made, and the people behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from champion_gate.core.gates import VersionSource
from champion_gate.core.job_runs import JobRun, Trainer
from champion_gate.core.marks import RUN_TAG
from champion_gate.core.names import check_model, check_version
from champion_gate.core.origin import Linked, Origins, Sought, Unlinked, Word
from champion_gate.core.ports import ModelRegistry
from champion_gate.core.text import one_line
from champion_gate.core.versions import ModelVersion, VersionDetails, VersionStatus
from champion_gate.errors import InvalidNameError, VendorNotFoundError, VendorRefusedError

READY_WITHIN = timedelta(hours=1)
"""How long after a run's end a version of its may still be uploaded."""

_MOST_LOOKED_AT = 200
_MOST_NAMED = 10
_AUTO = (VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN)


@dataclass(frozen=True)
class Found:
    """The one version of the gate's model that the run made, and what shows it."""

    linked: Linked
    by: VersionSource

    @property
    def version(self) -> ModelVersion:
        """The version."""
        return self.linked.version


@dataclass(frozen=True)
class NotFound:
    """There is no version, or not exactly one, or none that can be believed; the reason is for people."""

    reason: str


@dataclass(frozen=True)
class _Silent:
    """This source says nothing about the gate's model, so another may be asked."""

    reason: str


def find_version(sought: Sought) -> Found | NotFound:
    """Find the version of the gate's model that this run made, the way the gate says.

    AUTO asks task output, tag and MLflow runs in this order; the first that says anything decides. What a task
    says itself decides also when it cannot be used; a tag on a version that is not linked to the run says
    nothing, for anybody who may register one can write it.

    Raises:
        VendorUnavailableError: later it may work.
    """
    search = _Search(sought)
    sources: dict[VersionSource, Callable[[], Found | NotFound | _Silent]] = {
        VersionSource.TASK_OUTPUT: search.by_task_output,
        VersionSource.TAG: lambda: search.by_tag(VersionSource.TAG),
        VersionSource.MLFLOW_RUN: search.by_mlflow_run,
        VersionSource.TRUSTED_TAG: lambda: search.by_tag(VersionSource.TRUSTED_TAG),
    }
    way, run = sought.gate.version, sought.run
    reasons: list[str] = []
    for source in _AUTO if way is VersionSource.AUTO else [way]:
        said = sources[source]()
        if not isinstance(said, _Silent):
            return said
        reasons.append(said.reason)
    reasons += search.ruled_out()
    return NotFound(
        f"No version of {sought.gate.model} was found for job run {run.run_id}. {' '.join(reasons)}"
    )


def why_nothing_is_listed(registry: ModelRegistry, model: str, alias: str) -> str:
    """What an empty list of versions may mean besides that there are none; empty where versions are listed.

    Registries leave out of lists what we may not use, and say nothing of it.
    """
    if registry.list_versions(model):
        return ""
    try:
        held = registry.get_alias(model, alias)
    except VendorRefusedError as error:
        if error.concerns_all:
            raise
        return f"No version of it is listed, and the model itself cannot be read: {one_line(str(error), 500)}"
    stands = "" if held is None else f", and {alias} stands on v{held}"
    return f"No version of it is listed, although the model can be read{stands}. {registry.listing_needs}"


def named_version(sought: Sought, version: ModelVersion, how: str, word: Word) -> Linked | NotFound:
    """The version that somebody names for this run, if it can be believed that the run made it.

    A gate that trusts a version's tag does so too where an operator says which of several is meant.

    Args:
        sought: whose version it should be.
        version: as the registry has it.
        how: in which way it was found, or who names it, for people.
        word: whose word that is.
    """
    if word in {Word.REGISTRANT, Word.TRUSTED}:
        trusts = sought.gate.version is VersionSource.TRUSTED_TAG
        tagged = trusts and sought.registry.with_tag([version], RUN_TAG, sought.run.run_id)[0]
        word = Word.TRUSTED if tagged else Word.REGISTRANT
    linked = Origins(sought).of(version, word)
    if isinstance(linked, Linked):
        return linked
    return _not_this_runs(sought, linked, how)


def trainers_of(
    run: JobRun, details: VersionDetails, registry: ModelRegistry, more: Iterable[Trainer] = ()
) -> tuple[Trainer, ...]:
    """Everybody behind a version; whoever should be told and is not stands there with the name None.

    Args:
        run: the job run; its creators and run-as.
        details: the version's creator (demanded where the registry records creators) and its MLflow run's
            user (demanded where the version has an MLflow run).
        registry: tells whether it records creators.
        more: the people of another job run that trained it.
    """
    trainers = [*run.trainers, *more]
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


# --- the sources ------------------------------------------------------------------------------------------


class _Search:
    """The ways in which a version is looked for; the registry's list of versions is read once."""

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._model = sought.gate.model
        self._run = sought.run
        self._registry = sought.registry
        self._origins = Origins(sought)
        self._unlikely: list[Unlinked] = []

    def by_task_output(self) -> Found | NotFound | _Silent:
        versions: set[str] = set()
        others: set[str] = set()
        for output in self._sought.job_runs.task_outputs(self._run):
            try:
                model = check_model(output.model, three_level=self._registry.folds_case)
                if not _same_name(model, self._model, self._registry):
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
        return self._of_outputs(sorted(versions, key=int))

    def by_tag(self, source: VersionSource) -> Found | NotFound | _Silent:
        word = Word.TRUSTED if source is VersionSource.TRUSTED_TAG else Word.REGISTRANT
        near = self._plausible
        tagged, unread = self._registry.with_tag(near, RUN_TAG, self._run.run_id)
        looked_at = tagged[:_MOST_LOOKED_AT]
        linked, unlinked = self._linked(looked_at, word)
        tag = f"{RUN_TAG}={self._run.run_id}"
        if linked:
            return self._only(linked, source, f"bear the tag {tag}", unread + len(tagged) - len(looked_at))
        reason = f"None bears the tag {tag}."
        if unlinked:
            reason = (
                f"The tag {tag} alone does not count; nothing shows that this run made {_whys(unlinked)}."
            )
        left = _left_out(unread, "their tags were not read")
        return _Silent(reason + left + _left_out(len(tagged) - len(looked_at), "they were not looked at"))

    def by_mlflow_run(self) -> Found | NotFound | _Silent:
        near = [each for each in self._plausible if each.run_id]
        looked_at = near[:_MOST_LOOKED_AT]
        linked, unlinked = self._linked(looked_at, Word.NOBODY)
        if linked:
            what = f"have MLflow runs that belong to job run {self._run.run_id}"
            return self._only(linked, VersionSource.MLFLOW_RUN, what, len(near) - len(looked_at))
        reason = (
            f"Of {len(looked_at)} versions made around the time of the run, no MLflow run belongs to its tasks"
            f"{': ' if unlinked else ''}{_whys(unlinked)}."
        )
        return _Silent(reason + _left_out(len(near) - len(looked_at), "they were not looked at"))

    def ruled_out(self) -> list[str]:
        """What to say of the versions of the run's time that a glance ruled out, if the list was read."""
        return [f"Nothing shows that this run made {_whys(self._unlikely)}."] if self._unlikely else []

    # --- what they share ------------------------------------------------------------------------------

    @cached_property
    def _plausible(self) -> list[ModelVersion]:
        """The versions of the run's time that a glance does not rule out, likeliest first."""
        near = [each for each in self._registry.list_versions(self._model) if self._origins.is_near(each)]
        glances = [(each, self._origins.at_a_glance(each)) for each in near]
        plausible = [each for each, ruled_out in glances if ruled_out is None]
        plausible.sort(key=lambda each: not self._origins.is_within(each))
        self._unlikely = [ruled_out for _, ruled_out in glances if ruled_out is not None]
        return plausible

    def _linked(self, versions: Sequence[ModelVersion], word: Word) -> tuple[list[Linked], list[Unlinked]]:
        self._origins.read_ahead(versions)
        judged = [self._origins.of(each, word) for each in versions]
        return (
            [each for each in judged if isinstance(each, Linked)],
            [each for each in judged if isinstance(each, Unlinked)],
        )

    def _only(
        self, linked: Sequence[Linked], source: VersionSource, what: str, not_looked_at: int
    ) -> Found | NotFound:
        """The one that can be meant; while one that may be is still uploaded, that one, which is waited for."""
        meant = self._meant([each.version for each in linked])
        if len(meant) > 1:
            uploading = [each for each in meant if each.status is VersionStatus.PENDING]
            if len(meant) - len(uploading) > 1 or not uploading:
                return NotFound(
                    f"{len(meant)} versions of {self._model} ({_numbers(meant)}) {what}; one is needed. Let the"
                    f" job say which, by a task's output or by the version tag {RUN_TAG} on that one alone, or ask by hand:"
                    f" champion-gate promotions ask --gate {self._sought.gate.name} --version N --job"
                    f" {self._run.run_id}."
                )
            meant = uploading
        elif not_looked_at:
            return NotFound(
                f"{_numbers(meant)} of {self._model} comes from job run {self._run.run_id}, but {not_looked_at}"
                " more versions of that time were not looked at. Let a task's output name the version."
            )
        return Found(next(each for each in linked if each.version == meant[0]), source)

    def _meant(self, versions: Sequence[ModelVersion]) -> list[ModelVersion]:
        """Without those that can never be served; one of them where there are no others."""
        never = {VersionStatus.FAILED}
        if self._run.end is not None and self._sought.at >= self._run.end + READY_WITHIN:
            never.add(VersionStatus.PENDING)
        return [each for each in versions if each.status not in never] or list(versions[:1])

    def _of_outputs(self, numbers: Sequence[str]) -> Found | NotFound:
        found: list[ModelVersion] = []
        for number in numbers[: _MOST_NAMED + 1]:
            try:
                found.append(self._registry.get_version(self._model, number))
            except VendorNotFoundError as error:
                if len(numbers) > 1:
                    return self._contradict(numbers)
                return NotFound(
                    f"A task's output names version {number} of {self._model}, which is not there, or not"
                    f" visible to us ({one_line(str(error), 300)})."
                )
        meant = self._meant(found)
        if len(meant) > 1:
            return self._contradict(numbers)
        linked = self._origins.of(meant[0], Word.RUN)
        if isinstance(linked, Unlinked):
            return _not_this_runs(self._sought, linked, "named by the task output")
        return Found(linked, VersionSource.TASK_OUTPUT)

    def _contradict(self, numbers: Sequence[str]) -> NotFound:
        return NotFound(
            f"The outputs of the tasks of job run {self._run.run_id} contradict each other: they name versions"
            f" {_some(numbers)} of {self._model}."
        )


def _not_this_runs(sought: Sought, unlinked: Unlinked, how: str) -> NotFound:
    return NotFound(
        f"Version {unlinked.version.version} of {unlinked.version.model} is {how} for job run"
        f" {sought.run.run_id}, but nothing shows that this run made it: {unlinked.why}."
    )


def _same_name(one: str, other: str, registry: ModelRegistry) -> bool:
    return one.casefold() == other.casefold() if registry.folds_case else one == other


def _numbers(versions: Sequence[ModelVersion]) -> str:
    return _some([f"v{each.version}" for each in sorted(versions, key=lambda each: each.number)])


def _whys(unlinked: Sequence[Unlinked]) -> str:
    """Version by version, the mark that failed."""
    words = [f"v{each.version.version}: {each.why}" for each in unlinked[:_MOST_NAMED]]
    more = len(unlinked) - len(words)
    return "; ".join([*words, f"and {more} more"] if more else words)


def _left_out(left: int, words: str) -> str:
    return f" {left} more are of that time, and {words}." if left else ""


def _some(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(every[:_MOST_NAMED]) + more
