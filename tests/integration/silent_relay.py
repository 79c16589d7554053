"""A relay before a server that can go silent (what is sent is taken, and nothing comes of it), slow down, or hang up, also halfway."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

_FEW, _MOMENT_SECONDS = 64, 0.01


class SilentRelay:
    """Hands bytes on in both directions until it is told not to; connections that come later are handed on again."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        """Set up.

        Args:
            connect: opens a connection to the server behind.
        """
        self._connect = connect
        self._silent = threading.Event()
        self._open: list[socket.socket] = []
        self._slow_until = 0.0
        self._breaks_off = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def go_silent(self) -> None:
        """Hand nothing on for those who are connected, without closing anything."""
        self._silent.set()
        self._silent = threading.Event()

    def reset(self) -> None:
        """Reset the connections of those who are connected."""
        connected, self._open = self._open, []
        for each in connected:
            with suppress(OSError):
                # Nothing lingers: what the other side hears is a reset, and no orderly end.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RD)  # wakes who waits for it
            each.close()

    def break_off(self) -> None:
        """Hand on half of what the server says next, and reset the connections."""
        self._breaks_off = True

    def slow_down(self, seconds: float) -> None:
        """Hand on only some bytes at a time, for so long."""
        self._slow_until = time.monotonic() + seconds

    def get_well(self) -> None:
        """Hand on everything again, for all but those who have been silent."""
        self._slow_until, self._breaks_off = 0.0, False

    def close(self) -> None:
        """Close everything."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = self._connect()
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    args = (*pair, self._silent, pair[0] is far)
                    threading.Thread(target=self._hand_on, args=args, daemon=True).start()

    def _passing(self, data: bytes) -> None:
        """Called with what is about to be handed on, in either direction."""

    def _hand_on(
        self, source: socket.socket, target: socket.socket, silent: threading.Event, is_answer: bool
    ) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._passing(data)
                if silent.is_set():
                    continue
                if is_answer and self._breaks_off:
                    self._breaks_off = False
                    target.sendall(data[: len(data) // 2])
                    self.reset()
                while data and time.monotonic() < self._slow_until:
                    target.sendall(data[:_FEW])
                    data = data[_FEW:]
                    time.sleep(_MOMENT_SECONDS)
                target.sendall(data)
            if not silent.is_set():
                target.shutdown(socket.SHUT_WR)


def to_server(url: str) -> socket.socket:
    """A connection to the PostgreSQL server of this URL."""
    found = conninfo_to_dict(url)
    host, port = str(found.get("host", "127.0.0.1")), int(found.get("port") or 5432)
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    there = socket.socket(socket.AF_UNIX)
    there.connect(f"{host}/.s.PGSQL.{port}")
    return there


def through(relay: SilentRelay, url: str) -> str:
    """The URL of the same database, by way of the relay."""
    found = make_url(url)
    query = {name: value for name, value in found.query.items() if name not in {"host", "port"}}
    moved = found.set(host="127.0.0.1", port=relay.port, query=query)
    return moved.render_as_string(hide_password=False)
