"""A small WSGI server that keeps connections, as the vendors' servers do; werkzeug's own closes each after one answer."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import formatdate
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote_to_bytes

from werkzeug.serving import DechunkedInput
from werkzeug.wsgi import LimitedStream

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

SOCKET = "champion_gate_standins.socket"
"""The environ's key for the connection, for faults that cut it."""

_LONGEST_LINE = 64 * 1024
_PIECE, _MOST_PIECES, _LINGER_SECONDS = 64 * 1024, 1000, 0.05
_UNPREFIXED = {"CONTENT_TYPE", "CONTENT_LENGTH"}


class WSGIServer(ThreadingTCPServer):
    """Serves an app on 127.0.0.1, each connection in a thread of its own."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, app: WSGIApplication, port: int) -> None:
        """Listen, and serve nothing yet; port 0 takes a free one."""
        self.app = app
        self.connections: set[socket.socket] = set()
        self.stopping = False
        super().__init__(("127.0.0.1", port), _Connection)
        self.port: int = self.server_address[1]

    def run(self) -> None:
        """Take connections until `stop`."""
        while not self.stopping:
            self.handle_request()

    def stop(self) -> None:
        """Take no more requests; those that have come are answered, if nobody waits for that."""
        self.stopping = True
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass  # wakes `run`
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # wakes who waits for the next request


class _Connection(StreamRequestHandler):
    """One connection, with one request after the other."""

    server: WSGIServer
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has gone away, or a fault has cut the connection
            while not self.server.stopping and self._answer():
                pass

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def _answer(self) -> bool:
        """Answer one request; returns whether another may follow."""
        environ = self._request()
        if environ is None:
            return False
        head: list[Any] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _: object = None
        ) -> Callable[..., Any]:
            head[:] = status, headers
            return self.wfile.write

        answer = self.server.app(environ, start_response)
        try:
            kept = self._send(environ, head[0], head[1], answer)
            if not kept:
                self._linger()
            return kept
        finally:
            if hasattr(answer, "close"):
                answer.close()

    def _request(self) -> WSGIEnvironment | None:
        """The next request, its body unread; None where no more comes, or none that can be understood."""
        words = self.rfile.readline(_LONGEST_LINE).decode("latin-1").split()
        if len(words) != 3:  # noqa: PLR2004 - method, target, protocol
            return None
        method, target, protocol = words
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.port),
            "SERVER_PROTOCOL": protocol,
            "REMOTE_ADDR": self.client_address[0],
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            SOCKET: self.connection,
        }
        while line := self.rfile.readline(_LONGEST_LINE).rstrip(b"\r\n"):
            name, _, value = line.decode("latin-1").partition(":")
            key = name.upper().replace("-", "_")
            key = key if key in _UNPREFIXED else f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value.strip()}" if key in environ else value.strip()
        sent = cast("IO[bytes]", self.rfile)
        if "HTTP_TRANSFER_ENCODING" in environ:
            return environ | {"wsgi.input": DechunkedInput(sent), "wsgi.input_terminated": True}
        return environ | {"wsgi.input": LimitedStream(sent, int(environ.get("CONTENT_LENGTH") or 0))}

    def _linger(self) -> None:
        """Take what still comes for a moment: a client that sends when we hang up might never see the answer."""
        self.connection.settimeout(_LINGER_SECONDS)
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            for _ in range(_MOST_PIECES):
                if not self.connection.recv(_PIECE):
                    return

    def _send(
        self,
        environ: WSGIEnvironment,
        status: str,
        headers: list[tuple[str, str]],
        answer: Iterable[bytes],
    ) -> bool:
        """Send an answer; returns whether the connection is kept."""
        named = {name.lower() for name, _ in headers}
        bodiless = environ["REQUEST_METHOD"] == "HEAD" or status.startswith(("204", "304"))
        kept = (
            environ["SERVER_PROTOCOL"] == "HTTP/1.1"
            and environ.get("HTTP_CONNECTION", "").lower() != "close"
            and (bodiless or "content-length" in named)
            and _is_read(environ)
        )
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
        lines += [] if "date" in named else [f"Date: {formatdate(usegmt=True)}"]
        lines += [] if kept else ["Connection: close"]
        sent = "\r\n".join([*lines, "\r\n"]).encode("latin-1")
        for piece in answer:
            if not bodiless:
                self.connection.sendall(sent + piece)
                sent = b""
        if sent:
            self.connection.sendall(sent)
        return kept


def _is_read(environ: WSGIEnvironment) -> bool:
    """Whether the next request follows: what an app left of a small body is read here, a large one ends the connection."""
    body = environ["wsgi.input"]
    if isinstance(body, LimitedStream) and int(environ.get("CONTENT_LENGTH") or 0) <= _PIECE:
        body.exhaust()
    return isinstance(body, LimitedStream) and bool(body.is_exhausted)
