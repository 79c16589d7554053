"""What the reviewer is shown: the candidate beside the Champion, frozen as canonical JSON with its sha256."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from champion_gate.domain.canonical import canonical, sha256_of, utc_text
from champion_gate.domain.evidence_markdown import render_markdown
from champion_gate.domain.gates import Gate, MetricRule
from champion_gate.domain.metrics import (
    LOGGED_MODEL,
    MLFLOW_RUN,
    Figure,
    Measurements,
    as_float,
    change,
    measurements,
    metric_names,
    own_model,
    rule_problems,
    run_counts_not_because,
)
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.text import storable
from champion_gate.domain.validation import Reported, Validated, figures
from champion_gate.domain.versions import VersionDetails, is_number, measured

__all__ = ["canonical_json", "collect", "render_markdown", "sha256_of"]

_FORMAT = 1
_MOST_ROWS = 100  # of a table; people read it, and a vendor's inputs are bounded
MOST_PEOPLE = 50
MOST_DATASETS = 20
LONGEST_NAME = 250
LONGEST_VALUE = 500
LONGEST_URL = 2000
_NOISE = (
    "champion_gate_",
    "mlflow.",
)  # tags that we or MLflow write ourselves and that tell a reviewer nothing


def collect(
    promotion: Promotion,
    gate: Gate,
    candidate: VersionDetails,
    champion: VersionDetails | None,
    *,
    nobody: Sequence[str],
    champion_since: datetime | None,
    version_url: str | None,
    frozen_at: datetime,
    gone_version: str | None = None,
    validated: Validated | None = None,
    copied: Mapping[str, Any] | None = None,
) -> dict[str, object]:
    """Put together all that a reviewer decides on, as a JSON-able document that is bounded by the gate's rules.

    Lists are `{"rows": […], "left_out": n}`; a long text ends with a note of how much was cut off.

    Args:
        promotion: which asks; with the trainers, and who of them may not decide.
        gate: whose metric rules and approval settings apply.
        candidate: the version that asks.
        champion: the version that holds the alias now; None where there is none to compare with.
        nobody: service principals and the like behind whom no person stands.
        champion_since: since when, as far as that is known.
        version_url: the candidate's page, where there is one.
        frozen_at: aware; when the numbers were read.
        gone_version: the number on which the alias stands, where that version is gone from the registry.
        validated: what the gate's validation said, where it has one.
        copied: of which model the version is, by which job it would be copied, and of what the Champion was made.
    """
    reported = None if validated is None else validated.reported
    document: dict[str, object] = {
        "format": _FORMAT,
        "frozen_at": _time(frozen_at),
        "asked": {
            "registry": _text(promotion.registry, LONGEST_URL),
            "model": _text(promotion.model),
            "alias": _text(gate.alias),
            "from_version": gone_version if champion is None else champion.version.version,
            "from_is_gone": champion is None and gone_version is not None,
            "to_version": candidate.version.version,
            "gate": _text(gate.name),
            "promotion": _text(promotion.id),
            "provider": _text(gate.approval.provider),
            "seats": _bounded([_text(seat) for seat in gate.approval.seats], MOST_PEOPLE),
        },
        "candidate": {**_version(candidate), "url": _url(version_url)},
        "champion": None if champion is None else _champion(champion, champion_since, frozen_at),
        "gate_metrics": _whole([_gate_metric(rule, candidate, champion, reported) for rule in gate.metrics]),
        "other_metrics": _bounded(_other_metrics(gate, candidate, champion)),
        "parameters": _bounded(_different(_params(candidate), _params(champion))),
        "tags": _bounded(_different(_tags(candidate), _tags(champion))),
        "job": {
            "id": _text(promotion.job_id),
            "run_id": _text(promotion.job_run_id),
            "url": _url(promotion.job_url),
            "found_by": _text(promotion.found_by),
            "origin": _bounded((_text(mark, LONGEST_VALUE) for mark in promotion.origin), MOST_PEOPLE),
        },
        "people": _people(promotion, gate, nobody),
    }
    if validated is not None:
        document["validation"] = _validation(validated, promotion)
    if copied is not None:
        document["copy"] = dict(copied)
    return document


def validation_sha256(evidence_json: str | None) -> str | None:
    """The sha256 of the validation's result that evidence shows; None where it shows none."""
    found = validation_of(evidence_json)
    return None if found is None else str(found["result_sha256"])


