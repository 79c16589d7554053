"""One GitHub that hangs on every call holds up its own gate, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from champion_gate.domain.promotion import Phase
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import Hook
from champion_gate_standins.github.server import GitHubStandIn
from integration.gate_models import TRAINER
from integration.gate_world import GATE
from integration.process_world import ProcessWorld, process_world, set_up_github, until

pytestmark = pytest.mark.part("rest")

NORMAL_SECONDS = 2.0
"""Generous: 5-30 ms on a quiet machine. A call that waits for GitHub takes 15 s."""
HUNG_SECONDS = 14.0
"""Whatever waited for the GitHub that hangs would take 15 s at the least."""
OTHER = "main.ml.other"
HUNG_PROMOTIONS = 5


def add_gate_elsewhere(world: ProcessWorld) -> tuple[GitHubStandIn, str, str]:
    """A second gate, whose reviewers are at another GitHub: (that GitHub, its token, the job's id)."""
    elsewhere = GitHubStandIn()
    url = world.stack.enter_context(serve(elsewhere.app))
    world.stack.callback(elsewhere.close)
    set_up_github(elsewhere, f"{world.url}/hooks/github")
    catalog = world.databricks.catalog
    catalog.add_model(OTHER)
    catalog.set_alias(OTHER, "Champion", catalog.add_version(OTHER))
    hook = Hook(f"{world.url}/hooks/databricks", *world.hook_credentials)
    job = world.databricks.jobs.add_job("train-other", run_as=TRAINER, creator=TRAINER, hook=hook)
    place = {**GATE["approval"]["github"], "url": url}  # type: ignore[index]
    world.write_gates(
        world.gate(newer_version="keep"),
        world.gate(name="other", jobs=[int(job)], model=OTHER, approval={"github": place}, metrics={}),
    )
    host = url.removeprefix("http://")
    return elsewhere, json.dumps({host: elsewhere.add_token("champion-gate-bot")}), job


def train_other(world: ProcessWorld, job: str) -> None:
    jobs = world.databricks.jobs
    run_id = jobs.start_run(job)
    tags = {"mlflow.databricks.jobID": job, "mlflow.databricks.jobRunID": jobs.task_run_id(run_id, "train")}
    world.databricks.catalog.add_version(OTHER, run_id=world.databricks.catalog.add_mlflow_run(tags=tags))
    assert jobs.finish_run(run_id) == [202]


def timed(call: Callable[[], requests.Response], status: int) -> float:
    begun = time.monotonic()
    assert call().status_code == status
    return time.monotonic() - begun


def test_a_github_that_hangs_holds_up_nobody_else(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        elsewhere, tokens, job = add_gate_elsewhere(world)
        hanging = world.github.faults.add(".", hang=120, drop=True)
        world.serve(CHAMPION_GATE_GITHUB_HOST_TOKENS=tokens, CHAMPION_GATE_SWEEP_SECONDS="1")
        for _ in range(HUNG_PROMOTIONS):
            world.train()
        until(lambda: hanging.hits >= 2 and len(world.promotions()) == HUNG_PROMOTIONS, world.story)

        begun = time.monotonic()
        train_other(world, job)
        until(lambda: elsewhere.runs and elsewhere.runs[0].waiting_jobs(), world.story)
        elsewhere.review(elsewhere.runs[0].id, "champion", "reviewer-1", approve=True)
        until(lambda: world.databricks.catalog.alias(OTHER, "Champion") == "2", world.story)
        assert time.monotonic() - begun < HUNG_SECONDS

        body, auth = world.notification("1"), world.hook_credentials
        for _ in range(20):
            hook = timed(
                lambda: requests.post(f"{world.url}/hooks/databricks", json=body, auth=auth, timeout=30), 202
            )
            alive = timed(lambda: requests.get(f"{world.url}/livez", timeout=30), 200)
            assert max(hook, alive) < NORMAL_SECONDS

        assert timed(lambda: requests.get(f"{world.url}/readyz", timeout=30), 200) < 2 + NORMAL_SECONDS
        assert world.models.champion() == "1"
        hung = [p for p in world.promotions() if p.model != OTHER]
        assert {p.phase for p in hung} == {Phase.REQUESTED}


def test_what_waited_for_a_github_that_hung_goes_on_when_it_answers_again(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        world.github.faults.add(".", hang=120, drop=True, times=3)
        world.serve()
        version = world.train()
        until(world.promotions, world.story)
        world.github.faults.clear()
        world.approve(world.wait_for(Phase.PENDING_APPROVAL, version, 60))
        world.wait_for(Phase.PROMOTED, version)
        assert world.alias_writes() == [int(version)]
