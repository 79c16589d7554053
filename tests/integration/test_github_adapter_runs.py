"""Whose run it is, whether its gated jobs were really let start, and doubles of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest

from champion_gate.core.approval import RequestState
from champion_gate.core.promotion import Promotion
from champion_gate.errors import InvalidNameError, VendorUnavailableError
from integration.github_world import (
    EVIDENCE,
    REPOSITORY,
    START,
    World,
    gated_job_of,
    github_world,
    run_of,
    target_of,
)


@pytest.fixture
def world() -> Iterator[World]:
    with github_world() as made:
        yield made


# --- the run is not the one, or not the first ------------------------------------------------------------


def test_a_second_attempt_is_void(world: World) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=False)
    world.there.rerun(run_of(promotion), "mallory")
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    assert "second time" in (world.read(promotion).void or "")


def test_a_second_attempt_that_starts_while_we_read_is_void(world: World) -> None:
    promotion = world.asked()
    run_id = run_of(promotion)
    job = {"name": "approve (champion)", "run_id": int(run_id), "run_attempt": 2, "status": "completed"}
    job |= {"conclusion": "success", "started_at": "2026-11-20T10:00:00Z"}
    world.there.faults.add(f"/runs/{run_id}/jobs$", body=json.dumps({"total_count": 1, "jobs": [job]}))
    assert "second time" in (world.read(promotion).void or "")


def test_a_second_attempt_between_the_jobs_and_the_reviews_is_void(world: World) -> None:
    world.there.add_user("trainer")
    promotion = world.asked()
    world.there.bypass(run_of(promotion), "champion", "trainer")
    with asking_held_at(world, "/approvals$", promotion) as reading:
        world.there.rerun(run_of(promotion), "trainer")
        world.there.review(run_of(promotion), "champion", "ann", approve=True)
    state = reading.result(timeout=30)
    assert {review.login for review in state.reviews} == {"trainer", "ann"}
    assert "second time" in (state.void or "")


@contextmanager
def asking_held_at(world: World, path: str, promotion: Promotion) -> Iterator[Future[RequestState]]:
    """Read the promotion in another thread; the block runs while the call to this path is held up at GitHub."""
    held = world.there.faults.add(path, hang=60.0, times=1)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(world.read, promotion)
        try:
            ends = time.monotonic() + 20
            while held.hits == 0 and time.monotonic() < ends:
                time.sleep(0.005)
            assert held.hits == 1
            yield reading
        finally:
            held.released.set()


@pytest.mark.parametrize("path", ["/runs/[0-9]+$", "/environments/champion$", "/jobs$", "/approvals$"])
@pytest.mark.parametrize("approve", [True, False])
def test_a_review_that_arrives_while_we_read_is_never_half_seen(
    world: World, path: str, *, approve: bool
) -> None:
    promotion = world.asked()
    with asking_held_at(world, path, promotion) as reading:
        world.there.review(run_of(promotion), "champion", "ann", approve=approve)
    state = reading.result(timeout=30)
    assert state.void is None
    assert state.problems == ()
    if state.released_at or state.finished:
        assert [review.login for review in state.reviews] == ["ann"]
    assert [review.login for review in world.read(promotion).reviews] == ["ann"]


def test_a_job_that_has_just_started_waits_for_its_review_to_be_listed(world: World) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    lagging = world.there.faults.add("/approvals$", body="[]")
    assert "lists no review of it yet" in " ".join(world.read(promotion).problems)
    world.clock.move(minutes=2)
    state = world.read(promotion)
    assert (state.problems, state.reviews, set(state.released_at)) == ((), (), {"champion"})
    assert lagging.hits == 2


def test_a_cancelled_run_is_void(world: World) -> None:
    promotion = world.asked()
    world.there.cancel(run_of(promotion))
    state = world.read(promotion)
    assert "cancelled" in (state.void or "")
    assert (state.finished, state.released_at) == (True, {})


def test_a_cancel_after_the_first_of_two_approvals_is_void(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "audit", ["ann"])
    promotion = world.asked(target=target_of("champion", "audit"))
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.cancel(run_of(promotion))
    assert world.read(promotion).void is not None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event", "push"),
        ("head_branch", "feature"),
        ("actor", "mallory"),
    ],
)
def test_a_run_of_another_origin_is_void(world: World, field: str, value: str) -> None:
    promotion = world.asked()
    run = world.there.run(run_of(promotion))
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    new = world.there.state.account("mallory", kind="User") if field == "actor" else value
    setattr(run, field, new)
    assert world.read(promotion).void is not None


@pytest.mark.parametrize(
    "path", [".github/workflows/evil.yml", ".github/workflows/champion-gate.yml@feature"]
)
def test_a_run_of_another_workflow_file_is_void(world: World, path: str) -> None:
    promotion = world.asked()
    world.spoil_run(promotion, path=path)
    assert "file" in (world.read(promotion).void or "")


@pytest.mark.parametrize("ref", ["@main", "@refs/heads/main"])
def test_a_workflow_path_may_name_its_branch(world: World, ref: str) -> None:
    promotion = world.asked()
    world.spoil_run(promotion, path=f".github/workflows/champion-gate.yml{ref}")
    assert world.read(promotion).void is None


@pytest.mark.parametrize(
    "absent", ["run_attempt", "path", "event", "actor", "repository", "head_branch", "status"]
)
def test_a_run_of_which_not_all_is_told_is_unreadable(world: World, absent: str) -> None:
    promotion = world.asked()
    world.spoil_run(promotion, **{absent: None})
    with pytest.raises(VendorUnavailableError, match=absent):
        world.read(promotion)


def test_a_status_that_is_not_known_is_a_problem(world: World) -> None:
    promotion = world.asked()
    world.spoil_run(promotion, status="blessed")
    assert "blessed" in " ".join(world.read(promotion).problems)


# --- the gated job ----------------------------------------------------------------------------------------


def test_a_green_run_whose_gated_job_was_skipped_released_nothing(world: World) -> None:
    promotion = world.asked()
    world.there.end_job(run_of(promotion), "champion", "skipped")
    assert world.there.run(run_of(promotion)).conclusion == "success"
    state = world.read(promotion)
    assert (state.finished, state.reviews, state.released_at) == (True, (), {})


@pytest.mark.parametrize(
    "conclusion", ["skipped", "cancelled", "neutral", "timed_out", "action_required", "blessed"]
)
def test_an_approval_whose_job_never_started_released_nothing(world: World, conclusion: str) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    gated_job_of(world, promotion).conclusion = conclusion
    state = world.read(promotion)
    assert state.reviews
    assert state.released_at == {}


@pytest.mark.parametrize("status", ["waiting", "queued", "pending", "requested", "blessed"])
def test_a_job_that_waits_is_not_released_although_it_names_a_start(world: World, status: str) -> None:
    promotion = world.asked()
    gated_job_of(world, promotion).status = status
    assert world.read(promotion).released_at == {}


@pytest.mark.parametrize("name", ["approve", "approve (Champion)", "approve (champion) ", "build"])
def test_a_job_of_another_name_is_not_the_gated_one(world: World, name: str) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    gated_job_of(world, promotion).name = name
    assert world.read(promotion).released_at == {}


# --- names that GitHub cuts -------------------------------------------------------------------------------


def test_nobody_is_asked_in_an_environment_whose_jobs_name_is_cut(world: World) -> None:
    world.there.protect_environment(REPOSITORY, "x" * 91, ["ann"])
    with pytest.raises(InvalidNameError, match="1 to 90 characters"):
        world.here.check_place(target_of("x" * 91))


def test_who_was_asked_there_before_is_heard_all_the_same(world: World) -> None:
    promotion = _asked_before(world, "x" * 91)
    assert world.read(promotion).problems == ()
    world.there.review(run_of(promotion), "x" * 91, "ann", approve=True)
    state = world.read(promotion)
    assert state.released_at == {"x" * 91: START}
    assert [(review.login, review.is_listed) for review in state.reviews] == [("ann", True)]


def test_two_jobs_that_are_listed_under_one_name_release_nothing(world: World) -> None:
    seats = ("x" * 95 + "a", "x" * 95 + "b")
    promotion = _asked_before(world, *seats)
    for seat, login in zip(seats, ("ann", "bob"), strict=True):
        world.there.review(run_of(promotion), seat, login, approve=True)
    state = world.read(promotion)
    assert state.released_at == {}
    assert "2 jobs named approve (xxx" in " ".join(state.problems)


def _asked_before(world: World, *seats: str) -> Promotion:
    """A promotion that asked in these environments when nobody counted their characters."""
    promotion = world.promotion()
    assert promotion.request is not None
    known = json.loads(promotion.request.pins["environments"])["champion"]
    made = {seat: world.there.protect_environment(REPOSITORY, seat, ["ann", "bob"]) for seat in seats}
    people = sorted(str(user.id) for user in made[seats[0]].people())
    pinned = {seat: {**known, "id": str(one.id), "users": people} for seat, one in made.items()}
    pins = {**promotion.request.pins, "environments": json.dumps(pinned)}
    promotion = replace(promotion, request=replace(promotion.request, seats=seats, pins=pins))
    opened = world.here.open(target_of(*seats), promotion, EVIDENCE)
    assert opened is not None
    return world.with_run(promotion, opened.external_id)


@pytest.mark.parametrize("name", ["approve", "Approve (champion)", "release"])
def test_a_run_that_waits_in_jobs_of_other_names_says_which(world: World, name: str) -> None:
    promotion = world.asked()
    gated_job_of(world, promotion).name = name
    state = world.read(promotion)
    (problem,) = state.problems
    assert "has no job named approve (champion). Its jobs are: " in problem
    assert f"{name} (waiting)" in problem
    assert "present (success)" in problem
    assert "deploy/github/champion-gate.yml" in problem
    assert (state.void, state.finished) == (None, False)


def test_a_run_that_ended_without_the_gated_job_says_which_jobs_it_had(world: World) -> None:
    promotion = world.asked()
    gated_job_of(world, promotion).name = "release"
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    assert "Its jobs are: present (success), release (success)." in (world.read(promotion).void or "")


def test_a_run_that_has_only_begun_lacks_nothing_yet(world: World) -> None:
    promotion = world.asked()
    world.there.run(run_of(promotion)).jobs[:] = []
    world.spoil_run(promotion, status="in_progress", conclusion=None)
    state = world.read(promotion)
    assert (state.problems, state.void) == ((), None)


def test_two_jobs_of_the_gated_name_are_a_problem(world: World) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    run = world.there.run(run_of(promotion))
    run.jobs.append(gated_job_of(world, promotion))
    state = world.read(promotion)
    assert state.released_at == {}
    assert "2 jobs named" in " ".join(state.problems)


@pytest.mark.parametrize("external_url", [None, "https://github.example.com/api/v3"])
def test_a_gated_job_on_a_later_page_is_found(world: World, external_url: str | None) -> None:
    world.there.state.external_url = external_url
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    run = world.there.run(run_of(promotion))
    others = [
        replace(gated_job_of(world, promotion), id=number, name=f"build {number}") for number in range(250)
    ]
    run.jobs[:0] = others
    assert world.read(promotion).released_at == {"champion": START}


def test_a_run_whose_presentation_failed_released_nothing(world: World) -> None:
    world.there.workflow_runs.present_conclusion = "failure"
    state = world.read(world.asked())
    assert (state.finished, state.reviews, state.released_at) == (True, (), {})


# --- doubles ----------------------------------------------------------------------------------------------


def test_another_open_run_of_ours_for_the_same_promotion_is_a_duplicate_until_it_ends(world: World) -> None:
    promotion = world.promotion()
    world.here.open(target_of(), promotion, EVIDENCE)
    world.here.open(target_of(), promotion, EVIDENCE)
    first, second = world.there.runs
    pending = world.with_run(promotion, str(first.id))
    assert world.here.duplicates(target_of(), pending) == (str(second.id),)
    world.here.cancel(target_of(), str(second.id))
    assert world.here.duplicates(target_of(), pending) == ()


def test_a_run_that_somebody_else_started_with_our_id_is_none_of_ours(world: World) -> None:
    promotion = world.asked()
    inputs = {**dict(world.there.run(run_of(promotion)).inputs)}
    world.there.dispatch(REPOSITORY, inputs, login="mallory")
    assert world.here.duplicates(target_of(), promotion) == ()
