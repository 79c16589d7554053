"""Versions that no watched job made: another job, a laptop or a copy did. Which are there, whose are they, and who is behind them?

Whoever may register a version chooses its MLflow run, its tags and its source. They may leave it to a watched job's run, and add
people who must not decide; nobody is let decide by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from champion_gate.domain import policy
from champion_gate.domain.copies import COPIED_FROM
from champion_gate.domain.gates import Gate, Source
from champion_gate.domain.job_runs import JobRun, Trainer, each_once
from champion_gate.domain.marks import RUN_TAG, MarkFailedError, files_mark, job_tags
from champion_gate.domain.notifications import FROM_REGISTRY, NotificationPhase, of_version
from champion_gate.domain.policy import listed_trainer
from champion_gate.domain.promotion import Subject
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import ModelVersion, TrainingRun, VersionDetails
from champion_gate.errors import InvalidInputError, VendorNotFoundError, VendorRefusedError
from champion_gate.flow.context import Context

_COPY = re.compile(r"models:/+(.+)/([0-9]{1,18})")
_CLOCKS = timedelta(
    minutes=10
)  # by which the registry's and others' may differ; registering goes on after a task's end
_RUNS_LAST = timedelta(days=7)  # a run that made a version may have begun so long before
_MOST_ABOVE = 5  # job runs that started one another, and copies of copies


@dataclass(frozen=True)
class Declined:
    """Why a gate does not ask about a version: not yet, not at all, or because something is wrong with it."""

    reason: str
    phase: NotificationPhase


class Elsewhere:
    """Finds such versions in the registry, and says whether a gate asks about one. Stateless."""

    def __init__(self, context: Context) -> None:
        self._gates = tuple(each for each in context.gates.values() if each.watches_registry)
        self._every_gate = tuple(context.gates.values())
        self._store = context.store
        self._registry = context.registry
        self._job_runs = context.job_runs
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._together = context.together

    @property
    def models(self) -> tuple[str, ...]:
        """The models of which every version counts."""
        return tuple(dict.fromkeys(gate.model for gate in self._gates))

    def gates_of(self, model: str) -> tuple[Gate, ...]:
        """The gates that ask about whatever appears in this model."""
        named = model.casefold() if self._registry.folds_case else model
        return tuple(gate for gate in self._gates if gate.model == named)

    def note_gates(self) -> None:
        """Note since when each gate looks at its model: what is older is none of its business."""
        for gate in self._gates:
            self.first_seen(gate)

    def first_seen(self, gate: Gate) -> datetime:
        """Since when the gate looks at its model; from now on, if it never has."""
        # No gate's name holds a colon.
        return self._store.gate_first_seen(f"{FROM_REGISTRY}:{gate.name}:{gate.model}", self._clock.now())

    def told(self, model: str, version: str) -> str | None:
        """Take the word of somebody that there is a version: its notification's id; None where no gate wants to know."""
        gates = self.gates_of(model)
        if not gates:
            return None
        return self._store.record_notification(
            FROM_REGISTRY, of_version(gates[0].model, version), self._clock.now()
        )

    def look(self, model: str) -> None:
        """Find versions that nobody told of, by the registry's list of them.

        Raises:
            VendorError: the registry did not answer or refused.
        """
        since = min(map(self.first_seen, self.gates_of(model)))
        listed = self._registry.list_versions(model)
        fresh = [each for each in listed if each.created_at is not None and each.created_at >= since]
        known = self._store.told_versions([of_version(model, each.version) for each in fresh])
        for version in sorted(fresh, key=lambda each: each.number):
            before = known.get(of_version(model, version.version).run_id)
            # The number of one that was deleted may have been given anew.
            if before is None or (version.created_at or before) > before + _CLOCKS:
                told = self.told(model, version.version)
                if told is not None:
                    self._wake_ups.notification(told)

    def subject(
        self, gate: Gate, version: ModelVersion, found_by: str = Source.REGISTRY
    ) -> Subject | Declined:
        """What is asked about the version; or why it is not, as far as the version itself and its marks tell.

        Args:
            gate: one that asks about versions that no watched job made.
            version: of its model.
            found_by: in which way it was found.

        Raises:
            VendorError: the registry or Databricks did not answer, or refused every call.
        """
        watched = self._watched(gate)
        read = self._read(version)
        details, training, originals = read.details, read.training, read.originals
        behind = self._made_by_gate(gate, details) or self._behind(read.marks, watched)
        if isinstance(behind, Declined):
            return behind
        if (unsettled := self._unsettled(version, watched)) is not None:
            return Declined(unsettled, NotificationPhase.WAITING)
        try:
            files = _files(details, training, originals)
        except MarkFailedError as failed:
            if not self._registry.records_creators and any(rule.source is None for rule in gate.metrics):
                why = f"v{version.version} of {version.model} is judged by numbers that may be another model's: {failed}."
                return Declined(why, NotificationPhase.UNRESOLVED)
            files = f"Nothing shows that its numbers are its own: {failed}."
        return Subject(
            version=version,
            job_id="",
            job_run_id="",
            job_url="",
            trainers=self._people(gate, version, training, originals, behind.people),
            found_by=found_by,
            origin=(_how_made(version), files, *behind.marks),
        )

    def left_because(self, gate: Gate, version: ModelVersion) -> str | None:
        """Why a version that was asked about belongs to a run of a job that is watched by now; None if it does not.

        Raises:
            VendorError: the registry or Databricks did not answer, or refused every call.
        """
        watched = self._watched(gate)
        behind = self._behind(self._read(version).marks, watched) if watched else None
        return behind.reason if isinstance(behind, Declined) else None

    # --- whose it is --------------------------------------------------------------------------------------

    def _read(self, version: ModelVersion) -> _Read:
        details = self._registry.get_details(version)
        training, logged = details.training_run, details.logged_model
        if training is None and version.run_id is None and logged is not None and logged.run_id:
            training = self._registry.get_training_run(logged.run_id)
        return _Read(details, training, tuple(self._originals(version)))

    def _made_by_gate(self, gate: Gate, details: VersionDetails) -> Declined | None:
        """A copy that the gate makes itself of what people have approved belongs to that promotion."""
        if COPIED_FROM not in details.tags:
            return None
        for other in self._every_gate:
            if other.promote_to is not None and policy.asks_for_same(gate, other):
                reason = f"It bears the tag {COPIED_FROM}, so it is left to gate {other.name}, which has copies made."
                return Declined(reason, NotificationPhase.IGNORED)
        return None

    def _watched(self, gate: Gate) -> dict[str, Gate]:
        """The jobs whose versions are left to their runs, each with the gate that watches it."""
        watched: dict[str, Gate] = {}
        for each in policy.watching(gate, self._every_gate):
            watched |= dict.fromkeys(each.job_ids, each)
            for name in sorted(each.job_names):
                watched |= dict.fromkeys(self._job_runs.jobs_named(name), each)
        return watched

    def _originals(self, version: ModelVersion) -> Iterator[VersionDetails]:
        """What it is a copy of, what that is a copy of, and so on; whoever copies may leave out run and tags, not this."""
        for _ in range(_MOST_ABOVE):
            copy = _COPY.fullmatch(version.source or "")
            if copy is None:
                return
            try:
                shown = self._registry.get_details(self._registry.get_version(copy[1], copy[2]))
            except (VendorNotFoundError, InvalidInputError):
                return
            yield shown
            version = shown.version

    def _behind(self, marks: Iterable[_Mark], watched: dict[str, Gate]) -> _Behind | Declined:
        """The job runs that these marks name, if none of them is one of a watched job."""
        behind = _Behind()
        for mark in {(each.job_id, each.run_id): each for each in reversed(list(marks))}.values():
            run = None if mark.job_id in watched else self._run_of(mark.run_id)
            jobs = self._jobs_above(run) if isinstance(run, JobRun) else [mark.job_id]
            for job_id in jobs:
                if job_id in watched:
                    return _left(mark.words, job_id, watched)
            if isinstance(run, JobRun):
                behind.people.extend(run.trainers)
                behind.marks.append(f"{mark.words}, whose people count as trainers too.")
            elif self._registry.records_creators:
                behind.people.append(Trainer("job run-as", None))
                behind.marks.append(f"{mark.words}, which cannot be read: {run}")
        return behind

    def _run_of(self, run_id: str) -> JobRun | str:
        """The job run, or why it cannot be read."""
        try:
            return self._job_runs.get_run(run_id)
        except (VendorRefusedError, InvalidInputError) as error:
            if isinstance(error, VendorRefusedError) and error.concerns_all:
                raise
            return one_line(str(error), 200)

    def _jobs_above(self, run: JobRun) -> Iterator[str]:
        """Its job, and those that started it."""
        for _ in range(_MOST_ABOVE):
            yield run.job_id
            above = None if run.started_by is None else self._run_of(run.started_by)
            if not isinstance(above, JobRun):
                return
            run = above

    def _unsettled(self, version: ModelVersion, watched: dict[str, Gate]) -> str | None:
        """Why a run of a watched job may have made it yet, though no mark says so; None if none may.

        Such a run names its version by a task's output, say; who is behind the run is then known, too.
        """
        made = version.created_at or self._clock.now()
        since = made - _RUNS_LAST
        reads = [partial(self._job_runs.list_open_runs, job_id) for job_id in watched]
        for job_id, runs in zip(watched, self._together.each(reads), strict=True):
            for run in runs:
                if run.start is None or run.start <= made + _CLOCKS:
                    return f"Run {run.run_id} of job {job_id}, which may have made it, has not ended yet."
        ended = [partial(self._job_runs.list_ended_runs, job_id, since) for job_id in watched]
        for (job_id, theirs), found in zip(watched.items(), self._together.each(ended), strict=True):
            seen = self._store.gate_first_seen(theirs.name, self._clock.now())
            for each in found:
                if each.end >= max(seen, made - _CLOCKS) and not self._store.run_is_settled(
                    each.run_id, each.end
                ):
                    return (
                        f"Run {each.run_id} of job {job_id}, which may have made it, is not worked off yet."
                    )
        return None

    # --- what is behind it --------------------------------------------------------------------------------

    def _people(
        self,
        gate: Gate,
        version: ModelVersion,
        training: TrainingRun | None,
        originals: Iterable[VersionDetails],
        more: Iterable[Trainer],
    ) -> tuple[Trainer, ...]:
        """Everybody behind it. Where creators are recorded, whoever is not told is demanded; else those of `trainers` are there."""
        people = [Trainer("version creator", version.created_by), *more]
        for each in originals:
            people.append(Trainer("creator of what it is a copy of", each.version.created_by))
            if each.training_run is not None:
                people.append(Trainer("MLflow run user", each.training_run.user))
        if training is not None or version.run_id is not None:
            people.append(Trainer("MLflow run user", training.user if training is not None else None))
        if self._registry.records_creators:
            # All else is chosen by whoever registers: whoever runs as a service principal may leave out marks of themselves.
            if not gate.trainers and not policy.is_somebody(gate, people[0]):
                people.append(Trainer("person behind its service principal", None))
            return each_once(people)
        listed = [listed_trainer()] if gate.trainers else []
        return each_once([*(each for each in people if (each.name or "").strip()), *listed])