def validation_of(evidence_json: str | None) -> Mapping[str, Any] | None:
    """What evidence shows of a validation; None where it shows none."""
    found: Mapping[str, Any] | None = json.loads(evidence_json or "{}").get("validation")
    return found


def canonical_json(document: Mapping[str, object]) -> str:
    """The document as JSON with sorted keys and no white space: the same text for the same content.

    Raises:
        ValueError: it holds NaN, infinity or a lone surrogate.
    """
    return canonical(document, ascii_only=False)


# --- parts of the document --------------------------------------------------------------------------------


def _version(details: VersionDetails) -> dict[str, object]:
    version, run = details.version, details.training_run
    return {
        "version": version.version,
        "version_id": _text(version.version_id),
        "source": _optional(version.source),
        "created_at": _optional_time(version.created_at),
        "created_by": _optional(version.created_by),
        "mlflow_run": _optional(version.run_id),
        "logged_model": _optional(version.logged_model_id),
        "mlflow_run_url": _url(None if run is None else run.url),
        "git_commit": _optional(None if run is None else run.git_commit),
        "trained_at": _optional_time(None if run is None else run.started_at),
    }


def _champion(champion: VersionDetails, since: datetime | None, now: datetime) -> dict[str, object]:
    served = None if since is None else max(0, int((now - since).total_seconds()))
    return {**_version(champion), "since": _optional_time(since), "served_seconds": served}


def _validation(validated: Validated, promotion: Promotion) -> dict[str, object]:
    """The result as its step has it, its numbers beside those of the version that holds the alias."""
    result, theirs = validated.result, validated.reported.champion
    trainers = {(each.name or "").strip().casefold() for each in promotion.trainers}
    names = [each["name"] for each in result["job"]["run_as"]]
    return {
        **{name: result[name] for name in ("passed", "details", "job", "run", "report_url", "output_sha256")},
        "checks": _whole(result["checks"]),
        "metrics": _whole(
            [
                {"name": name, "candidate": number, "champion": None if theirs is None else theirs.get(name)}
                for name, number in sorted(result["metrics"].items())
            ]
        ),
        "champion_validated": theirs is not None,
        "ran_as_trainers": [name for name in names if name and name.strip().casefold() in trainers],
        "result_sha256": validated.sha256,
    }


def _gate_metric(
    rule: MetricRule, candidate: VersionDetails, champion: VersionDetails | None, reported: Reported | None
) -> dict[str, object]:
    ours, theirs = figures(rule, candidate, champion, reported)
    problems = rule_problems(rule, ours.on(rule.dataset), None if theirs is None else theirs.on(rule.dataset))
    return {
        **_metric(rule.name, ours, theirs, rule.dataset),
        "dataset": _optional(rule.dataset),
        "better": rule.better.value,
        "max_worse": _number(rule.max_worse),
        "at_least": _number(rule.at_least),
        "at_most": _number(rule.at_most),
        "ok": not problems,
        "problems": [_text(problem) for problem in problems],
        **({} if rule.source is None else {"from": rule.source}),
    }


def _other_metrics(
    gate: Gate, candidate: VersionDetails, champion: VersionDetails | None
) -> Iterable[dict[str, object]]:
    named = {rule.name for rule in gate.metrics if rule.source is None}
    for name in sorted((metric_names(candidate) | metric_names(champion)) - named):
        theirs = None if champion is None else measurements(champion, name)
        yield _metric(name, measurements(candidate, name), theirs, None)


def _metric(
    name: str, ours: Measurements, theirs: Measurements | None, dataset: str | None
) -> dict[str, object]:
    candidate = ours.on(dataset)
    champion = None if theirs is None else theirs.on(dataset)
    number, other = candidate.value, None if champion is None else champion.value
    difference = None
    if number is not None and other is not None and is_number(number) and is_number(other):
        difference = _number(as_float(change(number, other)))
    return {
        "name": _text(name),
        "candidate": _number(number),
        "champion": _number(other),
        "change": difference,
        "candidate_from": _from(ours, candidate),
        "champion_from": None if theirs is None or champion is None else _from(theirs, champion),
    }


