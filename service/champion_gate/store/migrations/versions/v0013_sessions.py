"""Who is signed in to the pages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sessions",
        sa.Column("id_sha256", sa.Text, primary_key=True),
        sa.Column("token_id", sa.Text),
        sa.Column("person", sa.Text, comment="as JSON, where an identity provider signed in"),
        sa.Column("begun_at", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
    )
    op.create_index("sessions_expired", "sessions", ["expires_at"])


def downgrade() -> None:
    """Take it away: everybody is signed out."""
    op.drop_table("sessions")
