"""The attack list, 30: an approval of one evidence is never applied as that of another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate_standins.gitlab.state import MAINTAINER
from integration.gate_world import REPOSITORY, GateWorld, gate_world
from integration.posted_world import PostedWorld, posted_world
from integration.start_world import (
    BOTH,
    forget_hash,
    give_names,
    list_after,
    lose_answers,
    names,
    pass_time,
    shown,
    standin,
)

pytestmark = [pytest.mark.part("rest", "gitlab"), pytest.mark.spread(4)]


@pytest.fixture(params=BOTH)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


def started_twice(world: GateWorld) -> tuple[str, str]:
    """Two starts whose ids are not told and which no list shows; returns the ids, older first."""
    lose_answers(world)
    list_after(world, days=1)
    world.train()
    pass_time(world, minutes=4)
    world.promotion(Phase.REQUESTED)
    first, second = world.provider.requests()
    return first, second


def become_listed(world: GateWorld) -> Promotion:
    """Everything is listed and answered again; returns the promotion that waits for people then."""
    list_after(world)
    world.provider.faults.clear()
    pass_time(world, minutes=16)
    return world.promotion(Phase.PENDING_APPROVAL)


def decided_evidence(world: GateWorld) -> object:
    """The hash of the evidence that the ledger says was approved."""
    lines = [line.entry.facts for line in world.store.ledger_lines(limit=100)]
    (decision,) = [facts for facts in lines if facts.get("verdict") == "approved"]
    return decision["evidence_sha256"]


def test_attack_30_the_request_that_is_adopted_shows_what_is_approved(world: GateWorld) -> None:
    first, second = started_twice(world)
    pending = become_listed(world)
    adopted = world.run_id_of(pending)
    assert pending.evidence_sha256 is not None
    assert pending.evidence_sha256 in shown(world, adopted)
    assert shown(world, first) == shown(world, second)
    assert names(world)[adopted].endswith(f"[{pending.id}-{pending.evidence_sha256[:12]}]")
    world.provider.approve(adopted, "reviewer-1")
    world.sweep()
    world.ended(pending, Phase.PROMOTED)
    assert decided_evidence(world) == pending.evidence_sha256
    (other,) = {first, second} - {adopted}
    assert world.provider.requests()[other] == "cancelled"


def test_attack_30_either_of_two_requests_of_one_freeze_counts(world: GateWorld) -> None:
    first, _ = started_twice(world)
    world.provider.approve(first, "reviewer-1")
    list_after(world)
    world.provider.faults.clear()
    pass_time(world, minutes=16)
    promoted = world.promotion(Phase.PROMOTED)
    assert (world.run_id_of(promoted), world.models.champion()) == (first, "2")


def told_of_the_second(world: GateWorld) -> tuple[Promotion, str, str]:
    """The first start's answer is lost and nothing lists it for a while; the second one's id is told."""
    lose_answers(world, times=1)
    list_after(world, minutes=4)
    world.train()
    pass_time(world, minutes=3)
    first, second = world.provider.requests()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.run_id_of(pending) == second
    return pending, first, second


def test_attack_30_an_approval_counts_in_the_first_request_although_the_seconds_id_was_told(
    world: GateWorld,
) -> None:
    pending, first, second = told_of_the_second(world)
    world.provider.approve(first, "reviewer-1")
    pass_time(world, minutes=15)
    world.ended(pending, Phase.PROMOTED)
    assert (world.run_id_of(pending), world.models.champion()) == (first, "2")
    assert decided_evidence(world) == pending.evidence_sha256
    assert world.provider.requests()[second] == "cancelled"


def test_attack_30_a_trainers_approval_counts_in_neither_request(world: GateWorld) -> None:
    pending, first, _ = told_of_the_second(world)
    world.provider.approve(first, "octo-trainer")
    pass_time(world, minutes=15)
    assert world.again(pending).phase in {Phase.PENDING_APPROVAL, Phase.REJECTED}
    assert world.models.champion() == "1"


def test_attack_30_the_first_request_is_cancelled_while_nobody_has_decided_in_it(world: GateWorld) -> None:
    pending, first, second = told_of_the_second(world)
    pass_time(world, minutes=15)
    assert world.provider.requests()[first] == "cancelled"
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.provider.approve(second, "reviewer-1")
    world.sweep()
    world.ended(pending, Phase.PROMOTED)
    assert world.run_id_of(pending) == second


def test_a_list_that_fails_where_doubles_are_looked_for_fails_no_look(world: GateWorld) -> None:
    pending, first, _ = told_of_the_second(world)
    lists = world.provider.faults.add(world.provider.listing)
    world.look()
    world.provider.faults.clear()
    world.provider.faults.add(world.provider.listing, times=lists.hits // 2)
    failing = world.provider.faults.add(world.provider.listing, status=500)
    world.look()
    assert failing.hits
    waiting = world.again(pending)
    assert (waiting.phase, waiting.retry.last_error) == (Phase.PENDING_APPROVAL, None)
    world.provider.faults.clear()
    pass_time(world, minutes=15)
    assert world.provider.requests()[first] == "cancelled"


@pytest.mark.parametrize("approved", [False, True], ids=["waiting", "approved"])
def test_attack_30_a_request_of_an_older_freeze_is_cancelled_and_never_believed(
    world: GateWorld, *, approved: bool
) -> None:
    lose_answers(world)
    list_after(world, days=1)
    world.train()
    world.settle()
    (first,) = world.provider.requests()
    world.models.move_alias(None)
    pass_time(world, minutes=4)
    if approved:
        world.provider.approve(first, "reviewer-1")
    pending = become_listed(world)
    world.sweep()
    _, second = world.provider.requests()
    assert world.run_id_of(pending) == second
    assert shown(world, first) != shown(world, second)
    assert world.provider.requests()[first] == ("success" if approved else "cancelled")
    assert world.models.champion() is None
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.provider.approve(second, "reviewer-1")
    world.sweep()
    world.ended(pending, Phase.PROMOTED)
    assert decided_evidence(world) == pending.evidence_sha256


def test_attack_30_after_the_champion_went_and_came_back_the_evidence_is_frozen_anew(
    world: GateWorld,
) -> None:
    world.sweep()
    lose_answers(world)
    list_after(world, days=1)
    world.train()
    world.settle()
    (first,) = world.provider.requests()
    world.models.move_alias(None)
    world.sweep()
    world.models.move_alias("1")
    world.sweep()
    pass_time(world, minutes=4)
    pending = become_listed(world)
    assert world.run_id_of(pending) != first
    world.sweep()
    assert world.provider.requests()[first] == "cancelled"


def test_attack_30_a_request_of_an_older_freeze_is_cancelled_also_where_the_newer_ones_id_was_told(
    world: GateWorld,
) -> None:
    lose_answers(world, times=1)
    list_after(world, minutes=5)
    world.train()
    world.settle()
    world.models.move_alias(None)
    pass_time(world, minutes=4)
    first, second = world.provider.requests()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    assert world.run_id_of(pending) == second
    pass_time(world, minutes=11)
    world.sweep()
    assert world.provider.requests()[first] == "cancelled"
    world.ended(pending, Phase.PENDING_APPROVAL)


# --- stored by an earlier release -------------------------------------------------------------------------


def test_attack_30_a_request_that_was_stored_without_a_hash_is_found_as_before(world: GateWorld) -> None:
    lose_answers(world)
    world.train()
    world.settle()
    forget_hash(world, world.promotion(Phase.REQUESTED))
    pending = become_listed(world)
    assert names(world)[world.run_id_of(pending)].endswith(f"[{pending.id}]")
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.sweep()
    world.ended(pending, Phase.PROMOTED)
    assert world.provider.asked() == 1


def test_attack_30_a_request_that_was_open_without_a_hash_is_decided_as_before(world: GateWorld) -> None:
    pending = world.ask()
    forget_hash(world, pending)
    world.crash()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.sweep()
    world.ended(pending, Phase.PROMOTED)


def test_attack_30_one_without_a_hash_that_must_be_repeated_is_frozen_anew(world: GateWorld) -> None:
    lose_answers(world, times=1)
    list_after(world, days=1)
    world.train()
    world.settle()
    forget_hash(world, world.promotion(Phase.REQUESTED))
    give_names(world)
    pass_time(world, minutes=4)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    first, second = world.provider.requests()
    assert world.run_id_of(pending) == second
    assert names(world)[second].endswith(f"[{pending.correlation_id}]")
    become_listed(world)
    world.sweep()
    assert world.provider.requests()[first] == "cancelled"


# --- what the job posts to --------------------------------------------------------------------------------


@pytest.fixture(params=BOTH)
def posted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PostedWorld]:
    with posted_world(tmp_path, request.param) as made:
        yield made


@pytest.mark.parametrize("hashed", [True, False], ids=["with the hash", "the bare id"])
def test_attack_30_a_job_may_post_under_either_form_of_the_id(posted: PostedWorld, *, hashed: bool) -> None:
    posted.approve()
    path = posted.promotion.correlation_id if hashed else posted.promotion.id
    assert hashed is (path != posted.promotion.id)
    answer = posted.post(posted.token(), path)
    assert (answer.status_code, answer.json()["promotion"]) == (200, posted.promotion.id)
    assert posted.gate.models.champion() == "2"


@pytest.mark.part(
    "full", "environment-]", *(f"environment-{digits}]" for digits in ("0" * 11, "A" * 12, "0" * 64))
)
@pytest.mark.parametrize("digits", ["0" * 12, "", "0" * 11, "A" * 12, "0" * 64])
def test_attack_30_a_hash_that_is_not_that_of_the_evidence_is_not_believed(
    posted: PostedWorld, digits: str
) -> None:
    posted.approve()
    token = posted.token()
    answer = posted.post(token, f"{posted.promotion.id}-{digits}")
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "earlier evidence does not count" in answer.json()["hint"]
    assert posted.writes() == []
    assert posted.gate.again(posted.promotion).hints == posted.promotion.hints


def test_attack_30_the_job_of_an_older_freeze_is_refused_under_its_own_path(posted: PostedWorld) -> None:
    old = f"{posted.promotion.id}-{'a' * 12}"
    if "gitlab" in posted.there.key:
        inputs = {**standin(posted.gate).pipeline(posted.request_id).inputs, "promotion_id": old}
        standin(posted.gate).add_member(42, "champion-gate-bot", MAINTAINER)
        first = str(standin(posted.gate).start(42, inputs, username="champion-gate-bot", source="trigger").id)
    else:
        inputs = {**posted.gate.github.run(posted.request_id).inputs, "promotion_id": old}
        first = str(posted.gate.github.dispatch(REPOSITORY, inputs, login="champion-gate-bot").id)
    posted.there.approve(first, "reviewer-1")
    token = posted.there.token(first)
    for path in (old, posted.promotion.id, posted.promotion.correlation_id):
        assert posted.post(token, path).status_code == 401
    assert posted.writes() == []
