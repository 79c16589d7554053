"""Several writers at once, in threads: registry and ledger tell one story, without a gap."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConflictError, GateError
from integration.gate_world import GateWorld, gate_world

ROUNDS = 6


@pytest.fixture(params=["uc", "mlflow"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


def order(name: str) -> Order:
    return Order(Caller(name, Role.OPERATOR, f"API token {name}"), f"{name} wants it", override_hold=True)


def at_once(*work: Callable[[], object]) -> list[GateError]:
    """Run all of it at the same time; what was refused."""
    refused: list[GateError] = []
    unexpected: list[BaseException] = []
    barrier = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> None:
        barrier.wait()
        try:
            one()
        except GateError as error:
            refused.append(error)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            unexpected.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert unexpected == []
    return refused


def assert_one_story(world: GateWorld) -> None:
    """Every line begins where the one before it ended, and the last one ends where the alias stands."""
    world.store.verify_ledger()
    moves = world.moves()
    for earlier, later in pairwise(moves):
        assert later[0] == earlier[1], moves
    assert moves[-1][1] == world.models.champion(), moves
    assert "outside champion-gate" not in {actor for _, _, actor in moves[1:]}, moves


def test_two_operators_who_change_one_alias_again_and_again(world: GateWorld) -> None:
    for number in range(2):
        world.models.train(world.job_id, f"by-hand-{number}", {"f1": 0.9})

    def keep_changing(name: str, seed: int) -> Callable[[], None]:
        chosen = random.Random(seed)

        def work() -> None:
            for _ in range(ROUNDS):
                try:
                    world.core.alias_orders.put(
                        world.models.model, "Champion", chosen.choice("123"), order(name)
                    )
                except ConflictError as error:
                    assert error.code == "alias_busy"  # noqa: PT017 - only this may happen

        return work

    assert at_once(keep_changing("ops-1", 1), keep_changing("ops-2", 2)) == []
    assert_one_story(world)
    assert {actor for _, _, actor in world.moves()} <= {"outside champion-gate", "ops-1", "ops-2"}


@pytest.mark.part("rest", "mlflow", "-2")
@pytest.mark.parametrize("attempt", range(3))
def test_a_manual_change_a_rollback_and_a_promotion_that_race(world: GateWorld, attempt: int) -> None:
    first = world.ask()
    world.approve(first)
    world.look()
    world.ended(first, Phase.PROMOTED)
    pending = world.ask({"f1": 0.95})
    world.approve(pending)
    orders = world.core.alias_orders
    world.store.hint_promotion(pending.id, world.clock.now())
    refused = at_once(
        lambda: orders.put(world.models.model, "Champion", "1", order("ops")),
        lambda: orders.roll_back(world.models.model, "Champion", order("night-shift")),
        lambda: world.core.promoter.advance(pending.id),
    )
    assert {error.code for error in refused} <= {"alias_busy", "conflict"}
    world.wait(minutes=30)
    assert_one_story(world)
    ended = world.again(pending)
    won = [move for move in world.moves() if move[1] == "3"]
    held = orders.state(world.models.model, "Champion").hold
    if ended.phase is Phase.PROMOTED:
        assert [actor for _, _, actor in won] == ["reviewer-1"]
    else:
        assert won == []
        assert ended.phase is Phase.STALE or (ended.phase is Phase.APPROVED and held is not None), (
            ended.reason
        )
