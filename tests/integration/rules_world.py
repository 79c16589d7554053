"""A gate whose settings change, and the API of the service as it was started last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.web.app import Operations, create_app
from champion_gate.web.auth import Access
from champion_gate_standins.common.server import serve
from integration.gate_world import GATE, GateWorld

OPERATOR = Caller("operator-1", Role.OPERATOR, "API token t1")


@contextmanager
def api_of(world: GateWorld) -> Iterator[str]:
    """The API's address, with the settings that the gate has now."""
    app = create_app(
        store=world.store,
        wake_ups=world.wake_ups,
        clock=world.clock,
        access=Access(authenticate=lambda _text, _address: OPERATOR),
        checks=(),
        operations=Operations.on(world.core.context),
    )
    with serve(app) as url:
        yield f"{url}/api/v1"


def post(world: GateWorld, path: str, **body: str) -> tuple[int, dict[str, Any]]:
    """What the operator is answered."""
    headers = {"Authorization": "Bearer operator"}
    with api_of(world) as url:
        answer = requests.post(f"{url}{path}", json=body, headers=headers, timeout=60)
    said: dict[str, Any] = answer.json()
    return answer.status_code, said


def shown(world: GateWorld, promotion: Promotion) -> dict[str, Any]:
    """The promotion as the API shows it."""
    with api_of(world) as url:
        answer = requests.get(
            f"{url}/promotions/{promotion.id}", headers={"Authorization": "Bearer operator"}, timeout=60
        )
    said: dict[str, Any] = answer.json()
    return said


def gate(world: GateWorld, **changes: object) -> dict[str, object]:
    """The usual gate with changes; None removes a key."""
    usual = {**GATE, "approval": world.approval, "jobs": [int(world.job_id)], "model": world.models.model}
    return {key: value for key, value in {**usual, **changes}.items() if value is not None}


def approve(world: GateWorld, promotion: Promotion, login: str = "reviewer-1") -> None:
    """A reviewer approves, whichever the vendor."""
    world.provider.approve(world.run_id_of(promotion), login)


def assert_unmoved(world: GateWorld, promotion: Promotion, phase: Phase, words: str) -> None:
    """It has ended so, the alias stands where it stood, and the operator reads why."""
    view = shown(world, promotion)
    assert view["phase"] == phase.value, (view["phase"], view["reason"], view["last_error"])
    assert words in view["reason"], view["reason"]
    assert world.models.champion() == "1"
    assert [to for _, to, _ in world.moves() if to != "1"] == []
