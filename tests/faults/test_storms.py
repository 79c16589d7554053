"""Calls that go wrong and kill -9 at every call, on each database and vendor: nothing is lost, doubled or wrong."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from faults.storm import Storm, storm
from integration.process_world import until
from integration.store_databases import Databases

pytest_plugins = ("integration.store_fixtures",)

pytestmark = [pytest.mark.part("full"), pytest.mark.timeout(3600)]

PROVIDERS = ("github", "github-review", "gitlab-rules")
GATES = 8
"""A dead service's rows may wait until their leases have run out; others are worked on meanwhile."""
MOST_HOOKS, MOST_READS, MOST_WRITES = 1, 2, 6
"""Of each kind: a hook tells nothing that is not looked at anyhow, most reads are those of each sweep, and no promotion
makes more writes of a kind."""
RATE, HOOK_RATE = 0.15, 0.15
"""How many of the vendors' reads meet a fault, and half of how many notifications and webhooks do."""
RARE_SWEEPS = {"CHAMPION_GATE_SWEEP_SECONDS": "6"}
"""So that most of the calls, and of the faults, are those of promotions."""
TRAINER_FIRST, REJECTS = 0.15, 0.1
KILLS, FAULTS, PROMOTED = 100, 700, 2
"""That is the least in each storm; there are three on each database."""
CALLS_BETWEEN = 80
"""Kills, and what befalls PostgreSQL, on average."""


@pytest.fixture
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated database of the kind that the parameter names."""
    databases: Databases = request.getfixturevalue(f"{request.param}_databases")
    return databases.migrated()


def places(made: Storm, chance: random.Random, most: int | None) -> list[tuple[str, int, bool]]:
    """(shape, n-th, after) of the calls of promotions, each before and after it is carried out; writes first.

    One is approved. Where all are wanted, the trainer presses first in one, and one is overtaken by a newer version, which
    is rejected.
    """

    def counted(shape: str, often: int) -> int:
        if shape.startswith("hooks"):
            return min(often, MOST_HOOKS)
        return min(often, MOST_READS if " GET " in shape else MOST_WRITES)

    before = made.far.asked()
    made.train()
    made.settle()
    if most is None:
        have_three_more(made)
    found = [
        (shape, n, after)
        for shape, often in Counter(made.far.shapes(before)).items()
        for n in range(counted(shape, often))
        for after in (False, True)
    ]
    chance.shuffle(found)
    found.sort(key=lambda place: (" GET " in place[0], place[1]))
    return found[:most]


def have_three_more(made: Storm) -> None:
    """One in which the trainer presses first, one that is overtaken, and one that is rejected."""
    made.far.let_people(trainer_first=1.0)
    made.train()
    made.settle()
    made.far.let_people(act=False)
    for asked in (3, 4):
        made.train()
        until(lambda: len(made.far.requests()) >= asked, made.story)  # noqa: B023 - it is over before the next
    made.far.let_people(rejects=1.0)
    made.settle()
    # What follows an approval that is void is seldom else.
    made.far.let_people(trainer_first=0.4, rejects=REJECTS)


def kill_everywhere(made: Storm, chance: random.Random, most: int | None) -> None:
    """A kill at each of so many places, or at all."""
    made.start()
    for shape, n, after in places(made, chance, most):
        met = made.kill_at(shape, n, after=after)
        made.figures.places["killed at" if met else f"not met: {shape}"] += 1


def rage(made: Storm, chance: random.Random, faults: int, seconds: float) -> None:
    """Faults until there were so many, with a kill now and then, for so long at most."""

    def later() -> int:
        return made.far.asked() + chance.randrange(2 * CALLS_BETWEEN)

    made.far.let_people(trainer_first=TRAINER_FIRST, rejects=REJECTS, seconds=2.0)
    made.start()
    made.far.rage(RATE, HOOK_RATE)
    end, kill, shake = time.monotonic() + seconds, later(), later()
    while sum(made.far.injected().values()) < faults and time.monotonic() < end:
        made.keep_busy()
        time.sleep(0.1)
        if made.far.asked() > kill:
            made.kill(chance.randrange(made.replicas))
            made.start()
            kill = later()
        if made.far.asked() > shake:
            made.shake_database(chance)
            shake = later()


@pytest.mark.parametrize(
    ("provider", "database", "most"),
    [
        *((provider, "sqlite", None) for provider in PROVIDERS),
        *((provider, "postgresql", None) for provider in PROVIDERS),
        pytest.param("github", "sqlite", 8, marks=pytest.mark.part("rest")),
    ],
    indirect=["database"],
)
def test_killed_before_and_after_every_call(
    tmp_path: Path, provider: str, database: str, most: int | None
) -> None:
    seed = f"kills {provider} {most}"
    with storm(tmp_path, provider, database, gates=GATES, seed=seed) as made:
        kill_everywhere(made, random.Random(seed), most)
        made.settle()
        made.judge()
        assert made.figures.counts["promoted"] >= PROMOTED
        not_met = [place for place in made.figures.places if place.startswith("not met")]
        assert [place for place in not_met if not place.startswith("not met: hooks")] == []
        assert made.figures.kills >= (KILLS if most is None else most / 2)


@pytest.mark.parametrize(
    ("provider", "database", "faults", "seconds"),
    [
        *((provider, "sqlite", FAULTS, 1800.0) for provider in PROVIDERS),
        *((provider, "postgresql", FAULTS, 1800.0) for provider in PROVIDERS),
        pytest.param("gitlab-rules", "postgresql", 40, 120.0, marks=pytest.mark.part("rest")),
        pytest.param("github-review", "sqlite", 40, 120.0, marks=pytest.mark.part("rest")),
    ],
    indirect=["database"],
)
def test_whatever_goes_wrong_at_the_vendors(
    tmp_path: Path, provider: str, database: str, faults: int, *, seconds: float
) -> None:
    seed = f"faults {provider} {faults}"
    replicas = 2 if database.startswith("postgresql") else 1
    with storm(
        tmp_path, provider, database, gates=GATES, seed=seed, environ=RARE_SWEEPS, replicas=replicas
    ) as made:
        rage(made, random.Random(seed), faults, seconds)
        made.settle()
        made.judge()
        assert sum(made.figures.injected.values()) >= faults
        assert made.figures.counts["promoted"] >= PROMOTED
