"""The work around a promotion: seen while it is to be done and when it is done, tried again or given up by operators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.api_world import VIEWER, ApiWorld, api_world

REASON = {"reason": "nobody reads the tags"}
TAGS = "/api/2.0/mlflow/unity-catalog/model-versions/set-tag"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path) as world:
        yield world


def promoted_untagged(api: ApiWorld) -> Promotion:
    """A promotion that is done, but for the tags: the registry takes none."""
    pending = api.gate.ask()
    api.gate.approve(pending)
    api.gate.break_databricks(".*tag.*", status=403)
    api.gate.look()
    return api.gate.promotion(Phase.PROMOTED)


def step_of(api: ApiWorld, promotion: Promotion, kind: str) -> dict[str, Any]:
    steps = api.call("GET", f"/api/v1/promotions/{promotion.id}/steps", token=VIEWER).json()["steps"]
    (found,) = (each for each in steps if each["kind"] == kind)
    return dict(found)


def test_what_is_done_stays_to_be_seen(api: ApiWorld) -> None:
    pending = api.gate.ask()
    api.gate.approve(pending)
    api.gate.look()
    tag = step_of(api, pending, "tag_version")
    assert (tag["id"], tag["phase"], tag["due_at"]) == (f"{pending.id}-tag-version", "succeeded", None)
    assert "bears the tags" in tag["reason"]
    assert step_of(api, pending, "cancel_doubles")["reason"] == "There were none."
    api.problem(409, "conflict", "POST", f"/api/v1/steps/{tag['id']}/retry")
    api.problem(409, "conflict", "POST", f"/api/v1/steps/{tag['id']}/skip", REASON)


def test_what_was_refused_for_a_day_is_given_up_and_taken_up_again_by_an_operator(api: ApiWorld) -> None:
    promotion = promoted_untagged(api)
    waiting = step_of(api, promotion, "tag_version")
    assert (waiting["phase"], waiting["attempts"]) == ("planned", 1)
    assert "403" in waiting["last_error"]
    api.gate.live(hours=25)
    given_up = step_of(api, promotion, "tag_version")
    assert (given_up["phase"], given_up["due_at"]) == ("failed", None)
    assert "Given up after a day" in given_up["reason"]
    assert api.gate.promotion(Phase.PROMOTED).id == promotion.id

    retry = f"/api/v1/steps/{given_up['id']}/retry"
    api.problem(403, "not_permitted", "POST", retry, token=VIEWER)
    api.gate.databricks.faults.clear()
    again = api.call("POST", retry, {"reason": "the grant is there"})
    assert (again.status_code, again.json()["phase"]) == (202, "planned")
    assert again.json()["reason"] == "Taken up again by operator-1: the grant is there"
    api.gate.settle()
    assert step_of(api, promotion, "tag_version")["phase"] == "succeeded"
    assert api.gate.models.tags(promotion.version.version)["champion_gate_promotion"] == promotion.id


def test_what_an_operator_skips_is_tried_no_more(api: ApiWorld) -> None:
    promotion = promoted_untagged(api)
    skip = f"/api/v1/steps/{step_of(api, promotion, 'tag_version')['id']}/skip"
    api.problem(403, "not_permitted", "POST", skip, REASON, token=VIEWER)
    api.problem(404, "not_found", "POST", "/api/v1/steps/p-1/skip", REASON)
    skipped = api.call("POST", skip, REASON).json()
    assert (skipped["phase"], skipped["reason"]) == (
        "skipped",
        "Skipped by operator-1: nobody reads the tags",
    )
    api.gate.databricks.faults.clear()
    api.gate.live(hours=25)
    assert "champion_gate_promotion" not in api.gate.models.tags(promotion.version.version)
