"""Failed attempts to get in: counted by source address, and slowed where there are many."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from champion_gate.errors import TooManyAttemptsError

WINDOW_SECONDS = 60
_PREFIX_BITS = 64  # what one household or machine gets of IPv6


@dataclass
class _Failures:
    """Those of one address: how many without a quiet minute between them, and when the latest were."""

    count: int = 0
    latest: deque[float] = field(default_factory=deque)


class Attempts:
    """Counts refusals and holds some back. Whoever is right never comes here, so nobody else slows them.

    What it does not do is stop somebody who guesses: beyond the waiting places a wrong guess is told at once.
    The secrets are long enough for that; it keeps a flood of refusals from taking the server's threads, and
    makes it visible.
    """

    def __init__(
        self,
        *,
        seconds: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        free: int = 5,
        waiting: int = 4,
        addresses: int = 4096,
    ) -> None:
        """Set up.

        Args:
            seconds: a clock that never goes back.
            pause: waits for so many seconds.
            free: failures of one address within a minute that are answered at once.
            waiting: how many answers may be held back at the same time.
            addresses: how many are remembered; the one that has been silent longest is forgotten.
        """
        self._seconds = seconds
        self._pause = pause
        self._free = free
        self._addresses = addresses
        self._places = threading.BoundedSemaphore(waiting)
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def failed(self, address: str | None) -> tuple[int, bool]:
        """Note a failure.

        Args:
            address: an IP address; None where it is not known.

        Returns:
            How many there have been without a quiet minute between them, and whether to hold the answer back.
        """
        now = self._seconds()
        with self._lock:
            found = self._failures.pop(_group(address), None)
            if found is None or now - found.latest[-1] >= WINDOW_SECONDS:
                found = _Failures(latest=deque(maxlen=self._free))
            is_many = len(found.latest) == self._free and now - found.latest[0] < WINDOW_SECONDS
            found.count += 1
            found.latest.append(now)
            self._failures[_group(address)] = found
            if len(self._failures) > self._addresses:
                self._failures.popitem(last=False)
        return found.count, is_many

    def hold_back(self) -> None:
        """Wait a second, where there is a place to wait.

        Raises:
            TooManyAttemptsError: there is none.
        """
        if not self._places.acquire(blocking=False):
            raise TooManyAttemptsError(
                "Too many wrong credentials of late.", hint="A right one is taken at any time."
            )
        try:
            self._pause(1.0)
        finally:
            self._places.release()


def _group(address: str | None) -> str:
    """What counts as one source."""
    if address is None:
        return "unknown"
    found = ipaddress.ip_address(address)
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return str(found)
    return str(ipaddress.ip_network((int(found), _PREFIX_BITS), strict=False))
