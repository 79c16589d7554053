"""A further open phase, `validating`, which the indexes of open promotions take in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"

_OPEN = "phase IN ('requested', 'validating', 'pending_approval', 'approved')"
_BEFORE = "phase IN ('requested', 'pending_approval', 'approved')"
_INDEXES = {
    "one_open_promotion": ["registry", "model", "version_number", "alias"],
    "promotions_open": ["registry", "model", "alias", "requested_at", "id"],
    "promotions_due": ["due_at"],
}


def upgrade() -> None:
    """Make the indexes anew."""
    _make(_OPEN)


def downgrade() -> None:
    """Go back; what was being validated asks anew, without a validation."""
    op.execute(sa.text("UPDATE promotions SET phase = 'requested' WHERE phase = 'validating'"))
    op.execute(sa.text("UPDATE promotions SET failed_from = 'requested' WHERE failed_from = 'validating'"))
    op.execute(sa.text("DELETE FROM steps WHERE kind = 'validate'"))
    _make(_BEFORE)


def _make(condition: str) -> None:
    where = sa.text(condition)
    for name, columns in _INDEXES.items():
        op.drop_index(name, "promotions")
        op.create_index(
            name,
            "promotions",
            columns,
            unique=name == "one_open_promotion",
            sqlite_where=where,
            postgresql_where=where,
        )
