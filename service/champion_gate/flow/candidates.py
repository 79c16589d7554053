"""Finds the model version that a job run made: by task outputs, by tags, by MLflow runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from champion_gate.domain.gates import VersionSource
from champion_gate.domain.job_runs import TaskOutput
from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.names import check_model, check_version
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import GateError, InvalidNameError, VendorNotFoundError, VendorRefusedError
from champion_gate.flow.origin import A_FEW, AT_A_TIME, Origins
from champion_gate.flow.sought import READY_WITHIN, Found, Linked, NotFound, Sought, Unlinked, Word

_AUTO = (VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN)
_MOST_LOOKED_AT = 1_000  # the MLflow runs of an experiment are found a hundred a call; any other takes one
_MOST_TAGS_READ = 500  # each takes a call, where the registry does not list them
_MOST_OUTSIDE = 20  # each takes a call
_MOST_NAMED = 10


def find_version(sought: Sought) -> Found | NotFound:
    """Find the version of the gate's model that this run made, the way the gate says.

    AUTO asks task output, tag and MLflow runs in this order; the first that says anything decides. What a task
    says itself decides also when it cannot be used; a tag on a version that is not linked to the run says
    nothing, for anybody who may register one can write it. Versions made in the run's time are asked about
    first, and a few made near it only where nothing is said of those.

    Raises:
        VendorUnavailableError: later it may work.
        VendorRefusedError: nothing was found, and what might have shown it was refused; later it may be granted.
    """
    search = Search(sought)
    found = _find(search, sought)
    if isinstance(found, NotFound) and search.refused is not None:
        raise VendorRefusedError(search.refused.vendor, found.reason, hint=search.refused.hint)
    return found


def _find(search: Search, sought: Sought) -> Found | NotFound:
    way, run = sought.gate.version, sought.run
    ways = _AUTO if way is VersionSource.AUTO else (way,)
    reasons: list[str] = []
    search.read(ways)
    if VersionSource.TASK_OUTPUT in ways:
        said = search.by_task_output()
        if not isinstance(said, Silent):
            return said
        reasons.append(said.reason)
    others = [each for each in ways if each is not VersionSource.TASK_OUTPUT]
    for versions in search.groups() if others else ():
        answers = [each for each in search.asked(versions, others) if each is not None]
        if answers:
            return next((each for each in answers if isinstance(each, Found)), answers[0])
    reasons += [search.silence(source) for source in others] + search.left_out()
    return NotFound(
        f"No version of {sought.gate.model} was found for job run {run.run_id}. {' '.join(reasons)}",
        may_appear=True,
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
    """
    if word in {Word.REGISTRANT, Word.TRUSTED}:
        trusts = sought.gate.version is VersionSource.TRUSTED_TAG
        tagged = trusts and sought.registry.with_tag([version], RUN_TAG, sought.run.run_id)
        word = Word.TRUSTED if tagged else Word.REGISTRANT
    linked = Origins(sought).of(version, word)
    if isinstance(linked, Linked):
        return linked
    return not_this_runs(sought, linked, how)


@dataclass(frozen=True)
class Silent:
    """This source says nothing about the gate's model, so another may be asked."""

    reason: str


@dataclass
class _Told:
    """What one source has said so far; how many versions were not looked at, or their tags not read."""

    unlinked: list[Unlinked] = field(default_factory=list)
    looked_at: int = 0
    unread: int = 0
    left: int = 0

    def add(self, *, looked_at: int, unlinked: Sequence[Unlinked], unread: int, left: int) -> None:
        self.unlinked += unlinked
        self.looked_at += looked_at
        self.unread += unread
        self.left += left


