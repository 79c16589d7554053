"""A far end that behaves badly over real sockets, and our client in front of it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timeouts

QUICK = Timeouts(connect=1.0, read=0.5, total=1.5)
DRIPPING = Timeouts(connect=1.0, read=0.5, total=0.7)
HANGING = Timeouts(connect=1.0, read=0.5, total=30.0)


@dataclass
class Key:
    """An Auth: each renewal gives another token."""

    renewals: int = 0
    number: int = 0

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer secret-{self.number}"}

    def renew(self, refused: Mapping[str, str]) -> bool:  # noqa: ARG002
        self.number += 1
        return self.number <= self.renewals


@dataclass
class Far:
    """The far end: `answers` are given in turn, the last one for ever. `seen` holds the requests' text."""

    answers: list[bytes | Callable[[socket.socket], None]]
    seen: list[str] = field(default_factory=list)
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def serve(self, listening: socket.socket, tls: Callable[[socket.socket], socket.socket]) -> None:
        while not self.over.is_set():
            with suppress(OSError):
                connected, _ = listening.accept()
                threading.Thread(target=self._talk, args=(connected, tls), daemon=True).start()

    def _talk(self, raw: socket.socket, tls: Callable[[socket.socket], socket.socket]) -> None:
        with suppress(OSError), raw, tls(raw) as connected:
            while request := _receive(connected):
                self.seen.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if callable(answer):
                    answer(connected)
                    return
                connected.sendall(answer)


def _receive(connected: socket.socket) -> str:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connected.recv(65536)
        if not piece:
            return ""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = 0
    for line in head.decode().lower().split("\r\n"):
        if line.startswith("content-length:"):
            length = int(line.partition(":")[2])
    while len(body) < length:
        body += connected.recv(65536)
    return (head + b"\r\n\r\n" + body).decode()


@contextmanager
def far_end(
    *answers: bytes | Callable[[socket.socket], None],
    tls: Callable[[socket.socket], socket.socket] = lambda raw: raw,
) -> Iterator[Far]:
    far = Far(list(answers))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        far.port = listening.getsockname()[1]
        thread = threading.Thread(target=far.serve, args=(listening, tls), daemon=True)
        thread.start()
        try:
            yield far
        finally:
            far.over.set()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", far.port), timeout=1).close()
            thread.join()


@contextmanager
def client_of(url: str, pauses: list[float] | None = None, **options: object) -> Iterator[ApiClient]:
    settings: dict[str, object] = {"headers": {"X-Ours": "yes"}, **options}
    kept = pauses if pauses is not None else []
    client = ApiClient(vendor="Vendor", base_url=url, sleep=kept.append, **settings)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        client.close()


def answer(status: int = 200, body: object = None, **headers: str) -> bytes:
    text = body if isinstance(body, str) else json.dumps(body)
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(text.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + text).encode()


def drop(connected: socket.socket) -> None:
    connected.close()


def drip(before: bytes) -> Callable[[socket.socket], None]:
    """Sends one byte every 50 ms, for at most 20 s: no read time-out ever strikes."""

    def send(connected: socket.socket) -> None:
        connected.sendall(before)
        stop = threading.Event()
        for _ in range(400):
            connected.sendall(b" ")
            stop.wait(0.05)

    return send


def hang(connected: socket.socket) -> None:
    connected.recv(1)
