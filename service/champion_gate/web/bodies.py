"""The body of a request, read whole before anything else, and never beyond its cap."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from flask import Request
from werkzeug.exceptions import BadRequest, RequestTimeout

from champion_gate.errors import TooLargeError

_BODY_SILENCE_SECONDS = 10.0
_BODY_SECONDS = 15.0  # the largest body that is taken needs less on any line
_LOOK_SECONDS = 1.0  # so late at most is a slow body ended


def read_body(incoming: Request, cap: int, *, seconds: float = _BODY_SECONDS) -> bytes:
    """Read a body that has at most `cap` bytes, whether or not its length is declared.

    Werkzeug's own `max_content_length` cuts an undeclared (chunked) body at the cap without an error.

    Args:
        incoming: the request.
        cap: bytes.
        seconds: how long the whole body may take, however steadily it drips.

    Raises:
        TooLargeError: it has more; at most one byte over the cap has been read.
        BadRequest, RequestTimeout: it is malformed, cut off, or stopped coming.
    """
    if (incoming.content_length or 0) > cap:
        raise _too_large(cap)
    environ = incoming.environ
    if incoming.content_length is None and not environ.get("wsgi.input_terminated"):
        return b""  # reading would never end on such a server
    limit = cap + 1 if incoming.content_length is None else incoming.content_length
    if (connection := environ.get("gunicorn.socket")) is not None:
        # A sender that falls silent must not keep a thread for good.
        connection.settimeout(_BODY_SILENCE_SECONDS)
    try:
        with _deadlines.within(connection, seconds):
            read = _read_up_to(environ["wsgi.input"], limit)
    except TimeoutError as error:
        raise RequestTimeout("The body stopped coming, or came too slowly.") from error
    except Exception as error:  # each server has its own errors for a malformed body
        raise BadRequest("The body could not be read.") from error
    if len(read) > cap:
        raise _too_large(cap)
    if incoming.content_length is not None and len(read) < incoming.content_length:
        raise BadRequest("The body was cut off.")
    return read


class _Deadlines:
    """Stops reading from connections on which a body takes too long.

    Each piece that comes starts the socket's own time-out afresh, and gunicorn reads until it has enough pieces.
    One thread looks after all of them, for to start one a body costs as much as to take the body. It ends when it
    finds nothing to look after.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[_Reading, None] = {}
        self._is_looking = False

    @contextmanager
    def within(self, connection: socket.socket | None, seconds: float) -> Iterator[None]:
        """Raise TimeoutError, whatever else went wrong, where reading from the connection took longer."""
        if connection is None:
            yield
            return
        reading = _Reading(connection, time.monotonic() + seconds)
        with self._lock:
            self._watched[reading] = None
            has_to_start, self._is_looking = not self._is_looking, True
        if has_to_start:
            threading.Thread(target=self._look, name="deadlines of bodies", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(reading, None)
            if reading.is_over:
                raise TimeoutError

    def _look(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                for late in [each for each in self._watched if each.until <= now]:
                    del self._watched[late]
                    late.stop()
                if not self._watched:
                    self._is_looking = False
                    return
                soonest = min(each.until for each in self._watched)
            time.sleep(min(soonest - now, _LOOK_SECONDS))


class _Reading:
    """A body that is being read, and until when."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self.until = until
        self.is_over = False
        self._connection = connection

    def stop(self) -> None:
        self.is_over = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)


_deadlines = _Deadlines()


def put_back(incoming: Request, read: bytes) -> None:
    """Let the view, or a library in front of it, read what was read here, and nothing beyond.

    Args:
        incoming: the request that it was read from.
        read: its body; empty where the view is to find none.
    """
    environ = incoming.environ
    environ["wsgi.input"] = io.BytesIO(read)
    environ["CONTENT_LENGTH"] = str(len(read))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    vars(incoming).pop("content_length", None)  # worked out before


def _read_up_to(stream: BinaryIO, limit: int) -> bytes:
    read = bytearray()
    while len(read) < limit and (piece := stream.read(limit - len(read))):
        read += piece
    return bytes(read)


def _too_large(cap: int) -> TooLargeError:
    return TooLargeError(f"The body has more than {cap} bytes.")
