"""What each defence of the service is there for, at the moment at which nothing else would do: `mutants.py` takes them away."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import pytest

from faults import hasty
from faults.journal import Line, read_journal
from faults.orders import MODEL, credentials, order
from faults.storm import Storm, storm
from integration.commands import run_command
from integration.process_world import until
from integration.store_databases import Databases, PostgresqlDatabases, SqliteDatabases, path_of

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("rest"), pytest.mark.timeout(300)]

DISPATCH = "github POST /repos/example/ml-deploy/actions/workflows/champion-gate.yml/dispatches"
PUT_CHAMPION = "databricks PUT /api/#.#/unity-catalog/models/prod.ml.m#/aliases/Champion"
START_VALIDATION = "databricks POST /api/#.#/jobs/run-now validate"
EXPIRES, AHEAD_SECONDS = "4m", "270"
"""Receivers of notices take none from a clock that is further ahead than five minutes."""
SOON_SECONDS, PATIENCE_SECONDS = 2.0, 60.0


def written(made: Storm, what: str) -> list[Line]:
    return [line for line in read_journal(made.folder / "journal.jsonl") if line["what"] == what]


def come_to(true: Callable[[], object], made: Storm) -> None:
    until(true, made.story, PATIENCE_SECONDS)


@pytest.fixture
def sqlite(sqlite_databases: SqliteDatabases) -> str:
    return sqlite_databases.migrated()


def test_a_notification_is_acknowledged_only_once_it_is_on_record(tmp_path: Path, sqlite: str) -> None:
    with storm(tmp_path, "github", sqlite, gates=1) as made:
        made.start()
        with closing(sqlite3.connect(path_of(sqlite), timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            made.train()
            time.sleep(SOON_SECONDS)
            assert written(made, "notified") == [], "it was acknowledged while nobody could write"
            other.execute("ROLLBACK")
        come_to(lambda: written(made, "notified"), made)
        made.settle()
        made.judge()


def test_with_every_notification_and_webhook_lost_all_is_found(tmp_path: Path, sqlite: str) -> None:
    with storm(tmp_path, "github", sqlite, gates=1) as made:
        made.start()
        made.far.rage(0, 1.0, only=("hook lost",))
        made.train()
        made.finish(PATIENCE_SECONDS)
        made.judge()
        assert [line["version"] for line in written(made, "holds") if line["model"] == MODEL] == ["2"]


def test_who_lost_the_alias_to_another_writer_writes_nothing_more(tmp_path: Path, sqlite: str) -> None:
    """Its write is carried out and not answered; an operator puts the alias back as soon as the lease is over."""
    with storm(tmp_path, "github", sqlite, gates=1, environ={hasty.ALIAS_LEASE_SECONDS: "3"}) as made:
        made.start()
        made.train()
        made.far.hold(PUT_CHAMPION, after=True, answered=True)
        come_to(lambda: made.far.is_held(1), made)
        headers = credentials(made)
        come_to(lambda: order(made, headers, "1") == HTTPStatus.OK, made)
        made.far.let_go()
        made.settle()
        made.judge()
        assert [line["version"] for line in written(made, "alias") if line["model"] == MODEL] == ["2", "1"]


def test_nothing_is_told_that_the_registry_does_not_show(tmp_path: Path, sqlite: str) -> None:
    """It says that it has set the alias, and has not."""
    with storm(tmp_path, "github", sqlite, gates=1) as made:
        made.start()
        made.train()
        made.far.rage(1.0, only=("said and not done",))
        come_to(made.far.injected, made)
        made.settle()
        made.judge()


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_what_a_killed_service_had_started_is_taken_up_and_not_started_again(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    """On PostgreSQL others may be at work: the row is free again once its lease has run out."""
    databases: Databases = request.getfixturevalue(f"{database}_databases")
    with storm(tmp_path, "github", databases.migrated(), gates=1, environ={hasty.LEASE_SECONDS: "5"}) as made:
        made.start()
        made.train()
        assert made.kill_at(START_VALIDATION, after=True)
        made.settle(PATIENCE_SECONDS)
        made.judge()


def test_who_approved_in_time_is_heard_after_the_time_is_over(tmp_path: Path, sqlite: str) -> None:
    with storm(tmp_path, "github", sqlite, gates=1, gate={"expires_after": EXPIRES}) as made:
        made.far.let_people(act=False)
        made.start()
        made.train()
        come_to(lambda: "pending_approval" in phases(made), made)
        (request,) = made.far.requests()
        made.kill()
        made.far.press(request, "reviewer-1")
        made.start(**{hasty.AHEAD_SECONDS: AHEAD_SECONDS})
        made.settle()
        made.judge()


def test_an_approval_of_other_evidence_counts_for_nothing(tmp_path: Path, sqlite: str) -> None:
    """Our own account has asked before about the same version, and something else was shown."""
    with storm(tmp_path, "github", sqlite, gates=1) as made:
        made.far.let_people(act=False)
        made.start()
        made.train()
        made.far.hold(DISPATCH)
        come_to(lambda: made.far.is_held(1), made)
        inputs = made.far.held()["inputs"]
        promotion, _, _ = inputs["promotion_id"].rpartition("-")
        other = made.far.dispatch({**inputs, "promotion_id": f"{promotion}-{12 * '0'}"})
        made.far.press(other, "reviewer-1")
        made.kill()
        made.far.let_go()
        made.start()
        come_to(lambda: "pending_approval" in phases(made) or "promoted" in phases(made), made)
        made.far.let_people()
        made.settle()
        made.judge()


def phases(made: Storm) -> list[str]:
    """Of all promotions."""
    done = run_command("promotions", "list", "--json", environ=made.environ, folder=made.folder)
    return [row["phase"] for row in json.loads(done.stdout)]


def test_where_nothing_goes_wrong_nothing_is_found(
    tmp_path: Path, postgresql_databases: PostgresqlDatabases
) -> None:
    with storm(tmp_path, "github-review", postgresql_databases.migrated(), gates=1) as made:
        made.start()
        made.train()
        made.settle()
        made.judge()
