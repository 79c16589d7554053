"""A database of schema 0003 with work under way is migrated, and all of it comes to its end."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.store import migrate
from champion_gate.store.engine import Database
from champion_gate.store.tables import metadata
from champion_gate_standins.gitlab.state import User
from integration.gate_providers import BOT, PROJECT, REPOSITORY, GitHubProvider, GitLabProvider
from integration.store_databases import Databases, bring_to
from integration.upgrade_world import BEGAN, SITUATIONS, VENDORS, UpgradeWorld, model_of, upgrade_world

pytestmark = [pytest.mark.part("full", "postgresql-gitlab"), pytest.mark.part("rest", "gitlab", "postgresql")]

pytest_plugins = ("integration.store_fixtures",)

DUMP = Path(__file__).parent / "data" / "schema_0003.sql"
OPERATOR = Caller("operator-1", Role.OPERATOR, "API token t1")
UPGRADED = BEGAN + timedelta(days=11)
LINES = 14


@pytest.fixture
def upgraded(databases: Databases, tmp_path: Path) -> Iterator[UpgradeWorld]:
    """This version on the migrated database, and the vendors as the version before left them."""
    url = databases.empty()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(DUMP.read_text())
    else:
        bring_to(url, "0003")
        copy_rows(url)
    migrate(url)
    with upgrade_world(tmp_path, url, at=UPGRADED) as world:
        restore(world)
        yield world


def copy_rows(url: str) -> None:
    with closing(sqlite3.connect(":memory:")) as dumped, closing(Database(url)) as database:
        dumped.executescript(DUMP.read_text())
        dumped.row_factory = sqlite3.Row
        with database.write() as connection:
            connection.execute(text("DELETE FROM ledger_head"))
            for table in metadata.sorted_tables:
                for row in dumped.execute(f"SELECT * FROM {table.name}") if known(dumped, table.name) else ():
                    names = row.keys()
                    values = {name: bool(row[name]) if name == "seen" else row[name] for name in names}
                    columns, given = ", ".join(names), ", ".join(f":{name}" for name in names)
                    connection.execute(text(f"INSERT INTO {table.name} ({columns}) VALUES ({given})"), values)


def known(dumped: sqlite3.Connection, table: str) -> bool:
    return bool(dumped.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchall())


# --- the vendors as they were -----------------------------------------------------------------------------


def restore(world: UpgradeWorld) -> None:
    """Versions, MLflow runs, accounts and CI runs under the ids that the rows know."""
    promotions = sorted(world.store.list_promotions(limit=100).items, key=lambda each: each.id)
    for promotion in promotions:
        restore_version(world, promotion)
    restore_github(world.github, promotions)
    restore_gitlab(world.gitlab, promotions)


def restore_version(world: UpgradeWorld, promotion: Promotion) -> None:
    catalog, jobs, was = world.databricks.catalog, world.databricks.jobs, promotion.version
    run_id = jobs.start_run(promotion.job_id, run_id=promotion.job_run_id)
    tags = {
        "mlflow.databricks.jobID": promotion.job_id,
        "mlflow.databricks.jobRunID": jobs.task_run_id(run_id, "train"),
    }
    catalog.add_mlflow_run(run_id=was.run_id, metrics={"f1": 0.91}, tags=tags)
    made = catalog.version(promotion.model, catalog.add_version(promotion.model, run_id=was.run_id))
    made.version_id, made.source = was.version_id, was.source or ""
    jobs.finish_run(run_id, "SUCCESS", notify=False)


def requests_of(promotions: list[Promotion], vendor: str) -> Iterator[tuple[Promotion, dict[str, Any]]]:
    """The promotions that have asked there, and what the request was pinned to."""
    for promotion in promotions:
        if promotion.request is not None and promotion.request.provider == vendor:
            yield promotion, dict(promotion.request.pins)


def restore_github(place: GitHubProvider, promotions: list[Promotion]) -> None:
    state = place.standin.state
    for promotion, pins in requests_of(promotions, "github"):
        assert promotion.request is not None
        repository = state.repository(REPOSITORY)
        (environment,) = repository.environments.values()
        pinned = json.loads(pins["environments"])["champion"]
        repository.id, repository.owner.id = int(pins["repository_id"]), int(pins["owner_id"])
        repository.workflows["champion-gate.yml"].id = int(pins["workflow_id"])
        environment.id, state.user(BOT).id = int(pinned["id"]), int(pins["bot_id"])
        for person, number in zip(environment.people(), pinned["users"], strict=True):
            person.id = int(number)
        inputs = {**common(promotion), "evidence": "…", "environments": json.dumps(["champion"])}
        run = place.standin.dispatch(REPOSITORY, inputs, login=BOT)
        run.created_at = run.updated_at = promotion.request.intent_at
        if promotion.request.external_id:
            run.id = int(promotion.request.external_id)
        assert run.display_title.endswith(f"[{promotion.id}]")
        if promotion.decision is not None:
            place.approve(str(run.id), "reviewer-1")


def restore_gitlab(place: GitLabProvider, promotions: list[Promotion]) -> None:
    standin, project = place.standin, place.standin.project(PROJECT)
    for promotion, pins in requests_of(promotions, "gitlab"):
        assert promotion.request is not None
        project.namespace_id = int(pins["namespace_id"])
        renumber(place, standin.state.user(BOT), int(pins["bot_id"]))
        people = {each.login: each.user_id for each in promotion.excluded}
        if promotion.decision is not None:
            people |= {each.login: each.user_id for each in promotion.decision.deciders}
        for login, number in people.items():
            renumber(place, standin.state.user(login), int(number))
        more = {"environment": "champion", "gate_url": "https://gate.example.com"}
        shown = {"evidence_base64": base64.b64encode(b"...").decode()}
        inputs = {**common(promotion), **more, **shown}
        pipeline = standin.start(project, inputs, username=BOT, source=pins["source"])
        asked_at = promotion.request.intent_at
        pipeline.created_at = pipeline.updated_at = asked_at
        if promotion.request.external_id:
            pipeline.id = int(promotion.request.external_id)
        assert pipeline.name.endswith(f"[{promotion.id}]")
        if promotion.decision is not None:
            place.approve(str(pipeline.id), "reviewer-1")


def renumber(place: GitLabProvider, user: User, number: int) -> None:
    members = place.standin.project(PROJECT).members
    if user.id in members:
        members[number] = members.pop(user.id)
    user.id = number


def common(promotion: Promotion) -> dict[str, str]:
    """The inputs as they were then: the promotion's bare id is the correlation id."""
    return {
        "promotion_id": promotion.id,
        "model": promotion.model,
        "version": promotion.version.version,
        "alias": promotion.alias,
    }


