"""One row, or with --failed every one that failed: told row by row, whatever becomes of the others."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from champion_gate.cli.gateway import Json, in_parts
from champion_gate.cli.output import field, print_json, told
from champion_gate.errors import GateError

_ALL = 100_000

failed_option = click.option("--failed", is_flag=True, help="All that failed, in lieu of one.")


def on_one_or_failed(
    row_id: str | None,
    *,
    failed: bool,
    name: str,
    listed: Callable[[str | None, int], Json],
    act: Callable[[str], Json],
    said: Callable[[str, Json], None],
    as_json: bool,
) -> None:
    """Do it, and print what came of it; one that refuses keeps nothing from the others.

    Args:
        row_id: the one that is meant; None where `failed` is set.
        failed: whether all that failed are meant.
        name: what they are called in lists, e.g. `promotions`.
        listed: the part of the list of those that failed behind a cursor, of so many items at most.
        act: does it to one id.
        said: prints for people what came of an id.
        as_json: whether it is printed as JSON: one document, or a list of them with --failed.

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
    for each in [field(row, "id") for row in in_parts(listed, name, _ALL)[0]]:
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
