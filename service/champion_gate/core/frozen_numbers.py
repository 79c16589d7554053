"""Judges the frozen numbers by metric rules once more: the gate may have become stricter since people were asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from champion_gate.core.evidence import LONGEST_NAME, LONGEST_VALUE
from champion_gate.core.gates import MetricRule
from champion_gate.core.metrics import Figure, Measurements, rule_problems
from champion_gate.core.text import storable
from champion_gate.core.versions import MetricRow


def broken_rules(rules: Iterable[MetricRule], evidence_json: str | None) -> tuple[str, ...]:
    """In which ways the numbers that people were shown break these rules, for people; empty if in none.

    Args:
        rules: those of the gate as it is now.
        evidence_json: as it was frozen, also by an earlier release, which said nothing of datasets.
    """
    document = json.loads(evidence_json or "{}")
    rows = {
        row["name"]: row for table in ("other_metrics", "gate_metrics") for row in _rows(document.get(table))
    }
    has_champion = document.get("champion") is not None
    problems: list[str] = []
    for rule in rules:
        row = rows.get(storable(rule.name, LONGEST_NAME))
        if row is None:
            problems.append(f"the evidence has no metric {rule.name}")
            continue
        champion = _figure(rule, row, "champion") if has_champion else None
        problems += rule_problems(rule, _figure(rule, row, "candidate"), champion)
    return tuple(problems)


def _figure(rule: MetricRule, row: Mapping[str, Any], whose: str) -> Figure:
    """The number by which the rule judges, as the row holds it."""
    source = row.get(f"{whose}_from") or {}
    wanted = None if rule.dataset is None else storable(rule.dataset, LONGEST_VALUE)
    measured = tuple(
        MetricRow(rule.name, value, dataset=each.get("name"))
        for each in _rows(source.get("datasets"))
        if (value := _number(each.get("value"))) is not None
    )
    chosen = _number(row.get(whose))
    if "better" in row and row.get("dataset") == wanted:
        return Figure(
            chosen, missing=source.get("missing") or "", ambiguous=len(measured) > 1 and chosen is None
        )
    if not measured and chosen is not None:
        measured = (MetricRow(rule.name, chosen, dataset=source.get("dataset")),)
    return Measurements(rule.name, rows=measured, missing=source.get("missing") or "").on(wanted)


def _rows(table: Any) -> list[dict[str, Any]]:
    return table.get("rows", []) if isinstance(table, dict) else []


def _number(found: object) -> float | None:
    """A frozen number; "nan", "inf" and "-inf" stand for what JSON does not have."""
    return None if found is None else float(str(found))
