"""Steps, whose rows stay when they have ended, in place of follow-ups, whose rows went."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"

_CARRIED = ("id", "promotion_id", "kind", "due_at", "attempts", "failing_since", "last_error")
_KINDS = ("cancel_request", "cancel_doubles", "tag_version")
_PARTIAL = {
    "steps_due": ("due_at", "phase IN ('planned', 'running')"),
    "steps_leased": ("lease_until", "lease != ''"),
}


def upgrade() -> None:
    """Make the table, and go on with what is open."""
    steps = op.create_table(
        "steps",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("promotion_id", sa.Text, sa.ForeignKey("promotions.id")),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("due_at", sa.Text),
        *_failure_columns(),
        sa.Column("details", sa.Text, nullable=False, comment="every field that no query asks for, as JSON"),
        *_lease_columns(),
    )
    op.create_index("steps_of_promotion", "steps", ["promotion_id", "position", "id"])
    for name, (column, condition) in _PARTIAL.items():
        where = sa.text(condition)
        op.create_index(name, "steps", [column], sqlite_where=where, postgresql_where=where)
    connection = op.get_bind()
    positions: dict[str, int] = {}
    for row in connection.execute(sa.text("SELECT * FROM follow_ups ORDER BY due_at, id")).all():
        position = positions.get(row.promotion_id, 0)
        positions[row.promotion_id] = position + 1
        details = {"config": json.loads(row.facts), "planned_at": row.due_at}
        own = {"position": position, "phase": "planned", "details": _written(details)}
        connection.execute(sa.insert(steps).values(**_carried(row), **own))
    op.drop_table("follow_ups")


def downgrade() -> None:
    """Go back to follow-ups; what has ended is forgotten."""
    follow_ups = op.create_table(
        "follow_ups",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("promotion_id", sa.Text, sa.ForeignKey("promotions.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("due_at", sa.Text, nullable=False),
        *_failure_columns(),
        *_lease_columns(),
    )
    op.create_index("follow_ups_due", "follow_ups", ["due_at"])
    op.create_index("follow_ups_of_promotion", "follow_ups", ["promotion_id"])
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT * FROM steps WHERE phase IN ('planned', 'running')")).all():
        if row.kind in _KINDS:
            facts = _written(json.loads(row.details)["config"])
            connection.execute(sa.insert(follow_ups).values(**_carried(row), facts=facts))
    op.drop_table("steps")


def _failure_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_since", sa.Text),
        sa.Column("last_error", sa.Text),
    ]


def _lease_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("lease", sa.Text, nullable=False, server_default=""),
        sa.Column("lease_until", sa.Text),
    ]


def _carried(row: sa.Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _CARRIED}


def _written(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
