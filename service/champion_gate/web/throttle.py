"""What keeps some from taking all threads: limits on who waits, and failed attempts counted by source address."""

from __future__ import annotations

import ipaddress
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

from champion_gate.errors import GateError, TooManyAttemptsError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WINDOW_SECONDS = 60
_PREFIX_BITS = 64  # what one household or machine gets of IPv6
_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+|\[([^\]]+)\](?::\d+)?")

T = TypeVar("T")


class BusyError(GateError):
    """As many requests as may wait for Databricks or the registry do so already."""

    code = "busy"
    status = 503
    retryable = True


class ConcurrencyLimit:
    """Keeps requests that wait from taking all threads: hooks and health must be answered.

    Args:
        most: how many may wait at the same time.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there is a place, which is held meanwhile."""
        taken = self._free.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._free.release()

    def run(self, work: Callable[[], T]) -> T:
        """Do work that waits for a vendor; raises BusyError where there is no place."""
        with self.place() as taken:
            if not taken:
                raise BusyError(
                    "Too many requests wait for Databricks or the registry already; nothing was changed.",
                    hint="Try again in a moment.",
                )
            return work()


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
        self._waiting = ConcurrencyLimit(waiting)
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
        with self._waiting.place() as taken:
            if not taken:
                raise TooManyAttemptsError(
                    "Too many wrong credentials of late.", hint="A right one is taken at any time."
                )
            self._pause(1.0)


def _group(address: str | None) -> str:
    """What counts as one source."""
    if address is None:
        return "unknown"
    found = ipaddress.ip_address(address)
    if found.version == 4:  # noqa: PLR2004 - IPv4
        return str(found)
    return str(ipaddress.ip_network((int(found), _PREFIX_BITS), strict=False))


def apply_proxy_hops(app: Flask, hops: int) -> None:
    """Believe the proxies in front about the source address and the scheme, and nobody else.

    Args:
        app: whose requests pass through them.
        hops: how many proxies append to `X-Forwarded-For`; with 0 the header is ignored.
    """
    if not hops:
        return
    fixed = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0, x_port=0, x_prefix=0)

    def believing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # ProxyFix understands quoted strings: a stranger's single quotation mark would hide what proxies append.
        for name in ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"):
            if name in environ:
                environ[name] = environ[name].replace('"', "")
        return fixed(environ, start_response)

    app.wsgi_app = believing  # type: ignore[method-assign]


def source_address() -> str | None:
    """The IP address of the request in hand; None where it has none that can be read (a UNIX socket)."""
    text = (request.remote_addr or "").strip()
    # Some proxies (Azure's Application Gateway) append the port.
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        text = found.group(1) or found.group(2)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
