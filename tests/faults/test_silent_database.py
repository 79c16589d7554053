"""PostgreSQL's connections go silent under a running service: it goes on within a minute."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import requests

from champion_gate.domain.promotion import Phase
from champion_gate.store import open_store
from integration.process_world import process_world, until
from integration.silent_relay import SilentRelay, through, to_server
from integration.store_databases import PostgresqlDatabases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = pytest.mark.part("rest")

MINUTE = 60.0


def test_it_goes_on_within_a_minute(tmp_path: Path, postgresql_databases: PostgresqlDatabases) -> None:
    database = postgresql_databases.empty()
    relay = SilentRelay(lambda: to_server(database))
    with process_world(
        tmp_path, CHAMPION_GATE_DATABASE_URL=database, CHAMPION_GATE_SWEEP_SECONDS="1"
    ) as world:
        try:
            assert world.run("migrate").returncode == 0
            world.serve(CHAMPION_GATE_DATABASE_URL=through(relay, database))
            first = world.train()
            until(lambda: _phase(database, first) is Phase.PENDING_APPROVAL, world.story)
            relay.go_silent()
            begun = time.monotonic()
            second = world.train(notify=False)
            until(lambda: _phase(database, second) is Phase.PENDING_APPROVAL, world.story, MINUTE)
            assert requests.get(f"{world.url}/livez", timeout=2).status_code == 200
            assert time.monotonic() - begun < MINUTE
            world.train()  # its hook is answered again
        finally:
            world.kill_all()
            relay.close()


def _phase(database: str, version: str) -> Phase | None:
    with open_store(database) as store:
        rows = store.list_promotions().items
    return next((row.phase for row in rows if row.version.version == version), None)
