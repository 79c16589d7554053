"""The stand-in for Databricks: its notifications, its door, its faults."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flask import Flask, Response, request

from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import Fault, Hook
from integration.databricks_fixtures import TOKEN, Workspace, workspace


class Receiver:
    """Takes notifications in."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, str | None, str | None, str]] = []
        self.app = Flask(__name__)
        self.app.post("/hooks/databricks")(self._take)

    def _take(self) -> Response:
        auth = request.authorization
        user, password = (auth.username, auth.password) if auth else (None, None)
        agent = request.headers.get("User-Agent", "")
        self.got.append((json.loads(request.get_data()), user, password, agent))
        return Response(status=202)


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    made = Receiver()
    with serve(made.app) as url:
        yield made, f"{url}/hooks/databricks"


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


def test_a_job_notification_is_sent_as_databricks_does(
    databricks: Workspace, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    jobs = databricks.standin.jobs
    job = jobs.add_job("train", hook=Hook(url, "gate", "pass:word"))
    run_id = jobs.start_run(job)
    assert jobs.finish_run(run_id) == [202]
    body, user, password, agent = taken.got[0]
    assert body == {
        "event_type": "jobs.on_success",
        "workspace_id": int(databricks.standin.workspace_id),
        "run": {"run_id": int(run_id)},
        "job": {"job_id": int(job), "name": "train"},
    }
    assert (user, password) == ("gate", "pass:word")
    assert agent.startswith("Apache-HttpClient/")


def test_task_notifications_name_the_task_run_and_its_parent_and_ids_may_be_text(
    databricks: Workspace, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    jobs = databricks.standin.jobs
    job = jobs.add_job("train", hook=Hook(url, "u", "p", ids_as_text=True, per_task=True))
    run_id = jobs.start_run(job, tasks=["fit"])
    assert jobs.finish_run(run_id, "RUN_EXECUTION_ERROR") == [202, 202]
    (of_task, *_), (of_job, *_) = taken.got
    assert of_task["event_type"] == of_job["event_type"] == "jobs.on_failure"
    assert of_task["run"] == {"run_id": jobs.task_run_id(run_id, "fit"), "parent_run_id": run_id}
    assert of_task["task"] == {"task_key": "fit"}
    assert of_job["run"] == {"run_id": run_id}


def test_notifications_can_be_repeated_lost_or_without_anybody_who_listens(
    databricks: Workspace, receiver: tuple[Receiver, str]
) -> None:
    taken, url = receiver
    jobs = databricks.standin.jobs
    run_id = jobs.start_run(jobs.add_job("train", hook=Hook(url, "u", "p")))
    jobs.lose_notifications = True
    assert jobs.finish_run(run_id) == [0]
    assert taken.got == []
    jobs.lose_notifications = False
    assert jobs.send_notification(run_id, times=3) == [202] * 3
    assert [body for body, *_ in taken.got] == jobs.notifications[1:]
    unheard = jobs.start_run(jobs.add_job("silent", hook=Hook("http://127.0.0.1:1/", "u", "p")))
    assert jobs.finish_run(unheard) == [0]
    unhooked = jobs.start_run(jobs.add_job("unhooked"))
    assert jobs.finish_run(unhooked) == []


def test_the_door_is_shut_without_a_token_and_with_a_wrong_one(databricks: Workspace) -> None:
    url = f"{databricks.url}/api/2.2/jobs/list"
    assert requests.get(url, timeout=5).status_code == 401
    wrong = requests.get(url, headers={"Authorization": "Bearer wrong"}, timeout=5)
    assert (wrong.status_code, wrong.json()["error_code"]) == (403, "403")
    right = requests.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5)
    assert right.json() == {"has_more": False}


def test_unknown_paths_are_answered_as_databricks_does(databricks: Workspace) -> None:
    answer = requests.get(
        f"{databricks.url}/api/2.0/nothing", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5
    )
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_faults_hit_what_they_name_as_often_as_they_say(databricks: Workspace) -> None:
    fault = databricks.standin.faults.add(Fault(path="jobs/list", method="GET", skip=1, times=1, status=500))
    url, headers = f"{databricks.url}/api/2.2/jobs/list", {"Authorization": f"Bearer {TOKEN}"}
    statuses = [requests.get(url, headers=headers, timeout=5).status_code for _ in range(3)]
    assert statuses == [200, 500, 200]
    assert fault.hits == 1


def test_a_hang_goes_on_when_it_is_let_go(databricks: Workspace) -> None:
    let_go = threading.Event()
    databricks.standin.faults.add(Fault(path="databricks-config", hang=let_go))
    url = f"{databricks.url}/.well-known/databricks-config"
    with pytest.raises(requests.Timeout):
        requests.get(url, timeout=0.1)
    let_go.set()
    assert requests.get(url, timeout=5).json()["workspace_id"] == databricks.standin.workspace_id
