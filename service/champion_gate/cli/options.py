"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Concatenate, TypeVar

import click

from champion_gate.cli.client import Client, InProcess, Json
from champion_gate.cli.output import field, print_json, told
from champion_gate.errors import GateError

R = TypeVar("R")
DEFAULT_ALIAS = "Champion"

_API_HELP = (
    "Work over the API of the service at this address; by default CHAMPION_GATE_API_URL, else the local "
    "database. The token comes from CHAMPION_GATE_TOKEN."
)

api_option = click.option("--api", metavar="URL", help=_API_HELP)
reason_option = click.option(
    "--reason", required=True, help="Why, in your own words; it is kept for those who ask later."
)
failed_option = click.option("--failed", is_flag=True, help="All that failed, instead of one.")


def alias_arguments(command: Callable[..., R]) -> Callable[..., R]:
    """Add the arguments MODEL and ALIAS to a command; ALIAS may be left out."""
    return click.argument("model")(click.argument("alias", default=DEFAULT_ALIAS)(command))


@contextmanager
def open_client(api: str | None, *, seconds: float = 60.0) -> Iterator[Client]:
    """Work over the API at the given or configured address, else on the local database.

    Args:
        api: what was given as --api.
        seconds: how long one call of the API may take, with its retries.

    Raises:
        ConfigurationError: an address, the token or a setting cannot be used.
        StoreUnavailableError: the local database cannot be used.
    """
    from champion_gate.bootstrap.local import api_access, open_local_api

    access = api_access(api)
    if access is not None:
        from champion_gate.cli.over_http import OverHttp

        with closing(OverHttp(access, total_seconds=seconds)) as transport:
            yield Client(transport)
    else:
        with open_local_api() as app:
            yield Client(InProcess(app))


def on_client(command: Callable[Concatenate[Client, ...], R]) -> Callable[..., R]:
    """Add the option --api to a command, and call it with what that stands for."""

    @api_option
    @functools.wraps(command)
    def opened(*args: Any, api: str | None, **kwargs: Any) -> R:
        with open_client(api) as client:
            return command(client, *args, **kwargs)

    return opened


def on_one_or_failed(
    row_id: str | None,
    *,
    failed: bool,
    listed: Callable[[], Iterator[Json]],
    act: Callable[[str], Json],
    said: Callable[[str, Json], None],
    as_json: bool,
) -> None:
    """Do it to one, or to all `listed` with --failed, and print what came of it; one that refuses keeps nothing from the others.

    Raises:
        click.UsageError: both are given, or none.
        GateError: the one that is meant cannot be done.
    """
    if failed == (row_id is not None):
        raise click.UsageError("Name one, or give --failed.")
    if row_id is not None:
        row = act(row_id)
        print_json(row) if as_json else said(row_id, row)
        return
    from champion_gate.cli import exit_code

    rows, code = [], 0
    for each in [field(row, "id") for row in listed()]:
        try:
            rows.append(act(each))
        except GateError as error:
            click.echo(f"champion-gate: {each}: {told(error)}", err=True)
            code = exit_code(error)
        else:
            if not as_json:
                said(each, rows[-1])
    if as_json:
        print_json(rows)
    sys.exit(code)
