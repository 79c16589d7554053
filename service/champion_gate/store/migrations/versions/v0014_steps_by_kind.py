"""How many steps of each kind there are, told by an index."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the index."""
    op.create_index("steps_by_kind", "steps", ["kind", "phase"])


def downgrade() -> None:
    """Take it away."""
    op.drop_index("steps_by_kind", "steps")
