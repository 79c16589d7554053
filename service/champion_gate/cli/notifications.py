"""`champion-gate notifications`: what Databricks told us, what came of it, and a second look."""

from __future__ import annotations

from enum import StrEnum

import click

from champion_gate.cli.client import Client, Json, first
from champion_gate.cli.completion import notification_argument, phases
from champion_gate.cli.group import Group
from champion_gate.cli.options import failed_option, on_client, on_one_or_failed
from champion_gate.cli.output import (
    field,
    json_option,
    print_json,
    print_line,
    print_pairs,
    print_table,
    rows_of,
    time_and_ago_of,
)


def _phases() -> type[StrEnum]:
    from champion_gate.domain.notifications import NotificationPhase

    return NotificationPhase


@click.group(name="notifications", cls=Group)
def command() -> None:
    """List or show job notifications and what came of them, or have one looked at again."""


@command.command(name="list")
@click.option("--phase", shell_complete=phases(_phases), help="Only those in this phase, e.g. unresolved.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at the most."
)
@json_option
@on_client
def list_notifications(client: Client, phase: str | None, limit: int, *, as_json: bool) -> None:
    """List notifications, newest first."""
    if phase is not None and phase not in list(_phases()):
        raise click.BadParameter(f"{phase!r} is none of {', '.join(_phases())}.", param_hint="--phase")
    found, more = first(client.notifications(phase=phase), limit)
    if as_json:
        print_json(found)
    else:
        print_table(
            found,
            ID="id",
            FROM="source",
            JOB=_job,
            RUN="job_run_id",
            CAME=lambda row: f"{field(row, 'count')}x",
            PHASE="phase",
            WHY="reason",
        )
    if more:
        click.echo(f"… more than {limit}: narrow with --phase, or raise --limit.", err=True)


@command.command()
@notification_argument()
@json_option
@on_client
def show(client: Client, notification_id: str, *, as_json: bool) -> None:
    """Show one notification and what it came to for each gate."""
    row = client.notification(notification_id)
    if as_json:
        print_json(row)
        return
    print_pairs(
        [
            ("notification", field(row, "id")),
            ("phase", field(row, "phase")),
            ("why", field(row, "reason")),
            ("job", _job(row)),
            ("job run", field(row, "job_run_id")),
            ("came", f"{_times(field(row, 'count'))}, last {time_and_ago_of(row, 'last_received_at')}"),
            ("next look", time_and_ago_of(row, "due_at")),
            ("last error", field(row, "last_error")),
        ]
    )
    for resolution in rows_of(row, "resolutions"):
        told = f"{field(resolution, 'phase')}: {field(resolution, 'reason')}"
        print_line(f"gate {field(resolution, 'gate')}: {told}")


@command.command()
@notification_argument(required=False)
@failed_option
@json_option
@on_client
def replay(client: Client, notification_id: str | None, *, failed: bool, as_json: bool) -> None:
    """Have the notification's job run looked at again; what has ended is never reopened."""
    on_one_or_failed(
        notification_id,
        failed=failed,
        listed=lambda: client.notifications(phase="failed"),
        act=client.replay,
        said=_say_replayed,
        as_json=as_json,
    )


def _say_replayed(_notification_id: str, row: Json) -> None:
    print_line(f"Notification {field(row, 'id')} of run {field(row, 'job_run_id')} will be looked at again.")


def _job(row: Json) -> str:
    return f"{field(row, 'job_name')} ({field(row, 'job_id')})"


def _times(count: str) -> str:
    return "once" if count == "1" else f"{count} times"
