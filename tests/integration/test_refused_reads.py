"""A refused read ends nothing: vendors refuse for a moment what they grant before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import GateWorld, gate_world
from integration.github_world import app_keys

pytestmark = pytest.mark.spread(2)

MODEL = "/unity-catalog/models/main.ml.churn$"
HOLDER = "/registered-models/alias$"
VERSION = "/models/main.ml.churn/versions/2$"
SHOWN = "/model-versions/get$"
REFUSALS: dict[str, dict[str, object]] = {
    "401": {"status": 401},
    "403": {"status": 403, "error_code": "PERMISSION_DENIED"},
    "404": {"status": 404, "error_code": "RESOURCE_DOES_NOT_EXIST"},
    "302": {"location": "https://elsewhere.example.com/login"},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, jobs=["train-churn"]) as made:
        yield made


def again_after(world: GateWorld, promotion: Promotion) -> float:
    """Seconds until the next try."""
    due_at = world.again(promotion).due_at
    assert due_at is not None
    return (due_at - world.clock.now()).total_seconds()


@pytest.mark.part("rest", "302", "401")
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("path", [MODEL, VERSION, "/jobs/list$"])
def test_a_refused_read_does_not_end_an_approved_promotion(
    world: GateWorld, path: str, refusal: dict[str, object]
) -> None:
    pending = world.ask()
    world.approve(pending)
    hit = world.break_databricks(path, **refusal)
    world.look()
    assert hit.hits
    world.ended(pending, Phase.APPROVED)
    if "status" in refusal:
        assert again_after(world, pending) >= 60
    world.databricks.faults.clear()
    world.wait(seconds=61)
    world.ended(pending, Phase.PROMOTED)


@pytest.mark.part("rest", "302", "401")
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize(
    "path", ["/jobs/runs/get$", "/jobs/list$", "/models/main.ml.churn/versions$", "/mlflow/runs/get$"]
)
def test_a_refused_read_does_not_end_a_run(world: GateWorld, path: str, refusal: dict[str, object]) -> None:
    hit = world.break_databricks(path, times=1, **refusal)
    world.train()
    world.settle()
    assert hit.hits
    waiting = world.notification(NotificationPhase.WAITING)
    assert waiting.due_at is not None
    if "status" in refusal:
        assert waiting.due_at >= world.clock.now() + timedelta(minutes=1)
    world.wait(seconds=61)
    world.promotion(Phase.PENDING_APPROVAL)


@pytest.mark.part("rest", "302", "401")
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("path", [MODEL, SHOWN, "/mlflow/runs/get$"])
def test_a_refused_read_does_not_end_a_requested_promotion(
    world: GateWorld, path: str, refusal: dict[str, object]
) -> None:
    world.reconfigure(identities={})
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    world.reconfigure()
    # The model is read where it is not told which version holds the alias.
    paths = [path, HOLDER] if path == MODEL else [path]
    hit = [world.break_databricks(each, times=1, **refusal) for each in paths]
    world.wait(minutes=3)
    assert any(each.hits for each in hit)
    world.ended(waiting, Phase.REQUESTED)
    world.wait(seconds=61)
    world.ended(waiting, Phase.PENDING_APPROVAL)


def test_reads_that_are_refused_for_a_day_fail_and_an_operator_takes_them_up_again(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    fault = world.break_databricks(MODEL, status=403)
    world.look()
    world.live(hours=23)
    world.ended(pending, Phase.APPROVED)
    assert fault.hits < 110
    world.live(hours=2)
    assert "403" in world.ended(pending, Phase.FAILED)
    world.databricks.faults.clear()
    world.live(hours=12)
    world.ended(pending, Phase.FAILED)
    world.core.promotion_orders.retry(pending.id, actor="operator")
    world.settle()
    world.ended(pending, Phase.PROMOTED)


def test_an_approved_promotion_whose_registry_refuses_to_tell_can_be_cancelled(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks("/unity-catalog/", status=403)
    world.look()
    world.ended(pending, Phase.APPROVED)
    world.core.promotion_orders.cancel(pending.id, actor="operator", reason="Not this one.")
    world.settle()
    assert world.ended(pending, Phase.CANCELLED) == "Not this one."
    assert world.models.champion() == "1"


def test_a_cancel_waits_until_it_is_known_what_came_of_a_write(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks("/aliases/Champion$", method="PUT", times=1, lose_answer=True)
    world.look()
    world.break_databricks(MODEL, status=403)
    world.core.promotion_orders.cancel(pending.id, actor="operator", reason="Not this one.")
    world.live(minutes=30)
    world.ended(pending, Phase.APPROVED)
    world.databricks.faults.clear()
    world.live(minutes=20)
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[1:] == [("1", "2", "reviewer-1")]


# --- gone, or not to be seen for a moment -----------------------------------------------------------------


def test_a_version_that_was_missing_for_a_moment_is_promoted(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.break_databricks(VERSION, status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    world.break_databricks("/models/main.ml.churn/versions$", body=list_of_the_first(world))
    world.look()
    world.ended(pending, Phase.APPROVED)
    assert world.again(pending).version_missing_since == world.clock.now()
    world.databricks.faults.clear()
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_version_that_the_list_still_has_is_not_gone(world: GateWorld) -> None:
    pending = world.ask()
    world.break_databricks(VERSION, status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    world.live(hours=1)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert "404" in (world.again(pending).retry.last_error or "")


def test_an_empty_list_shows_of_no_version_that_it_is_gone(world: GateWorld) -> None:
    pending = world.ask()
    world.break_databricks(VERSION, status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    world.break_databricks("/models/main.ml.churn/versions$", body=b"{}")
    world.live(hours=1)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)


def list_of_the_first(world: GateWorld) -> bytes:
    """The list of versions without the newest."""
    url = f"{world.databricks_url}/api/2.1/unity-catalog/models/main.ml.churn/versions"
    answer = requests.get(url, headers={"Authorization": "Bearer standin-token"}, timeout=10).json()
    kept = [each for each in answer["model_versions"] if each["version"] == 1]
    return json.dumps({"model_versions": kept}).encode()


# --- credentials ------------------------------------------------------------------------------------------


def as_app(world: GateWorld) -> None:
    """Let GitHub know the gate as an App from the next start on."""
    del world.environ["CHAMPION_GATE_GITHUB_TOKEN"]
    private, public = app_keys()
    app = world.github.add_app("champion-gate", public)
    world.environ["CHAMPION_GATE_GITHUB_APP_CLIENT_ID"] = app.client_id
    world.environ["CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY"] = private


@pytest.mark.part("rest", "401", "404")
@pytest.mark.parametrize("path", ["/installation$", "/access_tokens$"])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_that_is_refused_for_the_start_fails_no_promotion(
    world: GateWorld, path: str, status: int
) -> None:
    as_app(world)
    world.reconfigure(newer_version="keep")
    world.ask()
    world.provider.faults.add("/dispatches$", status=401, times=1)
    refused = world.provider.faults.add(path, status=status, times=1)
    version = world.train({"f1": 0.95})
    world.settle()
    world.live(minutes=5)
    assert refused.hits
    (newer,) = (each for each in world.promotions() if each.version.version == version)
    world.ended(newer, Phase.PENDING_APPROVAL)
