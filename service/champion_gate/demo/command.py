"""`champion-gate demo`: a freshly trained version becomes Champion, on this machine, and the story is told."""

from __future__ import annotations

import json
import os
import select
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from champion_gate.demo.ci import REVIEWER, GitHubDemo, GitHubReviewDemo, GitLabDemo
from champion_gate.demo.models import ALIAS
from champion_gate.domain.screen import wrapped
from champion_gate.domain.text import counted
from champion_gate.errors import NotFoundError

if TYPE_CHECKING:
    from champion_gate.demo.world import DemoWorld
    from champion_gate.domain.promotion import Promotion

_PATIENCE_SECONDS = 60.0  # the steps of the demo take one or two
_JOB_SECONDS = 10.0  # how long the stand-in's job may take to post its decision
_WIDTH = 80  # columns: what most terminals begin with
_LOOK_SECONDS = 0.1
_KEPT_PORT = 8765  # service/docs/api.md prints it


@click.command(name="demo")
@click.option("--yes", is_flag=True, help="Approve without asking; so too where there is no terminal.")
@click.option("--keep", is_flag=True, help="Go on serving afterwards, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"The service's port, 0 for a free one; with --keep {_KEPT_PORT} by default, else a free one.",
)
@click.option("--gitlab", is_flag=True, help="Approve in GitLab instead of GitHub.")
@click.option("--review", is_flag=True, help="Approve in GitHub by reviewing a pull request.")
@click.option(
    "--full",
    is_flag=True,
    help="On Unity Catalog (a stand-in), with validation, a copy to production, batch job, endpoint and rollback.",
)
def command(port: int | None, *, yes: bool, keep: bool, gitlab: bool, review: bool, full: bool) -> None:
    """See a model version become Champion: real service, stand-ins for Databricks and GitHub or GitLab, real MLflow.

    Everything listens on loopback and is gone when the demo ends.
    """
    if gitlab and review:
        raise click.UsageError("--review is GitHub's; leave out --gitlab or --review.")
    if find_spec("champion_gate_standins") is None:
        raise NotFoundError(
            "The stand-ins for Databricks, GitHub and GitLab are not installed here.",
            hint="The image leaves them out. In a clone of the repository, run `make demo`.",
        )
    from champion_gate.demo.world import Interrupts, demo_world

    # SIGTERM ends the demo as Ctrl-C does, so that its processes are stopped in either case.
    interrupts = Interrupts()
    interrupts.install()
    asks = sys.stdin.isatty() and not yes
    say = _progress()
    kind = GitLabDemo if gitlab else GitHubReviewDemo if review else GitHubDemo
    if port is None:
        port = _KEPT_PORT if keep else 0
    try:
        with (
            tempfile.TemporaryDirectory(prefix="champion-gate-demo-") as folder,
            demo_world(Path(folder), port, say, kind, interrupts, full=full) as world,
        ):
            if full:
                promotion = _go_the_whole_way(world, say, asks=asks)
            else:
                promotion = _promote(world, say, asks=asks)
                _tell(world, promotion)
            _tell_ledger(world)
            if keep:
                _tell_what_to_try(world, promotion)
                _serve_on(world)
        if not keep:
            click.echo("Nothing is left running. This goes on serving afterwards, with lines to try:\n")
            click.echo(f"  {_our_command()} demo --keep")
    except KeyboardInterrupt:
        click.echo("\nStopped; nothing is left running.")
        sys.exit(130 if not keep else 0)


def _go_the_whole_way(world: DemoWorld, say: Callable[[str], None], *, asks: bool) -> Promotion:
    from champion_gate.demo.around import Around
    from champion_gate.domain.promotion import Phase

    around = Around(world.url, world.token, world.models, say)
    promotion = _promote(world, say, asks=asks, look=around.tell)
    say(f"{promotion.phase.value}: {promotion.reason.rstrip('.')}")
    if promotion.phase is Phase.PROMOTED:
        around.follow_the_move()
        around.roll_back()
    click.echo()
    return promotion


