"""`champion-gate migrate`: create or upgrade the tables."""

from __future__ import annotations

import click

from champion_gate.cli.output import print_json, tell_if_local


@click.command(name="migrate")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """Create or upgrade the database's tables; safe to run twice. `serve` does it by itself."""
    from champion_gate.bootstrap.local import migrate_local

    tell_if_local()
    database = migrate_local()
    if as_json:
        print_json({"database": database, "up_to_date": True})
    else:
        click.echo(f"The tables are up to date in {database}.")
