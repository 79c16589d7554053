"""The queue that wakes workers. It may lose or repeat a message: the rows are the truth."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from huey import Huey, PostgresHuey
from huey.registry import Message
from huey.serializer import Serializer
from huey.storage import MemoryStorage
from sqlalchemy import URL, make_url

from champion_gate.errors import ConfigurationError
from champion_gate.log import get_logger

log = get_logger(__name__)

Receiver = Callable[[str, str], None]
"""Takes a kind ("notification", "promotion", "follow_up", "look") and a row's id or a look's name."""

_NAME = "champion-gate"
_WAIT_SECONDS = 0.3  # a consumer that is told to stop notices so soon
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
    """Puts wake-ups on the queue; a `Worker` of this process, or on PostgreSQL of another one, takes them off."""

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

    def backlog(self) -> int:
        """How many messages wait to be taken off the queue."""
        return int(self.queue.pending_count())

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

    On PostgreSQL it is in tables of the same database, made by `prepare_queue`. On SQLite, where one process does all
    work, it is in that process's memory: what a message of an earlier or of another process would tell, the rows tell
    whoever looks for what is due.

    Args:
        database_url: as SQLAlchemy takes it.
        answer_seconds: how long PostgreSQL's answer is waited for.

    Raises:
        ConfigurationError: it is neither, or SQLite without a file.
    """
    url = make_url(database_url)
    if not _is_postgresql(url):
        _check_sqlite(url)
        return Huey(_NAME, results=False, serializer=JsonSerializer(), storage_class=_WaitedFor)
    from champion_gate.store.postgresql import connect  # noqa: PLC0415 - an extra that only PostgreSQL needs

    return _SharedHuey(
        _NAME,
        results=False,
        serializer=JsonSerializer(),
        connection=lambda: connect(_dsn(url), answer_seconds=answer_seconds),
        create_tables=False,
    )


class _SharedHuey(PostgresHuey):  # type: ignore[misc]  # huey is untyped
    """No wake-up is ever revoked, so none is looked for among those that are: two queries less for each."""

    def is_revoked(self, *_args: Any, **_kwargs: Any) -> bool:
        return False

    def delete(self, _key: str) -> None:
        pass


class _WaitedFor(MemoryStorage):  # type: ignore[misc]  # huey is untyped
    """Huey's queue in memory, whose consumers wait for a message instead of asking for one again and again."""

    blocking = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrived = threading.Condition(self._lock)

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        with self._arrived:
            super().enqueue(data, priority)
            self._arrived.notify()

    def dequeue(self) -> bytes | None:
        with self._arrived:
            if not self._queue:
                self._arrived.wait(_WAIT_SECONDS)
            data: bytes | None = super().dequeue()
            return data


def prepare_queue(database_url: str) -> None:
    """Make the queue's tables where there are any; part of `migrate`, safe to run by several at once.

    Args:
        database_url: as SQLAlchemy takes it.

    Raises:
        ConfigurationError: it is neither PostgreSQL nor SQLite with a file.
    """
    url = make_url(database_url)
    if not _is_postgresql(url):
        _check_sqlite(url)
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


def _check_sqlite(url: URL) -> None:
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        expected = "postgresql://… or a file as in sqlite:///champion-gate.db"
        raise ConfigurationError([f"DATABASE_URL: found {url.render_as_string()}, expected {expected}"])
