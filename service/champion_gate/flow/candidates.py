"""Finds the model version that a job run made, and the people behind it."""

from __future__ import annotations

from collections.abc import Iterable

from champion_gate.domain.gates import VersionSource
from champion_gate.domain.job_runs import JobRun, Trainer
from champion_gate.domain.marks import RUN_TAG
from champion_gate.domain.ports import ModelRegistry
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import ModelVersion, VersionDetails
from champion_gate.errors import VendorRefusedError
from champion_gate.flow.origin import Origins
from champion_gate.flow.sought import Found, Linked, NotFound, Sought, Word
from champion_gate.flow.version_search import Search, Silent, not_this_runs

_AUTO = (VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN)


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
    if VersionSource.TASK_OUTPUT in ways:
        said = search.by_task_output()
        if not isinstance(said, Silent):
            return said
        reasons.append(said.reason)
    others = [each for each in ways if each is not VersionSource.TASK_OUTPUT]
    for versions in search.groups() if others else ():
        for source in others:
            found = search.among(versions, source)
            if found is not None:
                return found
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

    Args:
        sought: whose version it should be.
        version: as the registry has it.
        how: in which way it was found, or who names it, for people.
        word: whose word that is.
    """
    if word in {Word.REGISTRANT, Word.TRUSTED}:
        trusts = sought.gate.version is VersionSource.TRUSTED_TAG
        tagged = trusts and sought.registry.with_tag([version], RUN_TAG, sought.run.run_id)
        word = Word.TRUSTED if tagged else Word.REGISTRANT
    linked = Origins(sought).of(version, word)
    if isinstance(linked, Linked):
        return linked
    return not_this_runs(sought, linked, how)


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
