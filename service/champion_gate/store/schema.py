"""Brings a database to this release's schema."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from champion_gate.errors import ConfigurationError
from champion_gate.store import releases
from champion_gate.store.engine import Database
from champion_gate.store.exclusive import ExclusiveFile
from champion_gate.store.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6761_7465  # "gate"
_KNOWS_REPLICAS = "0016"


def migrate(database_url: str) -> None:
    """Create or upgrade the schema. Safe to run again, and by several processes at once.

    Tables of a newer release stay as they are, where this one may run on them.

    Raises:
        ConfigurationError: the URL cannot be used, a newer release has been here, or a replica is at work whose
            release may not run on the new schema.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached or refuses.
    """
    with closing(Database(database_url, answer_seconds=None)) as database:
        if database.is_sqlite:
            database.use_wal()
        with database.read() as connection:
            if not _is_behind(connection):
                releases.check_schema(connection)
                return
        _upgrade(database)


def _is_behind(connection: Connection) -> bool:
    return (releases.schema_of(connection) or "") < SCHEMA_VERSION


def _upgrade(database: Database) -> None:
    from alembic import command  # noqa: PLC0415 - half a second, which few starts need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        if not _is_behind(connection):  # another process was faster
            releases.check_schema(connection)
            return
        found = releases.schema_of(connection)
        oldest = _oldest_after(config, found)
        if found is not None and found >= _KNOWS_REPLICAS:
            _check_replicas(database, connection, oldest)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        releases.raise_oldest(connection, oldest)


def _oldest_after(config: Config, found: str | None) -> str:
    """The oldest release that may run once every migration after this schema was made."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    pending = ScriptDirectory.from_config(config).iterate_revisions("head", found or "base")
    named: list[str] = [migration.module.oldest_release for migration in pending]
    return max(named, key=releases.order)


def _check_replicas(database: Database, connection: Connection, oldest: str) -> None:
    """Make sure that no replica is at work that could not go on beside the new schema; ConfigurationError if one is."""
    older = releases.older_replicas(connection, oldest)
    if not older:
        return
    if database.is_sqlite and _is_unserved(database):
        releases.forget_all(connection)
        return
    why = f"the tables of this release are for release {oldest} and later ones, and at work are {releases.names(older)}"
    raise ConfigurationError(
        [f"{why}; stop those, and run this again (one that was killed counts as gone after two minutes)"]
    )


def _is_unserved(database: Database) -> bool:
    """Whether no process serves the file, so that whoever said so was killed."""
    serving = ExclusiveFile(Path(str(database.engine.url.database)))
    is_free = serving.try_to_acquire()
    serving.release()
    return is_free
