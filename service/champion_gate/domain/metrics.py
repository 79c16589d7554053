"""Metrics of a candidate beside the Champion's: whose number counts, which rules are broken, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from champion_gate.domain.gates import Direction, MetricRule
from champion_gate.domain.text import one_line
from champion_gate.domain.versions import (
    LoggedModel,
    MetricRow,
    TrainingRun,
    VersionDetails,
    is_number,
    is_of_logged_model,
    measured,
)

LOGGED_MODEL = "logged_model"
MLFLOW_RUN = "mlflow_run"

_MOST_NAMED = 10


# --- whose number counts ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """The number by which a rule judges a version.

    Attributes:
        value: None where there is none; may be NaN or infinite.
        row: where it was measured, as far as that is known.
        missing: why there is none, for people.
        ambiguous: there is more than one, and the rule does not say which.
    """

    value: float | None
    row: MetricRow | None = None
    missing: str = ""
    ambiguous: bool = False


@dataclass(frozen=True)
class Measurements:
    """What is known of one metric of one version.

    Attributes:
        kind: LOGGED_MODEL or MLFLOW_RUN: whose numbers they are; None where there are none.
        of: the id of that logged model or run.
        rows: the number that counts of each dataset.
        missing: why there are none, for people.
    """

    name: str
    kind: str | None = None
    of: str | None = None
    rows: tuple[MetricRow, ...] = ()
    missing: str = ""

    def on(self, dataset: str | None) -> Figure:
        """The number that counts.

        Args:
            dataset: the one that the rule names, "" for numbers that name none; None where the rule names
                none, which does where the numbers on all datasets are the same.
        """
        if not self.rows:
            return Figure(None, missing=self.missing)
        if dataset is not None:
            for row in self.rows:
                if row.dataset == (dataset or None):
                    return Figure(row.value, row)
            return Figure(None, missing=f"it was measured on {self._datasets()}, not on {_dataset(dataset)}")
        if len({repr(row.value) for row in self.rows}) == 1:
            return Figure(self.rows[0].value, self.rows[0])
        named = next(row.dataset for row in self.rows if row.dataset)
        return Figure(
            None,
            missing=f"it has different values on {self._datasets()}: let the gate's rule name the dataset that "
            f"counts, `{self.name}: {{dataset: {one_line(named)}, …}}`",
            ambiguous=True,
        )

    def _datasets(self) -> str:
        shown = [f"{_dataset(row.dataset)} ({row.value!r})" for row in self.rows[:_MOST_NAMED]]
        more = len(self.rows) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def own_model(details: VersionDetails) -> LoggedModel | None:
    """The version's logged model, if it has that model's files: whoever registers it may write any id beside them."""
    model = details.logged_model
    return model if model is not None and is_of_logged_model(details.version.source or "", model) else None


def measurements(details: VersionDetails, name: str) -> Measurements:
    """A version's own numbers: those of its logged model, where it has one.

    Those of its MLflow run count where there is no logged model, or where the run has exactly this one, which
    has no number of its own: a run's number is the one that was logged last, for whichever of its models.
    """
    model, run = own_model(details), details.training_run
    own = () if model is None else counting(row for row in model.metrics if row.key == name)
    if model is not None and own:
        return Measurements(name, LOGGED_MODEL, model.model_id, own)
    foreign = run_counts_not_because(details)
    if foreign or run is None:
        return Measurements(name, missing=foreign or unread_because(details))
    if name not in run.metrics:
        return Measurements(name)
    return Measurements(name, MLFLOW_RUN, run.run_id, (MetricRow(name, run.metrics[name]),))


def metric_names(details: VersionDetails | None) -> set[str]:
    """The names of all metrics that the version has numbers for."""
    if details is None:
        return set()
    model = own_model(details)
    names = set() if model is None else {row.key for row in model.metrics}
    if details.training_run is not None and not run_counts_not_because(details):
        names |= set(details.training_run.metrics)
    return names


def run_counts_not_because(details: VersionDetails) -> str:
    """Why what the version's MLflow run says is not of this version alone; empty where it is."""
    model_id, run = details.version.logged_model_id, details.training_run
    if model_id is not None and own_model(details) is None:
        return _not_own_because(details, model_id)
    if run is None:
        return ""
    if model_id is None:
        return _one_of_several_because(run)
    if run.logged_models == frozenset({model_id}):
        return ""
    if run.logged_models is None:
        what = "may be of another one: which logged models that run has cannot be read"
    else:
        what = f"may be of {_some(run.logged_models - {model_id}) or 'another one'}"
    return f"the version's logged model {model_id} has none, and that of MLflow run {run.run_id} {what}"


def _one_of_several_because(run: TrainingRun) -> str:
    """Why files of the run may be any of its logged models; empty where it has one at most."""
    if run.logged_models is None:
        return (
            f"which logged models MLflow run {run.run_id} has cannot be read, and the version does not say that it "
            "is one of them"
        )
    if len(run.logged_models) <= 1:
        return ""
    return (
        f"MLflow run {run.run_id} has the logged models {_some(run.logged_models)}, and the version does not say which "
        "of them it is"
    )


