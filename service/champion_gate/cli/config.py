"""`champion-gate config`: check gates.yaml and the settings; JSON Schema for editors."""

from __future__ import annotations

import sys

import click

from champion_gate.cli.output import json_option, print_json


@click.group(name="config")
def command() -> None:
    """Check gates.yaml and the settings, or print the file's JSON Schema."""


@command.command()
@json_option
def check(*, as_json: bool) -> None:
    """Name every problem at once, or say in plain words what each gate does."""
    from champion_gate.bootstrap.local import check_local_config
    from champion_gate.errors import ConfigurationError

    try:
        explanation = check_local_config()
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": error.problems})
        sys.exit(2)
    if as_json:
        print_json({"valid": True, "explanation": explanation})
    else:
        click.echo(explanation)


@command.command()
def schema() -> None:
    """Print the JSON Schema of gates.yaml."""
    from champion_gate.bootstrap.configuration import gates_json_schema

    print_json(gates_json_schema())
