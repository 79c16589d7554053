"""What notices say: of a promotion, of a step that failed, and of an alias that was moved.

A value from outside is put on one line here, and its length is bounded; each receiver's form keeps it text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from champion_gate.domain.approval import Verdict
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.ledger.entries import named
from champion_gate.domain.notices import Message, NoticeEvent, shown
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step

_NAME = 160  # so many characters of a name in a title
_MOST = 8  # people, or metrics, are named one by one

_BY_PHASE = {
    Phase.PENDING_APPROVAL: NoticeEvent.REQUESTED,
    Phase.APPROVED: NoticeEvent.DECIDED,
    Phase.REJECTED: NoticeEvent.DECIDED,
    Phase.PROMOTED: NoticeEvent.PROMOTED,
    Phase.FAILED: NoticeEvent.FAILED,
    Phase.INELIGIBLE: NoticeEvent.FAILED,
    Phase.EXPIRED: NoticeEvent.FAILED,
    Phase.STALE: NoticeEvent.FAILED,
}


def event_of(phase: Phase) -> NoticeEvent | None:
    """What is told as a promotion comes into a phase; None for those that a person or a newer version wanted."""
    return _BY_PHASE.get(phase)


@dataclass(frozen=True)
class Messages:
    """Writes them.

    Attributes:
        public_url: where people reach this service; None where that is not known.
    """

    public_url: str | None

    def of_test(self, at: datetime) -> Message:
        """One that an operator sends to see it arrive."""
        told = "champion-gate", self.public_url or "its address is not known (CHAMPION_GATE_PUBLIC_URL)"
        return Message(
            NoticeEvent.TEST, "A test of champion-gate: nobody has to do anything", at, (told, _when(at))
        )

    def of_promotion(self, event: NoticeEvent, promotion: Promotion) -> Message:
        """What became of a promotion."""
        at = promotion.ended_at or promotion.approved_at or promotion.updated_at
        if event in {NoticeEvent.REQUESTED, NoticeEvent.WAITING} and promotion.request is not None:
            at = promotion.request.opened_at or promotion.request.intent_at
        return Message(
            event=event,
            title=_title(event, promotion),
            at=at,
            facts=(*_facts(event, promotion), _when(at)),
            links=tuple(self._links(event, promotion)),
            data=self._data(promotion),
        )

    def of_step(self, step: Step, promotion: Promotion | None, gates: Sequence[str]) -> Message:
        """A step that failed."""
        about, at = step.config, step.ended_at or step.planned_at
        model = about.get("model") or (promotion.model if promotion else "")
        alias = about.get("alias") or (promotion.alias if promotion else "")
        facts = [
            ("Gates", ", ".join(map(shown, gates))),
            ("Model", shown(model)),
            ("Alias", shown(alias)),
            ("Step", shown(step.id)),
            ("Why", shown(step.reason)),
            _when(at),
        ]
        data = {
            "step": step.id,
            "kind": step.kind.value,
            "gates": list(gates),
            "model": shown(model),
            "alias": shown(alias),
            "promotion": step.promotion_id or None,
            "reason": shown(step.reason),
        }
        title = f"Step {step.kind.value} of {shown(model, _NAME)}@{shown(alias, _NAME)} failed"
        links = [*([("What was started", step.url)] if step.url else []), *self._page(step.promotion_id)]
        return Message(NoticeEvent.STEP_FAILED, title, at, tuple(filter(_said, facts)), tuple(links), data)

    def of_move(self, event: NoticeEvent, entry: LedgerEntry, gates: Sequence[str]) -> Message:
        """A move of an alias that is on record: by somebody outside, or a rollback."""
        to, before = (_version(entry.facts.get(key)) for key in ("to", "from"))
        how = "was rolled back" if event is NoticeEvent.ROLLED_BACK else "was moved outside the gate"
        title = f"{shown(entry.alias, _NAME)} of {shown(entry.model, _NAME)} {how}: {named(before)} to {named(to)}"
        facts = (
            ("Gates", ", ".join(map(shown, gates))),
            ("Model", shown(entry.model)),
            ("Alias", shown(entry.alias)),
            ("By", shown(entry.actor)),
            ("Why", shown(entry.reason)),
            _when(entry.at),
        )
        data = {
            "gates": list(gates),
            "registry": shown(entry.registry),
            "model": shown(entry.model),
            "alias": shown(entry.alias),
            "from": before,
            "to": to,
            "actor": shown(entry.actor),
            "reason": shown(entry.reason),
            "promotion": entry.promotion_id,
        }
        links = tuple(self._page(entry.promotion_id))
        return Message(event, title, entry.at, tuple(filter(_said, facts)), links, data)

    def _links(self, event: NoticeEvent, promotion: Promotion) -> Iterator[tuple[str, str]]:
        url = promotion.request.url if promotion.request else None
        if url:
            asks = event in {NoticeEvent.REQUESTED, NoticeEvent.WAITING}
            yield ("Review and decide" if asks else "The request"), url
        yield from self._page(promotion.id)

    def _page(self, promotion_id: str | None) -> Iterator[tuple[str, str]]:
        if self.public_url and promotion_id:
            yield "champion-gate", f"{self.public_url}/promotions/{promotion_id}"

    def _data(self, promotion: Promotion) -> dict[str, Any]:
        request, decision = promotion.request, promotion.decision
        return {
            "promotion": promotion.id,
            "phase": promotion.phase.value,
            "gate": promotion.gate,
            "registry": shown(promotion.registry),
            "model": shown(promotion.model),
            "source_model": shown(promotion.source_model),
            "alias": shown(promotion.alias),
            "version": shown(promotion.version.version),
            "from_version": promotion.champion_version and shown(promotion.champion_version),
            "people_behind": _people(promotion),
            "rules": _verdicts(promotion.evidence_json),
            "verdict": decision and decision.verdict.value,
            "deciders": [
                {"login": shown(each.login), "comment": shown(each.comment)}
                for each in (decision.deciders if decision else ())[:_MOST]
            ],
            "reason": shown(promotion.reason),
            "request_url": request and request.url,
            "url": next((url for _, url in self._page(promotion.id)), None),
        }


def _title(event: NoticeEvent, promotion: Promotion) -> str:
    version = f"v{shown(promotion.version.version, 20)} of {shown(promotion.source_model, _NAME)}"
    alias = shown(promotion.alias, _NAME)
    decision = promotion.decision
    if event is NoticeEvent.DECIDED and decision is not None:
        return f"{version} was {decision.verdict.value} for {alias}"
    said = {
        NoticeEvent.REQUESTED: f"{version} asks for {alias}",
        NoticeEvent.WAITING: f"{version} still waits for a decision about {alias}",
        NoticeEvent.PROMOTED: f"{version} has {alias} now",
    }
    ended = "failed" if promotion.phase is Phase.FAILED else f"is {promotion.phase.value}"
    return said.get(event) or f"{version} does not get {alias}: the promotion {ended}"


def _facts(event: NoticeEvent, promotion: Promotion) -> Iterator[tuple[str, str]]:
    yield "Gate", shown(promotion.gate)
    if promotion.is_copied:
        yield "Copied to", shown(promotion.model)
    yield "In place of", named(promotion.champion_version and shown(promotion.champion_version))
    yield "Behind it", ", ".join(_people(promotion)) or "nobody is known"
    if rules := _verdicts(promotion.evidence_json):
        yield "Rules", shown("; ".join(rules))
    decision = promotion.decision
    for decider in (decision.deciders if decision else ())[:_MOST]:
        said = f': "{shown(decider.comment)}"' if decider.comment else ""
        word = "Approved by" if decision and decision.verdict is Verdict.APPROVED else "Rejected by"
        yield word, shown(decider.login) + said
    if event in {NoticeEvent.REQUESTED, NoticeEvent.WAITING} and promotion.request is not None:
        yield "Until", f"{promotion.request.expires_at:%Y-%m-%d %H:%M} UTC"
    elif promotion.reason and not (decision and event is NoticeEvent.DECIDED and decision.deciders):
        yield "Why", shown(promotion.reason)


def _people(promotion: Promotion) -> list[str]:
    names = dict.fromkeys(shown(each.name or "somebody unknown") for each in promotion.trainers)
    return [*list(names)[:_MOST], *([f"{len(names) - _MOST} more"] if len(names) > _MOST else [])]


def _verdicts(evidence_json: str | None) -> list[str]:
    """What the gate's rules said of each metric that they name, as the reviewers are shown it."""
    document = json.loads(evidence_json or "{}")
    rows = document.get("gate_metrics", {}).get("rows", [])
    told = [_judged(row) for row in rows[:_MOST]]
    if len(rows) > _MOST:
        told.append(f"{len(rows) - _MOST} more")
    if (validation := document.get("validation")) is not None:
        told.append("the validation passed" if validation.get("passed") else "the validation did not pass")
    return told


def _judged(row: Mapping[str, Any]) -> str:
    before = "" if row["champion"] is None else f", before {row['champion']}"
    said = "ok" if row["ok"] else shown("; ".join(row["problems"]), 120)
    return f"{shown(row['name'], 60)} {row['candidate']} ({said}{before})"


def _version(value: object) -> str | None:
    return None if value is None else shown(value, 20)


def _when(at: datetime) -> tuple[str, str]:
    """A message may come late."""
    return "When", f"{at:%Y-%m-%d %H:%M} UTC"


def _said(fact: tuple[str, str]) -> bool:
    return bool(fact[1])
