"""Bodies as gunicorn reads them off a real socket: whoever sends them slowly keeps no thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest
from flask import Request
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import SocketUnreader
from werkzeug.exceptions import BadRequest, RequestTimeout

from champion_gate.web.bodies import read_body

CAP = 64 * 1024
LENGTH = 1000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def incoming(connection: socket.socket, *, chunked: bool = False) -> Request:
    unreader = SocketUnreader(connection)
    limits = SimpleNamespace(
        limit_chunk_size_line=100, limit_trailer_section=100, cfg=SimpleNamespace(limit_request_fields=1)
    )
    reader = ChunkedReader(limits, unreader) if chunked else LengthReader(unreader, LENGTH)
    declared = {"wsgi.input_terminated": True} if chunked else {"CONTENT_LENGTH": str(LENGTH)}
    return Request(
        {
            "REQUEST_METHOD": "POST",
            "wsgi.input": Body(reader),
            "gunicorn.socket": connection,
            **declared,
        }
    )


def drip(connection: socket.socket, piece: bytes, over: threading.Event) -> threading.Thread:
    def send() -> None:
        with suppress(OSError):
            while not over.wait(0.05):
                connection.sendall(piece)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


@pytest.mark.parametrize("chunked", [False, True], ids=["of known length", "chunked"])
def test_a_body_that_drips_is_given_up_at_its_deadline(
    ends: tuple[socket.socket, socket.socket], *, chunked: bool
) -> None:
    ours, theirs = ends
    over = threading.Event()
    dripping = drip(theirs, b"1\r\nx\r\n" if chunked else b"x", over)
    begun = time.monotonic()
    try:
        with pytest.raises(RequestTimeout):
            read_body(incoming(ours, chunked=chunked), CAP, seconds=0.3)
    finally:
        over.set()
        dripping.join(10)
    assert time.monotonic() - begun < 5
    ours.sendall(b"the answer")
    assert theirs.recv(100) == b"the answer"


def test_a_body_in_time_is_read_and_nothing_stays_behind(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    before = threading.active_count()
    theirs.sendall(b"x" * 400)
    theirs.sendall(b"y" * 600 + b"what follows")
    assert read_body(incoming(ours), CAP, seconds=30) == b"x" * 400 + b"y" * 600
    deadline = time.monotonic() + 10
    while threading.active_count() > before:  # what watched over it ends of itself
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_body_that_is_cut_off_is_no_slow_one(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(b"x" * 400)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(BadRequest, match="cut off"):
        read_body(incoming(ours), CAP, seconds=30)
