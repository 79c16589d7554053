"""kill -9 again and again where the registry is an MLflow that lags: all is applied, once. See also `test_storms.py`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults.kill_world import kill_world
from integration.store_databases import Databases

pytest_plugins = ("integration.store_fixtures",)

MODELS = 4


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("registry", "provider", "database", "kills"),
    [
        pytest.param("mlflow", "github", "sqlite", 5, marks=pytest.mark.part("full")),
        pytest.param("mlflow", "gitlab-environment", "postgresql", 5, marks=pytest.mark.part("full")),
        pytest.param("mlflow", "gitlab-environment", "postgresql", 2, marks=pytest.mark.part("rest")),
    ],
)
def test_every_approval_is_applied_once(
    request: pytest.FixtureRequest, tmp_path: Path, registry: str, provider: str, database: str, *, kills: int
) -> None:
    databases: Databases = request.getfixturevalue(f"{database}_databases")
    chosen = random.Random(f"{registry} {provider} {database}")
    with kill_world(tmp_path, registry, provider, databases.migrated(), models=MODELS) as world:
        waiting = list(world.models)
        served = world.launch()
        for _ in range(kills):
            for job_id in waiting[:1]:
                world.train(job_id)
            del waiting[:1]
            world.let_pass(served, chosen.randrange(2, 60), seconds=5)
            served.kill()
            if chosen.random() < 0.5:
                world.approve_all()
            served = world.launch()
        for job_id in waiting:
            world.train(job_id)
        world.wait_until_promoted(400)
        assert sorted(world.moves()) == sorted((each.model, "1", "2") for each in world.models.values())
        assert {each.champion() for each in world.models.values()} == {"2"}
        opened = [status for status in world.provider.requests().values() if status != "cancelled"]
        assert len(opened) == MODELS
