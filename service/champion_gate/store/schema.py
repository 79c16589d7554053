"""Brings a database to this version's schema, and says whether it is there."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from champion_gate.errors import ConfigurationError
from champion_gate.store.engine import Database
from champion_gate.store.tables import SCHEMA_VERSION

MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x6761_7465  # "gate"


def migrate(database_url: str) -> None:
    """Create or upgrade the schema. Safe to run again, and by several processes at once.

    Raises:
        ConfigurationError: the URL cannot be used, or a newer release has been here.
        sqlalchemy.exc.SQLAlchemyError: the database cannot be reached or refuses.
    """
    with closing(Database(database_url, answer_seconds=None)) as database:
        if database.is_sqlite:
            database.use_wal()
        with database.read() as connection:
            found = _schema_of(connection)
        if found is not None and found > SCHEMA_VERSION:
            raise ConfigurationError([_words_on(found)])
        if found != SCHEMA_VERSION:
            _upgrade(database)


def _upgrade(database: Database) -> None:
    from alembic import command  # noqa: PLC0415 - half a second, which few starts need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_schema(connection: Connection) -> None:
    """Make sure that the database's schema is the one that this version was written for.

    Raises:
        ConfigurationError: it is not.
    """
    found = _schema_of(connection)
    if found != SCHEMA_VERSION:
        raise ConfigurationError([_words_on(found)])


def _words_on(found: str | None) -> str:
    if found is not None and found > SCHEMA_VERSION:
        return (
            f"the database has schema {found} of a newer release, and this one needs {SCHEMA_VERSION}; run that release, "
            "or go back to the backup from before it"
        )
    return f"the database has schema {found or 'none'} and needs {SCHEMA_VERSION}; run: champion-gate migrate"


def _schema_of(connection: Connection) -> str | None:
    """The schema's version; None where there are no tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found
