"""A gate that answers what a test tells it to, and a clock for shells that does not wait."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from integration.serving import running

LOST = "the connection is closed without an answer"

Reply = tuple[int, object] | str


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def token(self) -> str:
        return self.headers["Authorization"].removeprefix("Bearer ")


@dataclass
class ScriptedGate:
    """Answers one reply after the other, and the last for ever: (status, JSON or raw text), or LOST."""

    replies: list[Reply] = field(default_factory=lambda: [(200, {"phase": "promoted"})])
    posts: list[Post] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, post: Post) -> Reply:
        with self.lock:
            self.posts.append(post)
            return self.replies[min(len(self.posts), len(self.replies)) - 1]


@contextmanager
def scripted_gate(authority: trustme.CA | None = None) -> Iterator[ScriptedGate]:
    """Serve it on a loopback port, over TLS where there is an authority to sign for `localhost`."""
    gate = ScriptedGate()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            reply = gate.take(Post(self.path, dict(self.headers.items()), body))
            if isinstance(reply, str):
                self.close_connection = True
                return
            status, content = reply
            raw = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    gate.url = f"http://127.0.0.1:{server.server_port}"
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        gate.url = f"https://localhost:{server.server_port}"
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]
    with running(server):
        yield gate


def without_waiting(folder: Path) -> str:
    """A folder to be put in front of PATH: `sleep` returns at once, and `date +%s` is 20 s further at each call."""
    folder.mkdir()
    scripts = {
        "sleep": "exit 0",
        "date": f'n=$(($(cat "{folder}/now" 2>/dev/null || echo 0) + 20)); echo $n | tee "{folder}/now"',
    }
    for name, script in scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return str(folder)
