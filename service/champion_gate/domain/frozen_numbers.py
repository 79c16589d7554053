"""Judges the frozen numbers by metric rules once more: the gate may have become stricter since people were asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from champion_gate.domain.evidence import LONGEST_NAME, LONGEST_VALUE
from champion_gate.domain.gates import MetricRule
from champion_gate.domain.metrics import Figure, Measurements, rule_problems
from champion_gate.domain.text import storable
from champion_gate.domain.versions import MetricRow


@dataclass(frozen=True)
class JudgedAgain:
    """What today's rules say of the numbers that people were shown.

    Attributes:
        broken: in which ways the numbers break them, for people.
        unclear: which rules cannot be judged, because the number was left out of the evidence, for people.
    """

    broken: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


def judge_again(rules: Iterable[MetricRule], evidence_json: str | None) -> JudgedAgain:
    """Judge the numbers that people were shown.

    Args:
        rules: those of the gate as it is now.
        evidence_json: as it was frozen, also by an earlier release, which said nothing of datasets.
    """
    document = json.loads(evidence_json or "{}")
    tables = [document.get(name) for name in ("other_metrics", "gate_metrics")]
    rows = {row["name"]: row for table in tables for row in _rows(table) if "from" not in row}
    validated = document.get("validation")
    has_champion = document.get("champion") is not None
    broken: list[str] = []
    unclear: list[str] = []
    for rule in rules:
        row = rows.get(storable(rule.name, LONGEST_NAME))
        if rule.source is not None:
            broken += rule_problems(rule, *_validated(rule, validated))
        elif row is None and any(map(_left_out, tables)):
            unclear.append(f"{rule.name} is not among the metrics that the evidence kept")
        elif row is None:
            broken.append(f"the evidence has no metric {rule.name}")
        elif _lost_dataset(rule, row):
            unclear.append(f"{rule.name} on that dataset is not among the numbers that the evidence kept")
        else:
            champion = _figure(rule, row, "champion") if has_champion else None
            broken += rule_problems(rule, _figure(rule, row, "candidate"), champion)
    return JudgedAgain(tuple(broken), tuple(unclear))


def _validated(rule: MetricRule, validation: Any) -> tuple[Figure, Figure | None]:
    """What the validation reported that people were shown, of the candidate and of the Champion."""
    if not isinstance(validation, dict):
        return Figure(None, missing="people were shown no validation"), None
    for row in _rows(validation.get("metrics")):
        if row.get("name") == storable(rule.name, LONGEST_NAME):
            champion = _number(row.get("champion"))
            return Figure(_number(row.get("candidate"))), None if champion is None else Figure(champion)
    return Figure(None, missing="the validation did not report it"), None


def _lost_dataset(rule: MetricRule, row: Mapping[str, Any]) -> bool:
    """Whether the number that the rule means may be one of those that were left out of the row."""
    wanted = _wanted(rule)
    if wanted is None or ("better" in row and row.get("dataset") == wanted):
        return False
    for whose in ("candidate", "champion"):
        datasets = (row.get(f"{whose}_from") or {}).get("datasets")
        kept = {each.get("name") or "" for each in _rows(datasets)}
        if _left_out(datasets) and wanted not in kept:
            return True
    return False


def _figure(rule: MetricRule, row: Mapping[str, Any], whose: str) -> Figure:
    """The number by which the rule judges, as the row holds it."""
    source = row.get(f"{whose}_from") or {}
    wanted = _wanted(rule)
    measured = tuple(
        MetricRow(rule.name, value, dataset=each.get("name"))
        for each in _rows(source.get("datasets"))
        if (value := _number(each.get("value"))) is not None
    )
    chosen, missing = _number(row.get(whose)), source.get("missing") or ""
    as_then = "better" in row and row.get("dataset") == wanted
    # Where some were left out, those that were kept do not tell whether all of them were the same.
    of_all = "better" not in row and wanted is None and _left_out(source.get("datasets"))
    if as_then or of_all:
        return Figure(chosen, missing=missing, ambiguous=len(measured) > 1 and chosen is None)
    if wanted is None and _left_out(source.get("datasets")):
        return Figure(None, missing="it was measured on more datasets than the evidence kept", ambiguous=True)
    if not measured and chosen is not None:
        measured = (MetricRow(rule.name, chosen, dataset=source.get("dataset")),)
    return Measurements(rule.name, rows=measured, missing=missing).on(wanted)


def _wanted(rule: MetricRule) -> str | None:
    return None if rule.dataset is None else storable(rule.dataset, LONGEST_VALUE)


def _left_out(table: Any) -> int:
    """How many of its rows were not kept."""
    return int(table.get("left_out") or 0) if isinstance(table, dict) else 0


def _rows(table: Any) -> list[dict[str, Any]]:
    return table.get("rows", []) if isinstance(table, dict) else []


def _number(found: object) -> float | None:
    """A frozen number; "nan", "inf" and "-inf" stand for what JSON does not have."""
    return None if found is None else float(str(found))
