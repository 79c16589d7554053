"""Sends a stand-in's webhooks one after the other, in the background."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Outbox(Generic[T]):
    """A queue of deliveries and the thread that sends them, started with the first."""

    def __init__(self, send: Callable[[T], None], name: str) -> None:
        """Send nothing yet.

        Args:
            send: sends one; must not raise.
            name: of the thread.
        """
        self._send = send
        self._name = name
        self._queue: queue.Queue[T | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def put(self, delivery: T) -> None:
        """Send this one when its turn comes."""
        self._queue.put(delivery)
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name=self._name, daemon=True)
            self._thread.start()

    def drain(self, seconds: float = 10.0) -> None:
        """Wait until everything queued has been sent; TimeoutError if that takes longer."""
        end = time.monotonic() + seconds
        with self._queue.all_tasks_done:
            while self._queue.unfinished_tasks:
                if not self._queue.all_tasks_done.wait(end - time.monotonic()):
                    raise TimeoutError("Webhooks are still being sent.")

    def close(self) -> None:
        """Stop sending."""
        if self._thread:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _send_all(self) -> None:
        while (delivery := self._queue.get()) is not None:
            self._send(delivery)
            self._queue.task_done()
        self._queue.task_done()
