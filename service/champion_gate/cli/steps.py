"""`champion-gate steps`: operators' word about the work around a promotion."""

from __future__ import annotations

import click

from champion_gate.cli.client import Client, Json
from champion_gate.cli.group import Group
from champion_gate.cli.options import alias_arguments, on_client, reason_option
from champion_gate.cli.output import (
    field,
    json_option,
    print_answer,
    print_json,
    print_line,
    rows_of,
    step_told,
)


@click.group(name="steps", cls=Group)
def command() -> None:
    """List what follows an alias's latest move; retry or skip a step, also of those that `promotions show` lists."""


@command.command(name="list")
@alias_arguments
@json_option
@on_client
def list_steps(client: Client, model: str, alias: str, *, as_json: bool) -> None:
    """List the jobs and endpoints that follow the latest move of an alias (Champion where ALIAS is left out), and what failed before."""
    found = client.alias_steps(model, alias)
    if as_json:
        print_json(found)
    else:
        for step in rows_of(found, "steps"):
            print_line(f"{field(step, 'kind')} {field(step, 'id')}: {step_told(step)}")


@command.command()
@click.argument("step_id")
@click.option("--reason", help="Why; it is kept with the step.")
@json_option
@on_client
def retry(client: Client, step_id: str, reason: str | None, *, as_json: bool) -> None:
    """Take a failed or skipped step up again, or try one at once that is put off."""
    _tell(client.retry_step(step_id, reason=reason), as_json=as_json)


@command.command()
@click.argument("step_id")
@reason_option
@json_option
@on_client
def skip(client: Client, step_id: str, reason: str, *, as_json: bool) -> None:
    """End a step that has failed or is put off, so that nothing tries it any more."""
    _tell(client.skip_step(step_id, reason=reason), as_json=as_json)


def _tell(step: Json, *, as_json: bool) -> None:
    print_answer(step, f"step {field(step, 'id')}: {step_told(step)}", as_json=as_json)
