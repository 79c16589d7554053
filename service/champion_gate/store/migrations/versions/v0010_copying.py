"""Promotions whose version is copied into another model: whose version it is, and the open phase `copying`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"

_BEFORE = "phase IN ('requested', 'validating', 'pending_approval', 'approved')"
_OPEN = "phase IN ('requested', 'validating', 'pending_approval', 'approved', 'copying')"
_UNIQUE_BEFORE = ["registry", "model", "version_number", "alias"]
_INDEXES = {
    "promotions_open": ["registry", "model", "alias", "requested_at", "id"],
    "promotions_due": ["due_at"],
}


def upgrade() -> None:
    """So far every version was of the model whose alias it asked for."""
    op.add_column("promotions", sa.Column("source_model", sa.Text, nullable=False, server_default=""))
    op.execute(sa.text("UPDATE promotions SET source_model = model"))
    _make(_OPEN, ["registry", "source_model", "model", "version_number", "alias"])


def downgrade() -> None:
    """Go back; what was being copied waits for an operator, as an earlier release would set the alias on nothing."""
    failed = "UPDATE promotions SET phase = 'failed', failed_from = 'requested' WHERE source_model != model AND ended_at IS NULL"
    op.execute(sa.text(failed))
    op.execute(sa.text("UPDATE promotions SET failed_from = 'requested' WHERE failed_from = 'copying'"))
    op.execute(sa.text("DELETE FROM steps WHERE kind = 'copy'"))
    _make(_BEFORE, _UNIQUE_BEFORE)
    op.drop_column("promotions", "source_model")


def _make(condition: str, unique: list[str]) -> None:
    where = sa.text(condition)
    for name, columns in {"one_open_promotion": unique, **_INDEXES}.items():
        op.drop_index(name, "promotions")
        op.create_index(
            name,
            "promotions",
            columns,
            unique=name == "one_open_promotion",
            sqlite_where=where,
            postgresql_where=where,
        )
