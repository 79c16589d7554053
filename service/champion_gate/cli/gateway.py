"""What the commands work on: a service's API or the local database, with the same answers from both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Protocol, TypeVar

import click

Json = dict[str, Any]
"""A JSON object as the API answers it."""

R = TypeVar("R")

_LARGEST_PART = 200

_API_HELP = (
    "Work over the API of the service at this address; by default CHAMPION_GATE_API_URL, else the local "
    "database. The token comes from CHAMPION_GATE_TOKEN."
)


class Gateway(Protocol):
    """The API's operations. Every one may raise GateError; `reason` is 1 to 2000 characters, not blank."""

    def alias(self, model: str, alias: str) -> Json:
        """Where an alias stands now."""
        ...

    def put_alias(
        self, model: str, alias: str, version: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Set it; `only_if` names the version on which it must still be."""
        ...

    def delete_alias(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Remove it from the version that it is on."""
        ...

    def roll_back(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Put it back on the version before, and on hold; `only_if` names the version on which it must still be."""
        ...

    def hold(self, model: str, alias: str, *, reason: str) -> Json:
        """Keep it where it is."""
        ...

    def release(self, model: str, alias: str, *, reason: str) -> Json:
        """End its hold."""
        ...

    def history(self, model: str, alias: str, *, cursor: str | None, limit: int) -> Json:
        """Its `lines` of the ledger, newest first, and a `cursor`."""
        ...

    def promotions(
        self, *, cursor: str | None, limit: int, model: str | None = None, phase: str | None = None
    ) -> Json:
        """One part of the `promotions`, newest first, and a `cursor`."""
        ...

    def promotion(self, promotion_id: str) -> Json:
        """One promotion, with its `follow_ups` and its lines of the `ledger`."""
        ...

    def receipt(self, promotion_id: str) -> Json:
        """What an auditor keeps of it."""
        ...

    def evidence(self, promotion_id: str) -> str:
        """What the reviewer was shown, as Markdown."""
        ...

    def ask(self, gate: str, version: str, *, job_run_id: str | None, reason: str) -> Json:
        """Ask for approval of a version by hand; the promotion."""
        ...

    def cancel(self, promotion_id: str, *, reason: str) -> Json:
        """Order its end; the promotion."""
        ...

    def retry(self, promotion_id: str, *, reason: str | None) -> Json:
        """Take it up again; the promotion that goes on, which may be a fresh one."""
        ...

    def notifications(self, *, cursor: str | None, limit: int, phase: str | None = None) -> Json:
        """One part of the `notifications`, newest first, and a `cursor`."""
        ...

    def notification(self, notification_id: str) -> Json:
        """One notification."""
        ...

    def replay(self, notification_id: str) -> Json:
        """Have its run looked at again; the notification."""
        ...

    def identities(self) -> Json:
        """The `identities`: every login that is remembered, with its accounts."""
        ...

    def accept_identity(self, provider: str, login: str, *, reason: str, user_id: str | None) -> Json:
        """Let a login stand for the account that has it now (only if it is `user_id`); the login."""
        ...

    def forget_identity(self, provider: str, login: str, *, reason: str) -> Json:
        """Forget what a login stood for; what was remembered."""
        ...


@contextmanager
def open_gateway(api: str | None) -> Iterator[Gateway]:
    """The API at the given or configured address, else the local database.

    Args:
        api: what was given as --api.

    Raises:
        ConfigurationError: an address, the token or a setting cannot be used.
        StoreUnavailableError: the local database cannot be used.
    """
    from champion_gate.bootstrap.local import api_access, open_local

    access = api_access(api)
    if access is not None:
        from champion_gate.bootstrap.core import SystemChance
        from champion_gate.cli.api_calls import ApiCalls
        from champion_gate.cli.api_gateway import ApiGateway

        with ApiGateway(ApiCalls(access, idempotency_key=f"cli-{SystemChance().token()}")) as gateway:
            yield gateway
    else:
        from champion_gate.cli.local_gateway import LocalGateway

        with open_local() as local:
            yield LocalGateway(local)


api_option = click.option("--api", metavar="URL", help=_API_HELP)
reason_option = click.option(
    "--reason", required=True, help="Why, in your own words; it is kept for those who ask later."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def on_gateway(command: Callable[Concatenate[Gateway, ...], R]) -> Callable[..., R]:
    """Add the option --api to a command, and call it with what that stands for."""

    @api_option
    @functools.wraps(command)
    def opened(*args: Any, api: str | None, **kwargs: Any) -> R:
        with open_gateway(api) as gateway:
            return command(gateway, *args, **kwargs)

    return opened


def in_parts(part: Callable[[str | None, int], Json], name: str, limit: int) -> tuple[list[Json], bool]:
    """The first `limit` items of a list that comes in parts, and whether there are more.

    Args:
        part: gives the part behind a cursor, of so many items at most.
        name: of the list in each part.
        limit: how many, from 1.
    """
    items: list[Json] = []
    cursor: str | None = None
    while True:
        found = part(cursor, min(limit - len(items), _LARGEST_PART))
        items += found[name]
        cursor = found["cursor"]
        if cursor is None or len(items) >= limit:
            return items, cursor is not None
