"""Whether a model version comes from a job run: the marks that say so, or the one that is missing.

Whoever may register a version chooses its MLflow run, its tags and its source. Where the registry records
creators, nothing counts unless the creator is one of the run's principals. Where it does not, the files must
be those of the version's MLflow run, and that stays the registrant's word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from champion_gate.domain.gates import VersionSource
from champion_gate.domain.job_runs import JobRun, Trainer
from champion_gate.domain.marks import (
    RUN_TAG,
    JobTags,
    MarkFailedError,
    creator_mark,
    files_mark,
    is_its_own,
    is_made_in,
    job_tags,
)
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import LoggedModel, ModelVersion, TrainingRun, is_of_logged_model
from champion_gate.errors import (
    GateError,
    InvalidInputError,
    InvalidNameError,
    VendorError,
    VendorRefusedError,
)
from champion_gate.flow.gate_rules import is_rivals
from champion_gate.flow.sought import Linked, Sought, Unlinked, Word

T = TypeVar("T")

_AROUND_RUN = timedelta(days=1)  # for clocks that differ, and for a registration that lasted
AT_A_TIME = 50
"""So many versions are read before it is said that the work goes on."""
A_FEW = 4
"""So many versions are looked at one by one; of more, what each takes a call for is asked last, or for many at once."""
_MOST_EXPERIMENTS = 3  # each takes a search
_MOST_NAMED = 5
_REPLACED_OR_FAILED = ", which a retry or repair has replaced, or which did not succeed"

REGISTRANTS_WORD = (
    "This registry does not record who created a version: that it is this run's is the word of whoever"
    " registered it."
)


class Origins:
    """Says of versions whether they come from the run. Reads each MLflow run and job run once."""

    def __init__(self, sought: Sought) -> None:
        self._gate = sought.gate
        self._run = sought.run
        self._gates = sought.gates
        self._job_runs = sought.job_runs
        self._registry = sought.registry
        self._tasks = {(task.job_id, task.run_id): task for task in sought.run.tasks}
        self._go_on = sought.go_on
        self._together = sought.together
        self._training_runs = sought.read.training_runs
        self._logged_models = sought.read.logged_models
        self._refused: dict[str, GateError] = {}
        self._other_runs: dict[str, JobRun] = {}

    def of(self, version: ModelVersion, word: Word) -> Linked | Unlinked:
        """Whether the version comes from the run.

        Raises:
            VendorUnavailableError: later it can be told.
        """
        try:
            return self._linked(version, word)
        except MarkFailedError as failed:
            return Unlinked(version, str(failed))

    def read_ahead(self, versions: Sequence[ModelVersion]) -> None:
        """Read what `of` will need of these versions, together.

        Raises:
            VendorUnavailableError: later they can be read.
        """
        runs = dict.fromkeys(each.run_id for each in versions if each.run_id)
        models = dict.fromkeys(each.logged_model_id for each in versions if each.logged_model_id)
        self._find_runs([each for each in runs if each not in self._training_runs])
        self._find_models([each for each in models if each not in self._logged_models], runs)
        reads: list[Callable[[], object]] = [
            *(partial(self._read_run, each) for each in runs),
            *(partial(self._read_logged_model, each) for each in models),
        ]
        for start in range(0, len(reads), AT_A_TIME):
            self._together.each(reads[start : start + AT_A_TIME])
            self._go_on()

    @property
    def refused(self) -> VendorRefusedError | None:
        """A reading that was refused, if any was: it may be granted later, and show what is missing now."""
        return next((each for each in self._refused.values() if isinstance(each, VendorRefusedError)), None)

    def at_a_glance(self, version: ModelVersion) -> Unlinked | None:
        """Why the version cannot come from the run, as far as that takes no call."""
        try:
            self._check_workspace(version)
            self._by_creator(version)
        except MarkFailedError as failed:
            return Unlinked(version, str(failed))
        return None

    def is_near(self, version: ModelVersion) -> bool:
        """Whether the version was made within a day of the run; clocks differ, and not all times are told."""
        at, run = version.created_at, self._run
        if at is None:
            return True
        return (run.start is None or at >= run.start - _AROUND_RUN) and (
            run.end is None or at <= run.end + _AROUND_RUN
        )

    def distance(self, version: ModelVersion) -> timedelta:
        """How far from the run the version was made."""
        at, start, end = version.created_at, self._run.start, self._run.end
        if at is None or start is None or end is None:
            return timedelta()
        return max(start - at, at - end, timedelta())

    def is_within(self, version: ModelVersion) -> bool:
        """Whether the version was made while a task ran that counts, or shortly after."""
        return any(is_made_in(version, self._run, task) for task in self._run.tasks)

    # --- one mark each --------------------------------------------------------------------------------

    def _linked(self, version: ModelVersion, word: Word) -> Linked:
        self._check_workspace(version)
        marks = self._by_creator(version)
        logged = self._logged_model(version)
        training = self._training_run(version, logged)
        marks += self._by_files(version, training, logged)
        tags = job_tags(training, logged)
        people: tuple[Trainer, ...] = ()
        if tags is not None:
            more, people = self._by_job_tags(version, tags, word)
            marks += more
        elif word is Word.TRUSTED:
            marks.append("Its tag names the job run, and the gate trusts tags.")
        else:
            marks.append(self._without_job_tags(version, word))
        return Linked(version, tuple(marks), people, training)

    def _check_workspace(self, version: ModelVersion) -> None:
        """Job and run ids are unique in one workspace only, and a Unity Catalog model may have several."""
        theirs, ours = version.workspace_id, self._run.workspace_id
        if theirs and ours and theirs != ours:
            raise MarkFailedError(f"its MLflow run is in workspace {theirs}, and the job run in {ours}")

    def _by_creator(self, version: ModelVersion) -> list[str]:
        return [creator_mark(version, self._run)] if self._registry.records_creators else []

    def _training_run(self, version: ModelVersion, logged: LoggedModel | None) -> TrainingRun | None:
        run_id = version.run_id or (logged.run_id if logged is not None else None)
        if not run_id:
            return None
        found = self._read_run(run_id)
        if isinstance(found, GateError):
            why = one_line(str(found), 200)
            raise MarkFailedError(f"its MLflow run {one_line(run_id, 64)} cannot be read ({why})")
        return found

    def _logged_model(self, version: ModelVersion) -> LoggedModel | None:
        """Its logged model, if it has that model's files."""
        found = None if version.logged_model_id is None else self._read_logged_model(version.logged_model_id)
        if found is None or isinstance(found, GateError):
            return None
        return found if is_of_logged_model(version.source or "", found) else None

    def _by_files(
        self, version: ModelVersion, training: TrainingRun | None, logged: LoggedModel | None
    ) -> list[str]:
        """Whose files the version has. Where creators are recorded, that only adds to what shows its origin."""
        try:
            mark = files_mark(version, training, logged)
        except MarkFailedError:
            if self._registry.records_creators:
                return []
            raise
        return [mark] if self._registry.records_creators else [mark, REGISTRANTS_WORD]

    def _by_job_tags(
        self, version: ModelVersion, tags: JobTags, word: Word
    ) -> tuple[list[str], tuple[Trainer, ...]]:
        named = f"task run {one_line(tags.task_run_id, 64)} of job {one_line(tags.job_id, 64)}"
        if not tags.job_id or not tags.task_run_id:
            raise MarkFailedError(f"{tags.holder} bears one of the two job tags only")
        if (tags.job_id, tags.task_run_id) in self._tasks:
            return [f"{_upper(tags.holder)} bears the job tags of {named}."], ()
        if tags.task_run_id in self._run.earlier_task_run_ids and tags.job_id in self._job_ids():
            return [self._resumed(version, tags, named)], ()
        bears = f"{tags.holder} bears the job tags of {named}"
        if word is Word.NOBODY:
            raise MarkFailedError(
                f"{bears}; if this run is to register it, let a task's output or the tag {RUN_TAG} say so"
            )
        of_same_job = tags.job_id in self._job_ids()
        if word is not Word.TRUSTED or of_same_job:
            self._check_time(version, f"{bears}, and ")
        other = self._other_run(tags, bears)
        if other.run_id == self._run.run_id:
            raise MarkFailedError(f"{bears}{_REPLACED_OR_FAILED}")
        if is_its_own(version, tags, other, of_same_job=of_same_job):
            raise MarkFailedError(f"{bears}, and it was made while that ran itself")
        mark = f"{_upper(bears)}, whose people count as trainers too."
        return [mark, *self._time_mark(version)], other.trainers

    def _resumed(self, version: ModelVersion, tags: JobTags, named: str) -> str:
        """A retried task may go on with the MLflow run of an earlier attempt; the time tells its versions apart."""
        later = self._run.later_attempts.get(tags.task_run_id, ())
        if not later:
            raise MarkFailedError(f"{tags.holder} belongs to {named}{_REPLACED_OR_FAILED}")
        begun = f"{tags.holder} belongs to {named}, which a retry or repair has replaced"
        attempts = [task for task in self._run.tasks if task.run_id in later]
        task = next((each for each in attempts if is_made_in(version, self._run, each)), None)
        if task is None:
            which = " or ".join(later[:_MOST_NAMED])
            raise MarkFailedError(
                f"{begun}, and it was made {_at(version.created_at)}, not while attempt {which} ran"
            )
        return f"{_upper(tags.holder)} was begun by {named} and resumed by {task.run_id}, in whose time it was made."

    def _without_job_tags(self, version: ModelVersion, word: Word) -> str:
        if word is Word.NOBODY:
            raise MarkFailedError(
                "its MLflow run bears no job tags" if version.run_id else "it has no MLflow run"
            )
        if word is Word.REGISTRANT and not self._registry.records_creators:
            raise MarkFailedError(
                "its MLflow run bears no job tags, and this registry does not record who created it; "
                + self._how_to_trust()
            )
        self._check_time(version, "its MLflow run bears no job tags, and " if version.run_id else "")
        return " ".join(self._time_mark(version))

    def _how_to_trust(self) -> str:
        if self._gate.version is VersionSource.TRUSTED_TAG:
            return f"the gate trusts the tag {RUN_TAG}={self._run.run_id}, which it does not bear"
        return "a gate may trust the version's tag (`version: trusted_tag`, with `trainers`)"

    def _check_time(self, version: ModelVersion, before: str) -> None:
        if not self.is_within(version):
            raise MarkFailedError(
                f"{before}it was made {_at(version.created_at)}, not while a task ran that counts in this run"
            )

    def _time_mark(self, version: ModelVersion) -> list[str]:
        task = next((task for task in self._run.tasks if is_made_in(version, self._run, task)), None)
        return [] if task is None else [f"It was made while task run {task.run_id} ran."]

    # --- what they are read from ----------------------------------------------------------------------

    def _read_run(self, run_id: str) -> TrainingRun | GateError:
        return self._read(self._training_runs, run_id, self._registry.get_training_run)

    def _find_runs(self, run_ids: Sequence[str]) -> None:
        """Find MLflow runs in the experiments of the first of them, where there are many; the others are read one by one.

        So are all where they cannot be searched, though one can be read: it only takes longer.
        """
        left = list(run_ids)
        for _ in range(_MOST_EXPERIMENTS):
            if len(left) <= A_FEW:
                return
            first = self._read_run(left.pop(0))
            if isinstance(first, GateError) or first.experiment_id is None:
                continue
            try:
                found = self._registry.find_training_runs(first.experiment_id, left)
            except (VendorError, InvalidNameError) as error:
                _raise_if_all(error)
                return
            self._training_runs.update(found)
            left = [each for each in left if each not in found]

    def _find_models(self, model_ids: Sequence[str], run_ids: Iterable[str]) -> None:
        """Find logged models in the experiments of these MLflow runs, as far as those were found; else as `_find_runs`."""
        left = list(model_ids)
        runs = (self._training_runs[each] for each in run_ids if each in self._training_runs)
        experiments = dict.fromkeys(each.experiment_id for each in runs if each.experiment_id)
        for experiment_id in list(experiments)[:_MOST_EXPERIMENTS]:
            if len(left) <= A_FEW:
                return
            try:
                found = self._registry.find_logged_models(experiment_id, left)
            except (VendorError, InvalidNameError) as error:
                _raise_if_all(error)
                return
            self._logged_models.update(found)
            left = [each for each in left if each not in found]
            self._go_on()

    def _read_logged_model(self, model_id: str) -> LoggedModel | GateError:
        return self._read(self._logged_models, model_id, self._registry.get_logged_model)

    def _read(self, known: dict[str, T], key: str, read: Callable[[str], T]) -> T | GateError:
        if key in self._refused:
            return self._refused[key]
        if key not in known:
            try:
                known[key] = read(key)
            except (VendorRefusedError, InvalidNameError) as error:
                _raise_if_all(error)
                self._refused[key] = error
                return error
        return known[key]

    def _job_ids(self) -> set[str]:
        return {self._run.job_id, *(task.job_id for task in self._run.tasks)}

    def _other_run(self, tags: JobTags, bears: str) -> JobRun:
        """The job run that trained what this one registered: its people count too."""
        if is_rivals(tags.job_id, self._gate, self._gates, self._job_runs):
            raise MarkFailedError(f"{bears}, a job that another gate watches")
        if tags.task_run_id not in self._other_runs:
            try:
                self._other_runs[tags.task_run_id] = self._job_runs.get_run(tags.task_run_id)
            except (VendorRefusedError, InvalidInputError) as error:
                _raise_if_all(error)
                raise MarkFailedError(
                    f"{bears}, which cannot be read ({one_line(str(error), 200)}), so it is not known who trained it"
                ) from error
        other = self._other_runs[tags.task_run_id]
        if tags.job_id not in {other.job_id, *(task.job_id for task in other.tasks)}:
            raise MarkFailedError(f"{bears}, and that run is one of job {other.job_id}")
        return other


def _raise_if_all(error: GateError) -> None:
    """A refusal of every call, such as of our credentials, says nothing of this version."""
    if isinstance(error, VendorRefusedError) and error.concerns_all:
        raise error


def _at(at: datetime | None) -> str:
    return "at a time that is not told" if at is None else f"at {at.isoformat(timespec='seconds')}"


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
