"""Metrics of a candidate beside the Champion's: which rules are broken, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

from champion_gate.core.gates import Direction, MetricRule
from champion_gate.core.versions import VersionDetails


def metric_of(details: VersionDetails, name: str) -> float | None:
    """The metric's value in the version's MLflow run, which may be NaN or infinite; None if it is not there."""
    return None if details.training_run is None else details.training_run.metrics.get(name)


def worse_by(rule: MetricRule, candidate: float, champion: float) -> Fraction:
    """How much worse the candidate is (negative: better), exactly, on the numbers as they are written.

    0.80 - 0.79 is 0.01 here and no more, which it is not in binary floating point.
    """
    difference = change(candidate, champion)
    return -difference if rule.better is Direction.HIGHER else difference


def change(candidate: float, champion: float) -> Fraction:
    """Candidate minus Champion, exactly, on the numbers as they are written; both must be finite."""
    return _exact(candidate) - _exact(champion)


def as_float(number: Fraction) -> float:
    """The nearest float; infinite where it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def metric_problems(rule: MetricRule, candidate: float | None, champion: float | None) -> tuple[str, ...]:
    """In which ways the candidate's metric breaks the rule, with the numbers; empty if in none.

    Args:
        rule: what is asked of the metric.
        candidate: None (missing), NaN and infinity break every rule.
        champion: None (missing, or no Champion), NaN and infinity leave only the absolute bounds.
    """
    if candidate is None:
        return (f"the metric {rule.name} is missing",)
    if not math.isfinite(candidate):
        return (f"the metric {rule.name} is {candidate}, which is no number to judge by",)
    problems: list[str] = []
    for name, bound in (
        ("at_least", rule.at_least),
        ("at_most", rule.at_most),
        ("max_worse", rule.max_worse),
    ):
        if bound is not None and not math.isfinite(bound):
            problems.append(f"the gate's {name} for {rule.name} is {bound}, which is no number to judge by")
        elif bound is not None and name == "at_least" and candidate < bound:
            problems.append(f"{rule.name} is {candidate!r}, and must be at least {bound!r}")
        elif bound is not None and name == "at_most" and candidate > bound:
            problems.append(f"{rule.name} is {candidate!r}, and must be at most {bound!r}")
    problems += _much_worse(rule, candidate, champion)
    return tuple(problems)


def _much_worse(rule: MetricRule, candidate: float, champion: float | None) -> Iterable[str]:
    if rule.max_worse is None or not math.isfinite(rule.max_worse):
        return
    if champion is None or not math.isfinite(champion):
        return
    worse = worse_by(rule, candidate, champion)
    if worse > _exact(rule.max_worse):
        yield (
            f"{rule.name} is {candidate!r} where {champion!r} is reached now ({rule.better} is better):"
            f" worse by {as_float(worse):.6g}, and max_worse is {rule.max_worse!r}"
        )


def _exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))
