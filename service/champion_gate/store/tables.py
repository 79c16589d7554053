"""The tables: one schema for SQLite and PostgreSQL. A change here needs a migration."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from champion_gate.store.values import UtcTime, Words

SCHEMA_VERSION = "0018"
"""The newest migration, named here so that checking it needs no Alembic."""

metadata = MetaData()

_OPEN_NOTIFICATION = "phase IN ('received', 'waiting')"
OPEN_PROMOTION = "phase IN ('requested', 'validating', 'pending_approval', 'approved', 'copying')"
_OPEN_STEP = "phase IN ('planned', 'running')"
_FAILED_STEP = "phase = 'failed'"
_LEASED = "lease != ''"


def _lease_columns() -> list[Column[Any]]:
    return [
        Column("lease", Text, nullable=False, server_default=""),
        Column("lease_until", UtcTime),
    ]


def _failure_columns() -> list[Column[Any]]:
    return [
        Column("attempts", Integer, nullable=False, server_default="0"),
        Column("failing_since", UtcTime),
        Column("last_error", Words),
    ]


notifications = Table(
    "notifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("event_type", Words, nullable=False),
    Column("workspace_id", Words, nullable=False),
    Column("job_id", Words, nullable=False),
    Column("run_id", Words, nullable=False),
    Column("job_name", Words, nullable=False),
    Column("task_key", Words, nullable=False, comment="empty where there is none, so that it can be unique"),
    Column("parent_run_id", Words),
    Column("job_run_id", Words, nullable=False),
    Column("times", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("first_received_at", UtcTime, nullable=False),
    Column("last_received_at", UtcTime, nullable=False),
    Column("due_at", UtcTime),
    *_failure_columns(),
    Column("job_run", Text),
    Column("job_run_end", UtcTime),
    *_lease_columns(),
    UniqueConstraint(
        "source", "workspace_id", "run_id", "event_type", "task_key", name="one_row_a_notification"
    ),
    Index("notifications_newest", "first_received_at", "id"),
    Index("notifications_in_phase", "phase", "first_received_at", "id"),
    Index("notifications_of_run", "job_run_id"),
    Index(
        "notifications_due",
        "due_at",
        sqlite_where=text(_OPEN_NOTIFICATION),
        postgresql_where=text(_OPEN_NOTIFICATION),
    ),
)

resolutions = Table(
    "resolutions",
    metadata,
    Column("notification_id", Text, ForeignKey("notifications.id"), primary_key=True),
    Column("gate", Text, primary_key=True),
    Column("times", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("promotion_id", Text),
    *_failure_columns(),
)

promotions = Table(
    "promotions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("gate", Text, nullable=False),
    Column("registry", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("alias", Words, nullable=False),
    Column("version_number", Words, nullable=False),
    Column("source_model", Words, nullable=False, server_default=""),
    Column("phase", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("requested_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
    Column("due_at", UtcTime),
    *_failure_columns(),
    Column("failed_from", Text),
    Column("external_id", Words, comment="the request's id at the vendor"),
    Column("evidence_json", Text),
    Column("end_request", Text),
    Column("hints", Integer, nullable=False, server_default="0"),
    Column("hints_when_taken", Integer, nullable=False, server_default="0"),
    Column("details", Text, nullable=False, comment="every field that no query asks for, as JSON"),
    *_lease_columns(),
    Index(
        "one_open_promotion",
        "registry",
        "source_model",
        "model",
        "version_number",
        "alias",
        unique=True,
        sqlite_where=text(OPEN_PROMOTION),
        postgresql_where=text(OPEN_PROMOTION),
    ),
    Index("promotions_newest", "requested_at", "id"),
    Index("promotions_of_model", "model", "requested_at", "id"),
    Index("promotions_in_phase", "phase", "requested_at", "id"),
    Index("promotions_of_model_in_phase", "model", "phase", "requested_at", "id"),
    Index("promotions_of_version", "registry", "model", "alias", "version_number", "requested_at", "id"),
    Index(
        "promotions_open",
        *("registry", "model", "alias", "requested_at", "id"),
        sqlite_where=text(OPEN_PROMOTION),
        postgresql_where=text(OPEN_PROMOTION),
    ),
    Index("promotions_with_request", "external_id"),
    Index("promotions_leased", "lease_until", sqlite_where=text(_LEASED), postgresql_where=text(_LEASED)),
    Index(
        "promotions_due",
        "due_at",
        sqlite_where=text(OPEN_PROMOTION),
        postgresql_where=text(OPEN_PROMOTION),
    ),
)

aliases = Table(
    "aliases",
    metadata,
    Column("registry", Words, primary_key=True),
    Column("model", Words, primary_key=True),
    Column("alias", Words, primary_key=True),
    Column("fence", Integer, nullable=False),
    Column("seen", Boolean, nullable=False),
    Column("known_version", Words),
    Column("intent", Text),
    Column("hold", Text),
    Column("dropped", Text, comment="writes that were given up and may arrive all the same"),
    Column(
        "refused", Words, comment="why the registry refused the latest write; null since one was carried out"
    ),
    *_lease_columns(),
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("registry", Words, nullable=False),
    Column("model", Words, nullable=False),
    Column("alias", Words, nullable=False),
    Column("promotion_id", Text),
    Column("body", Text, nullable=False),
    Column("previous_hash", Text, nullable=False, unique=True),
    Column("hash", Text, nullable=False, unique=True),
    Index("ledger_of_alias", "registry", "model", "alias", "number"),
    Index("ledger_of_alias_by_kind", "registry", "model", "alias", "kind", "number"),
    Index("ledger_of_promotion", "promotion_id"),
)

ledger_head = Table(
    "ledger_head",
    metadata,
    Column(
        "id", Integer, primary_key=True, autoincrement=False, comment="always 1: whoever appends locks it"
    ),
    Column("number", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("id", Text, primary_key=True),
    Column("promotion_id", Text, ForeignKey("promotions.id")),
    Column("kind", Text, nullable=False),
    Column("position", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("due_at", UtcTime),
    *_failure_columns(),
    Column("details", Text, nullable=False, comment="every field that no query asks for, as JSON"),
    *_lease_columns(),
    Index("steps_of_promotion", "promotion_id", "position", "id"),
    Index("steps_by_kind", "kind", "phase"),
    Index("steps_due", "due_at", sqlite_where=text(_OPEN_STEP), postgresql_where=text(_OPEN_STEP)),
    Index("steps_failed", "kind", sqlite_where=text(_FAILED_STEP), postgresql_where=text(_FAILED_STEP)),
    Index("steps_leased", "lease_until", sqlite_where=text(_LEASED), postgresql_where=text(_LEASED)),
)

gates_seen = Table(
    "gates_seen",
    metadata,
    Column("gate", Text, primary_key=True),
    Column("first_seen_at", UtcTime, nullable=False),
)

failing_looks = Table(
    "failing_looks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("vendor", Text, nullable=False, comment="its name in words, with which its errors begin"),
)

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="always 1"),
    Column("noted_at", UtcTime, nullable=False, comment="what a sweep took for the time last"),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("seen_at", UtcTime, nullable=False, comment="by the database's clock"),
    Column("clock", UtcTime, nullable=False, comment="what the replica's own said then"),
    Column("gates_sha256", Text, nullable=False, server_default="", comment="of its gates.yaml"),
)

oldest_release = Table(
    "oldest_release",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, comment="always 1"),
    Column("release", Text, nullable=False, comment="an older one may not run on this database"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="what it is about, such as test"),
    Column("last_at", UtcTime, nullable=False),
)

job_tokens = Table(
    "job_tokens",
    metadata,
    Column("token", Words, primary_key=True),
    Column("promotion_id", Text, ForeignKey("promotions.id"), nullable=False),
    Column("job", Words, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Index("job_tokens_expired", "expires_at"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Words, nullable=False),
    Column("role", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("expires_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("last_used_at", UtcTime),
    Index("api_tokens_named", "name"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id_sha256", Text, primary_key=True),
    Column("token_id", Text),
    Column("person", Text, comment="as JSON, where an identity provider signed in"),
    Column("begun_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Index("sessions_expired", "expires_at"),
)

requests = Table(
    "requests",
    metadata,
    Column("key", Words, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("begun_at", UtcTime, nullable=False),
    Column("status", Integer),
    Column("answer", Text, nullable=False, server_default=""),
    Index("requests_begun", "begun_at"),
)

identities = Table(
    "identities",
    metadata,
    Column("provider", Words, primary_key=True),
    Column("login", Words, primary_key=True, comment="casefolded"),
    Column("shown", Words, nullable=False, comment="as the vendor writes it"),
    Column("user_id", Words, nullable=False),
    Column("first_resolved_at", UtcTime, nullable=False),
    Column("last_resolved_at", UtcTime, nullable=False),
    Column("other_id", Words, comment="which account has the login now, until an operator accepts it"),
)

trainer_accounts = Table(
    "trainer_accounts",
    metadata,
    Column("provider", Words, primary_key=True),
    Column("trainer", Words, primary_key=True, comment="casefolded"),
    Column(
        "alias",
        Words,
        primary_key=True,
        comment="MODEL@ALIAS, casefolded; empty for people, who are the same everywhere",
    ),
    Column("login", Words, primary_key=True, comment="casefolded"),
    Column("user_id", Words, primary_key=True),
    Column("shown", Words, nullable=False, comment="the login as the vendor wrote it"),
    Column("first_resolved_at", UtcTime, nullable=False),
    Index("trainer_accounts_by_login", "provider", "login"),
)