# --- what comes of it -------------------------------------------------------------------------------------

PHASES = {
    "failed": Phase.FAILED,
    "refused": Phase.FAILED,
    "lost": Phase.REQUESTED,
    "waiting": Phase.PENDING_APPROVAL,
    "held": Phase.APPROVED,
    "writing": Phase.APPROVED,
}


def champions(world: UpgradeWorld) -> dict[str, str | None]:
    catalog = world.databricks.catalog
    models = [model_of(vendor, situation) for vendor in VENDORS for situation in SITUATIONS]
    return {model: catalog.alias(model, "Champion") for model in models}


def test_nothing_has_changed_by_the_migration_alone(upgraded: UpgradeWorld) -> None:
    assert upgraded.store.verify_ledger() == LINES
    for vendor in VENDORS:
        for situation, phase in PHASES.items():
            assert upgraded.promotion(vendor, situation).phase is phase
    assert set(champions(upgraded).values()) == {"1"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_was_asked_before_the_upgrade_is_decided_and_applied_after_it(
    upgraded: UpgradeWorld, vendor: str
) -> None:
    place = upgraded.places[vendor]
    started = place.asked()
    upgraded.settle()
    lost = upgraded.promotion(vendor, "lost")
    assert lost.phase is Phase.PENDING_APPROVAL, (lost.reason, lost.retry.last_error)
    assert place.asked() == started, "the run that was started before the upgrade is the one"
    for situation in ("lost", "waiting"):
        upgraded.approve(vendor, situation)
    for situation in ("lost", "waiting", "writing"):
        found = upgraded.promotion(vendor, situation)
        assert found.phase is Phase.PROMOTED, (situation, found.phase, found.reason, found.retry.last_error)
        assert champions(upgraded)[model_of(vendor, situation)] == "2"
    upgraded.store.verify_ledger()


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_was_approved_under_a_hold_is_applied_when_it_is_released(
    upgraded: UpgradeWorld, vendor: str
) -> None:
    upgraded.settle()
    upgraded.clock.move(days=1)
    upgraded.settle()
    assert upgraded.promotion(vendor, "held").phase is Phase.APPROVED
    orders = upgraded.core.alias_orders
    orders.release(model_of(vendor, "held"), "Champion", caller=OPERATOR, reason="it is open again")
    upgraded.settle()
    found = upgraded.promotion(vendor, "held")
    assert found.phase is Phase.PROMOTED, (found.reason, found.retry.last_error)
    assert champions(upgraded)[model_of(vendor, "held")] == "2"
    upgraded.store.verify_ledger()


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_waited_before_the_upgrade_is_tied_to_its_run_before_people_are_asked(
    upgraded: UpgradeWorld, vendor: str
) -> None:
    waiting, place = upgraded.promotion(vendor, "refused"), upgraded.places[vendor]
    assert waiting.origin == ()
    made = upgraded.databricks.catalog.version(waiting.model, waiting.version.version)
    honest, made.created_by = made.created_by, "mallory@example.com"
    started = place.asked()
    assert upgraded.store.retry_promotion(waiting.id, upgraded.clock.now(), "as before the upgrade")
    upgraded.look(waiting)
    found = upgraded.promotion(vendor, "refused")
    assert found.phase is Phase.REQUESTED, (found.phase, found.reason)
    assert "mallory@example.com created it, who is none of the run's principals" in found.reason
    assert place.asked() <= started + 1, "only what was lost on its way is found again"
    made.created_by = honest
    upgraded.wait(minutes=11)
    found = upgraded.promotion(vendor, "refused")
    assert found.phase is Phase.PENDING_APPROVAL, (found.reason, found.retry.last_error)
    assert found.origin
    upgraded.approve(vendor, "refused")
    assert champions(upgraded)[model_of(vendor, "refused")] == "2"


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_had_failed_before_the_upgrade_is_taken_up_again(upgraded: UpgradeWorld, vendor: str) -> None:
    upgraded.settle()
    for situation in ("failed", "refused"):
        failed = upgraded.promotion(vendor, situation)
        assert upgraded.core.promotion_orders.retry(failed.id, actor="operator-1") == failed.id
    upgraded.settle()
    refused = upgraded.promotion(vendor, "refused")
    assert refused.phase is Phase.PENDING_APPROVAL, (refused.reason, refused.retry.last_error)
    upgraded.approve(vendor, "refused")
    for situation in ("failed", "refused"):
        found = upgraded.promotion(vendor, situation)
        assert found.phase is Phase.PROMOTED, (situation, found.reason, found.retry.last_error)
        assert champions(upgraded)[model_of(vendor, situation)] == "2"
    upgraded.store.verify_ledger()
