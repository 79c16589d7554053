"""Whether a version of another model is the copy of the approved one: what the copying job says of both, and what the registry shows.

Whoever may create and tag versions in the destination can plant one, so nothing that a version says of itself is
believed where the registry tells.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from champion_gate.domain.canonical import canonical, sha256_of, utc_text
from champion_gate.domain.job_runs import Trainer
from champion_gate.domain.jobs import Job, RunState
from champion_gate.domain.json_body import UnusableBodyError, json_object, object_at, text_of
from champion_gate.domain.names import check_version
from champion_gate.domain.secrets import without_secrets
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import InvalidNameError

RESULT, CONTENTS = "champion_gate", "champion_gate_copy"
"""The keys under which the copying job's notebook names the copy, and says what both sides hold."""
COPIED_FROM = "champion_gate_copied_from"
"""The tag of a copy: `<model>/<version>/<version id>` of what it was made of."""
APPROVAL = "champion_gate_copied_for"
"""The tag that tells which call of ours made a copy in an MLflow registry."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_FILES = 100_000
_SHOWN = 3


@dataclass(frozen=True)
class MadeOf:
    """The approved version of which a version is a copy."""

    model: str
    version: str
    version_id: str


@dataclass(frozen=True)
class CopyReport:
    """What a copying run said, found to be about the approved version and the same on both sides.

    Attributes:
        version: of the destination, as decimal digits.
        reused: whether the run found an earlier one's copy.
        sha256: of identity, signature and files, as canonical JSON.
    """

    version: str
    reused: bool
    sha256: str
    files: int


def copier_of(job: Job) -> str | None:
    """The one user or service principal as whom a job runs; None where that is not told, or is not one alone."""
    names = {each.name for each in job.run_as}
    if len(names) != 1 or any(each.is_group for each in job.run_as):
        return None
    return next(iter(names)) or None


def unfit_because(job: Job, parameters: Iterable[str], trainers: Iterable[Trainer]) -> str | None:
    """Why this job may not copy what people approve; None if it may."""
    missing = sorted(set(parameters) - set(job.parameters))
    if missing:
        return (
            f"Job {job.job_id}, which copies, does not define the job parameter{'s' if missing[1:] else ''} {', '.join(missing)}: "
            "add them to the job."
        )
    copier = copier_of(job)
    if copier is None:
        return f"It cannot be told as which one user or service principal job {job.job_id}, which copies, runs: set its run_as."
    behind = {(each.name or "").strip().casefold() for each in trainers}
    if not behind or "" in behind:
        return (
            f"Job {job.job_id}, which copies, runs as {one_line(copier)}, and who is behind this version was not told whole: it "
            "may be the same."
        )
    if copier.strip().casefold() in behind:
        return (
            f"Job {job.job_id}, which copies, runs as {one_line(copier)}, who is behind this version: who trains could plant "
            "something else. Let it run as a principal of its own."
        )
    return None


def job_shown(evidence_json: str | None) -> Mapping[str, Any] | None:
    """The copying job as people were shown it; None where there is none."""
    copy = json.loads(evidence_json or "{}").get("copy") or {}
    found: Mapping[str, Any] | None = copy.get("job")
    return found


def tag_of(source: ModelVersion) -> str:
    """What the tag `champion_gate_copied_from` of a copy of this version says."""
    return f"{source.model}/{source.version}/{source.version_id}"


def source_of(source: ModelVersion) -> str:
    """What the registry tells as the source of a copy of this version."""
    return f"models:/{source.model}/{source.version}"


def report_of(state: RunState, source: ModelVersion, destination: str) -> CopyReport:
    """What a run that ended well says of the copy.

    Raises:
        UnusableBodyError: it says nothing, something else, or that both sides differ; the message is the reason.
    """
    said = list(_said(state))
    if len(said) != 1:
        told = "nothing of it" if not said else f"it in {len(said)} tasks"
        raise UnusableBodyError(f"the run says {told}; expected one task that hands back {CONTENTS}")
    copy = object_at(said[0], CONTENTS)
    named = object_at(said[0], RESULT)
    ours, theirs = object_at(copy, "source"), object_at(copy, "destination")
    version = _version(theirs.get("version"))
    if copy.get("copied_from") != tag_of(source):
        raise UnusableBodyError(
            f"it says copied from {_shown(copy.get('copied_from'))}, not from {tag_of(source)}"
        )
    _is(ours, source.model, source.version)
    _is(theirs, destination, version)
    _is(named, destination, version)
    if not isinstance(copy.get("reused"), bool):
        raise UnusableBodyError("it does not say whether an earlier copy was reused")
    before, after = _contents(ours), _contents(theirs)
    for name in ("model_uuid", "signature"):
        if before[name] != after[name]:
            raise UnusableBodyError(f"the {name} of the copy is another one")
    if differing := _differing(before["files"], after["files"]):
        raise UnusableBodyError(f"files of the copy differ: {differing}")
    return CopyReport(version, copy["reused"], sha256_of(canonical(after)), len(after["files"]))


def not_the_copy_because(
    found: ModelVersion,
    tags: Mapping[str, str],
    source: ModelVersion,
    *,
    copier: str | None = None,
    made_in: Iterable[tuple[datetime, datetime]] | None = None,
) -> str | None:
    """Why the registry does not show this version as our copy; None if it does.

    Args:
        found: the version, as the registry shows it.
        tags: its tags; they count only where the registry tells no source.
        source: the approved version.
        copier: as whom the copying job ran; None where the registry records no creators.
        made_in: begin and end of the runs of ours, in one of which it must have been made; None where we made it.
    """
    what = f"{found.model} v{found.version}"
    if found.status is not VersionStatus.READY:
        return f"{what} is {found.status.value}, not ready."
    if found.source is not None and found.source.rstrip("/") != source_of(source):
        return f"{what} was made of {one_line(found.source, 200)}, not of {source_of(source)}."
    if found.source is None and tags.get(COPIED_FROM) != tag_of(source):
        return f"{what} bears {COPIED_FROM} = {_shown(tags.get(COPIED_FROM))}, and not {tag_of(source)}."
    return _made_otherwise(found, copier, made_in)


def _made_otherwise(
    found: ModelVersion, copier: str | None, made_in: Iterable[tuple[datetime, datetime]] | None
) -> str | None:
    what = f"{found.model} v{found.version}"
    if copier is not None and (found.created_by or "").strip().casefold() != copier.strip().casefold():
        return f"{what} was created by {_shown(found.created_by)}, and the copying job ran as {one_line(copier)}."
    if made_in is None:
        return None
    made = found.created_at
    if made is None or not any(begin <= made <= end for begin, end in made_in):
        return f"{what} was not made in a copying run of ours ({'time unknown' if made is None else utc_text(made, 'seconds')})."
    return None


def version_of(facts: Mapping[str, Any]) -> ModelVersion:
    """A ready version out of what `facts_of` kept of it."""
    created_at = facts["created_at"] and datetime.fromisoformat(facts["created_at"])
    return ModelVersion(**{**facts, "created_at": created_at}, status=VersionStatus.READY)


def facts_of(version: ModelVersion) -> dict[str, str | None]:
    """A version as a step's result keeps it."""
    return {
        "model": version.model,
        "version": version.version,
        "version_id": version.version_id,
        "run_id": version.run_id,
        "source": version.source,
        "created_by": version.created_by,
        "created_at": None if version.created_at is None else utc_text(version.created_at),
    }


