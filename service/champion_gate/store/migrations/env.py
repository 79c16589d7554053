"""What Alembic runs: it works on the connection that `schema.migrate` opened and locked."""

from __future__ import annotations

from alembic import context

from champion_gate.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
