"""`champion-gate migrate`, `backup`, `restore` and `store copy`: the local database as a whole."""

from __future__ import annotations

from pathlib import Path

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import json_option, print_json, tell_if_local
from champion_gate.domain.text import counted


@click.command()
@json_option
def migrate(*, as_json: bool) -> None:
    """Create or upgrade the database's tables; safe to run twice, and by many at once. `serve` does it by itself."""
    from champion_gate.bootstrap.databases import migrate_local

    tell_if_local()
    database = migrate_local()
    if as_json:
        print_json({"database": database, "up_to_date": True})
        return
    click.echo(f"The tables are up to date in {database}.")


@click.group(cls=Group)
def store() -> None:
    """Move the database to another one."""


@store.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="[TARGET]", required=False)
@json_option
def copy(source: str, target: str | None, *, as_json: bool) -> None:
    """Copy every row of SOURCE, which nobody serves, into TARGET, a new and empty database.

    SOURCE is sqlite:///FILE, TARGET mostly postgresql+psycopg://USER:PASSWORD@HOST/NAME. Without TARGET it is
    CHAMPION_GATE_DATABASE_URL, so that no password stands on the command line. The ledger is verified before and after.
    """
    from champion_gate.bootstrap.databases import copy_store

    database, lines = copy_store(source, target)
    if as_json:
        print_json({"source": source, "target": database, "lines": lines})
        return
    click.echo(
        f"{source} is copied into {database}; its ledger has {counted(lines, 'line')}, each as it was written."
    )


@click.command()
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def backup(target: Path, *, as_json: bool) -> None:
    """Copy the database into FILE, which must not be there yet, and verify the copy's ledger.

    Works beside a running service. A copy of the database's file alone is not whole: its newest rows lie in a
    second file. On PostgreSQL it prints the pg_dump line that makes the copy.
    """
    from champion_gate.bootstrap.databases import back_up_local

    tell_if_local()
    database, lines, instead = back_up_local(target)
    if as_json:
        print_json(
            {"database": database, "file": None if instead else str(target), "lines": lines, "run": instead}
        )
    elif instead:
        click.echo(instead)
    elif lines is not None:
        click.echo(
            f"{database} is copied into {target}; its ledger has {counted(lines, 'line')}, each as it was written."
        )


@click.command()
@click.argument("backup", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def restore(backup: Path, *, as_json: bool) -> None:
    """Put FILE, which `champion-gate backup` made, in the place of the database.

    No service may be up. FILE's ledger is verified first; the former database is kept beside the new one. What
    happened since the backup is looked at again: nothing is moved twice, moves of the alias since then show as
    made outside, and job runs of the last seven days are found again.
    """
    from champion_gate.bootstrap.databases import restore_local

    tell_if_local()
    database, lines, former = restore_local(backup)
    if as_json:
        print_json({"database": database, "lines": lines, "former": None if former is None else str(former)})
        return
    click.echo(
        f"{backup} is now {database}; its ledger has {counted(lines, 'line')}, each as it was written."
    )
    if former is not None:
        click.echo(f"The former database is {former}.")
