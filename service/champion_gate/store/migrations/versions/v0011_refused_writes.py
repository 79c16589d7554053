"""Which aliases the registry refused to let us move."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the column."""
    comment = "why the registry refused the latest write; null since one was carried out"
    op.add_column("aliases", sa.Column("refused", sa.Text, comment=comment))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("aliases", "refused")
