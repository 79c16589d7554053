"""Calls that go wrong and kill -9 at every call, on each database and vendor: nothing is lost, doubled or wrong."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from faults.storm import Storm, storm
from integration.store_databases import Databases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(3600)]

PROVIDERS = ("github", "github-review", "gitlab-rules")
GATES, GATES_THAT_WAIT = 3, 8
"""On PostgreSQL a dead service's rows wait until their leases have run out; others are worked on meanwhile."""
MOST_HOOKS = 1
"""Of each kind: they tell nothing that is not looked at anyhow."""
RATE, HOOK_RATE = 0.15, 0.3
"""How many of the calls, and of the notifications and webhooks, meet a fault."""
CALLS_BETWEEN = 80
"""Kills, and what befalls PostgreSQL, on average."""


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database of the kind that the parameter names."""
    databases: Databases = request.getfixturevalue(f"{request.param}_databases")
    return databases.migrated()


def places(made: Storm, chance: random.Random, most: int) -> list[tuple[str, int, bool]]:
    """(shape, n-th, after) of the calls of one promotion, each before and after it is carried out; writes first."""
    before = made.far.asked()
    made.train()
    made.settle()
    counted = Counter(made.far.shapes(before))
    found = [
        (shape, n, after)
        for shape, often in counted.items()
        for n in range(min(often, MOST_HOOKS) if shape.startswith("hooks") else often)
        for after in (False, True)
    ]
    chance.shuffle(found)
    found.sort(key=lambda place: (" GET " in place[0], place[1]))
    return found[:most]


def kill_everywhere(made: Storm, chance: random.Random, most: int) -> None:
    """A kill at each of so many places."""
    made.start()
    for shape, n, after in places(made, chance, most):
        met = made.kill_at(shape, n, after=after)
        made.figures.places["killed at" if met else f"not met: {shape}"] += 1


def rage(made: Storm, chance: random.Random, faults: int, seconds: float) -> None:
    """Faults until there were so many, with a kill now and then, for so long at most."""

    def later() -> int:
        return made.far.asked() + chance.randrange(2 * CALLS_BETWEEN)

    made.far.let_people(trainer_first=0.15, rejects=0.1, seconds=2.0)
    made.start()
    made.far.rage(RATE, HOOK_RATE)
    end, kill, shake = time.monotonic() + seconds, later(), later()
    while sum(made.far.injected().values()) < faults and time.monotonic() < end:
        made.keep_busy()
        time.sleep(0.1)
        if made.far.asked() > kill:
            made.kill()
            made.start()
            kill = later()
        if made.far.asked() > shake:
            made.shake_database(chance)
            shake = later()


@pytest.mark.parametrize(
    ("provider", "database", "gates", "most"),
    [
        *((provider, "sqlite", GATES, 64) for provider in PROVIDERS),
        *((provider, "postgresql", GATES_THAT_WAIT, 64) for provider in PROVIDERS),
        pytest.param("github", "sqlite", GATES, 8, marks=pytest.mark.part("rest")),
    ],
    indirect=["database"],
)
def test_killed_before_and_after_every_call(
    tmp_path: Path, provider: str, database: str, gates: int, most: int
) -> None:
    seed = f"kills {provider} {most}"
    with storm(tmp_path, provider, database, gates=gates, seed=seed) as made:
        kill_everywhere(made, random.Random(seed), most)
        made.settle()
        made.judge()


@pytest.mark.parametrize(
    ("provider", "database", "gates", "faults", "seconds"),
    [
        *((provider, "sqlite", GATES, 700, 1800.0) for provider in PROVIDERS),
        *((provider, "postgresql", GATES_THAT_WAIT, 700, 1800.0) for provider in PROVIDERS),
        pytest.param("gitlab-rules", "postgresql", GATES, 100, 10.0, marks=pytest.mark.part("rest")),
        pytest.param("github-review", "sqlite", GATES, 100, 10.0, marks=pytest.mark.part("rest")),
    ],
    indirect=["database"],
)
def test_whatever_goes_wrong_at_the_vendors(
    tmp_path: Path, provider: str, database: str, gates: int, faults: int, *, seconds: float
) -> None:
    seed = f"faults {provider} {faults}"
    with storm(tmp_path, provider, database, gates=gates, seed=seed) as made:
        rage(made, random.Random(seed), faults, seconds)
        made.settle()
        made.judge()
