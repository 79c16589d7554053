"""What a validation run said of a version: its outcome, and what its notebooks handed back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from champion_gate.domain.canonical import canonical, sha256_of, utc_text
from champion_gate.domain.gates import MetricRule
from champion_gate.domain.jobs import Job, JobOutcome, RunState
from champion_gate.domain.json_body import UnusableBodyError, json_object, object_at, text_of
from champion_gate.domain.metrics import Measurements, measurements
from champion_gate.domain.secrets import without_secrets
from champion_gate.domain.text import one_line, storable
from champion_gate.domain.versions import MetricRow, VersionDetails, is_number

CONTRACT = "champion_gate_validation"
"""The key under which a notebook says what it found: `dbutils.notebook.exit(json.dumps({CONTRACT: {"passed": true, …}}))`."""
MOST_CHECKS = 100
LONGEST_TEXT = 500
_LONGEST_NAME = 250
_LONGEST_URL = 2000


@dataclass(frozen=True)
class Verdict:
    """What a run of our job came to.

    Attributes:
        passed: None where it could not run: then it has said nothing of the version.
        result: what is kept of it, JSON-able and bounded.
    """

    passed: bool | None
    reason: str
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Reported:
    """The metrics that validation jobs reported, by name.

    Attributes:
        candidate: by the run for this version.
        champion: by the same job for the version that holds the alias; None where the ledger has none, or nobody
            holds it.
        run_id: of the candidate's run.
    """

    candidate: Mapping[str, float]
    champion: Mapping[str, float] | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Validated:
    """What a validation that passed has said.

    Attributes:
        result, sha256: as its step has them.
        reported: its metrics, beside those of the version that holds the alias.
    """

    result: Mapping[str, Any]
    sha256: str
    reported: Reported


def verdict(state: RunState, job: Mapping[str, Any]) -> Verdict:
    """Judge a run that has ended."""
    told, unreadable = _Told(), ""
    try:
        told = _told(state)
    except UnusableBodyError as error:
        unreadable = f"What it handed back cannot be read: {error}."
    result = {"job": {**job}, "run": _run(state), **told.facts()}
    if state.outcome is JobOutcome.FAILED:
        return Verdict(False, f"The validation said no: {_failure(state)}.", {**result, "passed": False})
    # A no stands, however the rest of the run ended: whoever cancels it would get another attempt.
    if told.problems:
        return Verdict(
            False, f"The validation said no: {'; '.join(told.problems)}.", {**result, "passed": False}
        )
    if state.outcome is not JobOutcome.SUCCEEDED or unreadable:
        why = unreadable or f"The validation could not run: {_code(state)}."
        return Verdict(None, why, {**result, "passed": None})
    details = "" if told.details else " It told no details."
    return Verdict(True, f"The validation passed.{details}", {**result, "passed": True})


def figures(
    rule: MetricRule,
    candidate: VersionDetails,
    champion: VersionDetails | None,
    reported: Reported | None,
) -> tuple[Measurements, Measurements | None]:
    """The numbers that a rule is about, of the candidate and of the version that holds the alias."""
    if rule.source is None:
        theirs = None if champion is None else measurements(champion, rule.name)
        return measurements(candidate, rule.name), theirs
    if reported is None:
        return Measurements(rule.name, missing="there was no validation"), None
    own = _reported(rule.name, reported.candidate, reported.run_id, "the validation did not report it")
    if reported.champion is None:
        return own, None
    return own, _reported(rule.name, reported.champion, None, "its validation did not report it")


def _reported(name: str, found: Mapping[str, float], run_id: str | None, missing: str) -> Measurements:
    if name not in found:
        return Measurements(name, missing=missing)
    return Measurements(name, "validation", run_id, (MetricRow(name, found[name]),))


def job_facts(job: Job) -> dict[str, Any]:
    """What is kept of a job as it was when its run was started."""
    return {
        "id": job.job_id,
        "name": storable(job.name, _LONGEST_NAME),
        "url": job.url,
        "run_as": [
            {"name": storable(each.name or "", _LONGEST_NAME) or None, "is_group": each.is_group}
            for each in job.run_as
        ],
    }


@dataclass(frozen=True)
class _Told:
    """What the notebooks of a run handed back, put together.

    Attributes:
        details: whether any of them said something to us.
        problems: why that is a no, for people; empty where it is a yes.
        outputs: the sha256 of all that they said to us.
    """

    details: bool = False
    problems: tuple[str, ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()
    metrics: Mapping[str, float] | None = None
    report_url: str | None = None
    outputs: str | None = None

    def facts(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "details": self.details,
            "checks": [dict(check) for check in self.checks],
            "metrics": dict(self.metrics or {}),
            "report_url": self.report_url,
            "output_sha256": self.outputs,
        }


def _told(state: RunState) -> _Told:
    """Raises UnusableBodyError where something that was said to us cannot be read."""
    claims = dict(_claims(state))
    if not claims:
        return _Told()
    checks = tuple(check for key, claim in claims.items() for check in _checks(key, claim))
    numbers = [each for key, claim in claims.items() for each in _metrics(key, claim)]
    if max(len(checks), len(numbers)) > MOST_CHECKS:
        raise UnusableBodyError(f"it tells of more than {MOST_CHECKS} checks or metrics")
    urls = [url for claim in claims.values() if (url := _url(claim.get("report_url"))) is not None]
    return _Told(
        details=True,
        problems=tuple(_problems([_passed(key, claim) for key, claim in claims.items()], checks, numbers)),
        checks=checks,
        metrics=dict(numbers),
        report_url=urls[0] if urls else None,
        outputs=sha256_of(canonical({key: dict(claim) for key, claim in claims.items()})),
    )


def _claims(state: RunState) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each task said to us, by its key; what others hand back is nothing to us."""
    for task in state.tasks:
        where = f"the output of task {one_line(task.task_key)}"
        if task.truncated:
            raise UnusableBodyError(f"{where} is longer than is read, and was cut")
        if task.output is None:
            continue
        try:
            found = json_object(task.output.encode("utf-8", "surrogatepass"), where)
        except UnusableBodyError:
            if CONTRACT in task.output.casefold():
                raise
            continue
        if CONTRACT in found:
            yield task.task_key, object_at(found, CONTRACT)
        elif CONTRACT in canonical(found).casefold():
            raise UnusableBodyError(f"{where} names {CONTRACT}, and not as a key of its own")


