"""“Try again later”, in whatever words and with whatever status, is waited for; a refusal is told at once."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase
from integration.gate_world import GateWorld, gate_world
from integration.start_world import list_after, lose_answers, pass_time

pytestmark = [pytest.mark.part("rest", "gitlab", "GitLab"), pytest.mark.spread(2)]

GITLAB, GITHUB = "gitlab-environment", "github"
TOO_MANY = "Too many pipelines created in the last minute. Try again later."
ACTIVE_JOBS = "Project exceeded the allowed number of jobs in active pipelines. Retry later."
LIMITS: dict[str, tuple[str, int, object]] = {
    "pipelines a minute": (GITLAB, 400, {"message": TOO_MANY}),
    "pipelines a minute, as of a pipeline": (GITLAB, 400, {"message": {"base": [TOO_MANY]}}),
    "active jobs": (GITLAB, 400, {"message": {"base": [ACTIVE_JOBS]}}),
    "an endpoint": (
        GITLAB,
        403,
        {"message": {"error": "This endpoint has been requested too many times. Try again later."}},
    ),
    "behind many words": (GITLAB, 400, {"message": {"base": ["Something about this. " * 20, TOO_MANY]}}),
    "rack attack": (GITLAB, 429, "Retry later\n"),
    "secondary": (
        GITHUB,
        403,
        {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."},
    ),
    "abuse": (GITHUB, 403, {"message": "You have triggered an abuse detection mechanism. Please wait."}),
    "primary": (GITHUB, 403, {"message": "API rate limit exceeded for installation ID 1."}),
    "content": (GITHUB, 422, {"message": "Validation Failed: was submitted too quickly"}),
}
REFUSALS: dict[str, tuple[str, int, object]] = {
    "no branch": (GITLAB, 400, {"message": {"base": ["Reference not found"]}}),
    "no right at GitLab": (GITLAB, 403, {"message": "403 Forbidden"}),
    "too large": (GITLAB, 400, {"message": {"base": ["The pipeline has too many jobs, the limit is 500."]}}),
    "no ref": (GITHUB, 422, {"message": "No ref found for: main"}),
    "no right at GitHub": (GITHUB, 403, {"message": "Resource not accessible by integration"}),
}


def answer_starts(world: GateWorld, status: int, body: object, **how: object) -> None:
    """From now on starts are answered so."""
    text = body if isinstance(body, str) else json.dumps(body)
    world.provider.faults.add(f"{world.provider.opening}$", status=status, body=text, **how)


@pytest.mark.part("full", "endpoint", "behind", "content", "active jobs", "as of a")
@pytest.mark.parametrize(("provider", "status", "body"), LIMITS.values(), ids=LIMITS)
def test_a_limit_on_starts_is_waited_for_and_costs_no_start(
    tmp_path: Path, provider: str, status: int, body: object
) -> None:
    with gate_world(tmp_path, provider=provider) as world:
        answer_starts(world, status, body, times=3)
        world.train()
        world.settle()
        waiting = world.promotion(Phase.REQUESTED)
        assert (waiting.retry.attempts, waiting.due_at) == (1, world.clock.now() + timedelta(minutes=1))
        assert "The rate limit is used up." in (waiting.retry.last_error or "")
        assert world.provider.asked() == 1
        world.live(minutes=5)
        pending = world.promotion(Phase.PENDING_APPROVAL)
        assert (world.provider.asked(), len(world.provider.requests())) == (4, 1)
        world.provider.approve(world.run_id_of(pending), "reviewer-1")
        world.sweep()
        world.ended(pending, Phase.PROMOTED)


@pytest.mark.parametrize(("provider", "status", "body"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_told_at_once(tmp_path: Path, provider: str, status: int, body: object) -> None:
    with gate_world(tmp_path, provider=provider) as world:
        answer_starts(world, status, body)
        world.train()
        world.settle()
        assert "promotions retry" in world.promotion(Phase.FAILED).reason
        assert world.provider.asked() == 1


@pytest.mark.parametrize("provider", [GITHUB, GITLAB])
@pytest.mark.parametrize(("after", "waits"), [(7, 7), (1800, 1800), (86400, 3600)])
def test_a_limit_is_waited_for_as_long_as_the_vendor_says(
    tmp_path: Path, provider: str, after: int, waits: int
) -> None:
    status, body = (400, {"message": TOO_MANY}) if provider == GITLAB else (403, {"message": "Slow down."})
    with gate_world(tmp_path, provider=provider) as world:
        answer_starts(world, status, body, headers={"Retry-After": str(after)})
        world.train()
        world.settle()
        waiting = world.promotion(Phase.REQUESTED)
        assert waiting.due_at == world.clock.now() + timedelta(seconds=waits)


@pytest.mark.part("rest")
@pytest.mark.parametrize(("provider", "status", "body"), LIMITS.values(), ids=LIMITS)
def test_a_limit_on_reading_and_cancelling_is_no_answer(
    tmp_path: Path, provider: str, status: int, body: object
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    with gate_world(tmp_path, provider=provider) as world:
        pending = world.ask()
        world.provider.approve(world.run_id_of(pending), "reviewer-1")
        world.provider.faults.add(world.provider.reading(world.run_id_of(pending)), status=status, body=text)
        world.look()
        assert "The rate limit is used up." in (world.again(pending).retry.last_error or "")
        world.provider.faults.clear()
        world.look()
        world.ended(pending, Phase.PROMOTED)


@pytest.mark.parametrize("provider", [GITHUB, GITLAB])
@pytest.mark.parametrize("started_before", [False, True], ids=["the first start", "the second start"])
def test_while_a_refused_start_waits_as_long_as_it_was_told_nothing_is_asked(
    tmp_path: Path, provider: str, *, started_before: bool
) -> None:
    with gate_world(tmp_path, provider=provider) as world:
        if started_before:
            lose_answers(world, times=1)
            list_after(world, days=1)
        world.train()
        answer_starts(world, 429, {"message": "later"}, headers={"Retry-After": "1800"}, times=1)
        world.settle()
        if started_before:
            pass_time(world, minutes=3)
        waiting = world.promotion(Phase.REQUESTED)
        assert waiting.due_at is not None
        assert "429" in (waiting.retry.last_error or "")
        refused_at = waiting.due_at - timedelta(minutes=30)
        asked = len(world.provider.faults.requests)
        world.live(minutes=25)
        world.sweep()
        assert world.provider.faults.requests[asked:] == []
        world.live(minutes=6)
        assert world.clock.now() - refused_at > timedelta(minutes=30)
        world.promotion(Phase.PENDING_APPROVAL)
        list_after(world)