@dataclass(frozen=True)
class _Read:
    """What the registry tells of a version, and of what it is a copy of."""

    details: VersionDetails
    training: TrainingRun | None
    originals: tuple[VersionDetails, ...]

    @property
    def marks(self) -> list[_Mark]:
        """What names a job run."""
        of_originals = (mark for each in self.originals for mark in _marks_of_original(each))
        return [*_marks(self.details, self.training), *of_originals]


@dataclass(frozen=True)
class _Behind:
    """The job runs that a version names: in words for the evidence, and their people."""

    marks: list[str] = field(default_factory=list)
    people: list[Trainer] = field(default_factory=list)


@dataclass(frozen=True)
class _Mark:
    words: str
    job_id: str
    run_id: str


def _marks(details: VersionDetails, training: TrainingRun | None) -> Iterator[_Mark]:
    """What of it names a job run, in words."""
    for tags in (job_tags(None, details.logged_model), job_tags(training, None)):
        if tags is not None:
            named = f"task run {one_line(tags.task_run_id, 64)} of job {one_line(tags.job_id, 64)}"
            holder = f"{tags.holder[0].upper()}{tags.holder[1:]}"
            yield _Mark(f"{holder} bears the job tags of {named}", tags.job_id, tags.task_run_id)
    tag = details.tags.get(RUN_TAG)
    if tag is not None:
        yield _Mark(f"It bears the tag {RUN_TAG}={one_line(tag, 64)}", "", tag)


