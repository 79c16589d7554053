"""What the time was last, so that a clock that is set back is noticed, also across a restart."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="always 1"),
        sa.Column("noted_at", sa.Text, nullable=False, comment="what a sweep took for the time last"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("clock")
