"""`champion-gate notifications`: what Databricks told us, and what came of it."""

from __future__ import annotations

import click

from champion_gate.cli.output import cut, print_json, print_line, print_pairs, print_table, when


@click.group(name="notifications")
def command() -> None:
    """List or show job notifications and what came of them, in the local database."""


@command.command(name="list")
@click.option("--phase", help="Only those in this phase, e.g. unresolved.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at the most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_notifications(phase: str | None, limit: int, *, as_json: bool) -> None:
    """List notifications, newest first."""
    from champion_gate.bootstrap.local import open_local_store
    from champion_gate.core.notifications import NotificationPhase
    from champion_gate.web.views import notification_view

    if phase is not None and phase not in list(NotificationPhase):
        raise click.BadParameter(
            f"{phase!r} is none of {', '.join(NotificationPhase)}.", param_hint="--phase"
        )
    with open_local_store() as store:
        page = store.list_notifications(phase=NotificationPhase(phase) if phase else None, limit=limit)
    if as_json:
        print_json([notification_view(row) for row in page.items])
        return
    rows = [
        (
            row.id,
            row.source,
            f"{row.notification.job_name} ({row.notification.job_id})",
            row.notification.job_run_id,
            f"{row.count}x",
            row.phase.value,
            cut(row.reason, 80),
        )
        for row in page.items
    ]
    print_table(("ID", "FROM", "JOB", "RUN", "CAME", "PHASE", "WHY"), rows)


@command.command()
@click.argument("notification_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(notification_id: str, *, as_json: bool) -> None:
    """Show one notification and what it came to for each gate."""
    from champion_gate.bootstrap.local import open_local_store
    from champion_gate.web.views import notification_view

    with open_local_store() as store:
        row = store.get_notification(notification_id)
    if as_json:
        print_json(notification_view(row))
        return
    print_pairs(
        [
            ("notification", row.id),
            ("phase", row.phase.value),
            ("why", row.reason),
            ("job", f"{row.notification.job_name} ({row.notification.job_id})"),
            ("job run", row.notification.job_run_id),
            ("page", row.job_run.url if row.job_run else None),
            ("came", f"{row.count} times, last {when(row.last_received_at)}"),
            ("next look", when(row.due_at)),
            ("last error", row.last_error),
        ]
    )
    for resolution in row.resolutions:
        print_line(f"gate {resolution.gate}: {resolution.phase.value}: {resolution.reason}")
