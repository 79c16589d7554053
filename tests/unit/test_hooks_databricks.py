from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.domain.json_body import MAX_TEXT, Ignored
from champion_gate.domain.notifications import JobNotification
from champion_gate.web.hooks import parse_databricks

JOB_RUN: dict[str, Any] = {
    "event_type": "jobs.on_success",
    "workspace_id": "1234567890",
    "run": {"run_id": "41847992357943"},
    "job": {"job_id": "281874479417551", "name": "train-churn"},
}
TASK_RUN: dict[str, Any] = {
    **JOB_RUN,
    "task": {"task_key": "fit"},
    "run": {"run_id": "77", "parent_run_id": "41847992357943"},
}


def changed(base: dict[str, Any], path: str, value: Any) -> bytes:
    body = json.loads(json.dumps(base))
    *outer, last = path.split(".")
    place = body
    for key in outer:
        place = place[key]
    place[last] = value
    return json.dumps(body).encode()


def reason(sent: bytes) -> str:
    parsed = parse_databricks(sent)
    assert isinstance(parsed, Ignored)
    return parsed.reason


def test_a_job_notification_is_read() -> None:
    assert parse_databricks(json.dumps(JOB_RUN).encode()) == JobNotification(
        event_type="jobs.on_success",
        workspace_id="1234567890",
        job_id="281874479417551",
        run_id="41847992357943",
        job_name="train-churn",
    )


def test_a_task_notification_leads_to_its_parent_run() -> None:
    parsed = parse_databricks(json.dumps(TASK_RUN).encode())
    assert isinstance(parsed, JobNotification)
    assert (parsed.task_key, parsed.run_id, parsed.job_run_id) == ("fit", "77", "41847992357943")


def test_a_task_notification_without_its_parent_run_is_ignored() -> None:
    assert "run.parent_run_id" in reason(changed(TASK_RUN, "run", {"run_id": "77"}))


@pytest.mark.parametrize(
    ("given_id", "normal"),
    [
        (7, "7"),
        ("7", "7"),
        ("007", "7"),
        (2**63 - 1, str(2**63 - 1)),
        ("9223372036854775807", str(2**63 - 1)),
    ],
)
def test_ids_are_taken_as_numbers_and_as_strings(given_id: object, normal: str) -> None:
    for path in ("run.run_id", "job.job_id", "workspace_id"):
        parsed = parse_databricks(changed(JOB_RUN, path, given_id))
        assert isinstance(parsed, JobNotification)
        assert getattr(parsed, path.rpartition(".")[2]) == normal


BAD_IDS: tuple[object, ...] = (
    True,
    False,
    None,
    1.0,
    1e300,
    -1,
    "-1",
    "",
    " 7",
    "7 ",
    "7\n",
    "1e3",
    "0x7",
    "\u0667",
    "7" * 20,
    10**19,
    [7],
    {},
)


@pytest.mark.parametrize("bad", BAD_IDS)
@pytest.mark.parametrize("path", ["run.run_id", "run.parent_run_id", "job.job_id", "workspace_id"])
def test_what_is_no_id_is_ignored_by_name(path: str, bad: object) -> None:
    assert path in reason(changed(TASK_RUN, path, bad))


@pytest.mark.parametrize(
    "event_type",
    [
        "jobs.on_start",
        "jobs.on_failure",
        "jobs.on_duration_warning_threshold_exceeded",
        "jobs.on_streaming_backlog_exceeded",
        "JOBS.ON_SUCCESS",
        "",
        "a\ud800",
    ],
)
def test_only_success_starts_something(event_type: str) -> None:
    assert "only jobs.on_success" in reason(changed(JOB_RUN, "event_type", event_type))


def test_the_body_of_an_sql_alert_is_ignored() -> None:
    alert = {"event": "alert_state_change", "url_base": "https://example.com", "alert": {"name": "x"}}
    assert "no job notification" in reason(json.dumps(alert).encode())


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"", "not JSON"),
        (b"payload=%7B%7D", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[]", "no JSON object"),
        (b'"jobs.on_success"', "no JSON object"),
        (b"[" * 60_000, "nested"),
        (b'{"a":' * 10_000, "nested"),
        (b'{"event_type": NaN}', "NaN"),
        (b'{"run": {"run_id": 1, "run_id": 2}}', "twice"),
        (b'{"run": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b'{"event_type": "jobs.on_success", "run": [], "job": {}}', "run is missing"),
        (b'{"event_type": "jobs.on_success", "run": {}}', "job is missing"),
        (b'{"event_type": ["jobs.on_success"]}', "event_type"),
    ],
)
def test_other_bodies_are_ignored_with_the_reason(sent: bytes, words: str) -> None:
    assert words in reason(sent)


@pytest.mark.parametrize("name", ["x" * (MAX_TEXT + 1), "a\x00b", "a\ud800b", 7, None])
def test_a_job_name_that_cannot_be_kept_is_ignored(name: object) -> None:
    assert "job.name" in reason(changed(JOB_RUN, "job.name", name))


def test_a_long_job_name_is_kept_whole() -> None:
    parsed = parse_databricks(changed(JOB_RUN, "job.name", "ö" * MAX_TEXT))
    assert isinstance(parsed, JobNotification)
    assert parsed.job_name == "ö" * MAX_TEXT


@pytest.mark.parametrize("task", [[], "fit", {}, {"task_key": ""}, {"task_key": 7}])
def test_a_task_of_another_shape_is_ignored(task: object) -> None:
    assert "task" in reason(changed(TASK_RUN, "task", task))


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(sent: bytes) -> None:
    assert isinstance(parse_databricks(sent), Ignored)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    path=st.sampled_from(
        [
            "event_type",
            "workspace_id",
            "run",
            "run.run_id",
            "run.parent_run_id",
            "job",
            "job.job_id",
            "job.name",
            "task",
        ]
    ),
    value=json_values,
)
def test_no_value_in_any_place_makes_it_fail_or_invent_an_id(path: str, value: Any) -> None:
    parsed = parse_databricks(changed(TASK_RUN, path, value))
    if isinstance(parsed, JobNotification):
        ids = (parsed.run_id, parsed.parent_run_id or "1", parsed.job_id, parsed.workspace_id)
        assert all(str(int(each)) == each and 0 <= int(each) < 10**19 for each in ids)
        assert parsed.event_type == "jobs.on_success"


@given(st.integers(min_value=0, max_value=10**19 - 1), st.booleans(), st.integers(min_value=0, max_value=3))
def test_an_id_stays_the_same_number(number: int, as_text: bool, zeros: int) -> None:
    given_id = ("0" * zeros + str(number))[-19:] if as_text else number
    parsed = parse_databricks(changed(JOB_RUN, "run.run_id", given_id))
    assert isinstance(parsed, JobNotification)
    assert parsed.run_id == str(int(given_id))
