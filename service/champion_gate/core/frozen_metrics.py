"""The numbers of frozen evidence, judged again by the gate's rules as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from champion_gate.core.gates import MetricRule
from champion_gate.core.metrics import Measurements, measured, rule_problems
from champion_gate.core.text import storable
from champion_gate.core.versions import MetricRow

_LONGEST_NAME = 250  # as in evidence.LONGEST_NAME, at which names are cut


def frozen_problems(rule: MetricRule, document: Mapping[str, Any]) -> tuple[str, ...]:
    """In which ways the frozen numbers break a rule, for people; empty if in none.

    Args:
        rule: as the gate has it now; it need not have been there when the evidence was frozen.
        document: what `evidence.collect` made, after a trip through JSON; also that of an earlier release,
            which holds no datasets.
    """
    row = _row(document, storable(rule.name, _LONGEST_NAME))
    if row is None:
        return (f"the metric {rule.name} is missing in the frozen evidence",)
    candidate = _measurements(row, "candidate", rule.name).on(rule.dataset)
    if document.get("champion") is None:
        return rule_problems(rule, candidate, None)
    return rule_problems(rule, candidate, _measurements(row, "champion", rule.name).on(rule.dataset))


def _row(document: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    for part in ("gate_metrics", "other_metrics"):
        for row in document[part]["rows"]:
            if row["name"] == name:
                found: Mapping[str, Any] = row
                return found
    return None


def _measurements(row: Mapping[str, Any], whose: str, name: str) -> Measurements:
    told = row.get(f"{whose}_from")
    if told is None:  # of an earlier release
        value = row[whose]
        return Measurements(name, rows=() if value is None else (MetricRow(name, _number(value)),))
    rows = tuple(
        MetricRow(name, _number(each["value"]), each["step"], dataset=each["name"])
        for each in told["datasets"]["rows"]
    )
    return Measurements(name, told["kind"], told["id"], rows, "" if rows else told["missing"] or "")


def _number(value: float | str) -> float:
    return measured(float(value))
