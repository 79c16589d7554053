"""A real store at whose writes something else happens first, or the process dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from champion_gate.store import Store
from integration.gate_world import GateWorld

WRITES = frozenset(
    {
        *("record_notification", "take_notification", "save_resolution", "release_notification"),
        *("create_promotion", "take_promotion", "save_promotion", "hint_promotion", "request_end"),
        *("lock_alias", "begin_alias_change", "finish_alias_change", "unlock_alias"),
        *("plan_step", "take_step", "save_step"),
    }
)


class StoreBetween:
    """Hands everything on to the real store, and calls `before` and `after` around each call that has a name there."""

    def __init__(
        self,
        store: Store,
        *,
        before: Callable[[str], object] = lambda _name: None,
        after: Callable[[str], object] = lambda _name: None,
    ) -> None:
        self._store = store
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)

        def call(*given: Any, **named: Any) -> Any:
            self._before(name)
            answer = real(*given, **named)
            self._after(name)
            return answer

        return call


class DiesAtWrite:
    """Kills the process just before its n-th write; `died` tells whether it came to that."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.died = False

    def __call__(self, name: str) -> None:
        if self.died:
            raise SystemExit  # a dead process writes nothing more, whatever its `finally` says
        if name in WRITES:
            self.left -= 1
            if self.left == 0:
                self.died = True
                raise SystemExit


class Once:
    """Does something the first time that the store is asked for one thing."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self.name = name
        self.work = work
        self.done = False

    def __call__(self, name: str) -> None:
        if name == self.name and not self.done:
            self.done = True
            self.work()


def start_with(world: GateWorld, store: StoreBetween) -> None:
    """Restart on this store."""
    real = world.store
    world.store = store  # type: ignore[assignment]
    try:
        world.start()
    finally:
        world.store = real
