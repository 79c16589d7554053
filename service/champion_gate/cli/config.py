"""`champion-gate config`: check gates.yaml and the settings; JSON Schema for editors."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from champion_gate.cli.doctor import print_findings
from champion_gate.cli.group import Group
from champion_gate.cli.output import clean, json_option, print_json, print_line
from champion_gate.domain.findings import Finding, Verdict

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
@click.option(
    "--online",
    is_flag=True,
    help="Also ask GitHub or GitLab whose accounts the logins in gates.yaml are: login, name and id.",
)
def check(*, as_json: bool, file: Path | None, form: str, online: bool) -> None:
    """Name every problem at once, or say in plain words what each gate does.

    With --file also what is doubtful, each with its line. It exits with 2 where the service would refuse the file, and
    with 1 where --online finds a login that is nobody's, or somebody else's than it was.
    """
    if file is not None:
        if online:
            raise click.UsageError("--online takes the service's secrets, which --file does without.")
        _check_file(file, as_json=as_json, form=form)
        return
    from champion_gate.bootstrap.starting import check_local_config
    from champion_gate.errors import ConfigurationError

    try:
        explanation = check_local_config()
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"valid": False, "problems": error.problems})
        sys.exit(2)
    findings = _people() if online else []
    if as_json:
        accounts = {"accounts": [asdict(each) for each in findings]} if online else {}
        print_json({"valid": True, "explanation": explanation, **accounts})
    else:
        click.echo(explanation)
        print_findings(findings)
    sys.exit(1 if any(each.verdict is Verdict.FAIL for each in findings) else 0)


def _people() -> list[Finding]:
    """Whose accounts the logins are."""
    from champion_gate.bootstrap.doctor import identity_checkups
    from champion_gate.domain.together import Together
    from champion_gate.flow.doctor import examine

    together = Together()
    return examine(identity_checkups(together), together)


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
