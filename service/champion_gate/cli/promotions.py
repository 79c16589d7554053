"""`champion-gate promotions`: list, show, watch; ask, cancel, retry."""

from __future__ import annotations

import re
import sys
from enum import StrEnum

import click

from champion_gate.cli.client import Client, Json, first
from champion_gate.cli.completion import phases, promotion_argument
from champion_gate.cli.group import Group
from champion_gate.cli.options import (
    api_option,
    failed_option,
    on_client,
    on_one_or_failed,
    open_client,
    reason_option,
)
from champion_gate.cli.output import (
    ago_of,
    alias_told,
    field,
    json_option,
    print_answer,
    print_json,
    print_line,
    print_pairs,
    print_table,
    rows_of,
    screen_width,
    step_told,
    time_and_ago_of,
    time_of,
    version_told,
    visible,
)
from champion_gate.domain.screen import as_text

_TIME = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_SHORTEST, _LONGEST = 0.2, 3600.0  # seconds: often enough for any eye, and no proxy forgets it


def _phases() -> type[StrEnum]:
    from champion_gate.domain.promotion import Phase

    return Phase


@click.group(name="promotions", cls=Group)
def command() -> None:
    """List, show or watch promotions; ask for one, cancel or retry one."""


@command.command(name="list")
@click.option("--model", help="Only this model's.")
@click.option(
    "--phase", shell_complete=phases(_phases), help="Only those in this phase, e.g. pending_approval."
)
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at the most."
)
@json_option
@on_client
def list_promotions(
    client: Client, model: str | None, phase: str | None, limit: int, *, as_json: bool
) -> None:
    """List promotions, newest first."""
    if phase is not None and phase not in list(_phases()):
        raise click.BadParameter(f"{phase!r} is none of {', '.join(_phases())}.", param_hint="--phase")
    found, more = first(client.promotions(model=model, phase=phase), limit)
    if as_json:
        print_json(found)
    else:
        print_table(
            found,
            ID="id",
            VERSION=version_told,
            ALIAS=alias_told,
            PHASE=_phase_told,
            CHANGED=lambda row: ago_of(row, "updated_at"),
            WHY="reason",
        )
    if more:
        click.echo(f"… more than {limit}: narrow with --model or --phase, or raise --limit.", err=True)


@command.command()
@promotion_argument()
@click.option("--evidence", is_flag=True, help="Print what the reviewer was shown, as Markdown.")
@json_option
@on_client
def show(client: Client, promotion_id: str, *, evidence: bool, as_json: bool) -> None:
    """Show one promotion with its decision, its lines of the ledger and its steps."""
    if evidence:
        markdown, width = visible(client.evidence(promotion_id)), screen_width()
        click.echo(markdown if width is None else as_text(markdown, width))
        return
    row = client.promotion(promotion_id)
    if as_json:
        print_json(row)
        return
    _print_promotion(row)
    for line in reversed(rows_of(row, "ledger")):
        told = f"{time_of(line, 'at')} {field(line, 'kind')}: {field(line, 'reason')}"
        print_line(f"ledger {field(line, 'number')}: {told}")
    for step in rows_of(row, "steps"):
        print_line(f"step {field(step, 'id')}: {step_told(step)}")


@command.command()
@promotion_argument()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, as it does anyway.")
@on_client
def receipt(client: Client, promotion_id: str, *, as_json: bool) -> None:
    """Print what an auditor keeps of it, as JSON; `ledger verify-receipt` checks it against an export."""
    del as_json
    print_json(client.receipt(promotion_id))


@command.command()
@click.option("--gate", required=True, help="The gate's name in gates.yaml.")
@click.option("--version", required=True, help="The version of the gate's model.")
@click.option("--job", "job_run_id", metavar="RUN_ID", help="The job run that made it.")
@reason_option
@json_option
@on_client
def ask(
    client: Client, gate: str, version: str, job_run_id: str | None, reason: str, *, as_json: bool
) -> None:
    """Ask people for approval of a version by hand; the gate's rules hold all the same."""
    row = client.ask(gate, version, job_run_id=job_run_id, reason=reason)
    name = f"v{field(row, 'version')} of {field(row, 'source_model') or field(row, 'model')}"
    print_answer(row, f"{field(row, 'id')} asks for {field(row, 'alias')} for {name}.", as_json=as_json)


@command.command()
@promotion_argument()
@reason_option
@json_option
@on_client
def cancel(client: Client, promotion_id: str, reason: str, *, as_json: bool) -> None:
    """End a promotion that is not applied yet, and cancel its CI run."""
    row = client.cancel(promotion_id, reason=reason)
    said = (
        f"{promotion_id} will be cancelled as soon as its decision has been read once more, or a write that has "
        "begun is settled."
    )
    print_answer(row, said, as_json=as_json)


