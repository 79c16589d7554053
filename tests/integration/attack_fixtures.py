"""The fixture `attacked`: the running service, started once for all attacks of a test process.

A test file takes it with `pytest_plugins = ("integration.attack_fixtures",)`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.attack_world import AttackWorld, attack_world


@pytest.fixture(scope="session")
def attacked_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackWorld]:
    """One process, and more gates than there are tests."""
    folder = tmp_path_factory.mktemp("attacked")
    with attack_world(folder, github=120, gitlab=110, gitlab_free=30) as made:
        yield made


@pytest.fixture
def attacked(attacked_service: AttackWorld) -> Iterator[AttackWorld]:
    """The running service; whatever a test has broken is whole again for the next."""
    yield attacked_service
    attacked_service.mend()