def _from(found: Measurements, chosen: Figure) -> dict[str, object]:
    """Where a number comes from, and what the version has on other datasets: enough to judge it again."""
    return {
        "kind": found.kind,
        "id": _optional(found.of),
        "dataset": None if chosen.row is None else _optional(chosen.row.dataset),
        "step": None if chosen.row is None else chosen.row.step,
        "missing": _optional(chosen.missing or None),
        "datasets": _bounded(
            (
                {"name": _optional(row.dataset), "value": _number(row.value), "step": row.step}
                for row in found.rows
            ),
            MOST_DATASETS,
        ),
    }


def _params(details: VersionDetails | None) -> dict[str, tuple[str, str]]:
    """The version's parameters, each with whose it is: its logged model's, else its MLflow run's."""
    if details is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    if details.training_run is not None and not run_counts_not_because(details):
        found = {name: (value, MLFLOW_RUN) for name, value in details.training_run.params.items()}
    model = own_model(details)
    if model is not None:
        found |= {name: (value, LOGGED_MODEL) for name, value in model.params.items()}
    return found


def _tags(details: VersionDetails | None) -> dict[str, tuple[str, str]]:
    """The version's own tags, and those of its logged model that it lacks."""
    if details is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    model = own_model(details)
    if model is not None:
        found = {key: (value, LOGGED_MODEL) for key, value in model.tags.items()}
    found |= {key: (value, "version") for key, value in details.tags.items()}
    return {key: each for key, each in found.items() if not key.startswith(_NOISE)}


def _different(
    ours: Mapping[str, tuple[str, str]], theirs: Mapping[str, tuple[str, str]]
) -> Iterable[dict[str, object]]:
    nothing = (None, None)
    for name in sorted(set(ours) | set(theirs)):
        (candidate, whose), (champion, whose_too) = ours.get(name, nothing), theirs.get(name, nothing)
        if candidate != champion:
            yield {
                "name": _text(name),
                "candidate": _optional(candidate),
                "champion": _optional(champion),
                "candidate_kind": whose,
                "champion_kind": whose_too,
            }


def _people(promotion: Promotion, gate: Gate, nobody: Sequence[str]) -> dict[str, object]:
    return {
        "trainers": _bounded(
            ({"role": _text(each.role), "name": _optional(each.name)} for each in promotion.trainers),
            MOST_PEOPLE,
        ),
        "excluded": _bounded(
            (
                {
                    "name": _text(each.name),
                    "role": _text(each.role),
                    "login": _text(each.login),
                    "user_id": _text(each.user_id),
                }
                for each in promotion.excluded
            ),
            MOST_PEOPLE,
        ),
        "nobody": _bounded((_text(name) for name in nobody), MOST_PEOPLE),
        "trainers_may_approve": gate.allow_trainer_approval,
    }


# --- bounded values ---------------------------------------------------------------------------------------


def _whole(rows: list[Any]) -> dict[str, object]:
    """All of them: what a rule names is judged again before the alias moves."""
    return {"rows": rows, "left_out": 0}


def _bounded(rows: Iterable[Any], most: int = _MOST_ROWS) -> dict[str, object]:
    every = list(rows)
    return {"rows": every[:most], "left_out": max(0, len(every) - most)}


def _text(text: str, limit: int = LONGEST_NAME) -> str:
    return storable(text, limit)


def _optional(text: str | None) -> str | None:
    return None if text is None else storable(text, LONGEST_VALUE)


def _url(url: str | None) -> str | None:
    """A URL that is cut leads elsewhere, so an overlong one is left out."""
    return None if url is None or len(url) > LONGEST_URL else storable(url, LONGEST_URL)


def _number(number: float | None) -> float | str | None:
    """JSON has no NaN and no infinity: they become "nan", "inf" and "-inf"."""
    if number is None:
        return None
    return float(number) if is_number(number) else str(measured(float(number)))


def _time(at: datetime) -> str:
    return utc_text(at, "seconds")


def _optional_time(at: datetime | None) -> str | None:
    return None if at is None else _time(at)
