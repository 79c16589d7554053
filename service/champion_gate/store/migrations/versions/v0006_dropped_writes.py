"""Which writes of an alias were given up and may arrive all the same."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the column."""
    comment = "writes that were given up and may arrive all the same"
    op.add_column("aliases", sa.Column("dropped", sa.Text, comment=comment))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("aliases", "dropped")
