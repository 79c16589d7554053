"""The ledger's lines about an alias, what they say in words, and where it stood before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, ChangeSource, Hold
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind, LedgerLine
from champion_gate.domain.steps import LEDGERED, Step, StepKind

OUTSIDE = "outside champion-gate"
OURS = "champion-gate"
"""Whose doing it is that nobody wants any more."""
FIRST_SEEN = "first_seen"
OUTSIDE_SOURCE = "outside"
"""The source of a move that was not ours."""
AFTER = "after"
"""The fact of a move that names the steps that follow it."""
VERSION_ID = "to_version_id"
"""The fact that tells one version from another that bears its number later."""
SOURCE_MODEL, SOURCE_VERSION, SOURCE_VERSION_ID = "source_model", "source_version", "source_version_id"
"""The facts that say which approved version was copied, where a copy of it got the alias."""
CANDIDATE_OF = "candidate_of"
"""The fact that names the promotion for whose sake a gate's `challenger` was moved: it is no line of that promotion,
whose alias is another."""


def named(version: str | None) -> str:
    """A version for people; None is no version."""
    return "no version" if version is None else f"v{version}"


def change_entry(key: AliasKey, intent: AliasIntent, at: datetime, after: Sequence[Step] = ()) -> LedgerEntry:
    """A change of ours that was carried out and read back, with the steps that follow it."""
    facts: dict[str, object] = {
        **intent.facts,
        "from": intent.from_version,
        "to": intent.to_version,
        "source": intent.source.value,
        **({AFTER: [step.id for step in after]} if after else {}),
    }
    entry = _entry(key, LedgerKind.ALIAS_CHANGE, at, facts, actor=intent.actor, reason=intent.reason)
    return replace(entry, promotion_id=intent.promotion_id)


def interrupted_entry(
    key: AliasKey, intent: AliasIntent, current: str | None, at: datetime, late: AliasIntent | None
) -> LedgerEntry:
    """Somebody else moved the alias while a change of ours was being written, or a late write of ours did."""
    what = "approval" if intent.source is ChangeSource.PROMOTION else f"order of {intent.actor}"
    reason = (
        f"while champion-gate was writing {named(intent.from_version)} -> {named(intent.to_version)}, "
        f"{'somebody else' if late is None else _late_write(late)} put the alias on {named(current)}; "
        f"the {what} is not used again"
    )
    facts = {**_outside_facts(intent, current), **({} if late is None else _late_facts(late))}
    actor = OUTSIDE if late is None else OURS
    entry = _entry(key, LedgerKind.ALIAS_CHANGE, at, facts, actor=actor, reason=reason)
    return replace(entry, promotion_id=intent.promotion_id)


def late_entry(lock: AliasLock, late: AliasIntent, at: datetime) -> LedgerEntry:
    """The alias stands where a write of ours put it that had been given up by then."""
    reason = (
        f"moved from {named(lock.known_version)} to {named(late.to_version)} by {_late_write(late)}, "
        f"sent as {named(late.from_version)} -> {named(late.to_version)} and given up since"
    )
    facts = {
        VERSION_ID: late.facts.get(VERSION_ID),
        "from": lock.known_version,
        "to": late.to_version,
        **_late_facts(late),
    }
    entry = _entry(lock.key, LedgerKind.ALIAS_CHANGE, at, facts, actor=OURS, reason=reason)
    return replace(entry, promotion_id=late.promotion_id)


def drift_entry(
    lock: AliasLock, current: str | None, version_id: str | None, at: datetime, *, is_gone: bool = False
) -> LedgerEntry | None:
    """A move made outside, or where the alias stood at our first look; None where there is nothing to tell.

    Args:
        lock: of the alias, as it was taken.
        current: where it stands.
        version_id: tells which version that is.
        at: now.
        is_gone: whether the registry does not have the version any more on which it stood.
    """
    before = lock.known_version if lock.seen else None
    if lock.seen and is_gone:
        reason = (
            f"{named(before)} was deleted, or is hidden from us, by somebody outside champion-gate, and the alias "
            "stands on no version since"
        )
    elif lock.seen:
        reason = f"moved from {named(before)} to {named(current)} by somebody outside champion-gate"
    elif current is None:
        return None
    else:
        reason = f"stood on {named(current)} when champion-gate first looked"
    facts = {
        "from": before,
        "to": current,
        VERSION_ID: version_id,
        "source": OUTSIDE_SOURCE if lock.seen else FIRST_SEEN,
        **({"version_gone": True} if is_gone else {}),
    }
    return _entry(lock.key, LedgerKind.ALIAS_CHANGE, at, facts, actor=OUTSIDE, reason=reason)


def is_drift(entry: LedgerEntry) -> bool:
    """Whether it tells of a move that somebody else made."""
    return entry.kind is LedgerKind.ALIAS_CHANGE and entry.facts.get("source") == OUTSIDE_SOURCE


def hold_entry(key: AliasKey, hold: Hold, facts: Mapping[str, str | None]) -> LedgerEntry:
    """A hold was placed."""
    return _entry(key, LedgerKind.HOLD, hold.at, facts, actor=hold.actor, reason=hold.reason)


def release_entry(
    key: AliasKey, at: datetime, facts: Mapping[str, str | None], *, actor: str, reason: str
) -> LedgerEntry:
    """A hold was taken away."""
    return _entry(key, LedgerKind.RELEASE, at, facts, actor=actor, reason=reason)


def step_entry(step: Step, actor: str) -> LedgerEntry | None:
    """The end of a step whose kind is on record; None for any other step, and for one that goes on."""
    if step.phase.is_open or step.kind not in LEDGERED:
        return None
    about = step.config
    facts: dict[str, Any] = {
        "step": step.id,
        "kind": step.kind.value,
        "phase": step.phase.value,
        "version": about["version"],
        **{
            name: about[name]
            for name in ("version_id", "on", "job", "serving_endpoint", "challenger", "source_model")
            if name in about
        },
        "external_id": step.external_id,
        "result_sha256": step.result_sha256,
    }
    if step.kind in {StepKind.VALIDATE, StepKind.COPY}:  # by which later versions are judged, or found
        facts |= {"start": step.starts, "result": json.loads(step.result_json or "null")}
    key = AliasKey(about["registry"], about["model"], about["alias"])
    at = step.ended_at or step.planned_at
    entry = _entry(key, LedgerKind.STEP, at, facts, actor=actor, reason=step.reason)
    return replace(entry, promotion_id=step.promotion_id or None)


def steps_behind(lines: Sequence[LedgerLine]) -> list[str] | None:
    """The ids of the steps that follow the latest move of an alias; None where no move is among its lines.

    Args:
        lines: the alias's newest lines, newest first.
    """
    for line in lines:
        if line.entry.kind is LedgerKind.ALIAS_CHANGE:
            found = line.entry.facts.get(AFTER)
            return [str(each) for each in found] if isinstance(found, list) else []
    return None


def version_before(lines: Sequence[LedgerLine], current: str | None) -> str | None:
    """The version on which an alias stood before it came to where it stands.

    Args:
        lines: all lines of the alias, newest first.
        current: where it stands.

    Returns:
        The latest version before that no rollback and no restoring has ever left; None if there is none.
    """
    moves = [line.entry.facts for line in lines if line.entry.kind is LedgerKind.ALIAS_CHANGE]
    undoing = {ChangeSource.ROLLBACK.value, ChangeSource.RESTORE.value}
    rolled_back = {facts.get("from") for facts in moves if facts.get("source") in undoing}
    for facts in moves:
        before = facts.get("from")
        if isinstance(before, str) and before != current and before not in rolled_back:
            return before
    return None


def version_id_of(lines: Sequence[LedgerLine], version: str) -> str | None:
    """The id of the version of this number that held the alias last; None where the ledger does not say.

    Args:
        lines: all lines of the alias, newest first.
        version: its number.
    """
    for line in lines:
        if line.entry.kind is LedgerKind.ALIAS_CHANGE and line.entry.facts.get("to") == version:
            found = line.entry.facts.get(VERSION_ID)
            return found if isinstance(found, str) else None
    return None


def is_own_change(entry: LedgerEntry) -> bool:
    """Whether it is a change of the alias that the line's promotion made."""
    return entry.kind is LedgerKind.ALIAS_CHANGE and entry.facts.get("source") == ChangeSource.PROMOTION.value