def _not_own_because(details: VersionDetails, model_id: str) -> str:
    if details.logged_model is None:
        return (
            f"the version's logged model {model_id} cannot be read ({details.unread_because or 'not told'})"
        )
    source = one_line(details.version.source or "") or "not told"
    return (
        f"the version is said to be the logged model {model_id}, whose files are not those of its source ({source}):"
        f" register `models:/{model_id}`"
    )


def unread_because(details: VersionDetails) -> str:
    """What of the version's numbers could not be read, and may be there at the next look; empty where all was."""
    version, run = details.version, details.training_run
    if version.logged_model_id is not None and details.logged_model is None:
        return _not_own_because(details, version.logged_model_id)
    if version.run_id is not None and run is None:
        return f"MLflow run {one_line(version.run_id, 70)} cannot be read ({details.unread_because or 'not told'})"
    if run is not None and run.logged_models is None and needs_run(details):
        return run_counts_not_because(details)
    return ""


def needs_run(details: VersionDetails) -> bool:
    """Whether something that the MLflow run says may be the version's, so that the run's logged models matter."""
    model, run = own_model(details), details.training_run
    if run is None or (model is None and details.version.logged_model_id is not None):
        return False
    metrics = set() if model is None else {row.key for row in model.metrics}
    params = set() if model is None else set(model.params)
    return bool(set(run.metrics) - metrics or set(run.params) - params)


def latest(rows: Iterable[MetricRow]) -> dict[str, float]:
    """The number that counts of each metric, whatever it was measured on."""
    return {row.key: row.value for row in counting(replace(row, dataset=None) for row in rows)}


def counting(rows: Iterable[MetricRow]) -> tuple[MetricRow, ...]:
    """The row that counts of each metric and dataset: of several steps the highest, then the newest.

    NaN where two different numbers claim to be that.
    """
    found: dict[tuple[str, str], MetricRow] = {}
    for row in rows:
        which = (row.key, row.dataset or "")
        known = found.get(which)
        if known is None or (row.step, row.timestamp) > (known.step, known.timestamp):
            found[which] = row
        elif (row.step, row.timestamp) == (known.step, known.timestamp) and row.value != known.value:
            found[which] = replace(known, value=math.nan)
    return tuple(found[which] for which in sorted(found))


def _dataset(name: str | None) -> str:
    return f"dataset {one_line(name)}" if name else "no dataset"


def _some(ids: Iterable[str]) -> str:
    every = sorted(ids)
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(one_line(each, 70) for each in every[:_MOST_NAMED]) + more


# --- what a rule says of it -------------------------------------------------------------------------------


def rule_problems(rule: MetricRule, candidate: Figure, champion: Figure | None) -> tuple[str, ...]:
    """In which ways the candidate breaks the rule, for people; empty if in none.

    Args:
        rule: what is asked of the metric.
        candidate: the candidate's number; where there is none, the rule is broken.
        champion: the Champion's; where there is none, only the absolute bounds apply. One of several would
            have to be chosen, so those break a rule that compares.
    """
    if candidate.value is None:
        why = f": {candidate.missing}" if candidate.missing else ""
        return (f"the metric {rule.name} is missing{why}",)
    problems = metric_problems(rule, candidate.value, None if champion is None else champion.value)
    if champion is not None and champion.ambiguous and rule.max_worse is not None:
        return (
            *problems,
            f"{rule.name} cannot be compared with the version that holds the alias: {champion.missing}",
        )
    return problems


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
        champion: None (missing, or no Champion) leaves only the absolute bounds; with NaN and infinity a
            comparison cannot be made, which breaks a rule that asks for one.
    """
    if candidate is None:
        return (f"the metric {rule.name} is missing",)
    if not is_number(candidate):
        return (f"the metric {rule.name} is {measured(candidate)}, which is no number to judge by",)
    problems: list[str] = []
    for name, bound in (
        ("at_least", rule.at_least),
        ("at_most", rule.at_most),
        ("max_worse", rule.max_worse),
    ):
        if bound is not None and not is_number(bound):
            problems.append(
                f"the gate's {name} for {rule.name} is {measured(bound)}, which is no number to judge by"
            )
        elif bound is not None and name == "at_least" and candidate < bound:
            problems.append(f"{rule.name} is {candidate!r}, and must be at least {bound!r}")
        elif bound is not None and name == "at_most" and candidate > bound:
            problems.append(f"{rule.name} is {candidate!r}, and must be at most {bound!r}")
    problems += _much_worse(rule, candidate, champion)
    return tuple(problems)


def _much_worse(rule: MetricRule, candidate: float, champion: float | None) -> Iterable[str]:
    if rule.max_worse is None or not is_number(rule.max_worse):
        return
    if champion is None:
        return
    if not is_number(champion):
        yield (
            f"{rule.name} is {measured(champion)} in the version that holds the alias, which is no number to compare "
            f"with (max_worse)"
        )
        return
    worse = worse_by(rule, candidate, champion)
    if worse > _exact(rule.max_worse):
        yield (
            f"{rule.name} is {candidate!r} where {champion!r} is reached now ({rule.better} is better):"
            f" worse by {as_float(worse):.6g}, and max_worse is {rule.max_worse!r}"
        )


def _exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))