@command.command()
@promotion_argument(required=False)
@failed_option
@click.option("--reason", help="Why; it is kept with the promotion.")
@json_option
@on_client
def retry(
    client: Client, promotion_id: str | None, reason: str | None, *, failed: bool, as_json: bool
) -> None:
    """Take a failed promotion up again, open again a request that never showed, or ask afresh for an ended one's version."""
    on_one_or_failed(
        promotion_id,
        failed=failed,
        listed=lambda: client.promotions(phase="failed"),
        act=lambda each: client.retry(each, reason=reason),
        said=_say_retried,
        as_json=as_json,
    )


def _say_retried(promotion_id: str, row: Json) -> None:
    goes_on = field(row, "id")
    if promotion_id == goes_on or promotion_id.startswith(f"{goes_on}-"):
        print_line(f"{goes_on} is taken up again.")
    else:
        print_line(f"{goes_on} asks afresh for the version of {promotion_id}.")


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str) -> float:
    """A pause such as 2s, 500ms or 1m."""
    match = _TIME.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise click.BadParameter(f"{text!r} is no time such as 2s, 500ms or 1m, from 200ms to 60m.")
    return seconds


@command.command()
@promotion_argument(required=False)
@click.option(
    "--interval",
    metavar="TIME",
    callback=_seconds,
    default="2s",
    show_default=True,
    help="How long to rest between looks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@api_option
def watch(promotion_id: str | None, interval: float, *, as_json: bool, api: str | None) -> None:
    """Print the open promotions, and a line whenever one appears or changes, until Ctrl-C (exit code 130).

    With an id: only that one, until it and what follows it have ended; exit code 0 if it was promoted and
    nothing that follows failed, else 1.
    """
    import time

    from champion_gate.cli.watching import Watch

    watching = Watch(lambda: open_client(api), as_json=as_json, pause=lambda: time.sleep(interval))
    if promotion_id is None:
        watching.all()
    elif watching.one(promotion_id) != "promoted":
        sys.exit(1)


def _phase_told(row: Json) -> str:
    failed = field(row, "failed_after")
    return field(row, "phase") + (f", {failed} failed after" if failed not in {"", "0"} else "")


def _candidate(row: Json) -> str:
    if field(row, "source_model") in {"", field(row, "model")}:
        return f"v{field(row, 'version')}"
    copied = field(row, "copied_version")
    return f"a copy of {version_told(row)}" + (f": v{copied}" if copied else "")


def _seats_told(row: Json) -> str:
    """Each environment, role or number, and while people are asked whether it is approved."""
    waits = rows_of(row, "outstanding")
    told = {True: ": waited for", False: ": approved"} if waits else {False: ""}
    return ", ".join(f"{seat}{told[seat in waits]}" for seat in rows_of(row.get("request"), "seats"))


def _print_promotion(row: Json) -> None:
    before, sha256 = field(row, "champion_version"), field(row, "evidence_sha256")
    roles: dict[str, list[str]] = {}
    for each in rows_of(row, "trainers"):
        roles.setdefault(field(each, "name") or "unknown", []).append(field(each, "role"))
    trainers = [f"{name} ({', '.join(every)})" for name, every in roles.items()]
    deciders = rows_of(row.get("decision"), "deciders")
    attempts = field(row, "attempts")
    print_pairs(
        [
            ("promotion", field(row, "id")),
            ("phase", field(row, "phase")),
            ("why", field(row, "reason")),
            (
                "asks for",
                f"{field(row, 'alias')} of {field(row, 'model')} for {_candidate(row)}",
            ),
            ("in place of", f"v{before}" if before else None),
            ("gate", field(row, "gate")),
            ("job run", field(row, "job", "url")),
            ("trainers", ", ".join(trainers)),
            ("may not decide", ", ".join(field(each, "login") for each in rows_of(row, "excluded"))),
            ("approval in", _seats_told(row)),
            ("approval at", field(row, "request", "url")),
            ("until", time_and_ago_of(row, "request", "expires_at")),
            ("decided by", ", ".join(f"{field(each, 'login')} ({field(each, 'seat')})" for each in deciders)),
            ("evidence", f"sha256 {sha256}" if sha256 else None),
            ("requested", time_and_ago_of(row, "requested_at")),
            ("ended", time_and_ago_of(row, "ended_at")),
            ("failed tries", attempts if attempts != "0" else None),
            ("last error", field(row, "last_error")),
            ("next look", time_and_ago_of(row, "due_at")),
        ]
    )