def told(entry: LedgerEntry) -> str:
    """What a line says, in words for people."""
    facts: Mapping[str, Any] = entry.facts
    if entry.kind is LedgerKind.ALIAS_CHANGE:
        moved = f"from {named(facts.get('from'))} to {named(facts.get('to'))}"
        if is_own_change(entry):
            return f"the alias WAS moved {moved}"
        return f"somebody else moved the alias {moved}"
    if entry.kind is LedgerKind.DECISION:
        deciders = facts.get("deciders")
        rows = deciders if isinstance(deciders, list) else []
        logins = ", ".join(str(each.get("login")) for each in rows if isinstance(each, dict))
        return f"{facts.get('verdict')} by {logins or 'nobody'}"
    if entry.kind is LedgerKind.STEP:
        return f"{facts.get('kind')} {facts.get('phase')}: {entry.reason}"
    return entry.reason if entry.kind is LedgerKind.DRIFT else f"{entry.kind.value} by {entry.actor}"


def _late_write(late: AliasIntent) -> str:
    if late.promotion_id is None:
        return f"a late write that {late.actor} had ordered"
    return f"a late write of promotion {late.promotion_id}"


def _late_facts(late: AliasIntent) -> dict[str, str | None]:
    who = {"late_promotion": late.promotion_id} if late.promotion_id else {"late_actor": late.actor}
    candidate = {CANDIDATE_OF: late.facts[CANDIDATE_OF]} if CANDIDATE_OF in late.facts else {}
    return {"source": "late", **who, **candidate}


def _outside_facts(intent: AliasIntent, current: str | None) -> dict[str, str | None]:
    return {
        "from": intent.from_version,
        "intended": intent.to_version,
        "to": current,
        "source": OUTSIDE_SOURCE,
    }


def _entry(
    key: AliasKey,
    kind: LedgerKind,
    at: datetime,
    facts: Mapping[str, object],
    *,
    actor: str,
    reason: str,
) -> LedgerEntry:
    return LedgerEntry(
        kind=kind,
        registry=key.registry,
        model=key.model,
        alias=key.alias,
        actor=actor,
        reason=reason,
        at=at,
        facts=facts,
    )
