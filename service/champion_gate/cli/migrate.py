"""`champion-gate migrate`: create or upgrade the tables."""

from __future__ import annotations

import click


@click.command(name="migrate")
def command() -> None:
    """Create or upgrade the database's tables; safe to run twice. `serve` does it by itself."""
    from champion_gate.bootstrap.local import migrate_local

    click.echo(f"The tables are up to date in {migrate_local()}.")
