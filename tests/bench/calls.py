"""Calls: how many each promotion makes to its vendors, and how many an hour of waiting takes.

Counted at the stand-ins, with a clock that is moved by hand; so these numbers depend on no machine. What a service asks
once after its start is not among them. The versions of the day are made one after the other, and all at the same time;
the larger number is the one that is told.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.report import Report
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.promotion import Phase, Promotion, correlation_id
from integration.calls_world import (
    a_gate,
    apply_one,
    open_one,
    promote,
    train_at_the_same_time,
    train_one_after_the_other,
)
from integration.gate_providers import BOT, REPOSITORY
from integration.gate_world import GateWorld
from integration.journal import Journal, counted

MOST_TO_OPEN, MOST_TO_APPLY = 17, 13
VERSIONS = (2, 50, 200)
PENDING, OF_A_PAGE, SWEEPS_AN_HOUR = 1_000, 100, 60
GITHUBS_LIMIT = 5_000
"""Calls an hour (docs.github.com, "Rate limits for the REST API"): of a token, and the least of an App's installation."""
KINDS = {"Unity Catalog, GitHub": "uc, github", "Unity Catalog, GitLab": "uc, gitlab-rules"}
WAYS: dict[str, Callable[[GateWorld, int], str]] = {
    "one after the other": train_one_after_the_other,
    "at the same time": train_at_the_same_time,
}


def measure(report: Report) -> dict[str, Any]:
    """The part `calls`."""
    opened, applied, unchanged = {}, {}, {}
    for name, kind in KINDS.items():
        for how, train in WAYS.items():
            for versions in VERSIONS if kind == KINDS["Unity Catalog, GitHub"] else VERSIONS[:1]:
                key = kind, how, versions
                opened[key], unchanged[key], applied[key] = calls_of_one(kind, train, versions)
        for key, count in ((key, n) for key, n in opened.items() if key[0] == kind):
            _, how, versions = key
            most = MOST_TO_OPEN if kind == KINDS["Unity Catalog, GitHub"] else None
            report.row(
                f"{name}: to open, {versions} versions {how}",
                count,
                beside=f"and {unchanged[key]} that were answered 304",
                at_most=most,
                digits=0,
            )
        most = MOST_TO_APPLY if kind == KINDS["Unity Catalog, GitHub"] else None
        until_applied = max(n for key, n in applied.items() if key[0] == kind)
        report.row(f"{name}: from approval to alias", until_applied, at_most=most, digits=0)
    github = KINDS["Unity Catalog, GitHub"]
    hour = waiting(report)
    return {
        "open": max(opened[github, how, VERSIONS[0]] for how in WAYS),
        "apply": max(n for key, n in applied.items() if key[0] == github),
        "open_at_200_versions": max(opened[github, how, VERSIONS[-1]] for how in WAYS),
        "per_hour_1000_pending": hour,
    }


def calls_of_one(kind: str, train: Callable[[GateWorld, int], str], versions: int) -> tuple[int, int, int]:
    """Calls to open, what was answered 304 beside them, and calls from the approval to the alias, those included.

    Of the last of so many versions that were made that day; another promotion in the same place went before.
    """
    journal = Journal()
    with tempfile.TemporaryDirectory() as folder, a_gate(kind, Path(folder), journal) as world:
        promote(world)
        world.clock.move(hours=1)
        run_id = train(world, versions)
        opening = open_one(world, journal, run_id)
        asked = world.promotion(Phase.PENDING_APPROVAL)
        to_open = counted(opening)
        return to_open, len(opening) - to_open, len(apply_one(world, journal, asked))


# --- an hour of waiting -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hour:
    """The calls of an hour without webhooks, in which nobody says anything.

    Attributes:
        calls: without those that were answered 304.
        to_github: those of them that GitHub counts.
        pages: of lists that a sweep reads, at the most.
        looks: at the CI run of one promotion.
        unchanged: calls that were answered 304.
    """

    calls: int
    to_github: int
    unchanged: int
    pages: int
    looks: int


def waiting(report: Report) -> int:
    """Report what so many requests cost that wait in one place; returns the calls of an hour without those answered 304."""
    pending = report.scaled(PENDING)
    journal = Journal()
    kind = KINDS["Unity Catalog, GitHub"]
    with tempfile.TemporaryDirectory() as folder, a_gate(kind, Path(folder), journal) as world:
        world.reconfigure(newer_version="keep")
        multiply(world, world.ask(), pending)
        world.sweep()  # so that its lists are known
        world.wait(minutes=10)
        an_hour(world, journal)
        hour = an_hour(world, journal)  # in which each of them is looked at
    name = f"{pending:,} pending in one place"
    unchanged = f"and {hour.unchanged} that were answered 304"
    most_pages = -(-pending // OF_A_PAGE)
    report.row(f"{name}: calls an hour", hour.calls, sized=True, beside=unchanged, digits=0)
    report.row(f"{name}: of these to GitHub", hour.to_github, sized=True, at_most=GITHUBS_LIMIT, digits=0)
    report.row(f"{name}: pages of the list a sweep", hour.pages, sized=True, at_most=most_pages, digits=0)
    report.row(f"{name}: looks at one promotion an hour", hour.looks, sized=True, at_most=1, digits=0)
    return hour.calls


def multiply(world: GateWorld, first: Promotion, pending: int) -> None:
    """Have so many like this one wait: other versions of the same day, each with a workflow run of its own."""
    version, request = first.version, first.request
    assert request is not None
    for _ in range(pending - 1):
        number = world.databricks.catalog.add_version(world.models.model, run_id=version.run_id)
        made = world.core.context.registry.get_version(world.models.model, number)
        promotion_id = f"p-{world.chance.token()}"
        asked = replace(
            first,
            id=promotion_id,
            version=made,
            request=_started(world, request, promotion_id, first.evidence_sha256 or ""),
            lease="",
        )
        assert world.store.create_promotion(asked) is not None


def _started(world: GateWorld, request: ApprovalRequest, promotion_id: str, evidence: str) -> ApprovalRequest:
    """A request with a run of its own."""
    named = correlation_id(promotion_id, evidence)
    inputs = {"promotion_id": named, "environments": '["champion"]', "evidence": "As before."}
    run = world.github.dispatch(REPOSITORY, {**inputs, "model": "m", "version": "1", "alias": "a"}, login=BOT)
    return replace(request, external_id=str(run.id), correlation_id=named)


def an_hour(world: GateWorld, journal: Journal) -> Hour:
    """Sweep once a minute, and do what is due."""
    journal.calls.clear()
    pages: list[int] = []
    for _ in range(SWEEPS_AN_HOUR):
        at = len(journal.calls)
        for look in world.core.sweep.run():
            world.core.sweep.look(look)
        pages.append(sum("/champion-gate.yml/runs?" in call.line for call in journal.calls[at:]))
        world.wait(minutes=1)
    looks = Counter(
        found[1] for call in journal.calls if (found := re.search(r"/actions/runs/(\d+)$", call.line))
    )
    calls, to_github = counted(journal.calls), counted(c for c in journal.calls if "/repos/" in c.line)
    unchanged = len(journal.calls) - calls
    return Hour(calls, to_github, unchanged, max(pages), max(looks.values(), default=0))
