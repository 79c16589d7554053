"""The rows: SQLAlchemy Core on SQLite or PostgreSQL."""

from champion_gate.store.schema import migrate
from champion_gate.store.sql_store import SqlStore, open_store

__all__ = ["SqlStore", "migrate", "open_store"]
