"""Whose turn it is to write, where one writes at a time."""

from __future__ import annotations

import threading


class Turns:
    """A lock on which a group is served before whoever waits alone, though never twice while one waits.

    A group holds what clients wait for. The others are workers, of whom many may be waiting.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken = False
        self._was_group = False
        self._groups = 0
        self._singles = 0

    def acquire(self, seconds: float, *, of_group: bool) -> bool:
        """Wait for a turn for at most so many seconds; False where it did not come."""
        with self._changed:
            self._groups += of_group
            self._singles += not of_group
            came = self._changed.wait_for(lambda: self._is_next(of_group), seconds)
            self._groups -= of_group
            self._singles -= not of_group
            if came:
                self._is_taken, self._was_group = True, of_group
            return came

    def release(self) -> None:
        """End the turn."""
        with self._changed:
            self._is_taken = False
            self._changed.notify_all()

    def _is_next(self, of_group: bool) -> bool:
        if self._is_taken:
            return False
        if of_group:
            return not (self._was_group and self._singles)
        return self._was_group or not self._groups
