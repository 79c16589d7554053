"""The rows: SQLAlchemy Core on SQLite or PostgreSQL."""

from champion_gate.store.schema import migrate
from champion_gate.store.store import Store, open_store

__all__ = ["Store", "migrate", "open_store"]