def _said(state: RunState) -> Iterable[dict[str, Any]]:
    for task in state.tasks:
        where = f"the output of task {one_line(task.task_key)}"
        if task.truncated:
            raise UnusableBodyError(f"{where} is longer than is read, and was cut")
        if task.output is None or CONTENTS not in task.output:
            continue
        found = json_object(task.output.encode("utf-8", "surrogatepass"), where)
        if CONTENTS in found:
            yield found


def _version(told: object) -> str:
    try:
        return check_version(told if isinstance(told, str) else "")
    except InvalidNameError:
        raise UnusableBodyError(f"the copy's version is {_shown(told)}, no number") from None


def _is(side: Mapping[str, Any], model: str, version: str) -> None:
    told = side.get("model"), side.get("version")
    if told != (model, version):
        raise UnusableBodyError(
            f"it is about {_shown(told[0])} v{_shown(told[1])}, not about {model} v{version}"
        )


def _contents(side: dict[str, Any]) -> dict[str, Any]:
    """Identity, signature and files of a side, in a form that can be compared."""
    listed = side.get("files")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MOST_FILES:
        raise UnusableBodyError(f"it lists no files, or more than {_MOST_FILES}")
    files: dict[str, list[Any]] = {}
    for each in listed:
        path, size, sha256 = _file(each)
        if path in files:
            raise UnusableBodyError(f"it lists {_shown(path)} twice")
        files[path] = [size, sha256]
    signature = side.get("signature")
    if signature is not None and not isinstance(signature, dict):
        raise UnusableBodyError("a signature is no object")
    return {
        "model_uuid": text_of(side.get("model_uuid"), "model_uuid"),
        "signature": signature,
        "files": files,
    }


def _file(each: object) -> tuple[str, int, str]:
    if not isinstance(each, dict):
        raise UnusableBodyError("a file is no object")
    path, size, sha256 = text_of(each.get("path"), "a file's path"), each.get("size"), each.get("sha256")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise UnusableBodyError(f"the size of {_shown(path)} is no number of bytes")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise UnusableBodyError(f"the sha256 of {_shown(path)} is none")
    return path, size, sha256


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    paths = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(one_line(path, 100) for path in paths[:_SHOWN]) + more


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return one_line(without_secrets(text), 100)
