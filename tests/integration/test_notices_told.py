"""What happens is told whatever happens beside it: crashes, moves put back, requests of before the notices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase
from champion_gate.flow.notices import MOST_UNKNOWN
from champion_gate_standins.common.server import serve
from champion_gate_standins.notices.server import NoticeReceivers
from integration.gate_crashes import DiesAtWrite, StoreBetween, start_with
from integration.gate_world import GateWorld
from integration.notices_world import addresses, notices_of, pass_time, told_world

pytestmark = pytest.mark.part("rest")
WEBHOOK: list[dict[str, object]] = [{"name": "audit_log", "kind": "webhook", "private": True}]
LAST = 27
"""How many writes a promotion and its three notices take; one more is never reached."""
SOME = {8, 13, 20, LAST + 1}


def told(receivers: NoticeReceivers) -> list[str]:
    return [each.body["type"] for each in receivers.of("webhook")]


def approve_what_waits(world: GateWorld) -> None:
    for promotion in world.store.pending_promotions():
        if world.ci_run(promotion).status == "waiting":
            world.approve(promotion)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(each, marks=[] if each in SOME else pytest.mark.part("full"))
        for each in range(1, LAST + 2)
    ],
)
def test_a_crash_before_any_write_loses_no_notice_and_sends_none_a_third_time(
    tmp_path: Path, number: int
) -> None:
    with told_world(tmp_path, list(WEBHOOK)) as (world, receivers):
        world.train()
        dies = DiesAtWrite(number)
        start_with(world, StoreBetween(world.store, before=dies))
        try:
            world.settle()
            approve_what_waits(world)
            world.wait(seconds=5)
            pass_time(world, 5)
        except SystemExit:
            world.crash()
        for _ in range(3):
            world.settle()
            approve_what_waits(world)
            world.wait(minutes=11)
        pass_time(world, 5)
        assert dies.died is (number <= LAST), dies.left
        assert world.promotion(Phase.PROMOTED).version.version == "2"
        sent = Counter(each.message_id for each in receivers.of("webhook"))
        assert set(told(receivers)) == {"promotion.requested", "promotion.decided", "promotion.promoted"}
        assert len(sent) == 3
        assert sent.total() <= 3 + dies.died


def test_of_a_rejection_and_of_a_move_that_is_put_back_people_are_told(tmp_path: Path) -> None:
    with told_world(tmp_path, list(WEBHOOK)) as (world, receivers):
        world.reconfigure(drift="restore")
        world.sweep()
        pending = world.ask()
        world.reject(pending)
        world.look()
        pass_time(world, 3)
        assert told(receivers) == ["promotion.requested", "promotion.decided"]
        assert receivers.of("webhook")[-1].body["data"]["verdict"] == "rejected"
        for _ in range(3):
            world.models.move_alias("2")
            world.sweep()
            world.wait(seconds=10)
        pass_time(world, 10)
        assert told(receivers)[2:] == ["alias.drift"] * 3 + ["step.failed"]
        assert "contested" in receivers.of("webhook")[-1].body["data"]["reason"]


def test_those_who_are_asked_again_after_a_move_are_told(tmp_path: Path) -> None:
    with told_world(tmp_path, list(WEBHOOK)) as (world, receivers):
        world.reconfigure(drift="reopen")
        world.sweep()
        world.models.train(world.job_id, "by-hand", {"f1": 0.9})
        world.ask({"f1": 0.93})
        world.models.move_alias("2")
        world.sweep()
        world.wait(seconds=10)
        pass_time(world, 10)
        assert sorted(told(receivers)) == [
            "alias.drift",
            "promotion.failed",
            "promotion.requested",
            "promotion.requested",
        ]


def test_a_notice_of_today_tells_of_what_was_asked_before_it_from_then_on(tmp_path: Path) -> None:
    with told_world(tmp_path, []) as (world, receivers), serve(receivers.app) as url:
        pending = world.ask()
        world.extra = {"notices": [{**WEBHOOK[0], "waiting": "4h"}]}
        world.environ |= {name: value for name, value in addresses(url).items() if "AUDIT_LOG" in name}
        world.reconfigure()
        world.look()
        world.wait(hours=5)
        world.sweep()
        pass_time(world, 2)
        assert told(receivers) == ["promotion.waiting"]
        world.approve(pending)
        world.look()
        pass_time(world, 4)
        assert told(receivers) == ["promotion.waiting", "promotion.decided", "promotion.promoted"]


def test_a_chat_that_may_have_shown_a_message_is_not_sent_it_all_day(tmp_path: Path) -> None:
    slack: list[dict[str, object]] = [{"name": "team", "kind": "slack", "private": True}]
    with told_world(tmp_path, slack) as (world, receivers):
        away = receivers.faults.add("/services/", status=503)
        pending = world.ask()
        world.live(hours=1)
        step = notices_of(world, pending.id)["requested-team"]
        assert (step.phase, away.hits > MOST_UNKNOWN) == (StepPhase.PLANNED, True)
        away.times = 0
        odd = receivers.faults.add("/services/", status=200, body="<html>Welcome</html>")
        world.live(hours=24)
        step = notices_of(world, pending.id)["requested-team"]
        assert (step.phase, odd.hits) == (StepPhase.FAILED, MOST_UNKNOWN)
        assert "may have arrived each time" in step.reason
