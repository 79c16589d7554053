"""The gate's clock is set back by an hour, at any point of a promotion: it goes on within minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import REPOSITORY, GateWorld, gate_world
from integration.rules_world import approve

HOUR = timedelta(hours=1)
SETTINGS = {"fast, then put right": HOUR, "right, then slow": timedelta()}


@pytest.fixture(
    params=[
        pytest.param(("uc", "github"), id="uc-github"),
        pytest.param(("mlflow", "gitlab-rules"), id="mlflow-gitlab-rules", marks=pytest.mark.part("rest")),
    ]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    registry, provider = request.param
    with gate_world(tmp_path, registry, provider) as made:
        yield made


@pytest.fixture(params=SETTINGS.values(), ids=list(SETTINGS))
def step_back(request: pytest.FixtureRequest, world: GateWorld) -> Callable[[], None]:
    ahead: timedelta = request.param
    world.clock.gate_is_ahead = ahead
    world.sweep()

    def step() -> None:
        world.clock.gate_is_ahead = ahead - HOUR

    return step


def go_on(world: GateWorld, minutes: int) -> None:
    for _ in range(minutes):
        world.clock.move(minutes=1)
        world.sweep()


def test_while_the_notification_waits(world: GateWorld, step_back: Callable[[], None]) -> None:
    refused = world.break_databricks("/api/2.1/jobs/runs/get", method="GET", status=503)
    world.train()
    world.settle()
    step_back()
    refused.times = 0
    go_on(world, 3)
    assert world.promotion().phase is Phase.PENDING_APPROVAL


def test_before_people_are_asked(world: GateWorld, step_back: Callable[[], None]) -> None:
    world.provider.faults.add(f"{world.provider.opening}$", status=503)
    world.train()
    world.settle()
    assert world.promotion().phase is Phase.REQUESTED
    step_back()
    world.provider.faults.clear()
    go_on(world, 5)
    assert world.promotion().phase is Phase.PENDING_APPROVAL


def test_while_people_decide(world: GateWorld, step_back: Callable[[], None]) -> None:
    pending = world.ask()
    step_back()
    go_on(world, 2)
    approve(world, pending)
    go_on(world, 5)
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_after_they_approved(world: GateWorld, step_back: Callable[[], None]) -> None:
    pending = world.ask()
    refused = world.break_databricks("/api/2.1/jobs/", method="GET", status=503)
    approve(world, pending)
    world.look()
    before = world.again(pending)
    step_back()
    refused.times = 0
    go_on(world, 5)
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"
    assert before.phase in {Phase.APPROVED, Phase.PROMOTED}


def test_a_process_that_was_killed_held_the_alias(world: GateWorld, step_back: Callable[[], None]) -> None:
    pending = world.ask()
    assert world.store.lock_alias(pending.alias_key, world.clock.now(), 90) is not None
    approve(world, pending)
    world.look()
    step_back()
    go_on(world, 10)
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


# --- what is measured by the clock ------------------------------------------------------------------------


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[GateWorld]:
    """A gate whose clock is an hour fast, and is put right by `put_right`."""
    with gate_world(tmp_path) as made:
        made.clock.gate_is_ahead = HOUR
        made.sweep()
        yield made


def put_right(world: GateWorld) -> None:
    world.clock.gate_is_ahead = timedelta()


def cancel(world: GateWorld, promotion: Promotion) -> None:
    world.core.promotion_orders.cancel(promotion.id, actor="ops", reason="no")
    world.settle()


def test_a_request_that_is_gone_is_void_after_minutes(fast: GateWorld) -> None:
    pending = fast.ask()
    fast.provider.delete(fast.run_id_of(pending))
    fast.look()
    put_right(fast)
    go_on(fast, 12)
    fast.ended(pending, Phase.REJECTED)


def test_a_version_that_is_gone_ends_its_promotion_after_minutes(fast: GateWorld) -> None:
    pending = fast.ask()
    approve(fast, pending)
    fast.models.remove("2")
    fast.look()
    fast.ended(pending, Phase.APPROVED)
    put_right(fast)
    go_on(fast, 12)
    fast.ended(pending, Phase.STALE)


def test_an_approval_by_nobody_who_may_is_rejected_after_minutes(fast: GateWorld) -> None:
    team = fast.github.add_team("example", "owners", ["reviewer-2"])
    fast.github.protect_environment(REPOSITORY, "champion", [team])
    pending = fast.ask()
    fast.github.add_team("example", "owners", ["reviewer-1"])
    approve(fast, pending)
    fast.github.add_team("example", "owners", ["reviewer-2"])
    fast.look()
    fast.ended(pending, Phase.PENDING_APPROVAL)
    put_right(fast)
    go_on(fast, 12)
    fast.ended(pending, Phase.REJECTED)


def test_a_cancel_takes_effect_in_a_quarter_of_an_hour(fast: GateWorld) -> None:
    pending = fast.ask()
    fast.provider.faults.add("/actions/runs/[0-9]+$", status=503)
    cancel(fast, pending)
    fast.ended(pending, Phase.PENDING_APPROVAL)
    put_right(fast)
    go_on(fast, 15)
    fast.ended(pending, Phase.CANCELLED)


def test_an_approval_whose_write_is_lost_is_cancelled_after_minutes(fast: GateWorld) -> None:
    pending = fast.ask()
    fast.break_databricks("/aliases/Champion$", method="PUT", drop=True)
    approve(fast, pending)
    fast.look()
    cancel(fast, pending)
    fast.ended(pending, Phase.APPROVED)
    put_right(fast)
    go_on(fast, 5)
    fast.ended(pending, Phase.CANCELLED)


@pytest.mark.part("rest")
def test_what_fails_is_given_up_after_a_day(fast: GateWorld) -> None:
    pending = fast.ask()
    fast.break_databricks("/aliases/Champion$", method="PUT", drop=True)
    approve(fast, pending)
    fast.look()
    put_right(fast)
    go_on(fast, 1)
    fast.live(hours=24, minutes=20)
    fast.ended(pending, Phase.FAILED)
