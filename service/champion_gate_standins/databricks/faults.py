"""Makes the Databricks stand-in fail on purpose: statuses, hangs, lost answers, dropped connections."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask import Flask, Response, g, jsonify, request

from champion_gate_standins.common.http import SOCKET

_LONGEST_HANG = 120.0


@dataclass
class Fault:
    """What goes wrong, for which requests, how often.

    Attributes:
        path: regular expression that must match somewhere in the path.
        method: only this HTTP method; any if None.
        times: how many requests it hits; None for all.
        skip: how many matching requests pass before the first is hit.
        status: answer with this status instead of carrying the request out.
        error_code, message: the body that goes with `status`.
        retry_after: seconds for the Retry-After header that goes with `status`.
        body: raw body: with `status`, or with 200 where there is none.
        content_type: of the raw body.
        location: redirect there.
        hang: wait until this is set, then go on; a lost client is not noticed.
        drip: the answer comes a byte each fifth of a second until this is set.
        drop: close the connection before carrying the request out.
        lose_answer: carry the request out, then close the connection without an answer.
        hits: how many requests it has hit.
    """

    path: str
    method: str | None = None
    times: int | None = None
    skip: int = 0
    status: int | None = None
    error_code: str = "FAULT"
    message: str = "A fault on purpose."
    retry_after: int | None = None
    body: bytes | None = None
    content_type: str = "application/json"
    location: str | None = None
    hang: threading.Event | None = None
    drip: threading.Event | None = None
    drop: bool = False
    lose_answer: bool = False
    hits: int = 0

    def answer(self) -> Response | None:
        """What to answer instead of carrying the request out; None to carry it out."""
        if self.location is not None:
            return Response(status=self.status or 302, headers={"Location": self.location})
        if self.body is not None:
            return Response(self.body, status=self.status or 200, content_type=self.content_type)
        if self.status is None:
            return None
        response = jsonify(error_code=self.error_code, message=self.message)
        response.status_code = self.status
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


@dataclass
class Faults:
    """The faults in force, asked in the order in which they were added."""

    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, fault: Fault) -> Fault:
        """Put a fault in force."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Let everything work again; requests that hang are let go."""
        with self._lock:
            for fault in self._faults:
                for waits in (fault.hang, fault.drip):
                    if waits is not None:
                        waits.set()
            self._faults.clear()

    def attach(self, app: Flask) -> None:
        """Have every request of the app pass through here."""
        app.before_request(self._before)
        app.after_request(self._after)

    def _hit(self) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if not re.search(fault.path, request.path) or fault.method not in {None, request.method}:
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                elif fault.times is None or fault.hits < fault.times:
                    fault.hits += 1
                    return fault
        return None

    def _before(self) -> Response | None:
        fault = self._hit()
        if fault is None:
            return None
        if fault.hang is not None:
            fault.hang.wait(_LONGEST_HANG)
        if fault.drop:
            _close_connection()
            return Response(status=500)
        g.lose_answer, g.drip = fault.lose_answer, fault.drip
        return fault.answer()

    def _after(self, response: Response) -> Response:
        if g.get("lose_answer"):
            _close_connection()
        if g.get("drip"):
            response.response = _dripping(response.get_data(), g.drip)
        return response


def _dripping(body: bytes, until: threading.Event) -> Iterator[bytes]:
    for byte in body:
        until.wait(0.2)
        yield bytes([byte])


def _close_connection() -> None:
    """End the TCP connection under the answer, which `WSGIServer` takes for a client that went away."""
    connection: socket.socket = request.environ[SOCKET]
    connection.shutdown(socket.SHUT_RDWR)
