"""The clock of the machine that serves jumps in the middle of work: nothing is lost, doubled or wrongly approved."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from champion_gate.bootstrap.core import SystemChance, SystemClock
from champion_gate.domain.callers import Role
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.flow.api_tokens import ApiTokens
from champion_gate.store import open_store
from champion_gate_standins.databricks.server import Fault
from faults.kill_world import KillWorld, kill_world
from impatient import CLOCK, set_clock
from integration.process_world import free_port, until
from integration.store_databases import Databases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(300)]

HOUR, DAY = 3600.0, 86400.0
NORMAL = 60.0
"""Seconds, on a busy machine: a sweep comes every 2 s, a lease of a turn is 20 s, of an alias 90 s."""
ALIAS_LEASE = 90.0


@pytest.fixture
def database(databases: Databases) -> str:
    return databases.migrated()


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    file = tmp_path / "clock"
    set_clock(file, 0)
    return file


@pytest.fixture
def world(tmp_path: Path, database: str, clock: Path) -> Iterator[KillWorld]:
    with kill_world(tmp_path, "uc", "github", database, models=4) as made:
        made.environ[CLOCK] = str(clock)
        yield made


def of(world: KillWorld, job_id: str) -> Promotion | None:
    """The newest promotion of a job's model."""
    return next((each for each in world.promotions() if each.model == world.models[job_id].model), None)


def wait_for(world: KillWorld, job_id: str, phase: Phase) -> Promotion:
    def found() -> Promotion | None:
        now = of(world, job_id)
        return now if now is not None and now.phase is phase else None

    promotion: Promotion = until(found, lambda: f"no {phase}: {world.story()}", NORMAL)
    return promotion


def approve(world: KillWorld, promotion: Promotion) -> None:
    assert promotion.request is not None
    assert promotion.request.external_id is not None
    world.provider.approve(promotion.request.external_id, "reviewer-1")


