"""Deadlines around calls: read time-outs alone end none, for they start anew with every byte that drips in.

`Deadline` cuts the connection that a call of ours waits on. `BoundedCalls` waits no longer for a client whose
connections are out of our reach: mlflow's, and the Databricks SDK's with its locks and commands. Beside a call over
the network both cost nothing that counts, a third of a millisecond; a call that was cut is over, though, and keeps no
thread, so it is the first where it can be.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from champion_gate.adapters.http.public import PublicOnly
from champion_gate.errors import VendorUnavailableError

T = TypeVar("T")

Timed = Callable[[str], AbstractContextManager[None]]
"""Takes the time of the block that it is entered for, which is one call to the vendor of this name."""

_CONNECTIONS_KEPT = 16  # of a session; what is more is opened for one call

_here = threading.local()


def untimed(_vendor: str) -> AbstractContextManager[None]:
    """A `Timed` that takes no time."""
    return nullcontext()


@dataclass(frozen=True)
class Timeouts:
    """How long we wait, in seconds.

    Attributes:
        connect: for a TCP and TLS connection.
        read: between two pieces of an answer.
        total: for one call, with its retries and their pauses, or for one operation of several calls.
    """

    connect: float = 5.0
    read: float = 15.0
    total: float = 60.0


# --- connections of our own -------------------------------------------------------------------------------


class Deadline:
    """Cuts the connection that this thread waits on once the time is up; a context for one exchange.

    A read time-out alone does not end a call: it starts anew with every byte that arrives.

    Attributes:
        passed: whether the time was up before the block ended.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        _here.deadline = self
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True
        self._timer.cancel()
        _here.deadline = None

    def watch(self, connected: socket.socket) -> None:
        """Say which connection is waited on from now."""
        with self._lock:
            self._socket = connected
            if self.passed:
                _shut(connected)

    @property
    def watched(self) -> socket.socket | None:
        """The connection that was waited on last."""
        return self._socket

    def _cut(self) -> None:
        with self._lock:
            if self._over:
                return
            self.passed = True
            if self._socket is not None:
                _shut(self._socket)


def _shut(connected: socket.socket) -> None:
    # The base class's method: SSLSocket's own would drop the TLS layer under the thread that is reading.
    with contextlib.suppress(OSError, TypeError):
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def _deadline() -> Deadline | None:
    return getattr(_here, "deadline", None)


def _watch(connected: socket.socket | None) -> None:
    deadline = _deadline()
    if deadline is not None and connected is not None:
        deadline.watch(connected)


class _PlainConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        _watch(self.sock)
        return super().getresponse()


class _TlsConnection(HTTPSConnection):
    def _tunnel(self) -> None:
        # A proxy's answer ends where the connection was cut, as if there were a tunnel.
        _watch(self.sock)
        super()._tunnel()
        if (deadline := _deadline()) is not None and deadline.passed:
            self.close()
            raise TimeoutError

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        _watch(self.sock)
        return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _PublicPlainPool(HTTPConnectionPool):
    class ConnectionCls(PublicOnly, _PlainConnection):
        """Plain."""


class _PublicTlsPool(HTTPSConnectionPool):
    class ConnectionCls(PublicOnly, _TlsConnection):
        """TLS; nothing is sent, and no certificate read, before the address is known to be public."""


_POOLS = {"http": _PlainPool, "https": _TlsPool}
_PUBLIC_POOLS = {"http": _PublicPlainPool, "https": _PublicTlsPool}


class _Adapter(HTTPAdapter):
    def __init__(self, *, public_only: bool, pool_connections: int, pool_maxsize: int) -> None:
        self._pools = _PUBLIC_POOLS if public_only else _POOLS
        super().__init__(pool_connections=pool_connections, pool_maxsize=pool_maxsize)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        found = super().proxy_manager_for(proxy, **kwargs)
        found.pool_classes_by_scheme = _POOLS
        return found


def read_environment(session: requests.Session, url: str) -> None:
    """Take from the environment now what requests would look for there before each call: that is a quarter of its cost.

    Args:
        session: one whose calls all go to the same host.
        url: of that host, which decides which proxy is used, if any.
    """
    found = session.merge_environment_settings(url, {}, None, session.verify, None)
    session.proxies, session.verify = found["proxies"], found["verify"]
    session.trust_env = False  # so nothing of ~/.netrc is sent either


def new_session(*, public_only: bool = False) -> requests.Session:
    """A session that several threads may share: it keeps connections, and nothing of an answer (no cookies).

    Args:
        public_only: whether it connects, where there is no proxy, to public addresses alone.
    """
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(public_only=public_only, pool_connections=2, pool_maxsize=_CONNECTIONS_KEPT)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


# --- clients of others ------------------------------------------------------------------------------------


class GivenUpError(VendorUnavailableError):
    """Nobody waits for the call any more; it may go on, and end as it will."""


class _Call(Generic[T]):
    """One call on its own thread; nobody may be waiting for it any more when it gets to its work."""

    def __init__(self, work: Callable[[Callable[[], None]], T], ended: Callable[[], object]) -> None:
        self._work = work
        self._ended = ended
        self._result: T
        self._error: BaseException | None = None
        self.done = threading.Event()
        self.abandoned = threading.Event()

    def run(self) -> None:
        try:
            self._result = self._work(self._stop_if_abandoned)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
            self._error = error
        finally:
            self._ended()
            self.done.set()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result

    def _stop_if_abandoned(self) -> None:
        if self.abandoned.is_set():
            raise TimeoutError


class BoundedCalls:
    """Runs each call on a thread of its own and waits no longer than the deadline.

    A blocked thread cannot be stopped in Python, so at most `slots` of them may exist: where a vendor hangs,
    further calls fail at the deadline without starting. The threads are daemons: they never hold up an exit
    (those of concurrent.futures do).
    """

    def __init__(self, vendor: str, *, slots: int = 8, timed: Timed = untimed) -> None:
        self._vendor = vendor
        self._timed = timed
        self._slots = threading.BoundedSemaphore(slots)

    def run(
        self,
        work: Callable[[Callable[[], None]], T],
        *,
        seconds: float,
        given_up: str = "",
        writes: bool = False,
    ) -> T:
        """Run `work` and give back what it returns or raises.

        Args:
            work: is given a function that raises once nobody waits any more; to be called before a write.
            seconds: how long the call may take, waiting for a slot included.
            given_up: what is said where it takes longer.
            writes: whether the call changes something at the vendor.

        Raises:
            GivenUpError: it took too long; with `outcome_unknown` where it may have written.
            VendorUnavailableError: it was not begun.
        """
        with self._timed(self._vendor):
            return self._run(work, seconds, given_up, writes=writes)

    def _run(
        self, work: Callable[[Callable[[], None]], T], seconds: float, given_up: str, *, writes: bool
    ) -> T:
        until = time.monotonic() + seconds
        if not self._slots.acquire(timeout=max(seconds, 0)):
            raise VendorUnavailableError(
                self._vendor, "too many earlier calls still hang; this one was not sent."
            )
        call = _Call(work, self._slots.release)
        try:
            threading.Thread(target=call.run, name=f"{self._vendor} call", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise VendorUnavailableError(self._vendor, "no thread could be started for the call.") from error
        if not call.done.wait(max(until - time.monotonic(), 0)):
            call.abandoned.set()
            said = given_up or f"no answer within {seconds:g} seconds."
            raise GivenUpError(self._vendor, said, outcome_unknown=writes)
        return call.outcome()
