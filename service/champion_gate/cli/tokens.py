"""`champion-gate tokens`: create, list, revoke API tokens in the local database."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import (
    ago_of,
    clean,
    json_option,
    print_answer,
    print_json,
    print_table,
    tell_if_local,
    when,
)

if TYPE_CHECKING:
    from champion_gate.domain.callers import ApiToken

_ROLES = ("viewer", "operator")
_DURATION = re.compile(r"([1-9][0-9]{0,4})([hd])")


def _expiry(_ctx: click.Context, _param: click.Parameter, text: str) -> timedelta | datetime | None:
    """`12h`, `90d`, an ISO 8601 date or time, or `never`."""
    if text == "never":
        return None
    if (found := _DURATION.fullmatch(text)) is not None:
        count = int(found[1])
        return timedelta(hours=count) if found[2] == "h" else timedelta(days=count)
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is none of 12h, 90d, 2030-12-31, 2030-12-31T18:00Z and never."
        ) from None


@click.group(name="tokens", cls=Group)
def command() -> None:
    """Create, list or revoke API tokens, in the local database."""


@command.command()
@click.option("--name", required=True, help="Who or what will use it: the ledger names it as the actor.")
@click.option("--role", required=True, type=click.Choice(_ROLES), help="A viewer reads, an operator decides.")
@click.option(
    "--expires",
    callback=_expiry,
    metavar="12h|90d|DATE|never",
    default="90d",
    show_default=True,
    help="When it ends: after so long, or when that day (UTC) begins.",
)
@json_option
def create(name: str, role: str, expires: timedelta | datetime | None, *, as_json: bool) -> None:
    """Make a token and print it, alone on standard output; it is kept nowhere and shown never again."""
    from champion_gate.bootstrap.local import local_caller, open_local_tokens
    from champion_gate.domain.callers import Role
    from champion_gate.web.api.answers import rfc3339

    tell_if_local()
    with open_local_tokens() as tokens:
        expires_at = tokens.clock.now() + expires if isinstance(expires, timedelta) else expires
        token, text = tokens.create(name, Role(role), expires_at=expires_at, created_by=local_caller().actor)
    if as_json:
        shown = {"id": token.id, "name": name, "role": role, "expires_at": rfc3339(token.expires_at)}
        print_json({**shown, "token": text})
        return
    until = f"until {when(token.expires_at)}" if token.expires_at else "until it is revoked"
    said = f"Token {token.id} of {name}, role {role}, counts {until}. This is the only time that it is shown:"
    click.echo(clean(said), err=True)
    click.echo(text)


@command.command(name="list")
@json_option
def list_tokens(*, as_json: bool) -> None:
    """List all tokens, also expired and revoked ones, newest first; never what lets one in."""
    from champion_gate.bootstrap.local import open_local_tokens

    tell_if_local()
    with open_local_tokens() as tokens:
        now, found = tokens.clock.now(), tokens.list()
    if as_json:
        print_json([_view(token, now) for token in found])
        return
    print_table(
        [_view(token, now) for token in found],
        ID="id",
        NAME="name",
        ROLE="role",
        STATE="state",
        EXPIRES=lambda row: ago_of(row, "expires_at") or "never",
        LAST_USED=lambda row: ago_of(row, "last_used_at") or "never",
        CREATED=lambda row: f"{ago_of(row, 'created_at')} by {row['created_by']}",
    )


@command.command()
@click.argument("token", metavar="ID|NAME")
@json_option
def revoke(token: str, *, as_json: bool) -> None:
    """Have a token admit nobody from now on."""
    from champion_gate.bootstrap.local import open_local_tokens

    tell_if_local()
    with open_local_tokens() as tokens:
        revoked = tokens.revoke(token)
        now, found = tokens.clock.now(), tokens.list()
    shown = _view(next(each for each in found if each.id == revoked.id), now)
    print_answer(shown, f"Token {revoked.id} of {revoked.name} admits nobody any more.", as_json=as_json)


def _state(token: ApiToken, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "active" if token.counts_at(now) else "expired"


def _view(token: ApiToken, now: datetime) -> dict[str, str | None]:
    from champion_gate.web.api.answers import rfc3339

    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "state": _state(token, now),
        "created_by": token.created_by,
        "created_at": rfc3339(token.created_at),
        "expires_at": rfc3339(token.expires_at),
        "revoked_at": rfc3339(token.revoked_at),
        "last_used_at": rfc3339(token.last_used_at),
    }
