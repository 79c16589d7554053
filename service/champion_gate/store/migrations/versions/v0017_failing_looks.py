"""Which looks failed when they were made last, and at which vendor: replicas take turns at making them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "failing_looks",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column(
            "vendor", sa.Text, nullable=False, comment="its name in words, with which its errors begin"
        ),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("failing_looks")
