"""A thousand messages wait, and one of two receivers hangs on every call: promotions and the other one's messages go on."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.bootstrap import build_service
from champion_gate.domain.notices import Message, NoticeEvent, notice_step
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepKind
from champion_gate.flow.context import Waits
from champion_gate_standins.common.server import serve
from champion_gate_standins.notices.server import SIGNING_KEY, WEBHOOK_PATH, NoticeReceivers
from integration.gate_world import GateWorld, gate_world
from integration.posted_world import RunningClock
from integration.process_world import until
from integration.serving import served

pytestmark = pytest.mark.part("full")

EACH = 500
NOTICES: list[dict[str, object]] = [
    {"name": name, "kind": "webhook", "on": ["promoted"], "private": True} for name in ("stuck", "well")
]
HUNG_SECONDS = 9.0
"""Whatever waited for the receiver that hangs would take ten at the least."""


def plan_many(world: GateWorld) -> None:
    """Messages that belong to no promotion, the hanging receiver's first."""
    now = world.clock.now()
    for notice in world.core.context.notices:
        for number in range(EACH):
            message = Message(NoticeEvent.DRIFT, f"Champion was moved, {number}", now)
            world.store.plan_step(notice_step(notice, message, f"move-{number}", "", now))


def promoted(world: GateWorld) -> float:
    """Ask, approve, and wait for the alias; returns how many seconds that took without the training."""
    version = world.train({"f1": 0.92})
    begun = time.monotonic()

    def in_phase(phase: Phase) -> bool:
        found = world.promotions()
        return bool(found) and found[0].version.version == version and found[0].phase is phase

    until(lambda: in_phase(Phase.PENDING_APPROVAL), lambda: str(world.promotions()[:1]))
    world.approve(world.promotions()[0])
    world.store.hint_promotion(world.promotions()[0].id, world.clock.now())
    until(lambda: in_phase(Phase.PROMOTED), lambda: str(world.promotions()[:1]))
    assert world.models.champion() == version
    return time.monotonic() - begun


def test_a_receiver_that_hangs_holds_nothing_else_up(tmp_path: Path) -> None:
    with gate_world(tmp_path, clock=RunningClock()) as world:
        receivers = NoticeReceivers(clock=world.clock.now)
        with serve(receivers.app) as url:
            for name, path in (("STUCK", "/stuck"), ("WELL", WEBHOOK_PATH)):
                world.environ[f"CHAMPION_GATE_NOTICE_{name}_URL"] = f"{url}{path}"
                world.environ[f"CHAMPION_GATE_NOTICE_{name}_SECRET"] = SIGNING_KEY
            world.extra = {"notices": NOTICES}
            world.reconfigure()
            hanging = receivers.faults.add("/stuck", hang=120, drop=True)
            service = build_service(
                world.environ,
                clock=world.clock,
                databricks={"host": world.databricks_url, "token": "standin-token"},
                waits=Waits(notice_pace=timedelta(milliseconds=10)),
            )
            try:
                with served(service):
                    promoted(world)  # the first waits for imports
                    plan_many(world)
                    until(lambda: hanging.hits, "nothing is sent")
                    took = [promoted(world) for _ in range(3)]
                    until(lambda: len(receivers.of("webhook")) == EACH + 4, lambda: len(receivers.taken), 120)
                    receivers.faults.clear()
            finally:
                receivers.faults.clear()
        assert max(took) < HUNG_SECONDS
        assert len({each.message_id for each in receivers.of("webhook")}) == EACH + 4
        assert 1 <= hanging.hits <= 10
        waiting = [step for step in world.store.failing_notices() if step.kind is StepKind.NOTICE]
        assert {step.config["notice"] for step in waiting} == {"stuck"}
