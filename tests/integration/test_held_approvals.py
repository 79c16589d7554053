"""Undecided, approved and still held by the vendor, released: three states, and what a released job's end says of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.web.api.answers import PromotionAnswer
from champion_gate_standins.github.repositories import Environment
from integration.gate_providers import (
    EVERY_KIND,
    REPOSITORY,
    REVIEWERS,
    TRAINER_LOGIN,
    GitLabProvider,
    Provider,
)
from integration.gate_world import GateWorld, gate_world

pytestmark = [pytest.mark.part("rest", "gitlab"), pytest.mark.spread(2)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


@pytest.fixture(params=EVERY_KIND)
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, provider=request.param) as made:
        yield made


def rules_of(world: GateWorld, seat: str = "champion", *, wait_timer: int = 0) -> Environment:
    """The environment with further rules."""
    return world.github.protect_environment(REPOSITORY, seat, REVIEWERS, wait_timer=wait_timer)


def unmoved(world: GateWorld) -> None:
    assert world.models.champion() == "1"
    assert not [reason for kind, reason in world.ledger() if kind == "decision"]


def promoted(world: GateWorld, pending: Promotion) -> None:
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"
    assert ("decision", "Approved by reviewer-1 (champion).") in world.ledger()


# --- held at GitHub ---------------------------------------------------------------------------------------


def test_what_a_timer_holds_is_approved_and_says_until_when(world: GateWorld) -> None:
    rules_of(world, wait_timer=60)
    pending = world.ask()
    world.look()
    assert world.ended(pending, Phase.PENDING_APPROVAL) == "Waiting for people to decide in champion."
    until = world.ci_run(pending).created_at + timedelta(minutes=60)
    world.clock.move(minutes=10)
    world.approve(pending)
    world.look()
    reason = world.ended(pending, Phase.PENDING_APPROVAL)
    assert (
        reason
        == f"Approved by reviewer-1 (champion), and held by a wait timer until {until:%Y-%m-%d %H:%M} UTC."
    )
    assert PromotionAnswer.of(world.again(pending)).reason == reason
    unmoved(world)
    world.clock.move(minutes=51)
    promoted(world, pending)


def test_what_another_rule_holds_says_so(world: GateWorld) -> None:
    place = rules_of(world)
    place.other_rule_holds = True
    pending = world.ask()
    world.approve(pending)
    world.look()
    assert "held by another protection rule of the environment" in world.ended(
        pending, Phase.PENDING_APPROVAL
    )
    unmoved(world)
    place.other_rule_holds = False
    promoted(world, pending)


def test_what_waits_for_a_runner_says_so(world: GateWorld) -> None:
    world.github.workflow_runs.runners = False
    pending = world.ask()
    world.approve(pending)
    world.look()
    assert "reviewer-1 (champion), and held by the lack of a runner" in world.ended(
        pending, Phase.PENDING_APPROVAL
    )
    unmoved(world)
    world.github.workflow_runs.runners = True
    promoted(world, pending)


def test_what_holds_it_is_only_said_and_stops_nothing_where_it_cannot_be_read(world: GateWorld) -> None:
    rules_of(world, wait_timer=60)
    pending = world.ask()
    world.provider.faults.add("/pending_deployments$", status=500)
    world.approve(pending)
    world.look()
    reason = world.ended(pending, Phase.PENDING_APPROVAL)
    assert reason.startswith("Approved by reviewer-1 (champion), and held by GitHub; by what cannot be read")
    world.clock.move(minutes=61)
    promoted(world, pending)


def test_of_two_seats_the_one_is_held_and_the_other_undecided(world: GateWorld) -> None:
    world.reconfigure(approval=world.provider.approval(2))
    rules_of(world, wait_timer=60)
    pending = world.ask()
    world.approve(pending)
    world.look()
    reason = world.ended(pending, Phase.PENDING_APPROVAL)
    assert reason.startswith(
        "1 of 2 approved; champion-2 is missing. Approved by reviewer-1 (champion), and held"
    )
    world.wait(days=14, seconds=2)
    expired = world.ended(pending, Phase.EXPIRED)
    assert expired.startswith("Nobody decided in champion-2 before ")
    unmoved(world)


def test_a_held_approval_by_somebody_who_may_not_decide_is_said_to_be_none(world: GateWorld) -> None:
    rules_of(world, wait_timer=60)
    pending = world.ask()
    world.approve(pending, TRAINER_LOGIN)
    world.look()
    reason = world.ended(pending, Phase.PENDING_APPROVAL)
    assert reason.startswith(
        f"Waiting for people to decide in champion. champion: the approval of {TRAINER_LOGIN} does"
    )
    world.clock.move(minutes=61)
    world.look()
    assert "is behind this version" in world.ended(pending, Phase.REJECTED)
    assert world.models.champion() == "1"


def test_what_is_still_held_at_the_expiry_says_who_approved_and_what_held_it(world: GateWorld) -> None:
    place = rules_of(world)
    place.other_rule_holds = True
    pending = world.ask()
    world.approve(pending)
    world.wait(days=14, seconds=2)
    reason = world.ended(pending, Phase.EXPIRED)
    assert reason.startswith("Approved by reviewer-1 (champion), and still held by another protection rule")
    assert "when the request expired on " in reason
    assert world.provider.requests()[world.run_id_of(pending)] == "cancelled"
    place.other_rule_holds = False
    world.look()
    unmoved(world)


def test_what_was_let_start_after_the_expiry_says_who_approved(world: GateWorld) -> None:
    rules_of(world, wait_timer=14 * 24 * 60 - 1)
    pending = world.ask()
    world.approve(pending)
    place = rules_of(world, wait_timer=14 * 24 * 60 - 1)
    place.other_rule_holds = True
    world.clock.move(days=14, minutes=1)
    place.other_rule_holds = False
    world.settle()
    reason = world.ended(pending, Phase.EXPIRED)
    assert reason.startswith("Approved by reviewer-1, and let start on ")
    assert "after the request had expired" in reason
    unmoved(world)


@pytest.mark.parametrize("minutes", [60, 61, 43200])
def test_a_timer_as_long_as_people_have_is_refused_until_it_is_shortened(
    world: GateWorld, minutes: int
) -> None:
    world.reconfigure(expires_after="1h")
    rules_of(world, wait_timer=minutes)
    world.train()
    world.settle()
    reason = world.ended(world.promotion(), Phase.REQUESTED)
    assert (
        f"its wait timer of {minutes} minutes is no shorter than the gate's `expires_after`, 60 minutes"
        in reason
    )
    assert world.provider.requests() == {}
    rules_of(world, wait_timer=59)
    world.wait(minutes=3)
    pending = world.promotion(Phase.PENDING_APPROVAL)
    world.approve(pending)
    world.clock.move(minutes=59, seconds=30)
    promoted(world, pending)


# --- held at GitLab ---------------------------------------------------------------------------------------


def on_gitlab(provider: Provider) -> GitLabProvider:
    assert isinstance(provider, GitLabProvider)
    return provider


@pytest.mark.parametrize("anywhere", ["gitlab-rules"], indirect=True)
def test_an_approved_deployment_is_held_until_somebody_runs_the_job(anywhere: GateWorld) -> None:
    there = on_gitlab(anywhere.provider)
    pending = anywhere.ask()
    anywhere.look()
    assert anywhere.ended(pending, Phase.PENDING_APPROVAL) == "Waiting for people to decide in champion."
    there.standin.approve_deployment(there.standin.deployment(anywhere.run_id_of(pending)), "reviewer-1")
    anywhere.look()
    reason = anywhere.ended(pending, Phase.PENDING_APPROVAL)
    assert reason.startswith(
        "Approved by reviewer-1 (champion), and held by job approve, which somebody has to run now (http"
    )
    unmoved(anywhere)
    there.standin.play(there.standin.job(anywhere.run_id_of(pending)), "reviewer-2")
    promoted(anywhere, pending)


@pytest.mark.parametrize("anywhere", ["gitlab-rules"], indirect=True)
def test_an_approved_deployment_that_nobody_ran_expires_with_who_approved(anywhere: GateWorld) -> None:
    there = on_gitlab(anywhere.provider)
    pending = anywhere.ask()
    there.standin.approve_deployment(there.standin.deployment(anywhere.run_id_of(pending)), "reviewer-1")
    anywhere.wait(days=14, seconds=2)
    reason = anywhere.ended(pending, Phase.EXPIRED)
    assert reason.startswith("Approved by reviewer-1 (champion), and still held by job approve")
    unmoved(anywhere)


@pytest.mark.parametrize("anywhere", ["gitlab-rules"], indirect=True)
def test_half_of_the_approvals_are_said_to_be_there(anywhere: GateWorld) -> None:
    there = on_gitlab(anywhere.provider)
    anywhere.reconfigure(approval=there.approval(2))
    pending = anywhere.ask()
    there.approve(anywhere.run_id_of(pending), "reviewer-1")
    anywhere.look()
    assert anywhere.ended(pending, Phase.PENDING_APPROVAL) == (
        "1 of 2 approved; champion (2/2) is missing. Approved by reviewer-1 (champion (1/2)), "
        "and held by GitLab, where approvals are missing (1)."
    )


@pytest.mark.parametrize("anywhere", ["gitlab-environment", "gitlab-branch"], indirect=True)
@pytest.mark.parametrize("status", ["pending", "preparing", "waiting_for_resource"])
def test_a_played_job_without_a_runner_is_held(anywhere: GateWorld, status: str) -> None:
    there = on_gitlab(anywhere.provider)
    there.hold_jobs()
    pending = anywhere.ask()
    job = there.standin.play(there.standin.job(anywhere.run_id_of(pending)), "reviewer-1")
    job.status, job.started_at = status, None
    anywhere.look()
    reason = anywhere.ended(pending, Phase.PENDING_APPROVAL)
    assert reason.startswith("Approved by reviewer-1 (champion), and held by ")
    assert f"job approve is {status}" in reason
    unmoved(anywhere)
    job.status, job.started_at = "running", anywhere.clock.now()
    promoted(anywhere, pending)


# --- a released job ends, before anybody looked -----------------------------------------------------------


@pytest.mark.parametrize("end", ["cancelled", "timed_out", "failure"])
def test_a_released_job_that_was_cut_off_was_approved_all_the_same(anywhere: GateWorld, end: str) -> None:
    there = anywhere.provider
    there.hold_jobs()
    pending = anywhere.ask()
    there.approve(anywhere.run_id_of(pending), "reviewer-1")
    there.cut_off(anywhere.run_id_of(pending), end)
    promoted(anywhere, pending)


def test_somebody_cancels_the_run_of_a_released_job(anywhere: GateWorld) -> None:
    there = anywhere.provider
    there.hold_jobs()
    pending = anywhere.ask()
    there.approve(anywhere.run_id_of(pending), "reviewer-1")
    there.cancel(anywhere.run_id_of(pending))
    promoted(anywhere, pending)


@pytest.mark.parametrize("end", ["cancelled", "timed_out", "failure"])
def test_a_cut_off_job_that_a_trainer_released_is_no_approval(anywhere: GateWorld, end: str) -> None:
    there = anywhere.provider
    there.hold_jobs()
    pending = anywhere.ask()
    there.approve(anywhere.run_id_of(pending), TRAINER_LOGIN)
    there.cut_off(anywhere.run_id_of(pending), end)
    anywhere.look()
    assert "is behind this version" in anywhere.ended(pending, Phase.REJECTED)
    assert anywhere.models.champion() == "1"


@pytest.mark.parametrize("end", ["cancelled", "timed_out", "failure"])
def test_an_approved_job_that_ended_without_a_runner_was_never_released(world: GateWorld, end: str) -> None:
    world.github.workflow_runs.runners = False
    pending = world.ask()
    world.approve(pending)
    world.provider.cut_off(world.run_id_of(pending), end)
    world.look()
    world.live(minutes=6)
    reason = world.ended(pending, Phase.REJECTED)
    assert "never let start" in reason or "before every gated job was let start" in reason
    assert "not by an approval that counts" not in reason
    assert world.models.champion() == "1"


def test_nobody_reviews_for_thirty_days_and_nothing_false_is_said(world: GateWorld) -> None:
    world.reconfigure(expires_after="30d")
    pending = world.ask()
    world.clock.move(days=30)
    world.look()
    assert world.ended(pending, Phase.REJECTED) == "The request ended without a decision for champion."