class Search:
    """Asks task outputs, tags and MLflow runs. Outputs and the registry's list of versions are read once, together."""

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._model = sought.gate.model
        self._run = sought.run
        self._registry = sought.registry
        self._origins = Origins(sought)
        self._unlikely: list[Unlinked] = []
        self._far = 0
        self._told: dict[VersionSource, _Told] = {}
        self._outputs: Callable[[], Sequence[TaskOutput]] = tuple
        self._listed: Callable[[], Sequence[ModelVersion]] = tuple

    def read(self, ways: Sequence[VersionSource]) -> None:
        """Read what these ways begin with. The run has ended, so what it has registered and said is all there."""
        outputs = partial(self._sought.job_runs.task_outputs, self._run)
        versions = partial(self._registry.list_versions, self._model)
        if VersionSource.TASK_OUTPUT not in ways:
            self._listed = versions
        elif len(ways) == 1:
            self._outputs = outputs
        else:
            self._outputs, self._listed = self._sought.together.outcomes(outputs, versions)

    @property
    def refused(self) -> VendorRefusedError | None:
        """A reading that was refused, if any was."""
        return self._origins.refused

    def by_task_output(self) -> Found | NotFound | Silent:
        """What the outputs of the run's own tasks say."""
        versions: set[str] = set()
        others: set[str] = set()
        for output in self._outputs():
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
            return Silent(f"No task's output names a version of it{named}.")
        return self._of_outputs(sorted(versions, key=int))

    def groups(self) -> Iterator[list[ModelVersion]]:
        """The versions of the run's time that a glance does not rule out; then those made near it, nearest first."""
        near = [each for each in self._listed() if self._origins.is_near(each)]
        self._sought.go_on()
        glances = [(each, self._origins.at_a_glance(each)) for each in near]
        self._unlikely = [ruled_out for _, ruled_out in glances if ruled_out is not None]
        plausible = [each for each, ruled_out in glances if ruled_out is None]
        within = [each for each in plausible if self._origins.is_within(each)]
        outside = [each for each in plausible if not self._origins.is_within(each)]
        outside.sort(key=self._origins.distance)
        if self._sought.gate.version is VersionSource.TRUSTED_TAG:
            within, outside = [*within, *outside], []  # two tagged ones contradict each other, whenever made
        if within:
            yield within
        # Where creators are recorded, times are the workspace's own, and a few are enough.
        most = _MOST_OUTSIDE if self._registry.records_creators else len(outside)
        self._far = len(outside[most:])
        if outside:
            yield outside[:most]

    def asked(
        self, versions: Sequence[ModelVersion], sources: Sequence[VersionSource]
    ) -> Iterator[Found | NotFound | None]:
        """What these sources say of the versions, until one of them tells which it is.

        Of one version alone all can say but the same, so what is read in any case goes first: its MLflow run. So too
        where there are many and each tag takes a call; then tags are read only if the MLflow runs do not tell which.
        """
        is_dear = len(versions) > A_FEW and not self._registry.lists_tags
        for source in reversed(sources) if is_dear or len(versions) == 1 else sources:
            found = self.among(versions, source)
            yield found
            if isinstance(found, Found) or (found is not None and not is_dear):
                return

    def among(self, versions: Sequence[ModelVersion], source: VersionSource) -> Found | NotFound | None:
        """What tags or MLflow runs say of these versions; None where that is nothing."""
        told = self._told.setdefault(source, _Told())
        unread = 0
        if source is VersionSource.MLFLOW_RUN:
            suited = [each for each in versions if each.run_id]
            what, word = f"have MLflow runs that belong to job run {self._run.run_id}", Word.NOBODY
        else:
            most = len(versions) if self._registry.lists_tags else _MOST_TAGS_READ
            suited, unread = self._tagged(versions[:most]), len(versions[most:])
            what = f"bear the tag {RUN_TAG}={self._run.run_id}"
            word = Word.TRUSTED if source is VersionSource.TRUSTED_TAG else Word.REGISTRANT
        looked_at, left = suited[:_MOST_LOOKED_AT], len(suited[_MOST_LOOKED_AT:])
        linked, unlinked = self._linked(looked_at, word)
        told.add(looked_at=len(looked_at), unlinked=unlinked, unread=unread, left=left)
        return self._only(linked, source, what, unread + left) if linked else None

    def silence(self, source: VersionSource) -> str:
        """Why tags or MLflow runs say nothing."""
        told = self._told.get(source, _Told())
        whys = _whys(told.unlinked)
        if source is VersionSource.MLFLOW_RUN:
            reason = (
                f"Of {told.looked_at} versions made around the time of the run, no MLflow run belongs to its tasks"
                f"{': ' if whys else ''}{whys}."
            )
        elif told.unlinked:
            tag = f"{RUN_TAG}={self._run.run_id}"
            reason = f"The tag {tag} alone does not count; nothing shows that this run made {whys}."
        else:
            reason = f"None bears the tag {RUN_TAG}={self._run.run_id}."
        unread = _left_out(told.unread, "their tags were not read")
        return reason + unread + _left_out(told.left, "they were not looked at")

    def left_out(self) -> list[str]:
        """What to say of the versions that were not asked about, if the list was read."""
        said = []
        if self._unlikely:
            said.append(f"Nothing shows that this run made {_whys(self._unlikely)}.")
        if self._far:
            said.append(f"{self._far} more of that day were made outside the run's time, and not looked at.")
        return said

    # --- what they share ------------------------------------------------------------------------------

    def _tagged(self, versions: Sequence[ModelVersion]) -> list[ModelVersion]:
        """Those that bear the run's tag; what an earlier attempt has read is not read again."""
        tagged = self._sought.read.tagged
        unread = [each for each in versions if each.version_id not in tagged]
        at_a_time = max(len(unread), 1) if self._registry.lists_tags else AT_A_TIME
        for start in range(0, len(unread), at_a_time):
            some = unread[start : start + at_a_time]
            bearing = self._registry.with_tag(some, RUN_TAG, self._run.run_id)
            tagged.update({each.version_id: each in bearing for each in some})
            self._sought.go_on()
        return [each for each in versions if tagged[each.version_id]]

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
                found.append(self._named(number))
            except VendorNotFoundError as error:
                if len(numbers) > 1:
                    return self._contradict(numbers)
                return NotFound(
                    f"A task's output names version {number} of {self._model}, which is not there, or not"
                    f" visible to us ({one_line(str(error), 300)}).",
                    may_appear=True,
                )
        meant = self._meant(found)
        if len(meant) > 1:
            return self._contradict(numbers)
        linked = self._origins.of(meant[0], Word.RUN)
        if isinstance(linked, Unlinked):
            return not_this_runs(self._sought, linked, "named by the task output")
        return Found(linked, VersionSource.TASK_OUTPUT)

    def _named(self, number: str) -> ModelVersion:
        """One version; from the list, if that was read beside the outputs. It may lag, so others are read by themselves."""
        try:
            listed = self._listed()
        except GateError:
            listed = ()
        found = next((each for each in listed if each.version == number), None)
        return found or self._registry.get_version(self._model, number)

    def _contradict(self, numbers: Sequence[str]) -> NotFound:
        return NotFound(
            f"The outputs of the tasks of job run {self._run.run_id} contradict each other: they name versions"
            f" {_some(numbers)} of {self._model}."
        )


def not_this_runs(sought: Sought, unlinked: Unlinked, how: str) -> NotFound:
    """That a version which is named for the run is not believed to be its, and why."""
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
