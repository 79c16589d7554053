"""Unusual forms of what GitHub says of a run, through the whole gate: what fits promotes, what is unknown waits, what is unlike voids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import REPOSITORY, GateWorld, gate_world
from integration.rules_world import assert_unmoved, shown

pytestmark = pytest.mark.spread(2)

FILE = ".github/workflows/champion-gate.yml"
RUN, JOBS, REVIEWS = "", "/jobs", "/approvals"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def approved(world: GateWorld) -> Promotion:
    """A reviewer has approved, and the service has not looked yet."""
    pending = world.ask()
    world.approve(pending)
    return pending


def answer(world: GateWorld, pending: Promotion, part: str) -> Any:
    path = f"/repos/{REPOSITORY}/actions/runs/{world.run_id_of(pending)}{part}"
    token = world.github.add_token("somebody")
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{world.github_url}{path}", headers=headers, timeout=5).json()


def say(world: GateWorld, pending: Promotion, part: str, said: Any) -> None:
    """Have GitHub answer this when it is asked about the run, its jobs or its reviews."""
    world.github.faults.add(f"/actions/runs/{world.run_id_of(pending)}{part}$", body=json.dumps(said))


def change(world: GateWorld, pending: Promotion, part: str, changes: dict[str, Any]) -> None:
    """The same with other values of these fields; in a list of jobs or reviews, in the gated job's or the first."""
    said = answer(world, pending, part)
    spoilt = said
    if part == JOBS:
        (spoilt,) = (job for job in said["jobs"] if job["name"] == "approve (champion)")
    elif part == REVIEWS:
        spoilt = said[0]
    head = world.ci_run(pending).head_sha
    for key, value in changes.items():
        spoilt[key] = value.replace("HEAD_SHA", head) if isinstance(value, str) else value
    say(world, pending, part, said)


HONEST = {
    "path with branch": (RUN, {"path": f"{FILE}@main"}),
    "path with ref": (RUN, {"path": f"{FILE}@refs/heads/main"}),
    "path with commit": (RUN, {"path": f"{FILE}@HEAD_SHA"}),
    "path with repository": (RUN, {"path": f"{REPOSITORY}/{FILE}@main"}),
    "path with repository in another case": (RUN, {"path": f"{REPOSITORY.upper()}/{FILE}@HEAD_SHA"}),
    "whole ref": (RUN, {"head_branch": "refs/heads/main"}),
    "field that nobody knows": (RUN, {"new_field": {"a": [1]}}),
    "conclusion of a run that goes on": (RUN, {"status": "in_progress", "conclusion": "success"}),
    "job by a runner without a name": (JOBS, {"runner_name": "", "steps": None}),
    "review without a comment": (REVIEWS, {"comment": ""}),
}

UNKNOWN = {
    "path of an old name of the repository": (RUN, {"path": f"example/its-old-name/{FILE}@main"}, "old-name"),
    "path with short commit": (RUN, {"path": f"{FILE}@0123abc"}, "0123abc"),
    "path as URL": (RUN, {"path": f"https://github.com/{REPOSITORY}/blob/main/{FILE}"}, "workflow file"),
    "path without folder": (RUN, {"path": "champion-gate.yml"}, "workflow file"),
    "empty branch": (RUN, {"head_branch": ""}, "branch"),
    "event in another case": (RUN, {"event": "WORKFLOW_DISPATCH"}, "trigger"),
    "event with dashes": (RUN, {"event": "workflow-dispatch"}, "trigger"),
    "no actor": (RUN, {"actor": None}, "actor"),
    "actor's number as text": (RUN, {"actor": {"id": "7", "login": "ml-bot"}}, "id"),
    "actor 0": (RUN, {"actor": {"id": 0, "login": "ml-bot"}}, "starter"),
    "workflow 0": (RUN, {"workflow_id": 0}, "workflow"),
    "attempt 0": (RUN, {"run_attempt": 0}, "attempt 0"),
    "status": (RUN, {"status": "blessed"}, "blessed"),
    "job's status": (JOBS, {"status": "blessed", "conclusion": None}, "blessed"),
    "job's conclusion": (JOBS, {"status": "completed", "conclusion": "blessed"}, "blessed"),
    "job's attempt": (JOBS, {"run_attempt": 0}, "attempt 0"),
    "job of another run": (JOBS, {"run_id": 4711}, "run 4711"),
    "job's start": (JOBS, {"started_at": "yesterday"}, "started_at"),
    "review's state": (REVIEWS, {"state": "blessed"}, "blessed"),
    "review without environments": (REVIEWS, {"environments": None}, "environments"),
}

