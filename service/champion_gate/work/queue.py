"""The queue that wakes workers. It may lose or repeat a message: the rows are the truth."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huey import Huey, PostgresHuey, SqliteHuey
from huey.registry import Message
from huey.serializer import Serializer
from sqlalchemy import URL, make_url

from champion_gate.errors import ConfigurationError
from champion_gate.log import get_logger

log = get_logger(__name__)

Receiver = Callable[[str, str], None]
"""Takes a kind ("notification", "promotion", "follow_up", "look") and a row's id or a look's name."""

_NAME = "champion-gate"
_ANSWER_SECONDS = 10.0  # shorter than the store's: a wake-up may be lost
_TABLES_LOCK = 0x6368616D70  # any number that is ours: PostgreSQL's advisory locks are named by numbers


class JsonSerializer(Serializer):  # type: ignore[misc]  # huey is untyped
    """Messages as JSON: whoever can write to the queue must not be able to run code, as pickle allows."""

    def _serialize(self, data: Any) -> bytes:
        extras = (data.eta, data.kwargs, data.on_complete, data.on_error, data.expires, data.chord_config)
        if any(extras):
            raise TypeError("a wake-up is a kind and an id, and nothing else")
        return json.dumps({"id": data.id, "name": data.name, "args": list(data.args)}).encode()

    def _deserialize(self, data: bytes) -> Message:
        sent = json.loads(bytes(data))
        args = sent["args"]
        if len(args) != 2 or not all(isinstance(each, str) for each in args):  # noqa: PLR2004 - kind and id
            raise ValueError("a wake-up is a kind and an id")
        return Message(id=str(sent["id"]), name=str(sent["name"]), args=tuple(args), kwargs={})


class HueyWakeUps:
    """Puts wake-ups on the queue; a `Worker` of this or another process takes them off."""

    def __init__(self, queue: Huey) -> None:
        """Set up.

        Args:
            queue: as made by `create_queue`.
        """
        self.queue = queue
        self._receiver: Receiver | None = None
        self._is_waiting: Callable[[str, str], bool] | None = None
        self._enqueue = queue.task(name="wake_up")(self._receive)

    def notification(self, notification_id: str) -> None:
        """Have `resolve` called."""
        self.send("notification", notification_id)

    def promotion(self, promotion_id: str) -> None:
        """Have `advance` called."""
        self.send("promotion", promotion_id)

    def follow_up(self, follow_up_id: str) -> None:
        """Have `follow_up` called."""
        self.send("follow_up", follow_up_id)

    def look(self, name: str) -> None:
        """Have one of the sweep's looks at a vendor called."""
        self.send("look", name)

    def send(self, kind: str, row_id: str) -> None:
        """Enqueue one message. Where the queue does not take it, it is lost: the sweep finds the row."""
        if self._is_waiting is not None and self._is_waiting(kind, row_id):
            return
        try:
            self._enqueue(kind, row_id)
        except Exception:  # what was ordered is stored, and must not look as if it were not
            log.exception("wake-up failed; the sweep will find the row", kind=kind)

    def deliver_to(self, receiver: Receiver, is_waiting: Callable[[str, str], bool]) -> None:
        """Have this process's consumer threads hand every message to `receiver`.

        Args:
            receiver: takes a message's kind and id.
            is_waiting: whether one like it was taken already and is still to be carried out: while a
                vendor hangs, the rows that wait for it would else be enqueued again and again.
        """
        self._receiver = receiver
        self._is_waiting = is_waiting

    def _receive(self, kind: str, row_id: str) -> None:
        if self._receiver is None:
            raise RuntimeError("nobody works in this process")
        self._receiver(kind, row_id)


def create_queue(database_url: str, answer_seconds: float = _ANSWER_SECONDS) -> Huey:
    """Open the queue that belongs to a database. Call it after the fork.

    SQLite: a file of its own beside the database, without fsync; PostgreSQL: tables in the same
    database, made by `prepare_queue`.

    Args:
        database_url: as SQLAlchemy takes it.
        answer_seconds: how long PostgreSQL's answer is waited for.

    Raises:
        ConfigurationError: it is neither, or SQLite without a file.
    """
    url = make_url(database_url)
    if _is_postgresql(url):
        from champion_gate.store.postgresql import connect  # noqa: PLC0415 - an extra that only PostgreSQL needs

        return PostgresHuey(
            _NAME,
            results=False,
            serializer=JsonSerializer(),
            connection=lambda: connect(_dsn(url), answer_seconds=answer_seconds),
            create_tables=False,
        )
    path = _queue_file(url)
    _remove_if_broken(path)
    return SqliteHuey(
        _NAME, results=False, serializer=JsonSerializer(), filename=str(path), fsync=False, cache_mb=1
    )


def prepare_queue(database_url: str) -> None:
    """Make the queue's tables; part of `migrate`, safe to run by several at once.

    Args:
        database_url: as SQLAlchemy takes it.

    Raises:
        ConfigurationError: it is neither PostgreSQL nor SQLite with a file.
    """
    url = make_url(database_url)
    if not _is_postgresql(url):
        create_queue(database_url).storage.close()
        return
    import psycopg  # noqa: PLC0415 - an extra that only PostgreSQL needs

    # Two sessions that run `create table if not exists` at once can both fail.
    with psycopg.connect(_dsn(url), autocommit=True) as guard:
        guard.execute("select pg_advisory_lock(%s)", (_TABLES_LOCK,))
        PostgresHuey(_NAME, serializer=JsonSerializer(), dsn=_dsn(url)).storage.close()


def _is_postgresql(url: URL) -> bool:
    return url.get_backend_name() == "postgresql"


def _dsn(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _queue_file(url: URL) -> Path:
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        expected = "postgresql://… or a file as in sqlite:///champion-gate.db"
        raise ConfigurationError([f"DATABASE_URL: found {url.render_as_string()}, expected {expected}"])
    database = Path(str(url.database))
    return database.with_name(f"{database.stem}-queue.db")


def _remove_if_broken(path: Path) -> None:
    """Drop a queue that a power cut has spoilt (no fsync): the sweep finds all that was in it."""
    if not path.exists():
        return
    try:
        connection = sqlite3.connect(path)
        try:
            is_sound = connection.execute("pragma quick_check(1)").fetchone() == ("ok",)
        finally:
            connection.close()
    except sqlite3.OperationalError:
        raise  # locked or unreadable: not ours to remove
    except sqlite3.DatabaseError:
        is_sound = False
    if not is_sound:
        log.warning("the queue's file is broken and is made anew", reason=path.name)
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            each.unlink(missing_ok=True)
