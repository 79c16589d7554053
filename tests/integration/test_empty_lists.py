"""A list that is empty once, or lacks an entry, ends nothing before it has been looked at again for some minutes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.promotion import EndRequest, Phase, Promotion
from champion_gate_standins.common.faults import Fault
from integration.gate_providers import EVERY_KIND
from integration.gate_world import GateWorld, gate_world

pytestmark = pytest.mark.part("rest", "gitlab")

everywhere = pytest.mark.parametrize("world", EVERY_KIND, indirect=True)
on_github = pytest.mark.parametrize("world", ["github"], indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


def lists_no_jobs(world: GateWorld, pending: Promotion) -> Fault:
    """From now on the list of the request's jobs is empty."""
    nothing = json.dumps({"total_count": 0, "jobs": []} if world.provider.key == "github" else [])
    return world.provider.faults.add(f"/{world.run_id_of(pending)}/jobs$", body=nothing)


def show_reviews(world: GateWorld, *, shown: bool) -> None:
    """Whether the list of reviews, at GitLab that in the deployment, has any from now on."""
    if world.provider.key == "gitlab":
        world.provider.standin.ci.shows_approvals = shown  # type: ignore[attr-defined]
    elif shown:
        world.provider.faults.clear()
    else:
        world.provider.faults.add("/approvals$", body="[]")


def promoted(world: GateWorld, pending: Promotion) -> None:
    world.ended(pending, Phase.PROMOTED)
    assert world.moves()[-1] == ("1", "2", "reviewer-1")
    assert world.models.champion() == "2"


@everywhere
def test_an_approval_is_not_lost_to_a_list_of_jobs_that_is_empty_for_a_while(world: GateWorld) -> None:
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    empty = lists_no_jobs(world, pending)
    world.look()
    assert "lists no job" in world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=4)
    assert 3 < empty.hits < 10, "it is looked at again, less and less often"
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.ledger() == []
    world.provider.faults.clear()
    world.live(minutes=5)
    promoted(world, pending)


@everywhere
def test_a_request_that_ended_without_jobs_ends_in_the_end(world: GateWorld) -> None:
    pending = world.ask()
    world.provider.cancel(world.run_id_of(pending))
    lists_no_jobs(world, pending)
    world.look()
    world.live(minutes=4)
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=2)
    world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


@everywhere
def test_a_cancelled_request_whose_job_was_let_start_before_is_not_lost_to_an_empty_list(
    world: GateWorld,
) -> None:
    pending = world.ask()
    world.provider.hold_jobs()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.provider.cancel(world.run_id_of(pending))
    lists_no_jobs(world, pending)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.provider.faults.clear()
    world.live(minutes=2)
    promoted(world, pending)


@everywhere
def test_the_expiry_does_not_take_those_minutes_away(world: GateWorld) -> None:
    pending = world.ask()
    request = world.again(pending).request
    assert request is not None
    world.clock.time = request.expires_at - timedelta(seconds=20)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    lists_no_jobs(world, pending)
    world.clock.move(seconds=30)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.provider.faults.clear()
    world.live(minutes=2)
    promoted(world, pending)


@everywhere
def test_nor_does_the_order_to_make_way_for_a_newer_version(world: GateWorld) -> None:
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    lists_no_jobs(world, pending)
    world.look()
    end = EndRequest(Phase.SUPERSEDED, "champion-gate", "A newer one asks.", world.clock.now())
    assert world.store.request_end(pending.id, end)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.provider.faults.clear()
    world.live(minutes=2)
    promoted(world, pending)


@pytest.mark.parametrize("world", EVERY_KIND[:3], indirect=True)
def test_what_was_missing_days_ago_does_not_count_today(world: GateWorld) -> None:
    pending = world.ask()
    world.provider.hold_jobs()
    request = world.again(pending).request
    assert request is not None
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    lists_no_jobs(world, pending)
    world.look()
    world.provider.faults.clear()
    world.provider.unprotect()
    world.live(minutes=2)
    world.ended(pending, Phase.PENDING_APPROVAL)
    assert world.again(pending).seen_once == {}
    world.provider.protect()
    world.sweep()
    world.live(minutes=12)
    promoted(world, pending)


