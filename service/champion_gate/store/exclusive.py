"""One serving process a SQLite file: whoever holds the lock knows that every lease before it is a dead man's."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO


class ExclusiveFile:
    """An advisory lock on a file beside the database; the kernel frees it when the process dies."""

    def __init__(self, database_file: Path) -> None:
        self._path = database_file.with_name(database_file.name + ".serving")
        self._file: IO[str] | None = None

    def acquire(self, *, stop: Callable[[], bool], interval: float = 0.1) -> bool:
        """Wait until no other process holds it.

        Args:
            stop: asked between two tries; True ends the wait.
            interval: seconds between two tries.

        Returns:
            Whether it is held now.
        """
        file = self._path.open("a")
        while not stop():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(interval)
            else:
                os.set_inheritable(file.fileno(), False)
                self._file = file
                return True
        file.close()
        return False

    def try_to_acquire(self) -> bool:
        """Take it if no other process holds it; returns whether it is held now."""
        asked = iter([False])
        return self.acquire(stop=lambda: next(asked, True), interval=0)

    def release(self) -> None:
        """Let another process have it."""
        if self._file is not None:
            self._file.close()
            self._file = None
