"""Tokens of CI jobs that have been posted: each decides once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "job_tokens",
        sa.Column("token", sa.Text, primary_key=True),
        sa.Column("promotion_id", sa.Text, sa.ForeignKey("promotions.id"), nullable=False),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
    )
    op.create_index("job_tokens_expired", "job_tokens", ["expires_at"])


def downgrade() -> None:
    """Take it away."""
    op.drop_table("job_tokens")