@pytest.mark.parametrize("world", ["github", "gitlab-rules"], indirect=True)
def test_a_list_of_reviews_that_is_empty_long_after_the_release_is_read_again(world: GateWorld) -> None:
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.clock.move(minutes=11)
    show_reviews(world, shown=False)
    world.look()
    said = world.ended(pending, Phase.PENDING_APPROVAL)
    assert "nobody has reviewed champion" in said
    assert "looked at again in a minute" in said
    assert world.ledger() == []
    show_reviews(world, shown=True)
    world.live(seconds=61)
    promoted(world, pending)


@pytest.mark.parametrize("world", ["github", "gitlab-rules"], indirect=True)
def test_a_release_that_nobody_reviewed_is_rejected_a_minute_later(world: GateWorld) -> None:
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.clock.move(minutes=11)
    show_reviews(world, shown=False)
    world.look()
    world.wait(seconds=59)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.wait(seconds=2)
    assert "nobody reviewed it" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


@pytest.mark.parametrize("world", EVERY_KIND[1:], indirect=True)
def test_a_job_that_is_skipped_may_be_offered_again(world: GateWorld) -> None:
    pending = world.ask()
    job = world.provider.standin.job(world.run_id_of(pending))  # type: ignore[attr-defined]
    before, job.status = job.status, "skipped"
    world.look()
    assert "was skipped" in world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(minutes=4)
    world.ended(pending, Phase.PENDING_APPROVAL)
    job.status = before
    world.live(minutes=2)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.look()
    promoted(world, pending)


@on_github
def test_an_approved_job_that_was_cut_off_may_show_its_runner_late(world: GateWorld) -> None:
    world.provider.hold_jobs()
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.provider.cut_off(world.run_id_of(pending), "timed_out")
    (job,) = (each for each in world.ci_run(pending).jobs if each.environment)
    started, job.started_at = job.started_at, None
    world.look()
    assert "names no runner" in world.ended(pending, Phase.PENDING_APPROVAL)
    job.started_at = started
    world.live(minutes=2)
    promoted(world, pending)


# --- let start in time, and not to be judged just now -----------------------------------------------------


def unjudgeable_when_it_ends(world: GateWorld) -> Promotion:
    """Approved a moment before the request expires; the place is not safe when that is read."""
    pending = world.ask()
    request = world.again(pending).request
    assert request is not None
    world.clock.time = request.expires_at - timedelta(seconds=20)
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.provider.unprotect()
    return pending


@pytest.mark.parametrize("world", EVERY_KIND[:3], indirect=True)
def test_what_was_let_start_in_time_is_found_although_the_place_was_not_safe_at_the_expiry(
    world: GateWorld,
) -> None:
    pending = unjudgeable_when_it_ends(world)
    world.clock.move(seconds=30)
    world.look()
    assert "cannot be judged" in world.ended(pending, Phase.PENDING_APPROVAL)
    world.live(hours=1)
    world.provider.protect()
    world.live(minutes=11)
    promoted(world, pending)


@pytest.mark.parametrize("world", EVERY_KIND[:3], indirect=True)
def test_a_place_that_is_not_safe_for_a_day_after_the_expiry_ends_it(world: GateWorld) -> None:
    pending = unjudgeable_when_it_ends(world)
    world.clock.move(hours=23)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.clock.move(hours=2)
    world.look()
    assert "cannot be judged" in world.ended(pending, Phase.EXPIRED)
    assert world.models.champion() == "1"


@pytest.mark.parametrize("world", EVERY_KIND[:3], indirect=True)
@pytest.mark.parametrize(("phase", "hours"), [(Phase.SUPERSEDED, 23.5), (Phase.CANCELLED, 0.16)])
def test_an_order_to_end_it_leaves_time_to_judge_what_was_let_start(
    world: GateWorld, phase: Phase, hours: float
) -> None:
    pending = world.ask()
    world.provider.approve(world.run_id_of(pending), "reviewer-1")
    world.provider.unprotect()
    end = EndRequest(phase, "operator-1", "Not this one.", world.clock.now())
    assert world.store.request_end(pending.id, end)
    world.look()
    world.clock.move(hours=hours)
    world.look()
    world.ended(pending, Phase.PENDING_APPROVAL)
    world.clock.move(hours=hours / 10)
    world.look()
    assert world.ended(pending, phase) == "Not this one."
