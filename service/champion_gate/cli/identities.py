"""`champion-gate identities`: which accounts logins stand for, and operators' word about them."""

from __future__ import annotations

import click

from champion_gate.cli.client import Client
from champion_gate.cli.group import Group
from champion_gate.cli.options import on_client, reason_option
from champion_gate.cli.output import (
    ago_of,
    field,
    json_option,
    print_answer,
    print_json,
    print_table,
    rows_of,
)


@click.group(name="identities", cls=Group)
def command() -> None:
    """List which accounts logins stand for; accept another account, or forget a login."""


@command.command(name="list")
@json_option
@on_client
def list_identities(client: Client, *, as_json: bool) -> None:
    """List the logins that are remembered, and who is kept from deciding because of them."""
    found = rows_of(client.identities(), "identities")
    if as_json:
        print_json(found)
        return
    print_table(
        found,
        AT="provider",
        LOGIN="login",
        ACCOUNT="user_id",
        SINCE=lambda row: ago_of(row, "first_resolved_at"),
        LAST_SEEN=lambda row: ago_of(row, "last_resolved_at"),
        NOW="other_id",
        EXCLUDED_FOR=lambda row: ", ".join(_account(each) for each in rows_of(row, "accounts")),
    )


@command.command()
@click.argument("provider")
@click.argument("login")
@click.option("--id", "user_id", help="Only if it is this account now, by the vendor's numeric id.")
@reason_option
@json_option
@on_client
def accept(
    client: Client, provider: str, login: str, user_id: str | None, reason: str, *, as_json: bool
) -> None:
    """Let a login stand for the account that has it now; requests wait for that.

    The account that had it stays excluded where it was a trainer's. PROVIDER is github, github:HOST or gitlab.
    """
    accepted = client.accept_identity(provider, login, reason=reason, user_id=user_id)
    said = f"{field(accepted, 'login')} is account {field(accepted, 'user_id')} from now on."
    print_answer(accepted, said, as_json=as_json)


@command.command()
@click.argument("provider")
@click.argument("login")
@reason_option
@json_option
@on_client
def forget(client: Client, provider: str, login: str, reason: str, *, as_json: bool) -> None:
    """Forget what a login stood for: none of its accounts is excluded because of it from what is asked from now on.

    A login that gates.yaml still names is resolved anew. PROVIDER is github, github:HOST or gitlab.
    """
    forgotten = client.forget_identity(provider, login, reason=reason)
    ids = {field(each, "user_id") for each in rows_of(forgotten, "accounts")} | {field(forgotten, "user_id")}
    said = f"{field(forgotten, 'login')} (account {', '.join(sorted(ids))}) is forgotten."
    print_answer(forgotten, said, as_json=as_json)


def _account(row: object) -> str:
    alias = field(row, "alias")
    where = f" for {alias}" if alias else ""
    return f"{field(row, 'trainer')}{where} ({field(row, 'user_id')})"
