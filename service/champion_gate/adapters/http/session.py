"""A requests session whose calls end at a deadline, however slowly the server drips its answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.cookiejar import DefaultCookiePolicy
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_CONNECTIONS_KEPT = 16

_here = threading.local()


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


def _watch(connected: socket.socket | None) -> None:
    deadline: Deadline | None = getattr(_here, "deadline", None)
    if deadline is not None and connected is not None:
        deadline.watch(connected)


class _PlainConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        _watch(self.sock)
        return super().getresponse()


class _TlsConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        _watch(self.sock)
        return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _PlainPool, "https": _TlsPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        found = super().proxy_manager_for(proxy, **kwargs)
        found.pool_classes_by_scheme = _POOLS
        return found


def new_session() -> requests.Session:
    """A session that several threads may share: it keeps connections, and nothing of an answer (no cookies)."""
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_connections=2, pool_maxsize=_CONNECTIONS_KEPT)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
