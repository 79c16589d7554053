"""A run or pipeline that is gone at the vendor, or that cannot be read: the promotion ends, and nothing right is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import REPOSITORY, GateWorld, gate_world
from integration.rules_world import approve, assert_unmoved, post, shown

pytestmark = [pytest.mark.part("rest", "gitlab"), pytest.mark.spread(2)]

EVERYTHING = "."


@pytest.fixture(params=["github", "gitlab-rules"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def delete(world: GateWorld, promotion: Promotion) -> None:
    world.provider.delete(world.run_id_of(promotion))


def cancel(world: GateWorld, promotion: Promotion) -> None:
    status, said = post(world, f"/promotions/{promotion.id}/cancel", reason="not this one")
    assert status == 202, said


def break_vendor(world: GateWorld, path: str = EVERYTHING, **how: Any) -> Any:
    return world.provider.faults.add(path, **how)


def runs(world: GateWorld) -> int:
    return len(world.provider.requests())


# --- gone -------------------------------------------------------------------------------------------------


def test_a_request_that_is_gone_is_void_after_ten_minutes(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.look()
    view = shown(world, pending)
    assert view["phase"] == "pending_approval"
    assert "is gone: it was deleted" in view["reason"]
    assert "Looked for again at" in view["reason"]
    world.live(minutes=9, seconds=59)
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(seconds=2)
    assert_unmoved(world, pending, Phase.REJECTED, "The request can no longer be decided")
    assert world.again(pending).reason.endswith(f"champion-gate promotions retry {pending.id}")
    status, said = post(world, f"/promotions/{pending.id}/retry")
    assert status == 202, said
    world.settle()
    fresh = world.promotion(Phase.PENDING_APPROVAL)
    approve(world, fresh)
    world.look()
    world.ended(fresh, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_that_it_is_gone_is_remembered_over_a_restart(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.look()
    since = world.again(pending).missing_since
    assert since == world.clock.now()
    world.clock.move(minutes=10)
    world.crash()
    world.settle()
    world.ended(pending, Phase.REJECTED)


def test_a_cancel_ends_what_is_gone(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    cancel(world, pending)
    world.live(minutes=15)
    assert_unmoved(world, pending, Phase.CANCELLED, "Cancelled by operator-1: not this one")
    assert post(world, f"/promotions/{pending.id}/retry")[0] == 202


def test_what_is_gone_is_not_cancelled_for_ever(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.look()
    world.live(minutes=11)
    world.ended(pending, Phase.REJECTED)
    assert world.store.open_steps(pending.id)
    world.live(hours=25)
    assert world.store.open_steps(pending.id) == ()


def test_a_newer_version_supersedes_what_is_gone(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    newer = world.ask({"f1": 0.93})
    world.live(minutes=15)
    assert_unmoved(world, pending, Phase.SUPERSEDED, f"asks for Champion now ({newer.id})")
    approve(world, newer)
    world.look()
    assert world.models.champion() == "3"


def test_what_is_gone_when_nobody_can_decide_any_more_has_expired(world: GateWorld) -> None:
    pending = world.ask()
    delete(world, pending)
    world.clock.move(days=14, minutes=1)
    world.settle()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=11)
    assert "is gone" in world.ended(pending, Phase.EXPIRED)


# --- not gone ---------------------------------------------------------------------------------------------

HIDDEN: dict[str, tuple[str, dict[str, object]]] = {
    "404 for everything": (EVERYTHING, {"status": 404}),
    "403 for everything": (EVERYTHING, {"status": 403}),
    "404 for the run, which is still listed": ("READING", {"status": 404}),
    "404 for the run, and no list": ("READING|LISTING", {"status": 404}),
    "a moved place": (EVERYTHING, {"status": 301, "headers": {"Location": "/repositories/4711"}}),
    "a moved place for now": (EVERYTHING, {"status": 307, "headers": {"Location": "/repositories/4711"}}),
}


@pytest.mark.part("full", "rules-403", "rules-404 for the run", "rules-a moved")
@pytest.mark.parametrize(("path", "how"), HIDDEN.values(), ids=HIDDEN)
def test_what_is_hidden_from_us_for_a_while_is_not_gone(
    world: GateWorld, path: str, how: dict[str, object]
) -> None:
    pending = world.ask()
    path = path.replace("READING", world.provider.reading(world.run_id_of(pending)))
    fault = break_vendor(world, path.replace("LISTING", world.provider.listing), **how)
    world.look()
    world.live(minutes=40)
    view = shown(world, pending)
    assert fault.hits > 1
    assert view["phase"] == "pending_approval", view
    assert view["last_error"], "it says what is wrong"
    world.provider.faults.clear()
    approve(world, pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


def test_a_vendor_that_forgets_a_run_for_a_moment_voids_nothing(world: GateWorld) -> None:
    pending = world.ask()
    requests = world.provider.standin.state  # type: ignore[attr-defined]
    kept = requests.runs if world.provider.key == "github" else requests.pipelines
    forgotten = kept.pop()
    world.look()
    assert world.again(pending).missing_since is not None
    kept.append(forgotten)
    world.live(minutes=5)
    world.look()
    assert world.again(pending).missing_since is None
    kept.remove(forgotten)
    world.look()
    world.live(minutes=9)
    world.ended(pending, Phase.PENDING_APPROVAL)
    kept.append(forgotten)
    approve(world, pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_another_repository_under_the_old_name_says_nothing_of_the_run(github: GateWorld) -> None:
    pending = github.ask()
    there = github.github.repository(REPOSITORY)
    moved, run = there.id, github.github.state.runs.pop()
    there.id += 1
    github.look()
    github.live(minutes=40)
    github.ended(pending, Phase.PENDING_APPROVAL)
    there.id = moved
    github.github.state.runs.append(run)
    approve(github, pending)
    github.look()
    github.ended(pending, Phase.PROMOTED)


def test_another_workflow_under_the_old_file_says_nothing_of_the_run(github: GateWorld) -> None:
    pending = github.ask()
    github.github.repository(REPOSITORY).workflows["champion-gate.yml"].id += 1
    github.github.state.runs.pop()
    github.look()
    github.live(minutes=40)
    github.ended(pending, Phase.PENDING_APPROVAL)


# --- a vendor that does not tell --------------------------------------------------------------------------

UNREADABLE: dict[str, dict[str, Any]] = {
    "404": {"status": 404},
    "403": {"status": 403},
    "500": {"status": 500},
    "a long wait": {"status": 429, "headers": {"Retry-After": "3600"}},
    "nothing": {"drop": True},
    "no JSON": {"body": "<html>"},
    "moved": {"status": 301, "headers": {"Location": "/repositories/4711"}},
}


@pytest.mark.part("rest", "gitlab", "nothing", "no JSON", "moved", "a long wait", "403", "404")
@pytest.mark.part("full", "rules-4", "rules-a", "rules-no", "rules-moved")
@pytest.mark.parametrize("how", UNREADABLE.values(), ids=UNREADABLE)
def test_a_cancel_takes_effect_within_15_minutes_whatever_the_vendor_answers(
    world: GateWorld, how: dict[str, Any]
) -> None:
    pending = world.ask()
    break_vendor(world, **how)
    world.look()
    world.live(hours=5)
    world.ended(pending, Phase.PENDING_APPROVAL)
    cancel(world, pending)
    world.live(minutes=15)
    assert_unmoved(world, pending, Phase.CANCELLED, "Cancelled by operator-1: not this one")
    assert "its decision could not be read: " in world.again(pending).reason
    world.provider.faults.clear()
    world.live(hours=1)
    assert "open" not in world.provider.requests().values(), "the run is cancelled once that is possible"


def test_a_cancel_takes_effect_within_15_minutes_also_where_the_vendor_changes_its_answer(
    world: GateWorld,
) -> None:
    pending = world.ask()
    away = break_vendor(world, status=500)
    cancel(world, pending)
    world.live(minutes=9)
    away.times = 0
    delete(world, pending)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=6)
    assert_unmoved(world, pending, Phase.CANCELLED, "Cancelled by operator-1: not this one")


def test_a_cancel_takes_effect_within_15_minutes_however_often_it_is_looked_at(world: GateWorld) -> None:
    """Somebody has let it start, and whether rightly cannot be told: each hint begins another look."""
    pending = world.ask()
    world.provider.hold_jobs()
    approve(world, pending)
    world.provider.unprotect()
    cancel(world, pending)
    world.live(minutes=9, seconds=50)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=5)
    assert_unmoved(world, pending, Phase.CANCELLED, "Cancelled by operator-1: not this one")


def test_what_was_decided_in_time_is_found_before_a_cancel_gives_up(world: GateWorld) -> None:
    pending = world.ask()
    approve(world, pending)
    break_vendor(world, status=500)
    cancel(world, pending)
    world.live(minutes=5)
    world.provider.faults.clear()
    world.live(minutes=10)
    world.ended(pending, Phase.PROMOTED)


def test_a_newer_version_leaves_a_day_to_read_the_decision_on_an_older_one(world: GateWorld) -> None:
    pending = world.ask()
    approve(world, pending)
    run_id = world.run_id_of(pending)
    break_vendor(world, world.provider.reading(run_id), status=500)
    newer = world.ask({"f1": 0.93})
    for _ in range(23):
        world.wait(hours=1)
    world.ended(pending, Phase.PENDING_APPROVAL)
    for _ in range(2):
        world.wait(hours=1)
    reason = world.ended(pending, Phase.SUPERSEDED)
    assert newer.id in reason
    assert "its decision could not be read: " in reason


def test_an_operator_need_not_wait_a_day_for_what_a_newer_version_supersedes(world: GateWorld) -> None:
    pending = world.ask()
    break_vendor(world, world.provider.reading(world.run_id_of(pending)), status=500)
    world.ask({"f1": 0.93})
    world.settle()
    order = world.again(pending).end_request
    assert order is not None
    assert order.phase is Phase.SUPERSEDED
    cancel(world, pending)
    assert post(world, f"/promotions/{pending.id}/cancel", reason="again")[0] == 409
    world.live(minutes=15)
    assert "its decision could not be read: " in world.ended(pending, Phase.CANCELLED)


# --- a start whose fate is not known ----------------------------------------------------------------------


def test_a_cancel_while_nobody_knows_whether_people_were_asked(world: GateWorld) -> None:
    start = break_vendor(world, f"{world.provider.opening}$", drop=True, carry_out=True)
    away = break_vendor(world, EVERYTHING, method="GET", status=500, times=0)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert start.hits == 1
    away.times = None
    cancel(world, waiting)
    world.live(minutes=15)
    assert_unmoved(world, waiting, Phase.CANCELLED, "its decision could not be read: ")
    assert list(world.provider.requests().values()) == ["open"]
    world.provider.faults.clear()
    world.live(hours=1)
    assert list(world.provider.requests().values()) == ["cancelled"], "it is found and cancelled later"
    assert runs(world) == 1


def test_a_cancel_of_a_start_that_never_got_through(world: GateWorld) -> None:
    break_vendor(world, f"{world.provider.opening}$", drop=True)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    cancel(world, waiting)
    world.live(minutes=15)
    assert_unmoved(world, waiting, Phase.CANCELLED, "not this one")
    world.provider.faults.clear()
    world.live(hours=1)
    assert runs(world) == 0
