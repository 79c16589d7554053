"""Frozen numbers, judged again by the rules of today."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from champion_gate.domain import evidence
from champion_gate.domain.frozen_numbers import judge_again
from champion_gate.domain.gates import ApprovalTarget, Direction, Gate, MetricRule
from champion_gate.domain.versions import (
    LoggedModel,
    MetricRow,
    ModelVersion,
    TrainingRun,
    VersionDetails,
    VersionStatus,
)
from ledger_samples import promoted

AT = datetime(2026, 11, 1, tzinfo=UTC)
RULE = MetricRule(name="f1", better=Direction.HIGHER, at_least=0.8)
HIGHER, LOWER = Direction.HIGHER, Direction.LOWER


def details(number: int, rows: Sequence[MetricRow] = (), **of_run: float) -> VersionDetails:
    model_id = f"m-{number}" if rows else None
    source = f"models:/{model_id}" if rows else None
    version = ModelVersion(
        "main.ml.churn",
        str(number),
        f"id{number}",
        "r",
        source,
        VersionStatus.READY,
        AT,
        "ann",
        None,
        model_id,
    )
    run = TrainingRun("r", "ann", "1", "2", of_run, {}, None, AT, logged_models=frozenset())
    model = LoggedModel(model_id, "r", tuple(rows), {}, {}) if model_id else None
    return VersionDetails(version, {}, run, model)


def frozen(
    candidate: VersionDetails, champion: VersionDetails | None = None, *rules: MetricRule
) -> dict[str, Any]:
    gate = Gate(
        name="churn",
        jobs=(1,),
        model="main.ml.churn",
        alias="Champion",
        approval=ApprovalTarget.stored("github", {}, ("champion",)),
        metrics=rules,
    )
    document = evidence.collect(
        promoted(),
        gate,
        candidate,
        champion,
        nobody=(),
        champion_since=None,
        version_url=None,
        frozen_at=AT,
    )
    found: dict[str, Any] = json.loads(evidence.canonical_json(document))
    return found


EVAL, TRAIN = MetricRow("f1", 0.85, dataset="eval"), MetricRow("f1", 0.99, dataset="train")


@pytest.mark.parametrize("rules", [(RULE,), ()], ids=["with a rule", "among the others"])
def test_a_bound_that_was_raised(rules: tuple[MetricRule, ...]) -> None:
    document = frozen(details(2, f1=0.85), None, *rules)
    assert problems_of(RULE, document) == ()
    raised = MetricRule(name="f1", better=HIGHER, at_least=0.9)
    assert problems_of(raised, document) == ("f1 is 0.85, and must be at least 0.9",)


def test_a_comparison_that_is_stricter() -> None:
    document = frozen(details(2, f1=0.85), details(1, f1=0.9), RULE)
    assert problems_of(MetricRule(name="f1", better=HIGHER, max_worse=0.05), document) == ()
    assert "worse by 0.05" in problems_of(MetricRule(name="f1", better=HIGHER, max_worse=0.04), document)[0]


def test_a_rule_on_a_metric_that_was_not_there() -> None:
    document = frozen(details(2, f1=0.85), None, RULE)
    rule = MetricRule(name="loss", better=LOWER, at_most=1)
    assert problems_of(rule, document) == ("the evidence has no metric loss",)


@pytest.mark.parametrize(
    ("dataset", "least", "words"),
    [
        ("eval", 0.8, ""),
        ("eval", 0.9, "f1 is 0.85"),
        ("train", 0.9, ""),
        ("test", 0.8, "not on dataset test"),
        (None, 0.8, "different values"),
    ],
)
def test_another_dataset_than_that_of_the_rule_of_then(dataset: str | None, least: float, words: str) -> None:
    then = MetricRule(name="f1", better=HIGHER, at_least=0.8, dataset="eval")
    document = frozen(details(2, [EVAL, TRAIN]), None, then)
    problems = problems_of(MetricRule(name="f1", better=HIGHER, at_least=least, dataset=dataset), document)
    assert words in "".join(problems)
    assert bool(problems) == bool(words)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(value: float) -> None:
    document = frozen(details(2, f1=value))
    assert "no number to judge by" in problems_of(RULE, document)[0]


def problems_of(rule: MetricRule, document: dict[str, Any]) -> tuple[str, ...]:
    judged = judge_again([rule], evidence.canonical_json(document))
    assert judged.unclear == ()
    return judged.broken


def without_origins(document: dict[str, Any]) -> dict[str, Any]:
    """As releases before froze it."""
    for part in ("gate_metrics", "other_metrics"):
        for row in document[part]["rows"]:
            for key in ("candidate_from", "champion_from", "dataset"):
                row.pop(key, None)
    return document


def test_evidence_of_an_earlier_release() -> None:
    document = without_origins(frozen(details(2, f1=0.85), details(1, f1=0.9), RULE))
    assert problems_of(RULE, document) == ()
    assert problems_of(MetricRule(name="f1", better=HIGHER, at_least=0.9), document)
    assert problems_of(MetricRule(name="f1", better=HIGHER, max_worse=0.01), document)
    assert problems_of(MetricRule(name="f1", better=HIGHER, at_least=0.8, dataset="eval"), document)


def test_an_edge_that_an_earlier_release_froze_is_infinite() -> None:
    document = without_origins(frozen(details(2, f1=0.85), None, RULE))
    document["gate_metrics"]["rows"][0]["candidate"] = 1.7976931348623157e308
    assert problems_of(RULE, document) == ("the metric f1 is inf, which is no number to judge by",)


# --- what the evidence did not keep -----------------------------------------------------------------------


def unclear(rule: MetricRule, document: dict[str, Any]) -> str:
    judged = judge_again([rule], evidence.canonical_json(document))
    assert judged.broken == ()
    (why,) = judged.unclear
    return why


def test_a_rule_on_a_metric_that_was_left_out_is_not_judged_as_on_an_absent_one() -> None:
    document = frozen(details(2, (), **{f"m{number:03}": 0.9 for number in range(101)}))
    assert problems_of(MetricRule(name="m099", better=HIGHER, at_least=0.8), document) == ()
    assert "m100 is not among the metrics that the evidence kept" in unclear(
        MetricRule(name="m100", better=HIGHER, at_least=0.8), document
    )


def test_every_metric_that_a_rule_names_is_kept() -> None:
    rules = [MetricRule(name=f"m{number:03}", better=HIGHER, at_least=0.8) for number in range(150)]
    document = frozen(details(2, (), **{rule.name: 0.9 for rule in rules}), None, *rules)
    assert judge_again(rules, evidence.canonical_json(document)).broken == ()
    assert judge_again(rules, evidence.canonical_json(document)).unclear == ()


MANY = [MetricRow("f1", 0.99 if number < 20 else 0.5, dataset=f"d{number:02}") for number in range(30)]


@pytest.mark.parametrize(
    "rules", [(), (MetricRule(name="f1", better=HIGHER, dataset="d00"),)], ids=["shown", "ruled"]
)
def test_datasets_that_were_left_out(rules: tuple[MetricRule, ...]) -> None:
    document = frozen(details(2, MANY), None, *rules)
    assert problems_of(MetricRule(name="f1", better=HIGHER, at_least=0.8, dataset="d19"), document) == ()
    assert "f1 on that dataset" in unclear(
        MetricRule(name="f1", better=HIGHER, at_least=0.8, dataset="d25"), document
    )
    (problem,) = problems_of(MetricRule(name="f1", better=HIGHER, at_least=0.8), document)
    assert "f1 is missing" in problem


def test_a_dataset_of_the_rule_of_then_is_kept_whatever_is_left_out() -> None:
    rule = MetricRule(name="f1", better=HIGHER, at_least=0.4, dataset="d25")
    document = frozen(details(2, MANY), details(1, MANY), rule)
    assert problems_of(rule, document) == ()
    assert problems_of(MetricRule(name="f1", better=HIGHER, at_least=0.8, dataset="d25"), document)


def test_a_champion_that_is_no_number_is_not_compared_with() -> None:
    document = frozen(details(2, f1=0.85), details(1, f1=float("inf")))
    assert problems_of(RULE, document) == ()
    assert (
        "no number to compare with"
        in problems_of(MetricRule(name="f1", better=HIGHER, max_worse=1), document)[0]
    )
