"""Ctrl-C and SIGTERM as one interrupt, told once, and not in the middle of starting a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Raises KeyboardInterrupt for the first signal; a second must not stop the stopping, which is bounded."""

    def __init__(self) -> None:
        self._held = False
        self._came = False
        self._told = False

    def install(self) -> None:
        """Take the signals; only in the main thread."""
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._take)

    def _take(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True
        if not self._held:
            self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Tell of a signal only when the block ends: what it starts is then known to whoever has to stop it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._came:
                self._tell()
