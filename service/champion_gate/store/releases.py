"""Which replicas work on the database, of which release, and what they let others write.

During an upgrade older replicas go on beside newer ones. So the database says which release is the oldest that may
run on it. That is raised by a migration, and by the first word of an enum that an older one could not read; either
waits until every older replica is gone. They also tell which gates.yaml each reads: while that is changed, they differ.
Times here are the database's own: clocks of replicas differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum

from packaging.version import Version
from sqlalchemy import (
    Connection,
    Row,
    Select,
    delete,
    func,
    inspect,
    literal_column,
    select,
    text,
    type_coerce,
    update,
)

from champion_gate import __version__
from champion_gate.errors import ConfigurationError, OlderReplicaError
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.tables import SCHEMA_VERSION, oldest_release, replicas
from champion_gate.store.values import UtcTime

RELEASE = __version__
WORDS: Mapping[str, Sequence[Enum]] = {}
"""Release -> the words of enums that reach the database and that it has brought. All others are as old as 0.1.0."""
BEAT_SECONDS = 10.0
"""Between two heartbeats of a replica."""
_GONE = timedelta(minutes=2)
"""One whose heartbeat is older has stopped, or is frozen: longer than any lease, so that it holds none any more."""
_FORGOTTEN = timedelta(days=1)
_SQLITE_NOW: Select[datetime] = select(
    type_coerce(literal_column("strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')"), UtcTime)
)
_POSTGRESQL_NOW: Select[datetime] = select(func.clock_timestamp())
_OLDEST = select(oldest_release.c.release).where(oldest_release.c.id == 1)


@dataclass(frozen=True)
class Replica:
    """One serving process.

    Attributes:
        id: of this process alone.
        name: tells people which it is.
        seen_at: its last heartbeat, by the database's clock.
        clock: what its own clock said then.
        gates_sha256: of the gates.yaml that it reads; empty where its release does not tell.
    """

    id: str
    name: str
    release: str
    seen_at: datetime
    clock: datetime
    gates_sha256: str


class Replicas(Transactions):
    """The replicas that work on this database."""

    def beat(self, replica_id: str, name: str, clock: Callable[[], datetime], gates_sha256: str = "") -> None:
        """Say that this replica is at work; also the first time, before it takes a row.

        Args:
            replica_id: of this process alone.
            name: tells people which it is.
            clock: its own.
            gates_sha256: of the gates.yaml that it reads.

        Raises:
            ConfigurationError: its release may not run on this database, or not any more.
        """
        with self._write() as connection:
            check_schema(connection)
            # Locked, so that what waits for older replicas sees this one, or else this one sees what came of it.
            _check_release(connection.scalar(_OLDEST.with_for_update()))
            now = _now(connection)
            connection.execute(delete(replicas).where(replicas.c.seen_at < now - _FORGOTTEN))
            values = {
                "name": name,
                "release": RELEASE,
                "seen_at": now,
                "clock": clock(),
                "gates_sha256": gates_sha256,
            }
            first = upsert(connection, replicas).values(id=replica_id, **values)
            connection.execute(first.on_conflict_do_update(index_elements=["id"], set_=values))

    def leave(self, replica_id: str) -> None:
        """Say that this replica has stopped, and holds nothing."""
        with self._write() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))

    def replicas(self) -> tuple[Replica, ...]:
        """Those that are at work, by their names."""
        with self._read() as connection:
            return _at_work(connection)

    def replicas_with_other_gates(self, gates_sha256: str) -> tuple[Replica, ...]:
        """Those at work that read another gates.yaml than this one, or do not tell which."""
        return tuple(each for each in self.replicas() if each.gates_sha256 != gates_sha256)

    def newer_schema(self) -> str | None:
        """The schema of the database, where a newer release has made it; else None."""
        with self._read() as connection:
            found = schema_of(connection)
        return found if found is not None and found > SCHEMA_VERSION else None


def check_schema(connection: Connection) -> None:
    """Make sure that this release may run on the database: it has our tables, or those of a newer release that says so.

    Raises:
        ConfigurationError: it may not; says what to run.
    """
    found = schema_of(connection)
    if found is None or found < SCHEMA_VERSION:
        raise ConfigurationError(
            [
                f"the database has schema {found or 'none'} and needs {SCHEMA_VERSION}; run: champion-gate migrate"
            ]
        )
    _check_release(oldest_that_may_run(connection))


def schema_of(connection: Connection) -> str | None:
    """The schema's version; None where there are no tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def oldest_that_may_run(connection: Connection) -> str:
    """The oldest release that may run on this database, whose tables are there."""
    return connection.scalar(_OLDEST) or RELEASE


def _check_release(oldest: str | None) -> None:
    if order(RELEASE) < order(oldest or RELEASE):
        why = f"the database is for release {oldest} and later ones, and this is {RELEASE}"
        raise ConfigurationError([f"{why}; run one of those, or go back to the backup from before {oldest}"])


def order(release: str) -> Version:
    """What releases sort by; `0.2.0rc1` counts as 0.2.0, whose tables and words it has."""
    return Version(Version(release).base_version)


def older_replicas(connection: Connection, release: str) -> tuple[Replica, ...]:
    """The replicas at work that are of an older release; none starts before the transaction ends."""
    connection.execute(_OLDEST.with_for_update())
    return tuple(each for each in _at_work(connection) if order(each.release) < order(release))


def raise_oldest(connection: Connection, release: str) -> None:
    """Let no release that is older than this one run on the database any more."""
    if order(oldest_that_may_run(connection)) < order(release):
        connection.execute(update(oldest_release).values(release=release))


def forget_all(connection: Connection) -> None:
    """Forget every replica, for who knows that none is at work."""
    connection.execute(delete(replicas))


def let_all_read(
    connection: Connection, *written: object, words: Mapping[str, Sequence[Enum]] = WORDS
) -> None:
    """Let what is about to be written hold only words that all replicas know, and that all who start will.

    Raises:
        OlderReplicaError: a replica is at work that does not know one of them; it may be written once that is gone.
    """
    if not words:
        return
    brought = {(type(word), word.value): release for release, news in words.items() for word in news}
    for word in _enums(written):
        release = brought.get((type(word), word.value))
        if release is None or order(oldest_that_may_run(connection)) >= order(release):
            continue
        if older := older_replicas(connection, release):
            raise OlderReplicaError(
                f"{word.value!r} is not written yet: {names(older)} would not know it.",
                hint=f"It is written once every replica is of release {release} or later.",
            )
        raise_oldest(connection, release)


def names(found: Sequence[Replica]) -> str:
    """Which they are, for people."""
    return ", ".join(f"{each.name} (release {each.release})" for each in found)


def _enums(value: object) -> Iterator[Enum]:
    if isinstance(value, Enum):
        yield value
    elif isinstance(value, Mapping):
        yield from _enums(tuple(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _enums(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _enums(getattr(value, field.name))


def _at_work(connection: Connection) -> tuple[Replica, ...]:
    now = _now(connection)
    # A clock that has been set back leaves heartbeats that are still to come.
    lately = replicas.c.seen_at.between(now - _GONE, now + _GONE)
    found = connection.execute(select(replicas).where(lately).order_by(replicas.c.name, replicas.c.id))
    return tuple(_replica(row) for row in found)


def _replica(row: Row[tuple[object, ...]]) -> Replica:
    return Replica(**row._asdict())


def _now(connection: Connection) -> datetime:
    """By the database's clock."""
    is_sqlite = connection.dialect.name == "sqlite"
    return connection.execute(_SQLITE_NOW if is_sqlite else _POSTGRESQL_NOW).scalar_one()
