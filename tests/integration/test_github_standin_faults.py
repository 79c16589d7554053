"""The GitHub stand-in misbehaves on demand, and sends signed webhooks that can get lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from flask import Flask, request

from champion_gate_standins.common.server import serve
from champion_gate_standins.github.webhooks import signature
from integration.github_standin_world import DISPATCH, REPO, World, inputs, standin_world


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world() as world:
        yield world


@pytest.fixture
def token(world: World) -> str:
    return world.github.add_token("svc")


# --- faults --------------------------------------------------------------------------------------------------


def test_a_path_can_be_made_to_fail_a_number_of_times(world: World, token: str) -> None:
    fault = world.github.faults.add("/environments/", status=429, headers={"Retry-After": "7"}, times=2)
    first = world.call("GET", f"{REPO}/environments/champion", token)
    assert (first.status_code, first.headers["Retry-After"]) == (429, "7")
    assert world.call("GET", REPO, token).status_code == 200
    assert world.call("GET", f"{REPO}/environments/champion", token).status_code == 429
    assert world.call("GET", f"{REPO}/environments/champion", token).status_code == 200
    assert fault.hits == 2


def test_an_answer_can_be_broken_or_dropped(world: World, token: str) -> None:
    world.github.faults.add("/user$", body='{"login": ', times=1)
    with pytest.raises(requests.JSONDecodeError):
        world.call("GET", "/user", token).json()
    world.github.faults.add("/user$", drop=True)
    with pytest.raises(requests.ConnectionError):
        world.call("GET", "/user", token)
    world.github.faults.clear()
    assert world.call("GET", "/user", token).status_code == 200


def test_an_answer_can_get_lost_after_its_effect(world: World, token: str) -> None:
    world.github.faults.add("/dispatches$", method="POST", drop=True, carry_out=True)
    with pytest.raises(requests.ConnectionError):
        world.call("POST", DISPATCH, token, json={"ref": "main", "inputs": inputs()})
    assert [run.promotion_id for run in world.github.runs] == ["p1"]


def test_a_hanging_path_hangs_nothing_else_and_can_be_released(world: World, token: str) -> None:
    fault = world.github.faults.add("/user$", hang=60)
    answers: list[int] = []
    hanging = threading.Thread(
        target=lambda: answers.append(
            requests.get(
                world.base + "/user", headers={"Authorization": f"Bearer {token}"}, timeout=30
            ).status_code
        )
    )
    hanging.start()
    assert world.call("GET", REPO, token).status_code == 200
    assert answers == []
    fault.released.set()
    hanging.join(10)
    assert answers == [200]


# --- webhooks ------------------------------------------------------------------------------------------------


def test_webhooks_are_signed_as_github_documents_it() -> None:
    """Docs.github.com, "Validating webhook deliveries": the vector given there."""
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature("It's a Secret to Everybody", b"Hello, World!") == expected


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    got: list[tuple[dict[str, str], bytes]] = []
    app = Flask("receiver")

    @app.post("/hooks/github")
    def take() -> tuple[str, int]:
        got.append((dict(request.headers), request.get_data()))
        return "", 202

    with serve(app) as base:
        yield f"{base}/hooks/github", got


def test_a_review_sends_signed_webhooks(
    world: World, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    world.github.webhooks.url, got = receiver
    world.github.webhooks.secret = "hush"
    run_id = world.dispatched()
    world.github.review(run_id, "champion", "rita", approve=True, comment="good")
    world.github.webhooks.drain()
    told = [(headers["X-Github-Event"], json.loads(body)) for headers, body in got]
    assert [(name, body["action"]) for name, body in told] == [
        ("workflow_run", "requested"),
        ("workflow_job", "queued"),
        ("workflow_job", "in_progress"),
        ("workflow_job", "completed"),
        ("workflow_job", "waiting"),
        ("deployment_status", "created"),
        ("deployment_review", "requested"),
        ("deployment_review", "approved"),
        ("workflow_job", "queued"),
        ("deployment_status", "created"),
        ("workflow_job", "in_progress"),
        ("deployment_status", "created"),
        ("workflow_job", "completed"),
        ("deployment_status", "created"),
        ("workflow_run", "completed"),
    ]
    jobs = [body for name, body in told if name == "workflow_job"]
    assert all(body["workflow_job"]["run_id"] == run_id for body in jobs)
    assert not any("workflow_run" in body for body in jobs)
    assert all(body["workflow_run"]["id"] == run_id for name, body in told if name != "workflow_job")
    states = [body["deployment_status"]["state"] for name, body in told if name == "deployment_status"]
    assert states == ["waiting", "queued", "in_progress", "success"]
    assert (told[7][1]["approver"]["login"], told[7][1]["comment"]) == ("rita", "good")
    assert all(headers["X-Hub-Signature-256"] == signature("hush", body) for headers, body in got)
    assert len({headers["X-Github-Delivery"] for headers, _ in got}) == len(got)

    again = world.github.webhooks.deliveries[7]
    world.github.webhooks.redeliver(again)
    world.github.webhooks.drain()
    assert got[-1] == (got[-1][0], got[7][1])
    assert got[-1][0]["X-Github-Delivery"] == got[7][0]["X-Github-Delivery"]
    assert (again.result, again.sent) == ("202", 2)


def test_webhooks_can_get_lost_or_meet_nobody(world: World) -> None:
    world.github.webhooks.url = "http://127.0.0.1:1/hooks/github"
    world.github.webhooks.lost = True
    run_id = world.dispatched()
    assert {delivery.result for delivery in world.github.webhooks.deliveries} == {"lost"}
    world.github.webhooks.lost = False
    begun = time.monotonic()
    world.github.review(run_id, "champion", "rita", approve=False)
    world.github.webhooks.drain()
    assert time.monotonic() - begun < 5
    assert world.github.webhooks.deliveries[-1].result == "ConnectionError"