def _promote(
    world: DemoWorld,
    say: Callable[[str], None],
    *,
    asks: bool,
    look: Callable[[Promotion], None] = lambda _promotion: None,
) -> Promotion:
    world.databricks.jobs.finish_run(world.job_run_id)
    say("the training job has ended; Databricks has sent its notification")
    pending = _wait_for(
        world,
        "waiting for approval",
        lambda p: p.phase.value == "pending_approval" or not p.phase.is_open,
        look=look,
    )
    if pending.request is None:
        return pending
    say(f"approval is asked for: {pending.request.url}")
    if asks:
        click.echo(
            f"\n  Decide there, as a reviewer would in {world.ci.name}:\n\n    {pending.request.url}\n\n"
            f"  {world.ci.how}.\n  The demo goes on by itself then (Ctrl-C stops it).\n"
            "  Or decide here: type a to approve or r to reject, and press Enter.\n"
        )
        return _wait_for(
            world,
            "the decision",
            lambda p: not p.phase.is_open,
            patience=float("inf"),
            look=look,
            rest=_typed_decision(world, str(pending.request.external_id)),
        )
    world.ci.approve(str(pending.request.external_id))
    say(f"{REVIEWER} has approved in {world.ci.name}; {world.ci.then}")
    return _wait_for(world, "the alias", lambda p: not p.phase.is_open, look=look)


def _typed_decision(world: DemoWorld, external_id: str) -> Callable[[], None]:
    """What waits a moment, and does what is typed meanwhile."""
    from champion_gate.errors import GateError

    terminal = [sys.stdin.fileno()]
    decisions = {"a": world.ci.approve, "r": world.ci.reject}

    def rest() -> None:
        if not select.select(terminal, [], [], _LOOK_SECONDS)[0]:
            return
        typed = os.read(terminal[0], 1000).decode(errors="replace")
        if not typed:  # nobody can type any more
            terminal.clear()
        decide = decisions.get(typed.strip()[:1].lower())
        if decide is None:
            click.echo("  Type a to approve or r to reject, and press Enter.")
            return
        try:
            decide(external_id)
        except GateError as refused:
            click.echo(f"  {refused}")

    return rest


def _ending(world: DemoWorld, promotion: Promotion) -> str:
    """How the gated CI job or the pull request ended, a moment after the alias is set."""
    external_id = promotion.request.external_id if promotion.request else None
    deadline = time.monotonic() + _JOB_SECONDS
    while external_id is not None and time.monotonic() < deadline:
        result = world.ci.ending(external_id)
        if result is not None:
            return result
        time.sleep(0.05)
    return "not ended"


