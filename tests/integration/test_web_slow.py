"""Clients that are slow, silent or never hang up keep nobody else waiting: a real process and raw sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.test_web_gunicorn import AUTHORIZATION, Served, serving

CONNECTIONS = 100
PATIENCE_SECONDS = 2.0
LONG = "Content-Length: 50000"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as made:
        yield made


def request(*lines: str) -> bytes:
    return "\r\n".join([*lines, "Host: x", "", ""]).encode()


KINDS: dict[str, tuple[bytes, bool]] = {
    "idle": (b"", False),
    "body dripped and read": (request("POST /hooks/databricks HTTP/1.1", AUTHORIZATION, LONG), True),
    "body dripped and not read": (request("GET /livez HTTP/1.1", LONG), True),
    "refused body dripped": (request("POST /hooks/databricks HTTP/1.1", LONG), True),
    "chunks dripped": (
        request("GET /livez HTTP/1.1", "Transfer-Encoding: chunked") + b"ffff\r\n",
        True,
    ),
    "answer not taken": (request("GET /openapi.json HTTP/1.1") * 400, False),
    "closing without hanging up": (request("GET /livez HTTP/1.1", "Connection: close"), False),
}


@contextlib.contextmanager
def crowd(port: int, kinds: list[str]) -> Iterator[None]:
    """A hundred connections of each kind, that stay and drip on."""
    over = threading.Event()
    with contextlib.ExitStack() as stack:
        drips = []
        for kind in kinds:
            begins, is_dripping = KINDS[kind]
            for _ in range(CONNECTIONS):
                client = stack.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", port))
                client.settimeout(1)
                client.sendall(begins)
                if is_dripping:
                    drips.append(client)
        thread = threading.Thread(target=drip, args=(drips, over))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def drip(clients: list[socket.socket], over: threading.Event) -> None:
    while not over.wait(0.5):
        for client in clients:
            with contextlib.suppress(OSError):  # it was hung up on, as it should be
                client.sendall(b"x")


def longest_wait(served: Served, times: int) -> float:
    """How long an honest client waits at most, of so many that come one after the other."""
    waits = []
    for _ in range(times):
        begun = time.monotonic()
        assert served.talk("GET /livez HTTP/1.1").startswith(b"HTTP/1.1 200 ")
        waits.append(time.monotonic() - begun)
    return max(waits)


@pytest.mark.part("rest", "refused", "chunks", "closing")
@pytest.mark.part("full", "idle", "not read", "not taken")
@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_client_waits_two_seconds_at_most(served: Served, kind: str) -> None:
    with crowd(served.port, [kind]):
        assert longest_wait(served, 20) < PATIENCE_SECONDS


@pytest.mark.part("full")
def test_not_even_where_all_of_them_come_at_once(served: Served) -> None:
    with crowd(
        served.port, [each for each in KINDS if each not in {"refused body dripped", "chunks dripped"}]
    ):
        assert longest_wait(served, 50) < PATIENCE_SECONDS


def hung_up_after(served: Served, begins: bytes, more: Callable[[socket.socket], None]) -> float:
    """Seconds until the service has hung up on a client that goes on as `more` does."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as client:
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            client.sendall(begins)
            more(client)
            while client.recv(65536):
                pass
        return time.monotonic() - begun


def test_who_says_nothing_is_hung_up_on(served: Served) -> None:
    assert hung_up_after(served, b"", lambda _client: None) < 10


@pytest.mark.part("rest")
def test_who_falls_silent_in_the_head_is_hung_up_on(served: Served) -> None:
    assert hung_up_after(served, b"GET /livez HT", lambda _client: None) < 20


def test_a_request_behind_an_unread_body_is_not_taken_for_its_rest(served: Served) -> None:
    answer = served.talk(
        "GET /livez HTTP/1.1", "Content-Length: 60", body=request("GET /readyz HTTP/1.1").ljust(60)
    )
    assert answer.count(b"HTTP/1.1 200 ") == 1


def test_requests_that_come_one_behind_the_other_are_all_answered(served: Served) -> None:
    last = request("GET /livez HTTP/1.1", "Connection: close")
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as client:
        client.sendall(request("GET /livez HTTP/1.1") * 4 + last)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
    assert answer.count(b"HTTP/1.1 200 ") == 5


@pytest.mark.part("rest")
def test_a_slow_client_is_no_error_of_ours(served: Served) -> None:
    hung_up_after(served, b"GET /livez HT", lambda _client: None)
    assert "Traceback" not in served.output()
