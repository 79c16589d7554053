"""The attack list, 20: approvals and tokens after the expiry, on a clock that is moved, with the API over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from champion_gate.adapters.github.id_token import TABLE as GITHUB
from champion_gate.adapters.oidc.ci_jobs import Issuer, OidcVerifier
from champion_gate.domain.callers import Role
from champion_gate.domain.promotion import Phase
from champion_gate.flow.api_tokens import ApiTokens, api_caller
from champion_gate.flow.ci_outcome import PostedDecision
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate_standins.common.server import serve
from integration.gate_world import GateWorld, api_token, gate_world

AUDIENCE = "champion-gate"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        made.github.workflow_runs.jobs_finish = False
        yield made


@pytest.fixture
def url(world: GateWorld) -> Iterator[str]:
    """The API of that gate; whoever posts a token has it looked at there and then."""
    issuer = Issuer(world.github_url, AUDIENCE, GITHUB)
    verifier, turn = OidcVerifier({"github": issuer}, clock=world.clock), threading.Lock()

    def look() -> None:
        with turn:
            world.settle()

    posted = PostedDecision(
        store=world.store, verifier=verifier, wake_ups=world.wake_ups, clock=world.clock, pause=look
    )
    app = create_app(
        store=world.store,
        wake_ups=world.wake_ups,
        clock=world.clock,
        access=Access(authenticate=api_caller(ApiTokens(world.store, world.clock, world.chance))),
        checks=(),
        posted_decision=posted,
    )
    with serve(app) as served:
        yield served
    verifier.close()


def post(url: str, promotion_id: str, token: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{url}/api/v1/promotions/{promotion_id}/decision", headers=headers, timeout=20)


def test_attack_20_control_an_approval_in_time_whose_job_posts_in_time(world: GateWorld, url: str) -> None:
    pending = world.ask()
    world.clock.move(days=13, hours=23)
    world.approve(pending)
    answer = post(url, pending.id, world.github.oidc.id_token(world.run_id_of(pending), "champion", AUDIENCE))
    assert (answer.status_code, answer.json()["phase"]) == (200, "promoted")
    assert world.models.champion() == pending.version.version


def test_attack_20_an_approval_after_the_expiry(world: GateWorld, url: str) -> None:
    pending = world.ask()
    world.clock.move(days=14, hours=1)
    world.approve(pending)
    token = world.github.oidc.id_token(world.run_id_of(pending), "champion", AUDIENCE)
    answer = post(url, pending.id, token)
    assert (answer.status_code, answer.json()["code"]) == (409, "promotion_ended")
    assert post(url, pending.id, token).status_code == 409
    headers = {"Authorization": f"Bearer {api_token(world.store, Role.VIEWER)}"}
    view = requests.get(f"{url}/api/v1/promotions/{pending.id}", headers=headers, timeout=20).json()
    assert (view["phase"], view["decision"]) == ("expired", None)
    assert view["reason"].startswith("Approved by reviewer-1, and let start on ")
    world.ended(pending, Phase.EXPIRED)
    assert world.models.champion() == "1"
    assert world.databricks.catalog.alias_writes == []
    assert "decision" not in [kind for kind, _ in world.ledger()]
