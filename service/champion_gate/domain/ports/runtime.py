"""What flow asks of the process that it runs in: time, randomness, and workers that are woken."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """Now, aware, in UTC."""
        ...


class Chance(Protocol):
    """Where randomness comes from."""

    def token(self) -> str:
        """A fresh id of 16 characters `[a-z0-9]`, unguessable."""
        ...

    def fraction(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...


class WakeUps(Protocol):
    """Tells workers that a row is due. May lose or repeat, and raises nothing: the rows are the truth."""

    def notification(self, notification_id: str) -> None:
        """Have `resolve` called."""
        ...

    def promotion(self, promotion_id: str) -> None:
        """Have `advance` called."""
        ...

    def step(self, step_id: str) -> None:
        """Have `carry_out` of a step called."""
        ...
