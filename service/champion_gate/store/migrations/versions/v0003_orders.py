"""Holds, API tokens, requests that may be repeated, and the order in which lists are asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"

_INDEXES = {
    "promotions_of_model": ("promotions", ["model", "requested_at", "id"]),
    "promotions_in_phase": ("promotions", ["phase", "requested_at", "id"]),
    "promotions_of_model_in_phase": ("promotions", ["model", "phase", "requested_at", "id"]),
    "promotions_of_version": (
        "promotions",
        ["registry", "model", "alias", "version_number", "requested_at", "id"],
    ),
    "notifications_in_phase": ("notifications", ["phase", "first_received_at", "id"]),
}
_PARTIAL_INDEXES = {
    "promotions_open": (
        ["registry", "model", "alias", "requested_at", "id"],
        sa.text("phase IN ('requested', 'pending_approval', 'approved')"),
    ),
    "promotions_leased": (["lease_until"], sa.text("lease != ''")),
}


def upgrade() -> None:
    """Add them."""
    op.add_column("aliases", sa.Column("hold", sa.Text))
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text),
        sa.Column("revoked_at", sa.Text),
        sa.Column("last_used_at", sa.Text),
    )
    op.create_index("api_tokens_named", "api_tokens", ["name"])
    op.create_table(
        "requests",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("begun_at", sa.Text, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("answer", sa.Text, nullable=False, server_default=""),
    )
    op.create_index("requests_begun", "requests", ["begun_at"])
    for name, (table, columns) in _INDEXES.items():
        op.create_index(name, table, columns)
    for name, (columns, where) in _PARTIAL_INDEXES.items():
        op.create_index(name, "promotions", columns, sqlite_where=where, postgresql_where=where)
    op.drop_index("promotions_of_alias", "promotions")


def downgrade() -> None:
    """Take them away."""
    op.create_index("promotions_of_alias", "promotions", ["registry", "model", "alias", "requested_at"])
    for name in _PARTIAL_INDEXES:
        op.drop_index(name, "promotions")
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table)
    op.drop_table("requests")
    op.drop_table("api_tokens")
    op.drop_column("aliases", "hold")
