"""A start that is not confirmed is repeated once; then it waits for an operator, and says what to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.gitlab.state import DEVELOPER
from integration.gate_providers import BOT, PROJECT
from integration.gate_world import REPOSITORY, GateWorld, gate_world
from integration.start_world import (
    BOTH,
    give_names,
    list_after,
    lose_answers,
    lose_names,
    names,
    pass_time,
    standin,
)

pytestmark = pytest.mark.part("rest", "gitlab")

QUARTER = timedelta(minutes=15)


@pytest.fixture(params=BOTH)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def stuck(world: GateWorld) -> Promotion:
    """Two starts of which nobody hears anything, and an hour."""
    lose_answers(world)
    list_after(world, days=300)
    world.train()
    pass_time(world, hours=1)
    return world.promotion(Phase.REQUESTED)


def promote(world: GateWorld, pending: Promotion) -> None:
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.sweep()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


# --- the ceiling ------------------------------------------------------------------------------------------


def test_a_start_that_never_shows_is_repeated_once_and_then_looked_for_every_quarter_of_an_hour(
    world: GateWorld,
) -> None:
    waiting = stuck(world)
    pass_time(world, hours=6)
    assert world.provider.asked() == 2
    world.settle()
    waiting = world.again(waiting)
    assert waiting.due_at is not None
    assert timedelta(0) < waiting.due_at - world.clock.now() <= QUARTER
    assert f"[{waiting.correlation_id}]" in waiting.reason
    assert f"promotions retry {waiting.id}" in waiting.reason
    assert f"promotions cancel {waiting.id}" in waiting.reason
    assert "run-name" in waiting.reason
    assert waiting.retry.attempts == 0
    looked = world.clock.now()
    pass_time(world, hours=1)
    assert world.again(waiting).updated_at > looked


def test_it_ends_when_the_request_would_have_expired(world: GateWorld) -> None:
    waiting = stuck(world)
    assert waiting.request is not None
    world.clock.time = waiting.request.expires_at - timedelta(minutes=5)
    world.settle()
    due = world.again(waiting).due_at
    assert due == waiting.request.expires_at + timedelta(seconds=1)
    world.wait(minutes=6)
    assert "no request has appeared" in world.ended(waiting, Phase.EXPIRED)
    assert world.provider.asked() == 2


def test_a_server_that_always_answers_500_is_called_twice(world: GateWorld) -> None:
    world.provider.faults.add(f"{world.provider.opening}$", status=500)
    world.train()
    pass_time(world, hours=6)
    waiting = world.promotion(Phase.REQUESTED)
    assert world.provider.asked() == 2
    assert "500" in (waiting.retry.last_error or "")
    pass_time(world, days=2)
    assert world.provider.asked() == 2
    world.promotion(Phase.REQUESTED)


def test_a_crash_at_the_call_counts_as_a_start(world: GateWorld) -> None:
    lose_answers(world)
    list_after(world, days=300)
    world.train()
    world.settle()
    for _ in range(8):
        world.crash()
        pass_time(world, minutes=3)
    assert world.provider.asked() == 2


def test_what_was_certainly_not_started_does_not_count(world: GateWorld) -> None:
    world.provider.faults.add(f"{world.provider.opening}$", status=429, headers={"Retry-After": "120"})
    world.train()
    pass_time(world, minutes=30)
    assert world.provider.asked() > 5
    world.provider.faults.clear()
    pass_time(world, minutes=16)
    promote(world, world.promotion(Phase.PENDING_APPROVAL))


def test_a_refused_repeat_keeps_what_was_started_before(world: GateWorld) -> None:
    lose_answers(world, times=1)
    list_after(world, days=1)
    world.train()
    world.settle()
    world.provider.faults.add(f"{world.provider.opening}$", status=403)
    pass_time(world, minutes=10)
    failed = world.promotion(Phase.FAILED)
    world.provider.faults.clear()
    list_after(world)
    world.core.promotion_orders.retry(failed.id, actor="operator")
    world.settle()
    promote(world, world.promotion(Phase.PENDING_APPROVAL))
    assert len(world.provider.requests()) == 1


# --- what an operator can do ------------------------------------------------------------------------------


def test_a_retry_allows_two_more_starts(world: GateWorld) -> None:
    waiting = stuck(world)
    assert world.core.promotion_orders.retry(waiting.id, actor="operator", reason="mended") == waiting.id
    pass_time(world, hours=3)
    assert world.provider.asked() == 4
    world.provider.faults.clear()
    assert world.core.promotion_orders.retry(waiting.id, actor="operator") == waiting.id
    pass_time(world, minutes=1)
    assert world.provider.asked() == 5
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.request is not None
    assert pending.request.expires_at >= world.clock.now() + timedelta(days=13)
    list_after(world)
    pass_time(world, minutes=30)
    assert sorted(world.provider.requests().values()) == [*["cancelled"] * 4, "open"]
    promote(world, pending)


def test_a_retry_before_the_ceiling_is_reached_has_nothing_to_do(world: GateWorld) -> None:
    lose_answers(world)
    list_after(world, days=300)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    with pytest.raises(Exception, match="is requested: there is nothing to retry"):
        world.core.promotion_orders.retry(waiting.id, actor="operator")
    pass_time(world, minutes=1)
    assert world.provider.asked() == 1


def test_a_cancel_ends_it_at_the_next_look(world: GateWorld) -> None:
    waiting = stuck(world)
    world.core.promotion_orders.cancel(waiting.id, actor="operator", reason="Not this one.")
    world.wait(minutes=1)
    assert world.ended(waiting, Phase.CANCELLED) == "Not this one."
    assert world.provider.asked() == 2


def test_a_cancel_ends_it_also_where_the_vendor_cannot_be_read(world: GateWorld) -> None:
    waiting = stuck(world)
    world.provider.faults.add(".*", status=503)
    pass_time(world, hours=3)
    world.core.promotion_orders.cancel(waiting.id, actor="operator", reason="Not this one.")
    pass_time(world, minutes=15)
    assert "Not this one." in world.ended(waiting, Phase.CANCELLED)


def test_a_newer_version_ends_it(world: GateWorld) -> None:
    waiting = stuck(world)
    world.provider.faults.clear()
    world.ask({"f1": 0.95})
    pass_time(world, minutes=16)
    world.ended(waiting, Phase.SUPERSEDED)


def test_a_run_that_appears_after_all_is_adopted(world: GateWorld) -> None:
    waiting = stuck(world)
    list_after(world)
    pass_time(world, minutes=16)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert pending.id == waiting.id
    promote(world, pending)
    assert "cancelled" in world.provider.requests().values()


def test_what_it_had_started_is_cancelled_where_it_shows_by_its_end(world: GateWorld) -> None:
    waiting = stuck(world)
    world.core.promotion_orders.cancel(waiting.id, actor="operator", reason="Not this one.")
    world.core.promoter.advance(waiting.id)
    world.ended(waiting, Phase.CANCELLED)
    list_after(world)
    world.settle()
    assert set(world.provider.requests().values()) == {"cancelled"}


# --- where a name has lost the id -------------------------------------------------------------------------


def test_where_names_have_lost_the_id_it_says_so(world: GateWorld) -> None:
    lose_names(world)
    lose_answers(world)
    world.train()
    pass_time(world, hours=6)
    waiting = world.promotion(Phase.REQUESTED)
    assert world.provider.asked() == 2
    line = "`run-name`" if world.provider.key == "github" else "`workflow: name`"
    assert line in waiting.reason
    assert "has lost it" in waiting.reason
    for request_id in world.provider.requests():
        assert f"/{request_id}" in waiting.reason
        world.provider.cancel(request_id)  # as it says
    give_names(world)
    world.provider.faults.clear()
    world.core.promotion_orders.retry(waiting.id, actor="operator")
    pass_time(world, minutes=1)
    promote(world, world.promotion(Phase.PENDING_APPROVAL))


def test_runs_for_other_promotions_are_not_taken_for_nameless_ones(world: GateWorld) -> None:
    world.ask()
    lose_answers(world)
    list_after(world, days=300)
    world.train({"f1": 0.95})
    pass_time(world, hours=1)
    list_after(world)
    waiting = world.promotion(Phase.REQUESTED)
    for each in world.provider.requests():
        assert "[p-" in names(world)[each]
    assert "has lost it" not in waiting.reason


def test_a_told_id_needs_no_name(world: GateWorld) -> None:
    lose_names(world)
    lose_answers(world, times=1)
    world.train()
    pass_time(world, minutes=5)
    assert world.provider.asked() == 2
    world.provider.cancel(next(iter(world.provider.requests())))
    promote(world, world.promotion(Phase.PENDING_APPROVAL))


# --- GitHub's lists ---------------------------------------------------------------------------------------


def test_a_run_is_found_while_every_filtered_list_is_empty(github: GateWorld) -> None:
    github.github.api.searches = False
    github.github.api.run_details = "ignored"
    github.train()
    pass_time(github, hours=6)
    assert github.provider.asked() == 1
    promote(github, github.promotion(Phase.PENDING_APPROVAL))


def test_a_run_is_found_while_filtered_lists_cannot_be_read(github: GateWorld) -> None:
    github.github.api.run_details = "refused"
    promise = {"total_count": 3, "workflow_runs": []}
    github.github.faults.add("/runs$", body=json.dumps(promise), times=1)
    github.train()
    pass_time(github, minutes=1)
    assert [run.display_title[-13:-1] for run in github.github.runs] == [
        (github.promotion(Phase.PENDING_APPROVAL).evidence_sha256 or "")[:12]
    ]


def test_a_server_that_answers_204_and_lists_nothing_is_asked_twice(github: GateWorld) -> None:
    github.github.api.run_details = "refused"
    list_after(github, days=300)
    github.train()
    pass_time(github, hours=6)
    dispatched = github.github.runs
    assert len(dispatched) == 2
    assert {run.display_title for run in dispatched} == {dispatched[0].display_title}
    waiting = github.promotion(Phase.REQUESTED)
    assert "Approval was asked for 2 times" in waiting.reason


def test_somebody_elses_run_with_our_id_is_no_ones_among_all_runs_either(github: GateWorld) -> None:
    github.github.api.searches = False
    github.github.faults.add("/dispatches$", drop=True, times=1)
    github.train()
    github.settle()
    asked = github.promotion(Phase.REQUESTED)
    inputs = {"promotion_id": asked.correlation_id, "model": "m", "version": "2", "alias": "Champion"}
    inputs |= {"evidence": "Looks great.", "environments": '["champion"]'}
    theirs = github.github.dispatch(REPOSITORY, inputs, login="stranger")
    github.github.review(theirs.id, "champion", "reviewer-1", approve=True)
    pass_time(github, minutes=4)
    assert github.run_id_of(github.promotion(Phase.PENDING_APPROVAL)) != str(theirs.id)
    assert github.models.champion() == "1"


# --- clocks and names of accounts -------------------------------------------------------------------------


@pytest.mark.parametrize("step", [timedelta(hours=-3), timedelta(hours=20)], ids=str)
def test_a_clock_that_is_set_while_a_run_is_looked_for_costs_one_repeat_at_most(
    world: GateWorld, step: timedelta
) -> None:
    lose_answers(world)
    list_after(world, seconds=30)
    world.train()
    world.settle()
    world.clock.time += step
    for promotion in world.promotions():
        world.store.hint_promotion(promotion.id, world.clock.now())
    pass_time(world, hours=1)
    list_after(world, days=-1)
    pass_time(world, hours=1)
    assert world.provider.asked() <= 2
    promote(world, world.promotion(Phase.PENDING_APPROVAL))


def test_a_vendor_whose_clock_is_hours_behind_has_its_run_found(world: GateWorld) -> None:
    lose_answers(world, times=1)
    ours = world.clock
    standin(world).state.clock = lambda: ours.now() - timedelta(hours=20)
    world.train()
    pass_time(world, minutes=2)
    assert world.provider.asked() == 1
    world.promotion(Phase.PENDING_APPROVAL)


def test_a_pipeline_is_found_after_our_account_was_renamed(tmp_path: Path) -> None:
    with gate_world(tmp_path, provider="gitlab-environment") as world:
        lose_answers(world, times=1)
        list_after(world, minutes=1)
        world.train()
        world.settle()
        account = standin(world).state.users.pop(BOT)
        account.username = "gate-bot"
        standin(world).state.users["gate-bot"] = account
        pass_time(world, minutes=3)
        assert len(world.provider.requests()) == 1
        world.promotion(Phase.PENDING_APPROVAL)


def test_a_pipeline_is_found_while_the_list_by_account_cannot_be_read(tmp_path: Path) -> None:
    with gate_world(tmp_path, provider="gitlab-environment") as world:
        lose_answers(world, times=1)
        world.train()
        world.provider.faults.add(world.provider.listing, body="{}", times=1)
        world.settle()
        world.wait(seconds=6)
        world.promotion(Phase.PENDING_APPROVAL)
        assert world.provider.asked() == 1


def test_a_pipeline_that_somebody_else_started_with_our_id_is_none(tmp_path: Path) -> None:
    with gate_world(tmp_path, provider="gitlab-environment") as world:
        lose = world.provider.faults.add(f"{world.provider.opening}$", drop=True, times=1)
        world.train()
        world.settle()
        assert lose.hits == 1
        asked = world.promotion(Phase.REQUESTED)
        there = standin(world)
        inputs = {"promotion_id": asked.correlation_id, "model": "m", "version": "2", "alias": "Champion"}
        inputs |= {
            "environment": "champion",
            "gate_url": "https://gate.example.com",
            "evidence_base64": "ZQ==",
        }
        there.add_member(PROJECT, "stranger", DEVELOPER)
        there.protect_branch(PROJECT, "main", merge=(DEVELOPER,))
        theirs = there.start(PROJECT, inputs, username="stranger", source="trigger")
        world.provider.protect()
        pass_time(world, minutes=4)
        assert world.run_id_of(world.promotion(Phase.PENDING_APPROVAL)) != str(theirs.id)
