"""Whose run it is, whether its gated jobs were really let start, and doubles of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import requests
from pydantic import ValidationError

from champion_gate.adapters.github.settings import GitHubPlace
from champion_gate.domain.approval import RequestState
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import VendorUnavailableError
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

pytestmark = pytest.mark.spread(2)


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


FILE = ".github/workflows/champion-gate.yml"
LIKE = [
    f"{FILE}@main",
    f"{FILE}@refs/heads/main",
    f"{FILE}@HEAD_SHA",
    f"{REPOSITORY}/{FILE}",
    f"{REPOSITORY}/{FILE}@main",
    f"Example/ML-Deploy/{FILE}@refs/heads/main",
    f"{REPOSITORY}/{FILE}@HEAD_SHA",
]
UNLIKE = [
    f"{REPOSITORY}/.github/workflows/evil.yml@main",
    f"{REPOSITORY}/{FILE}@feature",
    f"{FILE}@refs/tags/main",
    f"{FILE}@refs/pull/7/merge",
    f"{FILE}@{'0' * 40}",
]
UNKNOWN = [
    f"example/its-old-name/{FILE}@main",
    f"{FILE}@",
    f"{FILE}@0123abc",
    f"{FILE}@main@main",
    f"https://github.com/{REPOSITORY}/blob/main/{FILE}",
    f"github.com/{REPOSITORY}/{FILE}@main",
    "champion-gate.yml",
    "dynamic/agents/champion-gate",
    "",
]


def named_path(world: World, promotion: Promotion, path: str) -> None:
    head = world.there.run(run_of(promotion)).head_sha
    world.spoil_run(promotion, path=path.replace("HEAD_SHA", head))


@pytest.mark.parametrize("path", LIKE)
def test_a_workflow_path_may_name_its_repository_and_its_branch_or_commit(world: World, path: str) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    named_path(world, promotion, path)
    state = world.read(promotion)
    assert (state.problems, state.void) == ((), None)


@pytest.mark.parametrize("path", UNLIKE)
def test_a_workflow_path_that_names_something_else_is_void(world: World, path: str) -> None:
    promotion = world.asked()
    named_path(world, promotion, path)
    assert "workflow file" in (world.read(promotion).void or "")


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_workflow_path_of_an_unknown_form_is_a_problem_and_ends_nothing(world: World, path: str) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    named_path(world, promotion, path)
    state = world.read(promotion)
    assert state.void is None
    assert "workflow file" in " ".join(state.problems)
    world.there.faults.clear()
    assert world.read(promotion).problems == ()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("event", "", "trigger"),
        ("event", "workflow-dispatch", "trigger"),
        ("head_branch", "", "branch"),
        ("workflow_id", 0, "workflow"),
        ("run_attempt", 0, "attempt 0"),
        ("id", 0, "run of"),
        ("actor", {"id": 0, "login": "x"}, "starter"),
        ("repository", {"id": 0, "full_name": REPOSITORY}, "repository"),
    ],
)
def test_any_field_of_an_unknown_form_is_a_problem_and_ends_nothing(
    world: World, field: str, value: object, words: str
) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.spoil_run(promotion, **{field: value})
    state = world.read(promotion)
    assert state.void is None
    assert words in " ".join(state.problems)


def test_a_branch_may_be_named_as_a_whole_ref(world: World) -> None:
    promotion = world.asked()
    world.spoil_run(promotion, head_branch="refs/heads/main")
    state = world.read(promotion)
    assert (state.problems, state.void) == ((), None)


def test_a_run_that_ended_while_its_gated_job_has_not_is_a_problem(world: World) -> None:
    promotion = world.asked()
    world.spoil_run(promotion, status="completed", conclusion="success")
    state = world.read(promotion)
    assert state.void is None
    assert "its job approve (champion) has not" in " ".join(state.problems)


@pytest.mark.parametrize("absent", ["run_attempt", "actor"])
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


ENDS = ["cancelled", "timed_out", "failure", "neutral", "action_required"]


@pytest.mark.parametrize("conclusion", [*ENDS, "skipped", "blessed"])
def test_an_approval_whose_job_never_started_released_nothing(world: World, conclusion: str) -> None:
    world.there.workflow_runs.runners = False
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.end_job(run_of(promotion), "champion", conclusion)
    state = world.read(promotion)
    assert state.reviews
    assert state.released_at == {}


@pytest.mark.parametrize("conclusion", ENDS)
def test_a_job_that_ran_was_released_however_it_ended(world: World, conclusion: str) -> None:
    world.there.workflow_runs.jobs_finish = False
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.end_job(run_of(promotion), "champion", conclusion)
    state = world.read(promotion)
    assert state.released_at == {"champion": START}
    assert (state.problems, state.void) == ((), None)


@pytest.mark.parametrize(
    "sign",
    [
        {"runner_id": 7},
        {"runner_name": "runner-1"},
        {"steps": [{"name": "Set up job", "started_at": "2026-11-20T10:00:00Z", "conclusion": "success"}]},
        {"steps": [{"name": "Run", "started_at": "2026-11-20T10:00:00Z", "conclusion": None}]},
    ],
)
def test_a_runner_or_a_step_that_began_shows_that_a_job_ran(world: World, sign: dict[str, object]) -> None:
    promotion = asked_and_cut_off(world, sign)
    assert world.read(promotion).released_at == {"champion": START}


@pytest.mark.parametrize(
    "sign",
    [
        {"runner_id": 0, "runner_name": ""},
        {"steps": None},
        {"steps": [{"name": "Run", "started_at": None, "conclusion": "cancelled"}]},
        {"steps": [{"name": "Run", "started_at": "2026-11-20T10:00:00Z", "conclusion": "skipped"}]},
    ],
)
def test_what_is_no_sign_of_a_runner_shows_nothing(world: World, sign: dict[str, object]) -> None:
    promotion = asked_and_cut_off(world, sign)
    assert world.read(promotion).released_at == {}


def asked_and_cut_off(world: World, sign: dict[str, object]) -> Promotion:
    """An approved request whose job was cancelled without a runner, but for what the sign says of it."""
    world.there.workflow_runs.runners = False
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    world.there.cancel(run_of(promotion))
    path = f"/repos/{REPOSITORY}/actions/runs/{run_of(promotion)}/jobs"
    headers = {"Authorization": f"Bearer {world.there.add_token('somebody')}"}
    listed = requests.get(f"{world.url}{path}", headers=headers, timeout=10).json()
    listed["jobs"] = [
        {**job, **(sign if job["name"] == "approve (champion)" else {})} for job in listed["jobs"]
    ]
    world.there.faults.add(f"{path}$", body=json.dumps(listed))
    return promotion


@pytest.mark.parametrize(
    ("status", "conclusion"), [("blessed", None), ("completed", "blessed"), ("completed", None)]
)
def test_a_state_of_the_job_that_is_not_known_is_a_problem(
    world: World, status: str, conclusion: str | None
) -> None:
    promotion = world.asked()
    world.there.review(run_of(promotion), "champion", "ann", approve=True)
    job = gated_job_of(world, promotion)
    job.status, job.conclusion = status, conclusion
    state = world.read(promotion)
    assert state.released_at == {}
    assert "approve (champion)" in " ".join(state.problems)


@pytest.mark.parametrize("status", ["waiting", "queued", "pending", "requested", "blessed"])
def test_a_job_that_waits_is_not_released_although_it_names_a_start(world: World, status: str) -> None:
    world.there.workflow_runs.runners = False
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


def test_nobody_is_asked_in_an_environment_whose_jobs_name_is_cut() -> None:
    with pytest.raises(ValidationError, match="1 to 90 characters"):
        GitHubPlace(repository=REPOSITORY, environments=("x" * 91,))


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
