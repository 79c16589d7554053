"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
oldest_release = "0.1.0"

_OPEN_NOTIFICATION = sa.text("phase IN ('received', 'waiting')")
_OPEN_PROMOTION = sa.text("phase IN ('requested', 'pending_approval', 'approved')")
_GENESIS = "0" * 64

_SQLITE_TRIGGERS = (
    """
    CREATE TRIGGER ledger_keeps_update BEFORE UPDATE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
    """
    CREATE TRIGGER ledger_keeps_delete BEFORE DELETE ON ledger
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
    # INSERT OR REPLACE deletes without asking the trigger above.
    """
    CREATE TRIGGER ledger_keeps_replace BEFORE INSERT ON ledger WHEN EXISTS (
        SELECT 1 FROM ledger
        WHERE number = NEW.number OR previous_hash = NEW.previous_hash OR hash = NEW.hash
    )
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
    """,
)

_POSTGRESQL_TRIGGERS = (
    """
    CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$
    """,
    """
    CREATE TRIGGER ledger_keeps_rows BEFORE UPDATE OR DELETE ON ledger
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only()
    """,
    """
    CREATE TRIGGER ledger_keeps_all BEFORE TRUNCATE ON ledger
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
)


def upgrade() -> None:
    """Create everything."""
    _create_notifications()
    _create_promotions()
    _create_aliases()
    _create_ledger()
    _create_follow_ups()
    op.create_table(
        "gates_seen",
        sa.Column("gate", sa.Text, primary_key=True),
        sa.Column("first_seen_at", sa.Text, nullable=False),
    )


def _lease_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("lease", sa.Text, nullable=False, server_default=""),
        sa.Column("lease_until", sa.Text),
    ]


def _failure_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failing_since", sa.Text),
        sa.Column("last_error", sa.Text),
    ]


def _required(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _create_notifications() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.Text, primary_key=True),
        *_required("source", "event_type", "workspace_id", "job_id", "run_id", "job_name"),
        sa.Column(
            "task_key",
            sa.Text,
            nullable=False,
            comment="empty where there is none, so that it can be unique",
        ),
        sa.Column("parent_run_id", sa.Text),
        *_required("job_run_id"),
        sa.Column("times", sa.Integer, nullable=False),
        *_required("phase", "reason", "first_received_at", "last_received_at"),
        sa.Column("due_at", sa.Text),
        *_failure_columns(),
        sa.Column("job_run", sa.Text),
        sa.Column("job_run_end", sa.Text),
        *_lease_columns(),
        sa.UniqueConstraint(
            "source", "workspace_id", "run_id", "event_type", "task_key", name="one_row_a_notification"
        ),
    )
    op.create_index("notifications_newest", "notifications", ["first_received_at", "id"])
    op.create_index("notifications_of_run", "notifications", ["job_run_id"])
    _create_partial_index("notifications_due", "notifications", ["due_at"], _OPEN_NOTIFICATION)
    op.create_table(
        "resolutions",
        sa.Column("notification_id", sa.Text, sa.ForeignKey("notifications.id"), primary_key=True),
        sa.Column("gate", sa.Text, primary_key=True),
        sa.Column("times", sa.Integer, nullable=False),
        *_required("phase", "reason"),
        sa.Column("promotion_id", sa.Text),
        *_failure_columns(),
    )


def _create_promotions() -> None:
    op.create_table(
        "promotions",
        sa.Column("id", sa.Text, primary_key=True),
        *_required("gate", "registry", "model", "alias", "version_number", "phase", "reason"),
        *_required("requested_at", "updated_at"),
        sa.Column("ended_at", sa.Text),
        sa.Column("due_at", sa.Text),
        *_failure_columns(),
        sa.Column("failed_from", sa.Text),
        sa.Column("external_id", sa.Text, comment="the request's id at the vendor"),
        sa.Column("evidence_json", sa.Text),
        sa.Column("end_request", sa.Text),
        sa.Column("hints", sa.Integer, nullable=False, server_default="0"),
        sa.Column("hints_when_taken", sa.Integer, nullable=False, server_default="0"),
        sa.Column("details", sa.Text, nullable=False, comment="every field that no query asks for, as JSON"),
        *_lease_columns(),
    )
    wanted = ["registry", "model", "version_number", "alias"]
    _create_partial_index("one_open_promotion", "promotions", wanted, _OPEN_PROMOTION, unique=True)
    _create_partial_index("promotions_due", "promotions", ["due_at"], _OPEN_PROMOTION)
    op.create_index("promotions_newest", "promotions", ["requested_at", "id"])
    op.create_index("promotions_of_alias", "promotions", ["registry", "model", "alias", "requested_at"])
    op.create_index("promotions_with_request", "promotions", ["external_id"])


def _create_aliases() -> None:
    op.create_table(
        "aliases",
        sa.Column("registry", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("alias", sa.Text, primary_key=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("seen", sa.Boolean, nullable=False),
        sa.Column("known_version", sa.Text),
        sa.Column("intent", sa.Text),
        *_lease_columns(),
    )


def _create_ledger() -> None:
    op.create_table(
        "ledger",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *_required("kind", "registry", "model", "alias"),
        sa.Column("promotion_id", sa.Text),
        *_required("body"),
        sa.Column("previous_hash", sa.Text, nullable=False, unique=True),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
    )
    op.create_index("ledger_of_alias", "ledger", ["registry", "model", "alias", "number"])
    op.create_index("ledger_of_promotion", "ledger", ["promotion_id"])
    head = op.create_table(
        "ledger_head",
        sa.Column(
            "id",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="always 1: whoever appends locks it",
        ),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "hash": _GENESIS}])
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in _SQLITE_TRIGGERS if on_sqlite else _POSTGRESQL_TRIGGERS:
        op.execute(sa.text(statement))


def _create_follow_ups() -> None:
    op.create_table(
        "follow_ups",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("promotion_id", sa.Text, sa.ForeignKey("promotions.id"), nullable=False),
        *_required("kind", "facts", "due_at"),
        *_failure_columns(),
        *_lease_columns(),
    )
    op.create_index("follow_ups_due", "follow_ups", ["due_at"])
    op.create_index("follow_ups_of_promotion", "follow_ups", ["promotion_id"])


def _create_partial_index(
    name: str, table: str, columns: list[str], where: sa.TextClause, *, unique: bool = False
) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