UNLIKE = {
    "path of another file": (RUN, {"path": f"{REPOSITORY}/.github/workflows/evil.yml@main"}, "evil.yml"),
    "path of another branch": (RUN, {"path": f"{FILE}@feature"}, "feature"),
    "path of a tag": (RUN, {"path": f"{FILE}@refs/tags/main"}, "refs/tags/main"),
    "path of another commit": (RUN, {"path": f"{FILE}@{'0' * 40}"}, "0000"),
    "another branch": (RUN, {"head_branch": "feature"}, "branch"),
    "a tag": (RUN, {"head_branch": "refs/tags/main"}, "branch"),
    "another event": (RUN, {"event": "push"}, "trigger"),
    "another actor": (RUN, {"actor": {"id": 4711, "login": "ml-bot"}}, "starter"),
    "another workflow": (RUN, {"workflow_id": 4711}, "workflow"),
    "another repository": (RUN, {"repository": {"id": 4711, "full_name": REPOSITORY}}, "repository"),
    "another run": (RUN, {"id": 4711}, "run"),
    "a second attempt": (RUN, {"run_attempt": 2}, "second time"),
    "a job of a second attempt": (JOBS, {"run_attempt": 2}, "second time"),
}


@pytest.mark.part("rest")
@pytest.mark.parametrize(("part", "changes"), HONEST.values(), ids=HONEST)
def test_a_form_that_means_the_same_promotes(world: GateWorld, part: str, changes: dict[str, Any]) -> None:
    pending = approved(world)
    change(world, pending, part, changes)
    world.look()
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"
    assert ("1", "2", "reviewer-1") in world.moves()


@pytest.mark.part("rest")
@pytest.mark.parametrize(("part", "changes", "words"), UNKNOWN.values(), ids=UNKNOWN)
def test_a_form_that_is_not_known_waits_and_says_so(
    world: GateWorld, part: str, changes: dict[str, Any], words: str
) -> None:
    pending = approved(world)
    change(world, pending, part, changes)
    for _ in range(3):
        world.look()
        world.clock.move(minutes=11)
    view = shown(world, pending)
    assert view["phase"] == "pending_approval", view
    assert words in f"{view['reason']} {view['last_error']}"
    assert world.models.champion() == "1"
    assert "decision" not in {kind for kind, _ in world.ledger()}
    world.github.faults.clear()
    world.wait(minutes=16)
    world.ended(pending, Phase.PROMOTED)
    assert world.models.champion() == "2"


@pytest.mark.part("rest", "path", "branch", "a tag", "event", "workflow", "run")
@pytest.mark.parametrize(("part", "changes", "words"), UNLIKE.values(), ids=UNLIKE)
def test_a_value_that_is_unlike_voids(
    world: GateWorld, part: str, changes: dict[str, Any], words: str
) -> None:
    pending = approved(world)
    change(world, pending, part, changes)
    world.look()
    assert_unmoved(world, pending, Phase.REJECTED, words)
    world.github.faults.clear()
    world.live(hours=1)
    assert_unmoved(world, pending, Phase.REJECTED, words)


@pytest.mark.parametrize("user", [None, {"id": 4711, "login": "ml-bot[bot]", "type": "Bot"}])
def test_a_review_by_nobody_or_by_a_machine_is_no_persons(
    world: GateWorld, user: dict[str, Any] | None
) -> None:
    pending = approved(world)
    change(world, pending, REVIEWS, {"user": user})
    world.look()
    world.live(minutes=5)
    assert world.models.champion() == "1"
    assert world.again(pending).phase in {Phase.PENDING_APPROVAL, Phase.REJECTED}


def test_a_reviewer_of_whom_it_is_not_told_whether_they_are_a_person_waits(world: GateWorld) -> None:
    pending = approved(world)
    user = answer(world, pending, REVIEWS)[0]["user"]
    change(world, pending, REVIEWS, {"user": {key: user[key] for key in user if key != "type"}})
    world.look()
    reason = world.ended(pending, Phase.PENDING_APPROVAL)
    assert "is a person" in f"{reason} {world.again(pending).retry.last_error}"
    world.github.faults.clear()
    world.wait(minutes=16)
    world.ended(pending, Phase.PROMOTED)