def _marks_of_original(details: VersionDetails) -> Iterator[_Mark]:
    version = details.version
    for mark in _marks(details, details.training_run):
        words = f"v{version.version} of {version.model}, of which it is a copy: {mark.words}"
        yield replace(mark, words=words)


def _files(details: VersionDetails, training: TrainingRun | None, originals: Sequence[VersionDetails]) -> str:
    """What shows that its numbers are those of its files.

    Raises:
        MarkFailedError: nothing does.
    """
    version = details.version
    copy = _COPY.fullmatch(version.source or "")
    if copy is None:
        return files_mark(version, training, details.logged_model)
    named = f"v{copy[2]} of {one_line(copy[1], 100)}"
    if not originals:
        raise MarkFailedError(f"it is a copy of {named}, which is not there")
    if originals[0].version.run_id != version.run_id:
        raise MarkFailedError(f"it is a copy of {named}, which has another MLflow run")
    mark = files_mark(originals[0].version, originals[0].training_run, originals[0].logged_model)
    return f"It is a copy of {named}. Of that one: {mark}"


def _left(words: str, job_id: str, watched: dict[str, Gate]) -> Declined:
    reason = f"{words}, so it is left to that run: gate {watched[job_id].name} watches job {job_id}."
    return Declined(reason, NotificationPhase.IGNORED)


def _how_made(version: ModelVersion) -> str:
    at = "" if version.created_at is None else f" at {version.created_at.isoformat(timespec='seconds')}"
    by = f" by {one_line(version.created_by, 100)}" if version.created_by else ""
    return f"No watched job made it: it was registered{at}{by}."
