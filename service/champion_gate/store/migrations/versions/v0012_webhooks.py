"""When a registry's webhooks last arrived."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "webhooks",
        sa.Column("sender", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True, comment="what it is about, such as test"),
        sa.Column("last_at", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("webhooks")
