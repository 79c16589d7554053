"""`champion-gate promotions`: list, show, cancel, retry."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING

import click

from champion_gate.cli.output import cut, print_json, print_line, print_pairs, print_table, when

if TYPE_CHECKING:
    from champion_gate.core.ledger import LedgerLine
    from champion_gate.core.promotion import Promotion


@click.group(name="promotions")
def command() -> None:
    """List, show, cancel or retry promotions, in the local database."""


@command.command(name="list")
@click.option("--model", help="Only this model's.")
@click.option("--phase", help="Only those in this phase, e.g. pending_approval.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many at the most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_promotions(model: str | None, phase: str | None, limit: int, *, as_json: bool) -> None:
    """List promotions, newest first."""
    from champion_gate.bootstrap.local import open_local_store
    from champion_gate.core.promotion import Phase
    from champion_gate.web.views import promotion_view

    if phase is not None and phase not in list(Phase):
        raise click.BadParameter(f"{phase!r} is none of {', '.join(Phase)}.", param_hint="--phase")
    with open_local_store() as store:
        page = store.list_promotions(model=model, phase=Phase(phase) if phase else None, limit=limit)
    if as_json:
        print_json([promotion_view(promotion) for promotion in page.items])
        return
    rows = [
        (
            p.id,
            f"{p.model} v{p.version.version}",
            p.alias,
            p.phase.value,
            when(p.updated_at),
            cut(p.reason, 70),
        )
        for p in page.items
    ]
    print_table(("ID", "VERSION", "ALIAS", "PHASE", "CHANGED", "WHY"), rows)
    if page.cursor is not None:
        click.echo(f"… more than {limit}: narrow with --model or --phase, or raise --limit.", err=True)


@command.command()
@click.argument("promotion_id")
@click.option("--evidence", is_flag=True, help="Print what the reviewer was shown, as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(promotion_id: str, *, evidence: bool, as_json: bool) -> None:
    """Show one promotion with its decision and its lines of the ledger."""
    from champion_gate.bootstrap.local import open_local_store
    from champion_gate.web.views import ledger_view, promotion_view

    with open_local_store() as store:
        promotion = store.get_promotion(promotion_id)
        lines = store.ledger_lines(promotion_id=promotion_id)
        left = store.get_follow_ups(promotion_id)
    if evidence:
        _print_evidence(promotion)
    elif as_json:
        print_json({**promotion_view(promotion), "ledger": [ledger_view(line) for line in lines]})
    else:
        _print_promotion(promotion, lines)
        for follow_up in left:
            click.echo(
                f"not done yet: {follow_up.kind.value}, next try {when(follow_up.due_at)} {follow_up.last_error or ''}"
            )


@command.command()
@click.argument("promotion_id")
@click.option("--reason", required=True, help="Why; it is kept with the promotion.")
def cancel(promotion_id: str, reason: str) -> None:
    """End a promotion that is requested or waits for approval, and cancel its CI run."""
    from champion_gate.bootstrap.local import open_local_promoter

    with open_local_promoter() as promoter:
        promoter.cancel(promotion_id, actor=_actor(), reason=f"Cancelled by {_actor()}: {reason}")
    click.echo(f"{promotion_id} will be cancelled as soon as its decision has been read once more.")


@command.command()
@click.argument("promotion_id")
def retry(promotion_id: str) -> None:
    """Take a failed promotion up again where it failed, or ask afresh for a version whose promotion ended."""
    from champion_gate.bootstrap.local import open_local_promoter

    with open_local_promoter() as promoter:
        goes_on = promoter.retry(promotion_id, actor=_actor())
    if goes_on == promotion_id:
        click.echo(f"{promotion_id} is taken up again.")
    else:
        click.echo(f"{goes_on} asks afresh for the version of {promotion_id}.")


def _actor() -> str:
    """Who runs the command; in a container there may be no name for the user id."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _print_evidence(promotion: Promotion) -> None:
    import json

    from champion_gate.core.evidence import render_markdown
    from champion_gate.errors import NotFoundError

    if promotion.evidence_json is None or promotion.evidence_sha256 is None:
        raise NotFoundError(f"Promotion {promotion.id} has no evidence yet.", hint=promotion.reason)
    click.echo(render_markdown(json.loads(promotion.evidence_json), promotion.evidence_sha256))


def _print_promotion(promotion: Promotion, lines: tuple[LedgerLine, ...]) -> None:
    request, decision = promotion.request, promotion.decision
    print_pairs(
        [
            ("promotion", promotion.id),
            ("phase", promotion.phase.value),
            ("why", promotion.reason),
            ("asks for", f"{promotion.alias} of {promotion.model} for v{promotion.version.version}"),
            ("in place of", f"v{promotion.champion_version}" if promotion.champion_version else None),
            ("gate", promotion.gate),
            ("job run", promotion.job_url),
            ("trainers", ", ".join(f"{t.name or 'unknown'} ({t.role})" for t in promotion.trainers)),
            ("may not decide", ", ".join(f"{e.login} (id {e.user_id})" for e in promotion.excluded)),
            ("approval at", request.url if request else None),
            ("until", when(request.expires_at) if request else None),
            ("decided by", ", ".join(d.login for d in decision.deciders) if decision else None),
            ("evidence", f"sha256 {promotion.evidence_sha256}" if promotion.evidence_sha256 else None),
            ("requested", when(promotion.requested_at)),
            ("ended", when(promotion.ended_at)),
            ("failed tries", str(promotion.attempts) if promotion.attempts else None),
            ("last error", promotion.last_error),
            ("next look", when(promotion.due_at)),
        ]
    )
    for line in reversed(lines):
        print_line(
            f"ledger {line.number}: {when(line.entry.at)} {line.entry.kind.value}: {line.entry.reason}"
        )