def _problems(
    passed: Sequence[bool], checks: Sequence[Mapping[str, Any]], numbers: Sequence[tuple[str, float]]
) -> Iterator[str]:
    failed = [one_line(check["name"]) for check in checks if not check["passed"]]
    if not all(passed):
        yield "its output says passed: false" + (
            f" (checks that failed: {', '.join(failed[:10])})" if failed else ""
        )
    elif failed:
        yield f"its output contradicts itself: passed, and checks that failed: {', '.join(failed[:10])}"
    known: dict[str, float] = {}
    for name, number in numbers:
        if known.setdefault(name, number) != number:
            yield f"its output contradicts itself: {one_line(name)} is {known[name]!r} and {number!r}"


def _passed(task: str, claim: Mapping[str, Any]) -> bool:
    if not isinstance(claim.get("passed"), bool):
        raise UnusableBodyError(f"{CONTRACT}.passed of task {one_line(task)} is neither true nor false")
    return bool(claim["passed"])


def _checks(task: str, claim: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    where = f"{CONTRACT}.checks of task {one_line(task)}"
    for check in _listed(claim.get("checks"), where):
        if not isinstance(check, dict) or not isinstance(check.get("passed"), bool):
            raise UnusableBodyError(f"{where} has one without passed: true or false")
        name = text_of(check.get("name"), f"{where}: a name")
        yield {
            "name": storable(without_secrets(name), _LONGEST_NAME),
            "passed": check["passed"],
            "value": _value(check.get("value")),
            "limit": _value(check.get("limit")),
        }


def _metrics(task: str, claim: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    where = f"{CONTRACT}.metrics of task {one_line(task)}"
    found = {} if claim.get("metrics") is None else object_at({**claim}, "metrics")
    for name, number in found.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not _is_finite(number):
            raise UnusableBodyError(f"{where}: {one_line(name)} is no number")
        yield storable(text_of(name, f"{where}: a name"), _LONGEST_NAME), float(number)


def _listed(found: object, where: str) -> list[Any]:
    if found is None:
        return []
    if not isinstance(found, list):
        raise UnusableBodyError(f"{where} is no list")
    return found


def _is_finite(number: float) -> bool:
    try:
        return is_number(float(number))
    except OverflowError:
        return False


def _value(found: object) -> object:
    """A check's value or limit, which may be anything: a number, or what it is as a text."""
    if found is None or isinstance(found, bool):
        return found
    if isinstance(found, int | float) and _is_finite(found):
        return float(found)
    return storable(without_secrets(str(found)), LONGEST_TEXT)


def _url(found: object) -> str | None:
    is_page = isinstance(found, str) and found.startswith(("http://", "https://"))
    return storable(str(found), _LONGEST_URL) if is_page and len(str(found)) <= _LONGEST_URL else None


def _run(state: RunState) -> dict[str, Any]:
    return {
        "id": state.run_id,
        "url": state.url,
        "code": storable(state.code, _LONGEST_NAME),
        "creator": None if state.creator is None else storable(state.creator, _LONGEST_NAME),
        "parameters": {
            storable(name, _LONGEST_NAME): storable(value, LONGEST_TEXT)
            for name, value in state.parameters.items()
        },
        "started_at": None if state.started_at is None else utc_text(state.started_at),
        "ended_at": None if state.ended_at is None else utc_text(state.ended_at),
        "repaired": state.repaired,
        "tasks": [
            {
                "key": storable(task.task_key, _LONGEST_NAME),
                "run_id": task.task_run_id,
                "code": storable(task.code),
            }
            for task in state.tasks[:MOST_CHECKS]
        ],
    }


def _failure(state: RunState) -> str:
    """Which tasks failed, with their words; that of the whole run where none says any."""
    words = [
        f"task {one_line(task.task_key)} failed"
        + (f" ({one_line(task.error, LONGEST_TEXT)})" if task.error else "")
        for task in state.tasks
        if task.error
    ]
    return "; ".join(words[:3]) or _code(state)


def _code(state: RunState) -> str:
    message = one_line(state.message, LONGEST_TEXT).rstrip(".")
    return f"{one_line(state.code)} ({message})" if message else one_line(state.code)
