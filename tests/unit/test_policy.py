"""Which gates a job feeds, whether its run counts, and what makes a version ineligible."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain import policy
from champion_gate.domain.gates import ApprovalTarget, Direction, Gate, MetricRule
from champion_gate.domain.job_runs import JobRun, RunResult
from champion_gate.domain.metrics import metric_problems, worse_by
from champion_gate.domain.versions import ModelVersion, TrainingRun, VersionDetails, VersionStatus

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGET = ApprovalTarget.stored("github", {"repository": "example/ml"}, ("champion",))
GATE = Gate(
    name="churn",
    jobs=(
        1,
        "train-churn",
    ),
    model="main.ml.churn",
    alias="Champion",
    approval=TARGET,
)
RUN = JobRun(
    "77",
    "1",
    "train-churn",
    "9",
    RunResult.SUCCEEDED,
    "SUCCESS",
    (),
    frozenset(),
    (),
    AT,
    AT,
    None,
    "https://x",
)
NAN = math.nan
INF = math.inf


def version(number: int, metrics: Mapping[str, float] | None = None) -> VersionDetails:
    training = None
    if metrics is not None:
        training = TrainingRun(f"run{number}", "ann@example.com", "1", "2", metrics, {}, None, AT)
        training = replace(training, logged_models=frozenset())
    model_version = ModelVersion(
        "main.ml.churn", str(number), f"id{number}", f"run{number}", None, VersionStatus.READY, AT, None
    )
    return VersionDetails(model_version, {}, training)


# --- gates of a job ---------------------------------------------------------------------------------------


def test_a_job_feeds_the_gates_that_name_its_id_or_its_name() -> None:
    by_id = GATE.model_copy(update={"name": "a", "jobs": (1,)})
    by_name = GATE.model_copy(update={"name": "b", "jobs": ("train-churn",), "model": "main.ml.other"})
    neither = GATE.model_copy(update={"name": "c", "jobs": (2, "x")})
    assert policy.gates_of_job([by_id, by_name, neither], "1", "train-churn") == (by_id, by_name)


@pytest.mark.parametrize(
    ("job_id", "job_name"), [("01", ""), ("11", "Train-Churn"), ("", ""), ("2", "train-churn ")]
)
def test_ids_and_names_match_exactly_or_not_at_all(job_id: str, job_name: str) -> None:
    assert policy.gates_of_job([GATE], job_id, job_name) == ()


def test_an_empty_name_matches_no_gate() -> None:
    assert policy.gates_of_job([GATE.model_copy(update={"jobs": (1, "")})], "2", "") == ()


def test_a_job_that_was_renamed_does_not_get_to_another_gates_approvers() -> None:
    strict = GATE.model_copy(update={"name": "strict", "jobs": (1,)})
    lax = GATE.model_copy(
        update={"name": "lax", "jobs": ("train-churn",), "alias": "champion", "allow_trainer_approval": True}
    )
    assert policy.gates_of_job([lax, strict], "1", "train-churn") == (strict,)


# --- does the run count -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "accept", "counts"),
    [
        (RunResult.SUCCEEDED, False, True),
        (RunResult.SUCCEEDED, True, True),
        (RunResult.SUCCEEDED_WITH_FAILURES, False, False),
        (RunResult.SUCCEEDED_WITH_FAILURES, True, True),
        (RunResult.UNSUCCESSFUL, True, False),
        (RunResult.UNKNOWN, False, False),
        (RunResult.UNKNOWN, True, False),
        (RunResult.RUNNING, True, False),
    ],
)
def test_only_a_success_that_the_gate_accepts_counts(result: RunResult, accept: bool, counts: bool) -> None:
    run = replace(RUN, result=result, result_detail="BRAND_NEW\n::state")
    reason = policy.ignored_because(run, GATE.model_copy(update={"accept_success_with_failures": accept}))
    assert (reason is None) == counts
    if reason is not None:
        assert "77" in reason
        assert "BRAND_NEW" in reason
        assert "\n" not in reason


# --- eligible ---------------------------------------------------------------------------------------------


def test_a_newer_version_without_rules_is_eligible_with_and_without_a_champion() -> None:
    assert policy.ineligible_because(GATE, version(2), version(1)) is None
    assert policy.ineligible_because(GATE, version(1), None) is None


def test_the_champion_itself_is_not_asked_about_again() -> None:
    reason = policy.ineligible_because(GATE, version(2), version(2))
    assert reason == "Version 2 of main.ml.churn is Champion already."


def test_an_older_version_is_compared_by_number_and_not_by_text() -> None:
    reason = policy.ineligible_because(GATE, version(9), version(10))
    assert reason == "Version 9 is older than version 10, which is Champion now."
    assert policy.ineligible_because(GATE, version(10), version(9)) is None


def rule(
    better: Direction,
    max_worse: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
) -> MetricRule:
    return MetricRule.model_construct(  # also one that gates.yaml never holds
        name="f1", better=better, max_worse=max_worse, at_least=at_least, at_most=at_most
    )


UP, DOWN = Direction.HIGHER, Direction.LOWER


@pytest.mark.parametrize(
    ("judged_by", "candidate", "champion", "ok"),
    [
        # absolute bounds, whatever the Champion has
        (rule(UP, at_least=0.8), 0.8, 0.1, True),
        (rule(UP, at_least=0.8), 0.7999999, None, False),
        (rule(DOWN, at_most=0.5), 0.5, 0.1, True),
        (rule(DOWN, at_most=0.5), 0.51, NAN, False),
        (rule(DOWN, at_least=0.1), 0.05, None, False),
        (rule(UP, at_most=0.99), 1.0, None, False),
        # against the Champion
        (rule(UP, max_worse=0.01), 0.79, 0.80, True),  # 0.80 - 0.79 > 0.01 in binary
        (rule(UP, max_worse=0.01), 0.7899, 0.80, False),
        (rule(UP, max_worse=0.01), 0.99, 0.80, True),
        (rule(DOWN, max_worse=0.1), 0.3, 0.2, True),  # 0.3 - 0.2 < 0.1 in binary
        (rule(DOWN, max_worse=0.1), 0.31, 0.2, False),
        (rule(DOWN, max_worse=0.0), 0.2, 0.2, True),
        (rule(DOWN, max_worse=0.0), 0.2000001, 0.2, False),
        (rule(UP, max_worse=-0.05), 0.84, 0.80, False),  # must be better by 0.05
        (rule(UP, max_worse=-0.05), 0.85, 0.80, True),
        (rule(UP), 0.0, 1.0, True),  # only has to be there
        # the Champion's value is missing: only the bounds apply
        (rule(UP, max_worse=0.01, at_least=0.5), 0.6, None, True),
        (rule(UP, max_worse=0.01, at_least=0.5), 0.4, None, False),
        # it is no number: nothing can be compared with it, in either direction
        *[
            (rule(way, max_worse=0.01, at_least=0.5), 0.6, value, False)
            for way in (UP, DOWN)
            for value in (NAN, INF, -INF, 1.7976931348623157e308)
        ],
        (rule(UP, at_least=0.5), 0.6, INF, True),
        (rule(DOWN, at_least=0.5), 0.6, NAN, True),
        # the candidate's is
        (rule(UP), None, 0.5, False),
        (rule(UP), NAN, NAN, False),
        (rule(UP), INF, 0.5, False),
        (rule(DOWN), -INF, 0.5, False),
        # a gate that asks for no number is never met
        (rule(UP, at_least=NAN), 0.5, 0.5, False),
        (rule(UP, max_worse=INF), 0.5, 0.5, False),
        (rule(UP, max_worse=0.1), 1.7e308, -1.7e308, True),
        (rule(UP, max_worse=0.1), -1.7e308, 1.7e308, False),
    ],
)
def test_metric_rules(
    judged_by: MetricRule, candidate: float | None, champion: float | None, ok: bool
) -> None:
    assert (metric_problems(judged_by, candidate, champion) == ()) == ok
    ours = {} if candidate is None else {"f1": candidate}
    theirs = {} if champion is None else {"f1": champion}
    gate = GATE.model_copy(update={"metrics": (judged_by,)})
    assert (policy.ineligible_because(gate, version(2, ours), version(1, theirs)) is None) == ok


def test_without_a_champion_only_the_bounds_apply() -> None:
    gate = GATE.model_copy(update={"metrics": (rule(UP, max_worse=0.01, at_least=0.5),)})
    assert policy.ineligible_because(gate, version(1, {"f1": 0.5}), None) is None
    assert policy.ineligible_because(gate, version(1, {"f1": 0.49}), None) is not None


def test_a_candidate_without_an_mlflow_run_lacks_every_metric() -> None:
    reason = policy.ineligible_because(
        GATE.model_copy(update={"metrics": (rule(UP),)}), version(2), version(1, {"f1": 0.5})
    )
    assert reason == "The metric f1 is missing: MLflow run run2 cannot be read (not told)."


def test_one_reason_names_every_broken_rule_with_its_numbers() -> None:
    gate = GATE.model_copy(
        update={
            "metrics": (
                rule(UP, max_worse=0.01, at_least=0.8),
                MetricRule(name="loss", better=DOWN, at_most=1.5),
                MetricRule(name="auc", better=UP),
            )
        }
    )
    reason = policy.ineligible_because(gate, version(2, {"f1": 0.7, "loss": 2.0}), version(3, {"f1": 0.9}))
    assert reason is not None
    for said in (
        "Version 2 is older",
        "0.7",
        "at least 0.8",
        "worse by 0.2",
        "0.01",
        "at most 1.5",
        "auc is missing",
    ):
        assert said in reason


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_how_much_worse_is_exact_and_turns_with_the_direction(candidate: float, champion: float) -> None:
    higher = worse_by(rule(UP), candidate, champion)
    assert higher == -worse_by(rule(DOWN), candidate, champion)
    assert higher == Fraction(repr(champion)) - Fraction(repr(candidate))
    assert (higher > 0) == (candidate < champion)


@given(st.decimals(min_value=0, max_value=1, places=4), st.decimals(min_value=0, max_value=1, places=4))
def test_being_worse_by_exactly_what_is_allowed_is_never_refused(candidate: object, champion: object) -> None:
    ours, theirs = float(str(candidate)), float(str(champion))
    allowed = float(worse_by(rule(UP), ours, theirs))
    assert metric_problems(rule(UP, max_worse=allowed), ours, theirs) == ()
