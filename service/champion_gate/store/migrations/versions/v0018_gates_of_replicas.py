"""Which gates.yaml each replica reads, by its sha256; empty of those that do not tell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the column."""
    op.add_column(
        "replicas",
        sa.Column("gates_sha256", sa.Text, nullable=False, server_default="", comment="of its gates.yaml"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_column("replicas", "gates_sha256")
