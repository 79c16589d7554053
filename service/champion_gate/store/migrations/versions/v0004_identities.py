"""Which accounts logins stand for; the promotions of earlier versions tell of those that were resolved for them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
oldest_release = "0.1.0"


def upgrade() -> None:
    """Add the tables, and remember what is known."""
    identities = op.create_table(
        "identities",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("login", sa.Text, primary_key=True, comment="casefolded"),
        sa.Column("shown", sa.Text, nullable=False, comment="as the vendor writes it"),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("first_resolved_at", sa.Text, nullable=False),
        sa.Column("last_resolved_at", sa.Text, nullable=False),
        sa.Column(
            "other_id", sa.Text, comment="which account has the login now, until an operator accepts it"
        ),
    )
    accounts = op.create_table(
        "trainer_accounts",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("trainer", sa.Text, primary_key=True, comment="casefolded"),
        sa.Column(
            "alias",
            sa.Text,
            primary_key=True,
            comment="MODEL@ALIAS, casefolded; empty for people, who are the same everywhere",
        ),
        sa.Column("login", sa.Text, primary_key=True, comment="casefolded"),
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("shown", sa.Text, nullable=False, comment="the login as the vendor wrote it"),
        sa.Column("first_resolved_at", sa.Text, nullable=False),
    )
    op.create_index("trainer_accounts_by_login", "trainer_accounts", ["provider", "login"])
    known_logins, known_accounts = _remembered()
    for table, rows in ((identities, known_logins), (accounts, known_accounts)):
        if rows:
            op.bulk_insert(table, rows)


def downgrade() -> None:
    """Take them away."""
    op.drop_table("trainer_accounts")
    op.drop_table("identities")


def _remembered() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """What was resolved for requests so far: the newest account of each login, and every trainer's accounts."""
    logins: dict[tuple[str, str], dict[str, str]] = {}
    accounts: dict[tuple[str, ...], dict[str, str]] = {}
    for alias, provider, at, person in _excluded_so_far():
        trainer, login = person["name"].strip().casefold(), person["login"].casefold()
        account = {"user_id": person["user_id"], "shown": person["login"], "first_resolved_at": at}
        before = logins.get((provider, login))
        same = before is not None and before["user_id"] == person["user_id"]
        since = before["first_resolved_at"] if before is not None and same else at
        logins[provider, login] = {
            **account,
            "provider": provider,
            "login": login,
            "first_resolved_at": since,
            "last_resolved_at": at,
        }
        scope = "" if "@" in trainer else alias
        key = {"provider": provider, "trainer": trainer, "alias": scope, "login": login}
        accounts.setdefault((*key.values(), person["user_id"]), {**key, **account})
    return list(logins.values()), list(accounts.values())


def _excluded_so_far() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """MODEL@ALIAS, provider, when, and whom each request excluded, oldest first."""
    query = "SELECT model, alias, details FROM promotions ORDER BY requested_at, id"
    rows = op.get_bind().execute(sa.text(query))
    for row in rows:
        details = json.loads(row.details)
        request = details.get("request")
        for person in details.get("excluded", ()) if request else ():
            yield f"{row.model}@{row.alias}".casefold(), request["provider"], request["intent_at"], person
