"""The same notification again and again: one promotion, one CI run, one alias change."""

from __future__ import annotations

import http.client
import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from integration.process_world import ProcessWorld, port_of, process_world, until

pytestmark = pytest.mark.part("rest")

CONNECTIONS, POSTS_EACH = 50, 20


def post_many(world: ProcessWorld, run_id: str) -> list[int]:
    """Post over one connection, kept open; returns the statuses."""
    body = json.dumps(world.notification(run_id))
    authorization = b64encode(":".join(world.hook_credentials).encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(world.url), timeout=60)
    statuses = []
    try:
        for _ in range(POSTS_EACH):
            connection.request(
                "POST", "/hooks/databricks", body, headers={"Authorization": f"Basic {authorization}"}
            )
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    finally:
        connection.close()
    return statuses


def test_a_notification_that_comes_a_thousand_times_moves_the_alias_once(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        world.serve()
        run_id, version = world.begin_training()
        world.databricks.jobs.finish_run(run_id, notify=False)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            many = [pool.submit(post_many, world, run_id) for _ in range(CONNECTIONS)]
            statuses = [status for each in many for status in each.result()]
        assert statuses == [202] * CONNECTIONS * POSTS_EACH
        world.approve(world.wait_for(Phase.PENDING_APPROVAL, version))
        world.wait_for(Phase.PROMOTED, version)

        def notification_is_closed() -> bool:
            with world.store() as store:
                # A sweep that came before the first of them has a row of its own.
                (row,) = (each for each in store.list_notifications().items if each.source == "hook")
                return row.count == len(statuses) and row.phase is NotificationPhase.RESOLVED

        until(notification_is_closed, world.story)
        assert len(world.promotions()) == 1
        assert len(world.github.runs) == 1
        assert world.alias_writes() == [2]
        assert world.moves()[-1] == ("1", "2", "reviewer-1")
        assert world.models.champion() == version
