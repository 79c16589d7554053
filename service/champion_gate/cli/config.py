"""`champion-gate config`: check gates.yaml and the settings; JSON Schema for editors."""

from __future__ import annotations

import click

from champion_gate.cli.output import print_json


@click.group(name="config")
def command() -> None:
    """Check gates.yaml and the settings, or print the file's JSON Schema."""


@command.command()
def check() -> None:
    """Name every problem at once, or say in plain words what each gate does."""
    from champion_gate.bootstrap.local import check_local_config

    click.echo(check_local_config())


@command.command()
def schema() -> None:
    """Print the JSON Schema of gates.yaml."""
    from champion_gate.settings import gates_json_schema

    print_json(gates_json_schema())
