"""What runs beside the web app in the serving process: its workers, once no other process is at work."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import make_url

from champion_gate.core.ports import Store
from champion_gate.log import get_logger
from champion_gate.store.exclusive import ExclusiveFile
from champion_gate.worker import Worker

log = get_logger(__name__)


class Background:
    """Starts and stops the workers.

    On SQLite one process serves a database file. The one that starts waits until the former is gone; then
    every lease in the rows is a dead worker's and is given back, so that a crash costs no waiting. On
    PostgreSQL other replicas may be at work, and a dead worker's lease runs out.
    """

    def __init__(self, worker: Worker, store: Store, database_url: str) -> None:
        self._worker = worker
        self._store = store
        url = make_url(database_url)
        is_sqlite = url.get_backend_name() == "sqlite"
        self._exclusive = ExclusiveFile(Path(str(url.database))) if is_sqlite else None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the workers, at once or as soon as the former process is gone; never blocks."""
        self._thread = threading.Thread(target=self._start, name="start workers", daemon=True)
        self._thread.start()

    def _start(self) -> None:
        if self._exclusive is not None:
            if not self._exclusive.acquire(stop=self._stopping.is_set):
                return
            self._store.release_all_leases()
        self._worker.start()
        log.info("workers are running")

    def stop(self, seconds: float) -> None:
        """Finish the steps in hand, within this many seconds."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)
        self._worker.stop(seconds)
        if self._exclusive is not None:
            self._exclusive.release()
