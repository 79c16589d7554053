"""The queue that wakes workers. It may lose or repeat a message: the rows are the truth."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from huey import Huey
from huey.storage import MemoryStorage

Receiver = Callable[[str, str], None]
"""Takes a kind ("notification", "promotion", "step", "look") and a row's id or a look's name."""

_NAME = "champion-gate"
_WAIT_SECONDS = 0.3  # a consumer that is told to stop notices so soon


class HueyWakeUps:
    """Puts wake-ups on a queue in memory; a `Worker` of this process takes them off. Make it after the fork.

    What one of another process would tell, the rows tell whoever looks for what is due; which of several replicas
    does it, the row's lease decides.
    """

    def __init__(self) -> None:
        self.queue = Huey(_NAME, results=False, storage_class=_WaitedFor)
        self._receiver: Receiver | None = None
        self._is_waiting: Callable[[str, str], bool] | None = None
        self._enqueue = self.queue.task(name="wake_up")(self._receive)

    def notification(self, notification_id: str) -> None:
        """Have `resolve` called."""
        self.send("notification", notification_id)

    def promotion(self, promotion_id: str) -> None:
        """Have `advance` called."""
        self.send("promotion", promotion_id)

    def step(self, step_id: str) -> None:
        """Have `carry_out` of a step called."""
        self.send("step", step_id)

    def look(self, name: str) -> None:
        """Have one of the sweep's looks at a vendor called."""
        self.send("look", name)

    def send(self, kind: str, row_id: str) -> None:
        """Enqueue one message."""
        if self._is_waiting is None or not self._is_waiting(kind, row_id):
            self._enqueue(kind, row_id)

    def backlog(self) -> int:
        """How many messages wait to be taken off the queue."""
        return int(self.queue.pending_count())

    def deliver_to(self, receiver: Receiver, is_waiting: Callable[[str, str], bool]) -> None:
        """Have this process's consumer threads hand every message to `receiver`.

        Args:
            receiver: takes a message's kind and id.
            is_waiting: whether one like it was taken already and is still to be carried out: while a
                vendor hangs, the rows that wait for it would else be enqueued again and again.
        """
        self._receiver = receiver
        self._is_waiting = is_waiting

    def _receive(self, kind: str, row_id: str) -> None:
        if self._receiver is None:
            raise RuntimeError("nobody works in this process")
        self._receiver(kind, row_id)


class _WaitedFor(MemoryStorage):  # type: ignore[misc]  # huey is untyped
    """Huey's queue in memory, whose consumers wait for a message instead of asking for one again and again."""

    blocking = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived = threading.Condition(self._lock)

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        with self._arrived:
            super().enqueue(data, priority)
            self._arrived.notify()

    def dequeue(self) -> bytes | None:
        with self._arrived:
            if not self._queue:
                self._arrived.wait(_WAIT_SECONDS)
            data: bytes | None = super().dequeue()
            return data
