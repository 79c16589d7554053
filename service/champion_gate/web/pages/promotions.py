"""The list of promotions, and one of them: its story, and the candidate beside the Champion."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any

from flask import Response, request, url_for

from champion_gate.domain.gates import Source, VersionSource
from champion_gate.domain.ledger.chain import LedgerKind, LedgerLine
from champion_gate.domain.ledger.entries import named
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import LEDGERED, Step
from champion_gate.errors import NotFoundError
from champion_gate.flow.ci_outcome import promotion_named
from champion_gate.flow.gate_rules import first_found_by
from champion_gate.store import Store
from champion_gate.web.api.requests import LONGEST_NAME, checked_id
from champion_gate.web.pages.site import Page, Site, step_name, vendor

_ROWS = 50
_FOUND_BY: Mapping[str, str] = {
    VersionSource.TASK_OUTPUT: "a task's output",
    VersionSource.TAG: "its tag",
    VersionSource.MLFLOW_RUN: "its MLflow run",
    VersionSource.TRUSTED_TAG: "its tag, which is trusted",
}


class PromotionPages:
    """The views behind `/promotions`."""

    def __init__(self, site: Site, store: Store) -> None:
        self._site = site
        self._store = store

    @Page("/promotions", "promotions")
    def promotions(self) -> Response:
        """All, newest first, or those of a model or a phase."""
        model = request.args.get("model", "").strip()[:LONGEST_NAME]
        phase = request.args.get("phase", "")
        page = self._store.list_promotions(
            model=model or None,
            phase=_phase(phase),
            cursor=request.args.get("cursor") or None,
            limit=_ROWS,
        )
        older = page.cursor and url_for(
            "promotions", model=model or None, phase=phase or None, cursor=page.cursor
        )
        return self._site.render(
            "promotions.html",
            title="Promotions",
            found=page.items,
            older=older,
            phases=list(Phase),
            model=model,
            phase=phase,
        )

    @Page("/promotions/<promotion_id>", "promotion")
    def promotion(self, promotion_id: str) -> Response:
        """One promotion."""
        with self._store.at_once():
            return self._shown(promotion_named(self._store, checked_id(promotion_id, "promotion")))

    def _shown(self, found: Promotion) -> Response:
        steps = self._store.steps_of(found.id)
        lines = self._store.ledger_lines(promotion_id=found.id)
        document = json.loads(found.evidence_json or "{}")
        return self._site.render(
            "promotion.html",
            title=f"{found.source_model} v{found.version.version}",
            promotion=found,
            steps=steps,
            story=sorted(_story(found, steps, lines, document), key=lambda each: each.at),
            document=document,
            rules=compared(document, "gate_metrics"),
            others=compared(document, "other_metrics"),
            differences=[
                (title, _rows(document.get(name)))
                for title, name in (("Parameters that differ", "parameters"), ("Tags that differ", "tags"))
            ],
            may_cancel=found.phase.is_open and found.end_request is None,
            may_retry=not found.phase.is_open and found.phase is not Phase.PROMOTED,
        )


# --- the story --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Happening:
    """Something that happened to a promotion.

    Attributes:
        what: in a few words.
        more: the details, may be empty.
        url: of the vendor's page about it.
    """

    at: datetime
    what: str
    more: str = ""
    url: str | None = None


def _story(
    promotion: Promotion, steps: tuple[Step, ...], lines: tuple[LedgerLine, ...], document: Mapping[str, Any]
) -> Iterator[Happening]:
    what = f"v{promotion.version.version} asked for {promotion.alias}"
    yield Happening(promotion.requested_at, what, _how_found(promotion))
    frozen = document.get("frozen_at")
    if isinstance(frozen, str) and (at := _time(frozen)) is not None:
        yield Happening(at, "The evidence was frozen", f"sha256 {promotion.evidence_sha256}")
    asked = promotion.request
    if asked is not None and asked.opened_at is not None:
        yield Happening(asked.opened_at, f"People were asked in {vendor(asked.provider)}", url=asked.url)
    yield from chain.from_iterable(map(_of_line, reversed(lines)))
    for step in steps:
        if step.kind not in LEDGERED and step.ended_at is not None:
            what = _capital(f"{step_name(step.kind, step.config)}: {_words(step.phase.value)}")
            yield Happening(step.ended_at, what, step.reason, step.url)
    if (order := promotion.end_request) is not None:
        yield Happening(order.at, f"{order.actor} ordered it to end", order.reason)
    if promotion.ended_at is not None and promotion.phase is not Phase.PROMOTED:
        yield Happening(promotion.ended_at, f"It ended: {_words(promotion.phase.value)}", promotion.reason)


def _how_found(promotion: Promotion) -> str:
    first = first_found_by(promotion.found_by)
    again = "" if promotion.found_by == first else f"{promotion.found_by.partition(';')[0]} asked again; "
    if first == Source.REGISTRY:
        return f"{again}seen in the registry; no watched job made it"
    how = _FOUND_BY.get(first)
    found = f"found by {how}, in" if how else f"named by {first}, of"
    return f"{again}{found} job run {promotion.job_run_id}"


def _of_line(line: LedgerLine) -> Iterator[Happening]:
    entry, facts = line.entry, line.entry.facts
    if entry.kind is LedgerKind.DECISION:
        deciders = facts.get("deciders")
        said = [
            f"{each.get('login')}: {each.get('comment')}" if each.get("comment") else str(each.get("login"))
            for each in (deciders if isinstance(deciders, list) else [])
            if isinstance(each, dict)
        ]
        url = facts.get("url")
        what = f"It was {facts.get('verdict')}"
        yield Happening(entry.at, what, "; ".join(said), url if isinstance(url, str) else None)
    elif entry.kind is LedgerKind.ALIAS_CHANGE:
        moved = (
            f"{entry.alias} moved from {named(_text(facts.get('from')))} to {named(_text(facts.get('to')))}"
        )
        yield Happening(entry.at, moved, f"{entry.actor}: {entry.reason}")
    elif entry.kind is LedgerKind.STEP:
        what = _capital(f"{step_name(str(facts.get('kind')), facts)}: {_words(str(facts.get('phase')))}")
        yield Happening(entry.at, what, entry.reason)


# --- candidate and Champion -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A metric of both.

    Attributes:
        row: as the evidence has it.
        candidate, champion: how long their bars are, of 100; None where there is no number.
    """

    row: Mapping[str, Any]
    candidate: float | None
    champion: float | None


