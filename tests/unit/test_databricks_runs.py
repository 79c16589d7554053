"""What the Jobs API's raw JSON is taken to mean."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.adapters.databricks import reading
from champion_gate.adapters.databricks.models import Ending, Output, Run, Task, databricks
from champion_gate.adapters.databricks.reading import (
    Attempt,
    Repairs,
    TaskKind,
    latest_successes,
    run_result,
    task_output,
)
from champion_gate.domain.job_runs import RunResult
from champion_gate.errors import VendorUnavailableError

SUCCESSES = {RunResult.SUCCEEDED, RunResult.SUCCEEDED_WITH_FAILURES}


def result_of(raw: dict[str, Any]) -> tuple[RunResult, str]:
    return run_result(databricks.one(Ending, raw, "run"))


def repairs_of(history: object) -> Repairs:
    return reading.repairs_of(databricks.one(Run, {"run_id": 1, "repair_history": history}, "run"))


def attempts_of(raw: Iterable[dict[str, Any]], repairs: Repairs | None = None) -> list[Attempt]:
    return reading.attempts_of(databricks.many(Task, list(raw), "task"), repairs)


def ended(code: object, kind: object = "SUCCESS", message: str = "") -> dict[str, Any]:
    ending = {"code": code, "type": kind, "message": message}
    return {"status": {"state": "TERMINATED", "termination_details": ending}}


def task(run_id: int, key: str = "fit", code: str | None = "SUCCESS", **fields: Any) -> dict[str, Any]:
    status = {"status": {"state": "RUNNING"}} if code is None else ended(code, None)
    return {"run_id": run_id, "task_key": key, **status, **fields}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (ended("SUCCESS"), RunResult.SUCCEEDED),
        (ended("SUCCESS", None), RunResult.SUCCEEDED),
        (ended("SUCCESS_WITH_FAILURES"), RunResult.SUCCEEDED_WITH_FAILURES),
        (ended("RUN_EXECUTION_ERROR", "CLIENT_ERROR"), RunResult.UNSUCCESSFUL),
        (ended("SKIPPED"), RunResult.UNSUCCESSFUL),
        (ended("CLUSTER_TERMINATED_BY_USER"), RunResult.UNSUCCESSFUL),
        (ended("SUCCESS", "CLIENT_ERROR"), RunResult.UNKNOWN),
        (ended("SUCCESS", ["SUCCESS"]), RunResult.UNKNOWN),
        (ended("success"), RunResult.UNKNOWN),
        (ended("SUCCESS_OF_A_NEW_KIND"), RunResult.UNKNOWN),
        (ended(None), RunResult.UNKNOWN),
        (ended({"code": "SUCCESS"}), RunResult.UNKNOWN),
        ({"status": {"state": "TERMINATED"}}, RunResult.UNKNOWN),
        ({"status": {"state": "RUNNING"}}, RunResult.RUNNING),
        ({"status": {"state": "QUEUED"}}, RunResult.RUNNING),
        ({"status": {"state": "WAITING"}}, RunResult.RUNNING),
        ({"status": {"state": "HIBERNATING"}}, RunResult.UNKNOWN),
        ({"status": {}}, RunResult.UNKNOWN),
        ({"status": "SUCCESS"}, RunResult.UNKNOWN),
        ({}, RunResult.UNKNOWN),
        ({"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}}, RunResult.SUCCEEDED),
        (
            {"state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS_WITH_FAILURES"}},
            RunResult.SUCCEEDED_WITH_FAILURES,
        ),
        ({"state": {"life_cycle_state": "TERMINATED", "result_state": "FAILED"}}, RunResult.UNSUCCESSFUL),
        ({"state": {"life_cycle_state": "TERMINATED", "result_state": "BRAND_NEW"}}, RunResult.UNKNOWN),
        ({"state": {"life_cycle_state": "TERMINATED"}}, RunResult.UNKNOWN),
        ({"state": {"life_cycle_state": "RUNNING", "result_state": "SUCCESS"}}, RunResult.RUNNING),
        ({"state": {"life_cycle_state": "WAITING_FOR_RETRY"}}, RunResult.RUNNING),
        ({"state": {"life_cycle_state": "SKIPPED"}}, RunResult.UNSUCCESSFUL),
        ({"state": {"life_cycle_state": "INTERNAL_ERROR"}}, RunResult.UNSUCCESSFUL),
        ({"state": {"life_cycle_state": ["TERMINATED"], "result_state": "SUCCESS"}}, RunResult.UNKNOWN),
        # the new field decides where both are there
        (
            {
                "status": {"state": "RUNNING"},
                "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"},
            },
            RunResult.RUNNING,
        ),
    ],
)
def test_a_result_is_read_and_what_is_unknown_is_no_success(raw: dict[str, Any], expected: RunResult) -> None:
    assert result_of(raw)[0] is expected


def test_the_detail_holds_the_vendors_words() -> None:
    raw = ended("CLUSTER_ERROR", "CLIENT_ERROR", "no capacity")
    assert result_of(raw) == (RunResult.UNSUCCESSFUL, "CLUSTER_ERROR: no capacity")


@given(st.text(), st.none() | st.text())
def test_only_the_two_documented_codes_are_successes(code: str, kind: str | None) -> None:
    result, _ = result_of(ended(code, kind))
    assert (result in SUCCESSES) == (
        code in {"SUCCESS", "SUCCESS_WITH_FAILURES"} and kind in {None, "SUCCESS"}
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(status=JSON, state=JSON)
def test_no_malformed_state_is_a_success_or_a_crash(status: Any, state: Any) -> None:
    assert result_of({"status": status, "state": state})[0] not in SUCCESSES


@given(JSON | st.lists(st.fixed_dictionaries({"id": JSON, "type": JSON, "task_run_ids": JSON}), max_size=3))
def test_a_malformed_repair_history_is_read_or_refused_as_unreadable(history: object) -> None:
    with contextlib.suppress(VendorUnavailableError):
        assert repairs_of(history).generation is not None


# --- attempts ---------------------------------------------------------------------------------------------


def latest_ids(
    *raw: dict[str, Any], history: list[dict[str, Any]] | None = None
) -> tuple[set[str], set[str]]:
    repairs = repairs_of(history)
    latest, earlier = latest_successes(attempts_of(raw, repairs))
    return {attempt.run_id for attempt in latest}, set(earlier)


def test_a_retried_tasks_last_attempt_counts() -> None:
    found = latest_ids(
        task(11, code="RUN_EXECUTION_ERROR", attempt_number=0, start_time=10),
        task(12, attempt_number=1, start_time=20),
    )
    assert found == ({"12"}, {"11"})


def test_the_order_of_the_list_does_not_matter() -> None:
    found = latest_ids(
        task(12, attempt_number=1, start_time=20),
        task(11, code="RUN_EXECUTION_ERROR", attempt_number=0, start_time=10),
    )
    assert found == ({"12"}, {"11"})


def test_a_repair_replaces_an_attempt_that_had_succeeded() -> None:
    history = [
        {"type": "REPAIR", "id": 77, "start_time": 100, "task_run_ids": [21]},
        {"type": "ORIGINAL", "start_time": 10, "task_run_ids": [11, 12]},
    ]
    found = latest_ids(
        task(11, "fit", start_time=10),
        task(12, "report", start_time=10),
        task(21, "fit", start_time=100),
        history=history,
    )
    assert found == ({"12", "21"}, {"11"})
    assert repairs_of(history).latest == "77"


def test_a_repairs_attempt_is_later_even_if_it_counts_from_zero_and_never_started() -> None:
    history = [
        {"type": "ORIGINAL", "start_time": 10, "task_run_ids": [11, 12]},
        {"type": "REPAIR", "id": 77, "start_time": 100, "task_run_ids": [21]},
    ]
    found = latest_ids(
        task(11, code="RUN_EXECUTION_ERROR", attempt_number=0, start_time=10),
        task(12, attempt_number=1, start_time=20),
        task(21, code="SKIPPED", attempt_number=0, start_time=0),
        history=history,
    )
    assert found == (set(), {"11", "12"})


def test_an_older_success_does_not_count_once_a_later_attempt_failed() -> None:
    found = latest_ids(task(11, start_time=10), task(12, code="RUN_EXECUTION_ERROR", start_time=20))
    assert found == (set(), {"11"})


def test_the_latest_repair_is_the_one_that_started_last() -> None:
    history = [
        {"type": "REPAIR", "id": 9, "start_time": 300},
        {"type": "ORIGINAL", "start_time": 10, "end_time": 20},
        {"type": "REPAIR", "id": 8, "start_time": 100, "end_time": 200},
    ]
    repairs = repairs_of(history)
    assert repairs.latest == "9"
    assert repairs.ends == tuple(datetime.fromtimestamp(at / 1000, UTC) for at in (20, 200))


def test_a_success_without_a_run_id_is_unreadable() -> None:
    with pytest.raises(VendorUnavailableError):
        attempts_of([{"task_key": "fit", **ended("SUCCESS")}])


def test_wrappers_are_told_from_plain_tasks() -> None:
    kinds = [
        attempt.kind
        for attempt in attempts_of([task(1), task(2, for_each_task={}), task(3, run_job_task={"job_id": 7})])
    ]
    assert kinds == [TaskKind.PLAIN, TaskKind.FOR_EACH, TaskKind.RUN_JOB]


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["SUCCESS", "CLUSTER_ERROR", "NEW_CODE", None])),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_at_most_one_attempt_a_task_counts_and_it_is_the_last(
    attempts: list[tuple[str, str | None]], shuffled: Any
) -> None:
    raw = [task(100 + index, key, code, start_time=index + 1) for index, (key, code) in enumerate(attempts)]
    last = {key: (100 + index, code) for index, (key, code) in enumerate(attempts)}
    expected = {str(run_id) for run_id, code in last.values() if code == "SUCCESS"}
    shuffled.shuffle(raw)
    latest, earlier = latest_ids(*raw)
    assert latest == expected
    assert latest.isdisjoint(earlier)
    assert earlier == {str(item["run_id"]) for item in raw} - {str(run_id) for run_id, _ in last.values()}


# --- outputs ----------------------------------------------------------------------------------------------


def output(answer: dict[str, Any]) -> Output:
    return databricks.one(Output, answer, "output")


def output_of(said: object, **fields: Any) -> Any:
    text = said if isinstance(said, str) else json.dumps(said)
    return task_output("5", output({"notebook_output": {"result": text, **fields}}))


@pytest.mark.parametrize("version", ["7", 7])
def test_a_notebooks_word_is_taken(version: object) -> None:
    output, problem = output_of({"champion_gate": {"model": "main.ml.churn", "version": version}, "rows": 3})
    assert (output.task_run_id, output.model, output.version, problem) == ("5", "main.ml.churn", "7", None)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"notebook_output": {}},
        {"notebook_output": None},
        {"notebook_output": {"result": "OK"}},
        {"notebook_output": {"result": '{"rows": 3}'}},
        {"notebook_output": {"result": '["champion_gate"]'}},
        {"notebook_output": {"result": '"champion_gate"'}},
        {"notebook_output": {"result": {"champion_gate": {"model": "m", "version": "1"}}}},
        {"logs": '{"champion_gate": {"model": "main.ml.churn", "version": "7"}}'},
    ],
)
def test_an_output_that_says_nothing_is_left_out_without_a_word(answer: dict[str, Any]) -> None:
    assert task_output("5", output(answer)) == (None, None)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("champion_gate: 7", "no JSON"),
        ('{"champion_gate": ' + "[" * 100_000, "no JSON"),
        ({"champion_gate": "7"}, "no object"),
        ({"champion_gate": {"version": "7"}}, "model"),
        ({"champion_gate": {"model": "", "version": "7"}}, "model"),
        ({"champion_gate": {"model": 7, "version": "7"}}, "model"),
        ({"champion_gate": {"model": "m"}}, "version"),
        ({"champion_gate": {"model": "m", "version": True}}, "version"),
        ({"champion_gate": {"model": "m", "version": 7.0}}, "version"),
        ({"champion_gate": {"model": "m", "version": 0}}, "version"),
        ({"champion_gate": {"model": "m", "version": -7}}, "version"),
        ({"champion_gate": {"model": "m", "version": "07"}}, "version"),
        ({"champion_gate": {"model": "m", "version": "7/../8"}}, "version"),
        ({"champion_gate": {"model": "m", "version": "v7"}}, "version"),
    ],
)
def test_a_malformed_word_does_not_count_and_says_why(said: object, why: str) -> None:
    output, problem = output_of(said)
    assert output is None
    assert why in problem


def test_a_cut_output_does_not_count() -> None:
    output, problem = output_of({"champion_gate": {"model": "m", "version": "7"}}, truncated=True)
    assert output is None
    assert "cut" in problem


@given(st.text() | JSON.map(lambda value: json.dumps({"champion_gate": value})))
def test_no_output_crashes(said: str) -> None:
    output, problem = output_of(said)
    assert output is None or problem is None


def child_of(answer: dict[str, Any]) -> str | None:
    return output(answer).child_run_id


def test_a_child_runs_id_is_read() -> None:
    assert child_of({"run_job_output": {"run_id": 2**60}}) == str(2**60)
    assert child_of({"run_job_output": {}}) is None
    assert child_of({}) is None
    with pytest.raises(VendorUnavailableError):
        child_of({"run_job_output": {"run_id": "../jobs"}})


def ended_at(milliseconds: object) -> datetime | None:
    return databricks.one(Ending, {"end_time": milliseconds}, "run").end_time


def test_times_are_epoch_milliseconds_in_utc_and_zero_is_none() -> None:
    assert ended_at(1_700_000_000_500) == datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)
    assert ended_at(0) is None
    assert ended_at(None) is None
    for bad in (10**18, "soon", -5, 1.5):
        with pytest.raises(VendorUnavailableError, match=r"`run\.end_time` is absent or not a time"):
            ended_at(bad)
