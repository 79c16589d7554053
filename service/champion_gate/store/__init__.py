"""The rows: SQLAlchemy Core on SQLite or PostgreSQL."""
