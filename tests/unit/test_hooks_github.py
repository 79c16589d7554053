from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from champion_gate.adapters.github.webhook import GitHubHook
from champion_gate.domain.json_body import Ignored
from champion_gate.domain.ports.approval import EveryRequestAt


def parse_github(kind: str, sent: bytes) -> str | EveryRequestAt | Ignored:
    return GitHubHook(["a-secret"]).request_id({"X-GitHub-Event": kind}.__getitem__, sent)


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        ("deployment_review", {"action": "approved", "workflow_run": {"id": 30433642}}),
        ("deployment_review", {"action": "rejected", "workflow_run": {"id": 30433642}}),
        ("workflow_run", {"action": "completed", "workflow_run": {"id": 30433642}}),
        ("workflow_job", {"action": "waiting", "workflow_job": {"id": 1, "run_id": 30433642}}),
        ("deployment_status", {"action": "created", "workflow_run": {"id": 30433642}}),
    ],
)
def test_the_run_is_found(kind: str, payload: object) -> None:
    assert parse_github(kind, json.dumps(payload).encode()) == "30433642"


@pytest.mark.parametrize("kind", ["ping", "push", "issue_comment", "", "WORKFLOW_RUN"])
def test_other_kinds_are_ignored(kind: str) -> None:
    assert isinstance(parse_github(kind, b'{"workflow_run": {"id": 1}}'), Ignored)


@pytest.mark.parametrize("run_id", [None, True, 1.5, -4, 10**19, "x", {}])
def test_a_run_id_of_another_shape_is_ignored(run_id: object) -> None:
    sent = json.dumps({"workflow_run": {"id": run_id}}).encode()
    assert parse_github("workflow_run", sent) == Ignored("workflow_run.id is missing or no id")


def test_a_deployment_outside_a_workflow_is_ignored() -> None:
    assert isinstance(parse_github("deployment_status", b'{"workflow_run": null}'), Ignored)


JOB_PAGE = "https://github.com/example/ml-deploy/actions/runs/30433642/job/77"
REPOSITORY = {"full_name": "example/ml-deploy"}


@pytest.mark.parametrize("run", [{}, {"workflow_run": None}])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("deployment_review", {"action": "requested", "workflow_job_run": {"html_url": JOB_PAGE}}),
        ("deployment_review", {"action": "approved", "workflow_job_runs": [{}, {"html_url": JOB_PAGE}]}),
        ("deployment_status", {"action": "created", "deployment_status": {"log_url": JOB_PAGE}}),
        (
            "deployment_status",
            {"action": "created", "deployment_status": {"log_url": "", "target_url": JOB_PAGE}},
        ),
    ],
)
def test_a_run_that_is_not_named_is_found_by_its_page(
    kind: str, told: dict[str, object], run: dict[str, object]
) -> None:
    assert parse_github(kind, json.dumps({**told, **run, "repository": REPOSITORY}).encode()) == "30433642"


@pytest.mark.parametrize(
    "address", [None, 5, "", "https://github.com/example/ml-deploy/actions/runs/x", "runs/1"]
)
def test_a_review_without_any_run_tells_of_its_repository(address: object) -> None:
    sent = {"action": "approved", "workflow_job_runs": [{"html_url": address}], "repository": REPOSITORY}
    told = parse_github("deployment_review", json.dumps(sent).encode())
    assert told == EveryRequestAt("repository", "example/ml-deploy")


@pytest.mark.parametrize("repository", [None, {}, {"full_name": 5}, "example/ml-deploy"])
def test_a_review_of_nothing_at_all_is_ignored(repository: object) -> None:
    sent = json.dumps({"action": "approved", "repository": repository}).encode()
    assert isinstance(parse_github("deployment_review", sent), Ignored)


def test_a_form_tells_the_same_as_json() -> None:
    sent = json.dumps({"workflow_run": {"id": 42, "name": "a+b & c=d ü"}})
    assert parse_github("workflow_run", urlencode({"payload": sent}).encode()) == "42"
    assert isinstance(parse_github("workflow_run", b"payload=%7B%22a%22%3A1%7D"), Ignored)


@given(
    st.sampled_from(["deployment_review", "workflow_run", "workflow_job", "ping"]), st.binary(max_size=200)
)
def test_no_bytes_make_it_fail(kind: str, sent: bytes) -> None:
    assert isinstance(parse_github(kind, sent), Ignored)


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        ("pull_request_review", "submitted"),
        ("pull_request_review", "dismissed"),
        ("pull_request", "closed"),
        ("pull_request", "synchronize"),
    ],
)
def test_a_pull_request_is_told_with_its_repository_and_is_no_run(kind: str, action: str) -> None:
    sent = {"action": action, "pull_request": {"number": 12, "id": 9}, "repository": {"id": 3, **REPOSITORY}}
    assert parse_github(kind, json.dumps(sent).encode()) == "3-12"


@pytest.mark.parametrize(
    "sent", [{}, {"pull_request": {"number": 1}}, {"repository": {"id": 1}}, {"pull_request": 1}]
)
def test_a_pull_request_of_another_shape_is_ignored(sent: object) -> None:
    assert isinstance(parse_github("pull_request", json.dumps(sent).encode()), Ignored)
