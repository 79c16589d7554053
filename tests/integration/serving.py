"""Servers in threads of this process: those of the standard library's kind, and the service itself."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import TCPServer

from champion_gate.bootstrap import Service
from champion_gate_standins.common.server import serve


@contextmanager
def running(server: TCPServer) -> Iterator[None]:
    """Let the server answer until the block ends; then it is closed."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Wakes the thread at once; where a listening socket cannot be shut, it looks up by itself.
        with contextlib.suppress(OSError):
            server.socket.shutdown(socket.SHUT_RDWR)
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served(service: Service, port: int = 0) -> Iterator[str]:
    """Serve it over HTTP, with its workers, until the block ends; yields its URL.

    Whoever makes a vendor hang lets it go on before that.
    """
    service.worker.start()
    try:
        with serve(service.app, port=port) as url:
            yield url
    finally:
        service.worker.stop(10)
        service.core.context.store.close()
