"""`champion-gate notices`: try whether people are reached."""

from __future__ import annotations

import click

from champion_gate.cli.group import Group
from champion_gate.cli.output import json_option, print_answer


@click.group(name="notices", cls=Group)
def command() -> None:
    """Try whether people are reached by the notices of gates.yaml."""


@command.command()
@click.argument("name")
@json_option
def test(name: str, *, as_json: bool) -> None:
    """Send a message that says that it is a test, once, by the notice NAME of gates.yaml.

    It needs the service's settings and no running service. What it says is what the receiver answered: of Teams only that a workflow
    accepted it, so ask somebody who sees the channel.
    """
    from champion_gate.bootstrap.local import send_test_notice

    said = send_test_notice(name)
    print_answer({"notice": name, "answered": said}, f"{name}: {said}", as_json=as_json)