def tries(world: KillWorld) -> dict[str, int]:
    """How often each row has failed that still waits for another try."""
    with open_store(world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        promotions = {each.id: each.retry for each in store.list_promotions().items if each.phase.is_open}
        notifications = {
            each.id: each.retry for each in store.list_notifications().items if each.phase.is_open
        }
    return {row: retry.attempts for row, retry in (promotions | notifications).items() if retry.attempts}


def token_for_a_day(database: str) -> str:
    with open_store(database) as store:
        tokens = ApiTokens(store, SystemClock(), SystemChance())
        expires_at = datetime.now(UTC) + timedelta(days=1)
        return tokens.create("viewer-1", Role.VIEWER, expires_at=expires_at, created_by="test")[1]


def asks_with(world: KillWorld, token: str) -> int:
    url = f"{world.started[-1].url}/api/v1/promotions"
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code


@pytest.mark.part("rest", "sqlite-15 days")
@pytest.mark.parametrize(
    "jump",
    [
        pytest.param(15 * DAY, id="15 days ahead"),
        pytest.param(HOUR, id="an hour ahead"),
        pytest.param(-HOUR, id="an hour back"),
    ],
)
def test_it_jumps_while_everything_waits(
    world: KillWorld, database: str, clock: Path, *, jump: float
) -> None:
    """One promotion waits for people, one for a decision that cannot be read, one to be opened, one to be found."""
    asked, decided, unopened, unread = world.models
    served = world.launch().wait_until_working()
    token = token_for_a_day(database)
    for job_id in (asked, decided):
        world.train(job_id)
    for job_id in (asked, decided):
        wait_for(world, job_id, Phase.PENDING_APPROVAL)
    world.provider.faults.add(".", status=503)
    approve(world, wait_for(world, decided, Phase.PENDING_APPROVAL))
    world.train(unopened)
    wait_for(world, unopened, Phase.REQUESTED)
    world.databricks.faults.add(Fault("/jobs/runs/get", "GET", status=503))
    world.train(unread)
    until(lambda: len(tries(world)) == 3, world.story)

    before = tries(world)
    set_clock(clock, jump)
    until(lambda: all(tries(world).get(row, 0) > before[row] + 1 for row in before), world.story, 2 * NORMAL)
    assert asks_with(world, token) == (401 if jump > DAY else 200)
    world.provider.faults.clear()
    world.databricks.faults.clear()
    for job_id in (unopened, unread):
        approve(world, wait_for(world, job_id, Phase.PENDING_APPROVAL))
    for job_id in (decided, unopened, unread):
        wait_for(world, job_id, Phase.PROMOTED)
    if jump > DAY:
        wait_for(world, asked, Phase.EXPIRED)
    else:
        approve(world, wait_for(world, asked, Phase.PENDING_APPROVAL))
        wait_for(world, asked, Phase.PROMOTED)

    set_clock(clock, 0)
    assert asks_with(world, token) == 200
    world.train(asked)
    approve(world, wait_for(world, asked, Phase.PENDING_APPROVAL))
    wait_for(world, asked, Phase.PROMOTED)
    models = {job_id: each.model for job_id, each in world.models.items()}
    moved = [(models[job_id], "1", "2") for job_id in (decided, unopened, unread)]
    moved += (
        [(models[asked], "1", "3")] if jump > DAY else [(models[asked], "1", "2"), (models[asked], "2", "3")]
    )
    assert sorted(world.moves()) == sorted(moved)
    assert sorted(world.databricks.catalog.alias_writes) == sorted(
        (m, "Champion", int(to)) for m, _, to in moved
    )
    assert served.process.poll() is None


@pytest.mark.parametrize("jump", [pytest.param(HOUR, id="ahead"), pytest.param(-HOUR, id="back")])
def test_it_jumps_while_the_alias_is_being_written(world: KillWorld, clock: Path, *, jump: float) -> None:
    """Whoever holds the alias finds that its lease is over, or will last for an hour; another replica finds so too."""
    first = next(iter(world.models))
    hang = threading.Event()
    put = world.databricks.faults.add(Fault("/aliases/", "PUT", hang=hang, times=1))
    world.launch().wait_until_working()
    if world.environ["CHAMPION_GATE_DATABASE_URL"].startswith("postgresql"):
        world.launch(CHAMPION_GATE_PORT=str(free_port())).wait_until_working()
    world.train(first)
    approve(world, wait_for(world, first, Phase.PENDING_APPROVAL))
    until(lambda: put.hits, world.story)
    set_clock(clock, jump)
    looks = len(world.databricks.requests)
    until(lambda: len(world.databricks.requests) > looks + 8, world.story)
    hang.set()
    until(lambda: of(world, first).phase is Phase.PROMOTED, world.story, NORMAL + ALIAS_LEASE)  # type: ignore[union-attr]
    model = world.models[first].model
    assert world.moves() == [(model, "1", "2")]
    assert {version for _, _, version in world.databricks.catalog.alias_writes} == {2}
    assert world.models[first].champion() == "2"


def test_it_is_put_right_little_by_little(world: KillWorld, clock: Path) -> None:
    """As a time server does, and beyond: back and forth by up to two seconds, at any moment."""
    chosen = random.Random(20261201)

    def while_it_moves(done: Callable[[], object]) -> Callable[[], object]:
        def moved() -> object:
            set_clock(clock, chosen.uniform(-2, 2))
            return done()

        return moved

    world.launch().wait_until_working()
    for job_id in world.models:
        world.train(job_id)

    def all_promoted() -> bool:
        world.approve_all()
        phases = [each.phase for each in world.promotions()]
        return phases == [Phase.PROMOTED] * len(world.models)

    until(while_it_moves(all_promoted), world.story, NORMAL)
    assert sorted(world.moves()) == sorted((each.model, "1", "2") for each in world.models.values())
    writes = sorted((each.model, "Champion", 2) for each in world.models.values())
    assert sorted(world.databricks.catalog.alias_writes) == writes
