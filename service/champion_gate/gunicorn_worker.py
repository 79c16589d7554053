"""Gunicorn's thread worker, with a bound on whatever a client may keep it waiting for.

The worker as it is (gunicorn 27, workers/gthread.py) gives a thread to each new connection before anything has
come, reads after the answer what is left of a body for as long as it drips, and waits up to two seconds in its one
event loop for each client that does not hang up. Here those cost no thread, and the loop waits for nobody.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http import errors, message
from gunicorn.workers.gthread import TConn, ThreadWorker

LONGEST_REQUEST_LINE = 50 * 1024
"""Bytes: the longest model, alias and reason that the API's schema takes, with every character percent-encoded."""
SILENCE_SECONDS = 10.0
"""How long a client may send nothing of a request that has begun, and how long it may take one piece of an answer."""
_SEND_BUFFER = 128 * 1024
"""Bytes; Linux would keep megabytes for each client that takes no answer."""
_LINGER_SECONDS = 2.0  # so that a client that is still sending reads our answer before the connection ends
_LINGER_BYTES = 64 * 1024
_MOST_LINGERING = 500  # each holds a socket
_STATUSES = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
"""As gunicorn's own pages have them (workers/base.py, handle_error)."""

message.MAX_REQUEST_LINE = LONGEST_REQUEST_LINE  # gunicorn takes no setting above 8,190


class BoundedConnection(TConn):  # type: ignore[misc]  # gunicorn is untyped
    """A connection whose every read and every answer has a time-out."""

    linger: Callable[[socket.socket], None]

    def init(self) -> None:
        """Called in a thread before each request."""
        super().init()
        # Of a send it bounds the whole (socket.sendall), of the head each piece; web/bodies.py bounds bodies.
        self.sock.settimeout(SILENCE_SECONDS)

    def close(self, graceful: bool = False) -> None:
        """Hang up; a client that may still be sending is let finish, or else it might never see the answer."""
        if graceful:
            self.linger(self.sock)
        else:
            super().close()


class BoundedWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn is untyped
    """Threads only for requests that have begun to come."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lingering: deque[_Lingering] = deque()
        self._stop: Callable[[], object] = lambda: None
        self._stopping: threading.Thread | None = None

    def when_stopping(self, stop: Callable[[], object]) -> None:
        """Have this done, in a thread of its own, while open requests are waited for."""
        self._stop = stop

    def finish_stopping(self) -> None:
        """Return once that is done; it begins here where the worker ends without having been told to."""
        self._begin_stopping().join()

    def _begin_stopping(self) -> threading.Thread:
        if self._stopping is None:
            self._stopping = threading.Thread(target=self._stop, name="stop", daemon=True)
            self._stopping.start()
        return self._stopping

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, and watch it without a thread until something comes."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        connection = BoundedConnection(self.cfg, client, address, listener.getsockname())
        connection.linger = self._linger
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)
        readable = partial(self.on_pending_socket_readable, connection)
        self.poller.register(client, selectors.EVENT_READ, readable)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what could not be read as a request as the app answers everything else, not with a web page."""
        if not isinstance(exc, errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        from champion_gate.web.problems import code_of, problem  # noqa: PLC0415 - the lean master imports this module

        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        self.log.info("Answered %s: %s", status.value, exc)
        answer = problem(status, code=code_of(status), detail=str(exc) or status.phrase)
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{answer.headers}"
        with suppress(OSError):
            util.write_nonblock(client, head.encode("latin-1") + answer.get_data())

    def murder_pending(self) -> None:
        """Called once a second or more often."""
        super().murder_pending()
        now = time.monotonic()
        while self._lingering and (self._lingering[0].until <= now or len(self._lingering) > _MOST_LINGERING):
            self._hang_up(self._lingering[0])

    def _keepalive_after(self, conn: BoundedConnection, keepalive: bool) -> bool:
        """Whether the connection may bear another request: not where a body was left unread."""
        return keepalive and _is_read_whole(conn.parser.mesg.body.reader)

    def _cap_keepalive(self, deadline: float) -> None:
        """Called once, when the worker begins to stop."""
        super()._cap_keepalive(deadline)
        # The master has the port itself; where it was killed, the next service needs it now.
        for listener in self.sockets:
            listener.close()
        self._begin_stopping()
        if self.nr_conns:
            seconds = self.cfg.graceful_timeout
            self.log.info("Stopping; waiting up to %s s for %s open connections.", seconds, self.nr_conns)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)

    def _linger(self, client: socket.socket) -> None:
        """Say that we are done, and take what still comes for a moment (RFC 9112, section 9.6)."""
        left = _Lingering(client, time.monotonic() + _LINGER_SECONDS)
        try:
            client.setblocking(False)
            client.shutdown(socket.SHUT_WR)
            self.poller.register(client, selectors.EVENT_READ, partial(self._drain, left))
        except (OSError, ValueError):
            client.close()
            return
        self._lingering.append(left)

    def _drain(self, left: _Lingering, client: socket.socket) -> None:
        try:
            piece = client.recv(_LINGER_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        left.bytes += len(piece)
        if not piece or left.bytes >= _LINGER_BYTES:
            self._hang_up(left)

    def _hang_up(self, left: _Lingering) -> None:
        self._lingering.remove(left)
        self.poller.unregister(left.client)
        left.client.close()


class _Lingering:
    """A connection that we have done with, and until when we wait for the other end to hang up."""

    def __init__(self, client: socket.socket, until: float) -> None:
        self.client = client
        self.until = until
        self.bytes = 0


def _is_read_whole(reader: Any) -> bool:
    """Of gunicorn's readers: that of a declared length counts down, that of chunks drops its parser at the end."""
    if hasattr(reader, "length"):
        return bool(reader.length == 0)
    return getattr(reader, "parser", reader) is None
