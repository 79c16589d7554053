"""A gate whose requests are opened without an answer, and are listed late, under another name, or never."""

from __future__ import annotations

import base64
import json
import sqlite3
from datetime import timedelta
from typing import Any

from champion_gate.domain.promotion import Promotion
from champion_gate_standins.common.faults import Fault
from integration.gate_providers import GitHubProvider, GitLabProvider
from integration.gate_world import REPOSITORY, GateWorld

BOTH = ("github", "gitlab-environment")


def lose_answers(world: GateWorld, **how: object) -> Fault:
    """From now on every request is opened, and nobody is told."""
    return world.provider.faults.add(f"{world.provider.opening}$", drop=True, carry_out=True, **how)


def list_after(world: GateWorld, **age: float) -> None:
    """From now on requests are listed when they are that old."""
    standin(world).api.listed_after = timedelta(**age)


def pass_time(world: GateWorld, **time: float) -> None:
    """Let time pass, looking after each two and a half minutes at first, and then less and less often.

    Whoever looks less often than the rows are due meets the same rows; it only takes a test less time.
    """
    left, step = timedelta(**time), timedelta(minutes=2.5)
    world.settle()
    while left > timedelta(0):
        world.clock.time += min(step, left)
        world.settle()
        left, step = left - step, min(step * 1.4, timedelta(minutes=31))


def lose_names(world: GateWorld) -> None:
    """The CI file's line that gives a request its name is gone, as by a careless edit of the template."""
    if isinstance(world.provider, GitHubProvider):
        world.github.repository(REPOSITORY).workflows["champion-gate.yml"].run_name = "champion-gate"
    else:
        standin(world).ci.name = ""


def give_names(world: GateWorld) -> None:
    """That line is back."""
    name = "Champion {model} v{version} [{promotion_id}]"
    if isinstance(world.provider, GitHubProvider):
        world.github.repository(REPOSITORY).workflows["champion-gate.yml"].run_name = name
    else:
        standin(world).ci.name = name


def names(world: GateWorld) -> dict[str, str]:
    """The name of every request by its id, oldest first."""
    if isinstance(world.provider, GitHubProvider):
        return {str(run.id): run.display_title for run in world.github.runs}
    return {str(one.id): one.name for one in standin(world).pipelines}


def shown(world: GateWorld, request_id: str) -> str:
    """The evidence that a request shows."""
    if isinstance(world.provider, GitHubProvider):
        return str(world.github.run(request_id).inputs["evidence"])
    encoded = standin(world).pipeline(request_id).inputs["evidence_base64"]
    return base64.b64decode(encoded).decode()


def forget_hash(world: GateWorld, promotion: Promotion) -> None:
    """Make the row what a release wrote whose requests bore the promotion's id alone, and so its requests."""
    with sqlite3.connect(world.database) as database:
        query = "SELECT details FROM promotions WHERE id = ?"
        (details,) = database.execute(query, (promotion.id,)).fetchone()
        row = json.loads(details)
        for key in ("correlation_id", "starts", "most_starts"):
            row["request"].pop(key, None)
        change = "UPDATE promotions SET details = ? WHERE id = ?"
        database.execute(change, (json.dumps(row), promotion.id))
    bare = f"Champion {promotion.model} v{promotion.version.version} [{promotion.id}]"
    if isinstance(world.provider, GitHubProvider):
        for run in world.github.runs:
            run.display_title = bare
            run.inputs = {**run.inputs, "promotion_id": promotion.id}
    else:
        for one in standin(world).pipelines:
            one.name = bare
            one.inputs = {**one.inputs, "promotion_id": promotion.id}


def standin(world: GateWorld) -> Any:
    """The vendor's stand-in, whichever it is."""
    assert isinstance(world.provider, GitHubProvider | GitLabProvider)
    return world.provider.standin
