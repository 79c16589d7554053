"""`champion-gate restore`: a backup in the place of the database."""

from __future__ import annotations

from pathlib import Path

import click

from champion_gate.cli.output import print_json, tell_if_local


@click.command(name="restore")
@click.argument("backup", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(backup: Path, *, as_json: bool) -> None:
    """Put FILE, which `champion-gate backup` made, in the place of the database.

    No service may be up. FILE's ledger is verified first; the former database is kept beside the new one. What
    happened since the backup is looked at again: nothing is moved twice, moves of the alias since then show as
    made outside, and job runs of the last seven days are found again.
    """
    from champion_gate.bootstrap.local import restore_local

    tell_if_local()
    database, lines, former = restore_local(backup)
    if as_json:
        print_json({"database": database, "lines": lines, "former": None if former is None else str(former)})
        return
    click.echo(f"{backup} is now {database}; its ledger has {lines} lines, each as it was written.")
    if former is not None:
        click.echo(f"The former database is {former}.")
