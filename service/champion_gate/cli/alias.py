"""`champion-gate alias`: where an alias stands, who moved it, and orders to move or hold it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from champion_gate.cli.client import Client, Json, first
from champion_gate.cli.group import Group
from champion_gate.cli.options import DEFAULT_ALIAS, alias_arguments, on_client, reason_option
from champion_gate.cli.output import (
    ago_of,
    field,
    json_option,
    print_json,
    print_line,
    print_pairs,
    print_table,
)


def _alias_and_version(
    _ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]
) -> tuple[str, str]:
    """The alias may be left out, although it stands before the version."""
    *alias, version = given
    if len(alias) > 1:
        raise click.UsageError(f"Got unexpected extra argument ({' '.join(alias[1:])}).")
    return (alias[0] if alias else DEFAULT_ALIAS), version


def _order(command: Callable[..., None]) -> Callable[..., Any]:
    """Options of an order that moves the alias; what they stand for is what the client's orders take."""
    for option in (
        json_option,
        click.option("--override-hold", is_flag=True, help="Do it although the alias is on hold."),
        click.option("--only-if", metavar="VERSION", help="Only if the alias is still on this version."),
        reason_option,
    ):
        command = option(command)
    return command


@click.group(name="alias", cls=Group)
def command() -> None:
    """Show where an alias stands and who moved it; move it, roll it back, hold it.

    Works on the aliases that gates.yaml names. ALIAS is Champion where it is left out.
    """


@command.command()
@alias_arguments
@json_option
@on_client
def get(client: Client, model: str, alias: str, *, as_json: bool) -> None:
    """Ask the registry where the alias stands now, and whether it is on hold."""
    found = client.alias(model, alias)
    if as_json:
        print_json(found)
        return
    print_pairs(
        [
            ("registry", field(found, "registry")),
            ("model", field(found, "model")),
            ("alias", field(found, "alias")),
            ("version", field(found, "version")),
            ("on hold", _hold(found)),
            ("moved outside", field(found, "outside")),
        ]
    )


@command.command(name="set")
@click.argument("model")
@click.argument("what", nargs=-1, required=True, metavar="[ALIAS] VERSION", callback=_alias_and_version)
@_order
@on_client
def put(client: Client, model: str, what: tuple[str, str], *, as_json: bool, **order: Any) -> None:
    """Put the alias on a version, by hand: nobody is asked for approval, and the ledger says so."""
    _tell_change(client.put_alias(model, *what, **order), as_json=as_json)


@command.command()
@alias_arguments
@_order
@on_client
def delete(client: Client, model: str, alias: str, *, as_json: bool, **order: Any) -> None:
    """Take the alias away from the version that it is on."""
    _tell_change(client.delete_alias(model, alias, **order), as_json=as_json)


@command.command()
@alias_arguments
@_order
@on_client
def rollback(client: Client, model: str, alias: str, *, as_json: bool, **order: Any) -> None:
    """Put the alias back on the version before, as the ledger has it, and on hold.

    Once more, after an earlier rollback: say with --only-if from which version.
    """
    _tell_change(client.roll_back(model, alias, **order), as_json=as_json)


@command.command()
@alias_arguments
@reason_option
@json_option
@on_client
def hold(client: Client, model: str, alias: str, *, reason: str, as_json: bool) -> None:
    """Keep the alias where it is: promotions wait until it is released."""
    _tell_state(client.hold(model, alias, reason=reason), as_json=as_json)


@command.command()
@alias_arguments
@reason_option
@json_option
@on_client
def release(client: Client, model: str, alias: str, *, reason: str, as_json: bool) -> None:
    """End the hold; promotions that waited are taken up."""
    _tell_state(client.release(model, alias, reason=reason), as_json=as_json)


@command.command()
@alias_arguments
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at the most."
)
@json_option
@on_client
def history(client: Client, model: str, alias: str, limit: int, *, as_json: bool) -> None:
    """Show the ledger's lines of this alias, newest first."""
    lines, more = first(client.history(model, alias), limit)
    if as_json:
        print_json(lines)
    else:
        print_table(
            lines,
            LINE="number",
            WHEN=lambda line: ago_of(line, "at"),
            WHAT="kind",
            MOVE=_move,
            WHO="actor",
            WHY="reason",
            PROMOTION="promotion",
        )
    if more:
        click.echo(f"… more than {limit}: raise --limit, or export the ledger.", err=True)


def _move(line: Json) -> str:
    facts = line.get("facts")
    if not isinstance(facts, dict) or "to" not in facts:
        return ""
    return f"{_version(facts, 'from', '-')} -> {_version(facts, 'to', '-')}"


def _version(row: object, name: str, none: str = "no version") -> str:
    number = field(row, name)
    return f"v{number}" if number else none


def _tell_change(change: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(change)
        return
    now = _version(change, "version")
    moved = f"{_version(change, 'from_version')} -> {now}" if change.get("changed") else f"stays on {now}"
    _tell(change, moved)


def _tell_state(state: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(state)
    else:
        _tell(state, f"stands on {_version(state, 'version')}" + ("" if _hold(state) else "; not on hold"))


def _tell(state: Json, what: str) -> None:
    held = _hold(state)
    on_hold = f"; on hold {held}" if held else ""
    print_line(f"{field(state, 'alias')} of {field(state, 'model')}: {what}{on_hold}")


def _hold(state: Json) -> str:
    if not isinstance(state.get("hold"), dict):
        return ""
    return f"by {field(state, 'hold', 'actor')} because {field(state, 'hold', 'reason')}"
