"""What runs beside the web app in the serving process: its workers, once no other process is at work."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url

from champion_gate.errors import ConfigurationError
from champion_gate.log import get_logger
from champion_gate.store import Store
from champion_gate.store.exclusive import ExclusiveFile
from champion_gate.work.worker import Worker

log = get_logger(__name__)

_TRY_AGAIN_SECONDS = 1.0  # the service answers /livez meanwhile, and says why it is not ready


class Background:
    """Starts and stops the workers.

    On SQLite one process serves a database file. The one that starts waits until the former is gone; then
    every lease in the rows is a dead worker's and is given back, so that a crash costs no waiting. On
    PostgreSQL other replicas may be at work, and a dead worker's lease runs out. Whoever is at work says so in
    the rows (`store.releases`), for the sake of upgrades.
    """

    def __init__(
        self,
        worker: Worker,
        store: Store,
        database_url: str,
        *,
        beat: Callable[[], None],
        leave: Callable[[], None],
        warm_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up; `start` begins.

        Args:
            worker: is started once this process may work.
            store: the rows.
            database_url: of the store.
            beat: says that this replica is at work; raises ConfigurationError where its release may not.
            leave: says that it has stopped.
            warm_up: imports what will be needed.
        """
        self._worker = worker
        self._warm_up = warm_up
        self._store = store
        self._beat, self._leave = beat, leave
        url = make_url(database_url)
        is_sqlite = url.get_backend_name() == "sqlite"
        self._exclusive = ExclusiveFile(Path(str(url.database))) if is_sqlite else None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the workers, at once or as soon as the former process is gone; never blocks."""
        self._thread = threading.Thread(target=self._start, name="start workers", daemon=True)
        self._thread.start()
        # On its own: nobody waits for imports when the service is told to stop.
        threading.Thread(target=self._prepare, name="warm up", daemon=True).start()

    def _start(self) -> None:
        if self._exclusive is not None and not self._exclusive.acquire(stop=self._stopping.is_set):
            return
        try:
            while not self._take_over():
                if self._stopping.wait(_TRY_AGAIN_SECONDS):
                    return
        except ConfigurationError:
            return
        self._worker.start()
        log.info("workers are running")

    def _prepare(self) -> None:
        self._warm_up()
        # What was imported stays for good. Searched for garbage again and again, it holds requests up (over
        # 100 ms on a list of 200 promotions).
        gc.collect()
        gc.freeze()

    def _take_over(self) -> bool:
        """Give back the leases of the process that was here before, and say that this one is at work.

        Raises:
            ConfigurationError: it may not.
        """
        try:
            if self._exclusive is not None:
                self._store.release_all_leases()
            self._beat()
        except ConfigurationError:
            raise
        except Exception:  # the disk may be full; without workers nothing would ever be done
            log.exception("the workers cannot start yet")
            return False
        return True

    def stop(self, seconds: float) -> None:
        """Finish the steps in hand, within this many seconds."""
        deadline = time.monotonic() + seconds
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)
        ended = self._worker.stop(max(deadline - time.monotonic(), 0))
        if ended:
            self._say_goodbye(max(deadline - time.monotonic(), 0))
        if self._exclusive is None:
            return
        self._checkpoint()
        if ended:  # else the next process must not take a step that goes on for a dead one's: the kernel frees the lock
            self._exclusive.release()

    def _say_goodbye(self, seconds: float) -> None:
        """Where that fails, the heartbeat grows old instead: a database that hangs must not hold up the stop."""

        def leave() -> None:
            try:
                self._leave()
            except Exception:  # it may be away, and is not needed any more
                log.warning("the database does not hear that this replica has stopped", exc_info=True)

        leaving = threading.Thread(target=leave, name="leave", daemon=True)
        leaving.start()
        leaving.join(seconds)

    def _checkpoint(self) -> None:
        """After a stop the database's file is whole by itself, for whoever copies it."""
        try:
            self._store.checkpoint()
        except Exception:  # a command may be writing; the log is kept and nothing is lost
            log.warning("the write-ahead log stays beside the database", exc_info=True)