def compared(document: Mapping[str, Any], table: str) -> list[Compared]:
    """The metrics of a table of the evidence, each with its two bars; none where it has no such table."""
    found = []
    for row in _rows(document.get(table)):
        ours, theirs = _finite(row.get("candidate")), _finite(row.get("champion"))
        longest = max((abs(each) for each in (ours, theirs) if each is not None), default=0.0)
        bars = (None if each is None else _part(abs(each), longest) for each in (ours, theirs))
        found.append(Compared(row, *bars))
    return found


def _part(length: float, longest: float) -> float:
    return round(100 * (length / longest), 1) if longest else 0.0


def _finite(found: object) -> float | None:
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number and math.isfinite(found) else None  # type: ignore[arg-type] # it is one


def _rows(table: object) -> list[Mapping[str, Any]]:
    """Those of a table as evidence of any release has it."""
    rows = table.get("rows") if isinstance(table, dict) else None
    return [each for each in rows if isinstance(each, dict)] if isinstance(rows, list) else []


# --- values -----------------------------------------------------------------------------------------------


def _phase(given: str) -> Phase | None:
    if not given:
        return None
    try:
        return Phase(given)
    except ValueError:
        raise NotFoundError("There is no such phase of promotions.") from None


def _text(found: object) -> str | None:
    return found if isinstance(found, str) else None


def _words(*names: str) -> str:
    return " ".join(names).replace("_", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