def _wait_for(
    world: DemoWorld,
    what: str,
    done: Callable[[Promotion], bool],
    *,
    patience: float = _PATIENCE_SECONDS,
    look: Callable[[Promotion], None],
    rest: Callable[[], None] = lambda: time.sleep(_LOOK_SECONDS),
) -> Promotion:
    from champion_gate.errors import VendorUnavailableError
    from champion_gate.store import open_store

    deadline = time.monotonic() + patience
    with open_store(world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        while time.monotonic() < deadline:
            found = store.list_promotions(limit=1).items
            if found:
                look(found[0])
            if found and done(found[0]):
                return found[0]
            rest()
        reasons = [f"{n.phase.value}: {n.reason}" for n in store.list_notifications().items]
        reasons += [f"{p.phase.value}: {p.reason}" for p in store.list_promotions().items]
    raise VendorUnavailableError(
        "the demo", f"{what} did not come within {patience:.0f} s. {' '.join(reasons)}"
    )


def _tell(world: DemoWorld, promotion: Promotion) -> None:
    """The story as a person wants to read it."""
    from champion_gate.store import open_store

    with open_store(world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        notification = store.list_notifications(limit=1).items[0]
    click.echo("\nWhat happened\n")
    job, run = notification.notification.job_name, promotion.job_run_id
    found = f"{promotion.model} v{promotion.version.version}, made by {promotion.trainers[0].name}"
    _say_as(1, f"Databricks said that a run of {job!r} succeeded ({notification.id}).")
    _say_as(2, f"The service re-read run {run} and found {found} (found by {promotion.found_by}).")
    _say_as(3, "It put the candidate beside the Champion and asked for approval:\n")
    _tell_metrics(promotion)
    _tell_decision(promotion)
    _say_as(5, f"{promotion.phase.value}: {promotion.reason.rstrip('.')}.")
    click.echo(f"     The registry says: {ALIAS} -> v{world.models.champion()}")
    click.echo(f"     The {world.ci.asked} in {world.ci.name} ended: {_ending(world, promotion)}\n")


def _tell_ledger(world: DemoWorld) -> None:
    from champion_gate.cli.output import when
    from champion_gate.store import open_store

    with open_store(world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        lines = store.ledger_lines()
        checked = store.verify_ledger()
    click.echo(f"The ledger ({counted(checked, 'line')}, chain verified)\n")
    for line in reversed(lines):
        told = f"{when(line.entry.at)} {line.entry.kind.value} by {line.entry.actor}: {line.entry.reason}"
        _say_as(line.number, told)
        click.echo(f"     {line.hash}")
    click.echo()


def _tell_metrics(promotion: Promotion) -> None:
    from champion_gate.domain.evidence_markdown import render_markdown
    from champion_gate.domain.screen import as_text

    if promotion.evidence_json is None or promotion.evidence_sha256 is None:
        return
    markdown = render_markdown(json.loads(promotion.evidence_json), promotion.evidence_sha256)
    verdict, table, *_ = as_text(markdown, _WIDTH - 5).split("\n\n")
    for line in [*verdict.splitlines()[:-1], "", *table.splitlines()]:
        click.echo(f"     {line}".rstrip())
    click.echo(f"\n     evidence sha256\n     {promotion.evidence_sha256}\n")


def _tell_decision(promotion: Promotion) -> None:
    decision = promotion.decision
    if decision is None:
        return
    who = ", ".join(f"{d.login} (user {d.user_id})" for d in decision.deciders)
    _say_as(4, f"{decision.verdict.value} by {who or 'nobody'}: {decision.reason}")
    kept_out = ", ".join(f"{e.name} = {e.login}" for e in promotion.excluded)
    click.echo(f"     Who trained the model may not decide: {kept_out}.\n")


def _tell_what_to_try(world: DemoWorld, promotion: Promotion) -> None:
    from champion_gate.store import open_store

    with open_store(world.environ["CHAMPION_GATE_DATABASE_URL"]) as store:
        notification_id = store.list_notifications(limit=1).items[0].id
    head = 'curl -s -H "Authorization: Bearer $TOKEN"'
    click.echo("Try in another terminal\n")
    for text in (
        f"export TOKEN={world.token}",
        f"export PROMOTION={promotion.id}",
        f"export NOTIFICATION={notification_id}",
        f"{head} {world.url}/api/v1/promotions",
        f"{head} {world.url}/api/v1/promotions/{promotion.id}",
        f"{head} {world.url}/api/v1/promotions/{promotion.id}/evidence.md",
        f"curl -s {world.url}/readyz",
    ):
        click.echo(f"  {text}")
    click.echo("\nMore such lines: service/docs/api.md, Operating by curl.\n")


def _say_as(number: int, text: str) -> None:
    """Print an item of a list, its further lines below its first word."""
    first, *more = wrapped(text, _WIDTH - 5)
    for line in (f"  {number}. {first}", *(f"     {each}" for each in more)):
        click.echo(line)


def _our_command() -> str:
    """How this command line is called from anywhere: the shell may not find it by its name."""
    beside = Path(sys.executable).with_name("champion-gate")
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m champion_gate"


def _serve_on(world: DemoWorld) -> None:
    click.echo(f"Serving at {world.url} until Ctrl-C; the dashboard there takes $TOKEN.")
    click.echo("For the command line there:\n")
    for name in ("CHAMPION_GATE_CONFIG", "CHAMPION_GATE_DATABASE_URL"):
        click.echo(f"  export {name}={shlex.quote(world.environ[name])}")
    click.echo(f"  export CHAMPION_GATE_API_URL={world.url}")
    click.echo('  export CHAMPION_GATE_TOKEN="$TOKEN"')
    click.echo(f"  {_our_command()} promotions list\n")
    while True:
        time.sleep(3600)


def _progress() -> Callable[[str], None]:
    begun = time.monotonic()

    def say(text: str) -> None:
        stamp = f"[{time.monotonic() - begun:4.1f} s] "
        first, *more = wrapped(text, _WIDTH - len(stamp))
        for line in (f"{stamp}{first}", *(f"{' ' * len(stamp)}{each}" for each in more)):
            click.echo(line)

    return say
