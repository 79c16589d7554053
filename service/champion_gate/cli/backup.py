"""`champion-gate backup`: the database in one file."""

from __future__ import annotations

from pathlib import Path

import click

from champion_gate.cli.output import print_json, tell_if_local


@click.command(name="backup")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(target: Path, *, as_json: bool) -> None:
    """Copy the database into FILE, which must not be there yet, and verify the copy's ledger.

    Works beside a running service. A copy of the database's file alone is not whole: its newest rows lie in a
    second file. On PostgreSQL it prints the pg_dump line that makes the copy.
    """
    from champion_gate.bootstrap.local import back_up_local

    tell_if_local()
    database, lines, instead = back_up_local(target)
    if as_json:
        print_json(
            {"database": database, "file": None if instead else str(target), "lines": lines, "run": instead}
        )
    elif instead:
        click.echo(instead)
    else:
        click.echo(
            f"{database} is copied into {target}; its ledger has {lines} lines, each as it was written."
        )
