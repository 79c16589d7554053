"""The fixture `attacked`: the running service, shared by the attacks of a test file.

A test file takes it with `pytest_plugins = ("integration.attack_fixtures",)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from integration.attack_world import AttackWorld, attack_world

MOST_FOR_ONE_TEST = 3


class Services:
    """One running service at a time; a fresh one once too few gates are left that no test has used."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._open = ExitStack()
        self._world: AttackWorld | None = None

    def current(self) -> AttackWorld:
        """The service, with enough unused gates of every kind for one test."""
        world = self._world
        if world is None or min(map(len, world.unused.values())) < MOST_FOR_ONE_TEST:
            self.close()
            folder = self._folders.mktemp("attacked")
            world = self._open.enter_context(attack_world(folder, github=20, gitlab=15, gitlab_free=6))
            self._world = world
        return world

    def close(self) -> None:
        """Stop the service."""
        self._open.close()


# Not for the whole session: it goes on looking at what waits.
@pytest.fixture(scope="module")
def attacked_services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Whatever is still running at the end is stopped."""
    services = Services(tmp_path_factory)
    yield services
    services.close()


@pytest.fixture
def attacked(attacked_services: Services) -> Iterator[AttackWorld]:
    """The running service; whatever a test has broken is whole again for the next."""
    world = attacked_services.current()
    yield world
    world.mend()
