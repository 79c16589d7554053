"""Which replicas work on the database, and the oldest release that may."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("seen_at", sa.Text, nullable=False, comment="by the database's clock"),
        sa.Column("clock", sa.Text, nullable=False, comment="what the replica's own said then"),
    )
    table = op.create_table(
        "oldest_release",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="always 1"),
        sa.Column("release", sa.Text, nullable=False, comment="an older one may not run on this database"),
    )
    op.bulk_insert(table, [{"id": 1, "release": oldest_release}])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("oldest_release")
    op.drop_table("replicas")
