"""Makes a stand-in misbehave: error answers, hanging, dropped connections, answers that get lost."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from champion_gate_standins.common.http import SOCKET

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


FAULT_HEADER = "X-Stand-In-Fault"
"""Marks answers that a fault made up, so that nobody checks them against a vendor's description."""


@dataclass(eq=False)
class Fault:
    """What goes wrong with the requests that it matches.

    Attributes:
        path: regular expression searched for in the path (without the query).
        method: only this method; None = all.
        status: answer this instead; None = answer as usual (after hanging, if it hangs).
        body: the answer's raw text, e.g. broken JSON; with `status` None it goes out as 200.
        headers: further headers, e.g. {"Retry-After": "7"}.
        hang: seconds to wait before anything else, cut short by `released.set()`.
        drop: close the connection without an answer.
        carry_out: do what was asked before going wrong: the answer is lost, its effect is not.
        meanwhile: what happens in the world before the request is looked at, and after earlier ones were answered.
        times: how many requests it hits; None = all.
        hits: how many it has hit.
        released: set by tests to let the hanging ones go on.
    """

    path: str
    method: str | None = None
    status: int | None = None
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: float = 0.0
    drop: bool = False
    carry_out: bool = False
    meanwhile: Callable[[], object] | None = None
    times: int | None = None
    hits: int = 0
    released: threading.Event = field(default_factory=threading.Event)

    def matches(self, method: str, path: str) -> bool:
        """Whether it hits this request."""
        spent = self.times is not None and self.hits >= self.times
        return not spent and self.method in {None, method} and re.search(self.path, path) is not None


class Faults:
    """WSGI middleware in front of a stand-in; it sits outside the stand-in's lock, so hanging blocks nobody else.

    Attributes:
        requests: (method, path) of everything that was asked, oldest first.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []

    def add(self, path: str, **options: Any) -> Fault:
        """Add a fault; the first that matches a request hits it. Options are Fault's attributes."""
        fault = Fault(path, **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults and let everything that hangs go on."""
        with self._lock:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.released.set()

    def _take(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            fault = next((fault for fault in self._faults if fault.matches(method, path)), None)
            if fault:
                fault.hits += 1
            return fault

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, well or badly."""
        fault = self._take(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        if fault is None:
            return self.app(environ, start_response)
        if fault.meanwhile:
            fault.meanwhile()
        if fault.carry_out:
            _swallow(self.app, environ)
        if fault.hang:
            fault.released.wait(fault.hang)
        if fault.drop:
            _close(environ)
        if fault.status is None and fault.body is None:
            return self.app(environ, start_response)
        status = HTTPStatus(fault.status or 200)
        body = (fault.body if fault.body is not None else '{"message": "Made to fail"}').encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Content-Length": str(len(body)),
            FAULT_HEADER: "yes",
            **fault.headers,
        }
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [body]


def _swallow(app: WSGIApplication, environ: WSGIEnvironment) -> None:
    def ignore(_status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], object]:
        return lambda _chunk: None

    answer = app(environ, ignore)
    b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()


def _close(environ: WSGIEnvironment) -> None:
    """Cut the connection; `WSGIServer` takes ConnectionError quietly."""
    connection = environ.get(SOCKET)
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("dropped on purpose")
