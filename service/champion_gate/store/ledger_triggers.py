"""The triggers that keep the database from changing or deleting a ledger line, as the migrations make them."""

from __future__ import annotations

from sqlalchemy import Connection, text

_SQLITE = {
    "ledger_keeps_update": "BEFORE UPDATE ON ledger",
    "ledger_keeps_delete": "BEFORE DELETE ON ledger",
    "ledger_keeps_replace": (
        "BEFORE INSERT ON ledger WHEN EXISTS ( SELECT 1 FROM ledger "
        "WHERE number = NEW.number OR previous_hash = NEW.previous_hash OR hash = NEW.hash )"
    ),
}
_SQLITE_ACTION = "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
_POSTGRESQL = {
    # tgtype, postgresql.org/docs/current/catalog-pg-trigger.html and pg_trigger.h: 1 each row, 2 before,
    # 8 delete, 16 update, 32 truncate.
    "ledger_keeps_rows": 1 + 2 + 8 + 16,
    "ledger_keeps_all": 2 + 32,
}
_POSTGRESQL_ACTION = "BEGIN RAISE EXCEPTION 'the ledger is append-only'; END"


def missing_triggers(connection: Connection) -> str | None:
    """Which trigger is gone, switched off or weakened; None while all stand as they were made."""
    on_sqlite = connection.dialect.name == "sqlite"
    expected = set(_SQLITE if on_sqlite else _POSTGRESQL)
    missing = sorted(expected - (_on_sqlite(connection) if on_sqlite else _on_postgresql(connection)))
    if not missing:
        return None
    return f"Every line of the ledger is as it was written, but its trigger {missing[0]} is not in force."


def _on_sqlite(connection: Connection) -> set[str]:
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'")
    found = {row.name: " ".join(row.sql.split()) for row in connection.execute(query)}
    return {
        name
        for name, when in _SQLITE.items()
        if found.get(name) == f"CREATE TRIGGER {name} {when} {_SQLITE_ACTION}"
    }


def _on_postgresql(connection: Connection) -> set[str]:
    query = text(
        "SELECT t.tgname, t.tgtype, p.prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
        "WHERE t.tgrelid = 'ledger'::regclass AND t.tgenabled IN ('O', 'A') "
        "AND t.tgqual IS NULL AND t.tgattr = ''::int2vector"
    )
    found = {
        row.tgname: row.tgtype
        for row in connection.execute(query)
        if " ".join(row.prosrc.split()) == _POSTGRESQL_ACTION
    }
    return {name for name, kind in _POSTGRESQL.items() if found.get(name) == kind}
