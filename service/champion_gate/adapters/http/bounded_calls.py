"""A deadline around calls of a client that knows none: mlflow's bounds each read, never the whole call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from champion_gate.errors import VendorUnavailableError

T = TypeVar("T")


class _Call(Generic[T]):
    """One call on its own thread; nobody may be waiting for it any more when it gets to its work."""

    def __init__(self, work: Callable[[Callable[[], None]], T], ended: Callable[[], object]) -> None:
        self._work = work
        self._ended = ended
        self._done = threading.Event()
        self._abandoned = threading.Event()
        self._result: T
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._work(self._stop_if_abandoned)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
            self._error = error
        finally:
            self._ended()
            self._done.set()

    def outcome(self, seconds: float) -> T:
        if not self._done.wait(max(seconds, 0)):
            self._abandoned.set()
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result

    def _stop_if_abandoned(self) -> None:
        if self._abandoned.is_set():
            raise TimeoutError


class BoundedCalls:
    """Runs each call on a thread of its own and waits no longer than the deadline.

    A blocked thread cannot be stopped in Python, so at most `slots` of them may exist: where a vendor hangs,
    further calls fail at the deadline without starting. The threads are daemons: they never hold up an exit
    (those of concurrent.futures do).

    Args:
        vendor: the system's name, for errors.
        total: seconds that one call may take, waiting for a slot included.
        slots: how many calls may run at once.
    """

    def __init__(self, vendor: str, *, total: float, slots: int = 8) -> None:
        self._vendor = vendor
        self._total = total
        self._slots = threading.BoundedSemaphore(slots)

    def run(self, work: Callable[[Callable[[], None]], T], *, writes: bool = False) -> T:
        """Run `work` and give back what it returns or raises.

        Args:
            work: is given a function that raises once nobody waits any more; to be called before a write.
            writes: whether the call changes something at the vendor.

        Raises:
            VendorUnavailableError: it took too long; with `outcome_unknown` where it may have written.
        """
        until = time.monotonic() + self._total
        if not self._slots.acquire(timeout=self._total):
            raise VendorUnavailableError(
                self._vendor, "too many earlier calls still hang; this one was not sent."
            )
        call = _Call(work, self._slots.release)
        try:
            threading.Thread(target=call.run, name=f"{self._vendor} call", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise VendorUnavailableError(self._vendor, "no thread could be started for the call.") from error
        try:
            return call.outcome(until - time.monotonic())
        except TimeoutError as error:
            raise VendorUnavailableError(
                self._vendor, f"no answer within {self._total:g} seconds.", outcome_unknown=writes
            ) from error
