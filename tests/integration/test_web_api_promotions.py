"""Operators' orders about promotions and notifications through the API: carried out, attributed, or refused in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.api_world import VIEWER, ApiWorld, api_world

PROMOTIONS = "/api/v1/promotions"
NOTIFICATIONS = "/api/v1/notifications"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path) as world:
        yield world


def test_a_version_is_asked_for_by_hand_and_people_are_asked(api: ApiWorld) -> None:
    run_id, version = api.gate.train_run()
    answer = api.call(
        "POST", PROMOTIONS, {"gate": "churn", "version": version, "job_run_id": run_id, "reason": "lost hook"}
    )
    assert answer.status_code == 201
    made = answer.json()
    assert answer.headers["Location"] == f"{PROMOTIONS}/{made['id']}"
    assert (made["phase"], made["version"], made["found_by"]) == ("requested", version, "operator operator-1")
    assert "operator-1" in made["reason"]
    assert "lost hook" in made["reason"]
    api.gate.settle()
    shown = api.call("GET", answer.headers["Location"], token=VIEWER).json()
    assert shown["phase"] == "pending_approval"
    again = {"gate": "churn", "version": version, "reason": "again"}
    api.problem(409, "conflict", "POST", PROMOTIONS, again)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"gate": "other"}, 404, "not_found"),
        ({"version": "99"}, 422, "no_such_version"),
        ({"version": "1.0"}, 422, "invalid_name"),
        ({}, 422, "invalid_input"),
        ({"job_run_id": "77"}, 409, "conflict"),
    ],
)
def test_what_cannot_be_asked_for_makes_no_promotion(
    api: ApiWorld, changes: dict[str, str], status: int, code: str
) -> None:
    body = {"gate": "churn", "version": "1", "reason": "why not", **changes}
    api.problem(status, code, "POST", PROMOTIONS, body)
    assert api.gate.promotions() == ()


def test_a_promotion_is_cancelled_after_its_decision_was_read_once_more(api: ApiWorld) -> None:
    promotion = api.gate.ask()
    answer = api.call("POST", f"{PROMOTIONS}/{promotion.id}/cancel", {"reason": "wrong data"})
    assert answer.status_code == 202
    assert answer.json()["end_request"]["actor"] == "operator-1"
    api.problem(409, "conflict", "POST", f"{PROMOTIONS}/{promotion.id}/cancel", {"reason": "again"})
    api.gate.settle()
    assert api.gate.ended(promotion, Phase.CANCELLED) == "Cancelled by operator-1: wrong data"


def test_an_ended_promotion_is_retried_by_a_fresh_one_and_has_a_receipt(api: ApiWorld) -> None:
    promotion = api.gate.ask()
    receipt = f"{PROMOTIONS}/{promotion.id}/receipt"
    api.problem(409, "not_ended", "GET", receipt)
    api.problem(409, "conflict", "POST", f"{PROMOTIONS}/{promotion.id}/retry")
    api.gate.reject(promotion)
    api.gate.look()
    said = api.call("GET", receipt, token=VIEWER).json()
    assert (said["promotion"], said["who"]["verdict"]) == (promotion.id, "rejected")
    assert said["head"]["number"] == len(api.gate.ledger())
    answer = api.call("POST", f"{PROMOTIONS}/{promotion.id}/retry", {"reason": "they have thought again"})
    assert answer.status_code == 202
    assert answer.json()["id"] != promotion.id
    assert answer.json()["reason"].startswith("operator-1 asks afresh, after ")
    assert answer.json()["reason"].endswith(": they have thought again")


@pytest.mark.parametrize("what", ["cancel", "retry"])
def test_an_order_for_a_promotion_that_there_is_not_is_404(api: ApiWorld, what: str) -> None:
    for promotion_id in ("p-nothing", "P1", "x" * 161):
        api.problem(404, "not_found", "POST", f"{PROMOTIONS}/{promotion_id}/{what}", {"reason": "x"})


def test_a_notification_is_shown_and_resolved_once_more(api: ApiWorld) -> None:
    run_id, _version = api.gate.train_run(result="RUN_EXECUTION_ERROR")
    api.gate.notify(run_id)
    api.gate.settle()
    (row,) = api.call("GET", f"{NOTIFICATIONS}?phase=ignored").json()["notifications"]
    assert (row["run_id"], row["count"]) == (run_id, 1)
    assert api.call("GET", f"{NOTIFICATIONS}?phase=waiting").json()["notifications"] == []
    answer = api.call("POST", f"{NOTIFICATIONS}/{row['id']}/replay")
    assert answer.status_code == 202
    assert (answer.json()["phase"], answer.json()["count"]) == ("received", 2)
    api.gate.settle()
    api.gate.notification(NotificationPhase.IGNORED)
    shown = api.call("GET", f"{NOTIFICATIONS}/{row['id']}").json()
    assert "RUN_EXECUTION_ERROR" in shown["reason"]


def test_notifications_come_in_parts(api: ApiWorld) -> None:
    for number in range(3):
        api.gate.notify(str(1000 + number))
        api.gate.clock.move(seconds=1)
    first = api.call("GET", f"{NOTIFICATIONS}?limit=2").json()
    second = api.call("GET", f"{NOTIFICATIONS}?limit=2&cursor={first['cursor']}").json()
    ids = [each["run_id"] for each in (*first["notifications"], *second["notifications"])]
    assert (ids, second["cursor"]) == (["1002", "1001", "1000"], None)


def test_notifications_are_for_operators(api: ApiWorld) -> None:
    api.gate.notify("1000")
    row = api.gate.notification().id
    api.problem(403, "not_permitted", "GET", NOTIFICATIONS, token=VIEWER)
    api.problem(403, "not_permitted", "GET", f"{NOTIFICATIONS}/{row}", token=VIEWER)
    api.problem(403, "not_permitted", "POST", f"{NOTIFICATIONS}/{row}/replay", token=VIEWER)
    for unknown in ("nothing", "%00", "A", "x" * 161):
        api.problem(404, "not_found", "GET", f"{NOTIFICATIONS}/{unknown}")
    assert api.gate.notification().count == 1
