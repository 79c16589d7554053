"""An index for the moves of an alias among its other lines of the ledger."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Make it."""
    op.create_index("ledger_of_alias_by_kind", "ledger", ["registry", "model", "alias", "kind", "number"])


def downgrade() -> None:
    """Take it away."""
    op.drop_index("ledger_of_alias_by_kind", "ledger")
