"""Drift: an alias that somebody outside the gate has moved, what follows it, and who the audit log says it was."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import dropwhile, takewhile
from typing import Any

from champion_gate.domain.aliases import AliasKey, ChangeSource
from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.gates import Drift
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind, LedgerLine
from champion_gate.domain.ledger.entries import is_drift, version_id_of
from champion_gate.domain.steps import Step, StepKind

DRIFT = "drift"
"""The fact that names a move made outside; what is known of it later refers to it."""
SETTING = "setting"
INTENDED = "intended"
LOOKED_UP = "looked up"
NOT_CONFIGURED = "not configured"
NOT_RECORDED = "not recorded there"

SET_ALIAS, DELETE_ALIAS = "setRegisteredModelAlias", "deleteRegisteredModelAlias"
DELETE_VERSION = "deleteModelVersion"
"""What `system.access.audit` calls the changes after which an alias stands elsewhere."""

MOST_RESTORES = 2
RESTORES_WITHIN = timedelta(hours=24)
_VERSION = re.compile(r"[0-9]{1,6}")  # ids of workspaces are longer
_LONGEST_BACK = timedelta(days=7)


@dataclass(frozen=True)
class AuditedChange:
    """A line of the audit log.

    Attributes:
        who: the address of a user, or a service principal's id.
        said: the values of the request's parameters, casefolded: how Databricks names the parameters is not documented.
    """

    id: str
    at: datetime
    action: str
    who: str
    said: frozenset[str]


@dataclass(frozen=True)
class AuditAnswer:
    """What has become of a question to the audit log.

    Attributes:
        statement_id: under which it is asked for again.
        changes: None while it is being answered.
    """

    statement_id: str
    changes: tuple[AuditedChange, ...] | None


def identified(entry: LedgerEntry, fence: int, setting: Drift, who: str) -> LedgerEntry:
    """The line of a move made outside, under a name of its own.

    Args:
        entry: the line.
        fence: of the writer who puts it on record.
        setting: what is done about it.
        who: whether it will be told who it was.
    """
    move = sha256_of(canonical([entry.registry, entry.model, entry.alias, fence, entry.at.isoformat()]))
    facts = {**entry.facts, DRIFT: f"drift-{move[:16]}", SETTING: setting.value, "who": who}
    return replace(entry, facts=facts)


def steps_of_drift(entry: LedgerEntry, before: Sequence[LedgerLine], pinned: Sequence[str]) -> list[Step]:
    """What follows a move made outside.

    Args:
        entry: its line, identified.
        before: the latest move of the alias before it, if any is on record.
        pinned: the promotions that were asked for while the alias stood where it did.
    """
    facts, drift = entry.facts, str(entry.facts[DRIFT])
    about: dict[str, Any] = {
        "registry": entry.registry,
        "model": entry.model,
        "alias": entry.alias,
        DRIFT: drift,
        "from": facts.get("from"),
        "to": facts.get("to"),
    }
    steps = []
    if facts["who"] == LOOKED_UP:
        earliest = entry.at - _LONGEST_BACK
        since = max(before[0].entry.at, earliest) if before else earliest
        about_who = {**about, "since": since.isoformat(), "until": entry.at.isoformat()}
        steps.append(_step(StepKind.DRIFT_LOOKUP, drift, about_who, entry.at))
    if facts[SETTING] == Drift.REOPEN and pinned:
        steps.append(_step(StepKind.REOPEN, drift, {**about, "promotions": list(pinned)}, entry.at))
    if facts[SETTING] == Drift.RESTORE and INTENDED not in facts:
        steps.append(_step(StepKind.RESTORE, drift, about, entry.at))
    return steps


def _step(kind: StepKind, drift: str, config: dict[str, Any], at: datetime) -> Step:
    return Step(f"{drift}-{kind.value.replace('_', '-')}", "", kind, config, planned_at=at, due_at=at)


def version_to_restore(moves: Sequence[LedgerLine]) -> tuple[str | None, str | None]:
    """Number and id of the version on which an alias stood before those who are not to move it did; None for what is not known.

    Args:
        moves: the moves of the alias, newest first; the first is such a one.
    """
    theirs = list(takewhile(_is_to_be_undone, moves))
    number = theirs[-1].entry.facts.get("from") if theirs else None
    if not isinstance(number, str):
        return None, None
    # They may have put it on another version under that number since.
    return number, version_id_of(moves[len(theirs) :], number)


def _is_to_be_undone(move: LedgerLine) -> bool:
    return is_drift(move.entry) and move.entry.facts.get(SETTING) == Drift.RESTORE


def is_contested(moves: Iterable[LedgerLine], now: datetime) -> bool:
    """Whether an alias was put back as often as it is within a day."""
    restored = [
        move
        for move in moves
        if move.entry.facts.get("source") == ChangeSource.RESTORE.value
        and move.entry.at > now - RESTORES_WITHIN
    ]
    return len(restored) >= MOST_RESTORES


def mover(
    changes: Iterable[AuditedChange],
    key: AliasKey,
    *,
    from_version: str | None,
    to_version: str | None,
    seen_at: datetime,
    ours: str,
) -> AuditedChange | None:
    """The change that put an alias where it was found; None if none is told of: better nobody than another.

    Args:
        changes: of about that time.
        key: the alias.
        from_version: where the alias stood.
        to_version: where it was found.
        seen_at: when it was found there.
        ours: our own principal, whose changes count only where nobody else made one.
    """
    parts, alias = key.model.casefold().split("."), key.alias.casefold()

    def concerns(change: AuditedChange) -> bool:
        if key.model.casefold() not in change.said and not change.said.issuperset(parts):
            return False
        if change.action == DELETE_VERSION:
            return to_version is None and from_version in change.said
        return alias in change.said

    def fits(change: AuditedChange) -> bool:
        if to_version is None or change.action != SET_ALIAS:
            return to_version is None and change.action != SET_ALIAS
        numbers = {each for each in change.said if _VERSION.fullmatch(each)}
        return not numbers or to_version in numbers

    ordered = sorted(filter(concerns, changes), key=lambda change: change.at)
    before = [each for each in ordered if each.at <= seen_at]
    until_it_fits = dropwhile(lambda change: not fits(change), reversed(before))
    found = list(takewhile(fits, until_it_fits))[::-1]  # whoever put it there again changed nothing
    # Clocks differ; but what comes after another change is another move.
    found = found or list(takewhile(fits, ordered[len(before) :]))
    others = [change for change in found if change.who.casefold() != ours.casefold()]
    return next(iter(others or found), None)


def drift_line(step: Step, actor: str) -> LedgerEntry | None:
    """What a step about a move made outside found out or left undone; None while it goes on, and where a move says it."""
    is_told = step.kind in {StepKind.DRIFT_LOOKUP, StepKind.RESTORE}
    if step.phase.is_open or not is_told or step.known.get("moved"):
        return None
    about = step.config
    return LedgerEntry(
        kind=LedgerKind.DRIFT,
        registry=about["registry"],
        model=about["model"],
        alias=about["alias"],
        actor=step.known.get("who") or actor,
        reason=step.reason,
        at=step.ended_at or step.planned_at,
        facts={
            DRIFT: about[DRIFT],
            "step": step.id,
            "kind": step.kind.value,
            "phase": step.phase.value,
            **{name: value for name, value in step.known.items() if name != "who"},
        },
    )
