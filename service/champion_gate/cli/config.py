"""`champion-gate config`: check gates.yaml and the settings; JSON Schema for editors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import clean, json_option, print_json, print_line

if TYPE_CHECKING:
    from champion_gate.settings.linting import Remark

_IN_MESSAGE = "%\r\n"
_IN_PROPERTY = f"{_IN_MESSAGE}:,"


@click.group(name="config", cls=Group)
def command() -> None:
    """Check gates.yaml and the settings, or print the file's JSON Schema."""


@command.command()
@json_option
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    help="Look at this file alone: without any secret, as for a pull request.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github"]),
    default=lambda: "github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text",
    show_default="github in GitHub Actions, else text",
    help="With --file: how lines are told.",
)
def check(*, as_json: bool, file: Path | None, form: str) -> None:
    """Name every problem at once, or say in plain words what each gate does.

    With --file also what is doubtful, each with its line. It exits with 2 where the service would refuse the file.
    """
    if file is not None:
        _check_file(file, as_json=as_json, form=form)
        return
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


def _check_file(file: Path, *, as_json: bool, form: str) -> None:
    from champion_gate.bootstrap.configuration import lint_gates

    found = lint_gates(file)
    is_valid = not any(each.is_wrong for each in found)
    if as_json:
        told = [
            {"line": each.line, "level": _level(each), "message": each.message, "file": str(file)}
            for each in found
        ]
        print_json({"valid": is_valid, "problems": told})
    elif form == "github":
        for each in found:
            where = f"file={_escaped(str(file), _IN_PROPERTY)},line={each.line},title=champion-gate"
            click.echo(f"::{_level(each)} {where}::{_escaped(clean(each.message), _IN_MESSAGE)}")
    else:
        for each in found:
            print_line(f"{file}:{each.line}: {_level(each)}: {each.message}")
    if is_valid and not as_json:
        print_line(f"{file} can be used.")
    sys.exit(0 if is_valid else 2)


def _level(remark: Remark) -> str:
    return "error" if remark.is_wrong else "warning"


def _escaped(text: str, characters: str) -> str:
    """As a workflow command of GitHub's takes it (actions/toolkit, packages/core/src/command.ts)."""
    return "".join(f"%{ord(char):02X}" if char in characters else char for char in text)


@command.command()
def schema() -> None:
    """Print the JSON Schema of gates.yaml."""
    from champion_gate.bootstrap.configuration import gates_json_schema

    print_json(gates_json_schema())
