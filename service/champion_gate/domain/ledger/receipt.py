"""A promotion's receipt: one document that says what was decided, and that the ledger must bear out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from champion_gate.domain.ledger.chain import LedgerHead, LedgerLine, canonical, write_body
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import ConflictError

FORMAT = "champion-gate receipt 1"
"""Name and version of the document's form; a reader refuses every other."""

DIGEST = "receipt_sha256"


class NotEndedError(ConflictError):
    """A promotion gets its receipt when it has ended."""

    code = "not_ended"


def receipt_of(
    promotion: Promotion, lines: Iterable[LedgerLine], head: LedgerHead, at: datetime
) -> dict[str, object]:
    """One JSON document: what, who, when, its lines of the ledger, and the ledger's head.

    It ends with the sha256 of all the rest as canonical JSON, against slips; what speaks against forgery is
    the ledger.

    Args:
        promotion: which has ended.
        lines: every line of the ledger that bears its id, in any order.
        head: of the ledger, read after the promotion; lines beyond it are left out.
        at: aware; when the head was read.

    Raises:
        NotEndedError: it has not ended.
    """
    if promotion.phase.is_open:
        raise NotEndedError(
            f"Promotion {promotion.id} is {promotion.phase.value}: there is no receipt before it has ended.",
            hint=promotion.reason,
        )
    kept = sorted((line for line in lines if line.number <= head.number), key=lambda line: line.number)
    receipt: dict[str, object] = {
        "format": FORMAT,
        "promotion": promotion.id,
        "what": _what(promotion),
        "who": _who(promotion),
        "when": {
            "requested_at": _time(promotion.requested_at),
            "decided_at": _time(promotion.decision.decided_at if promotion.decision else None),
            "ended_at": _time(promotion.ended_at),
        },
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "evidence_sha256": promotion.evidence_sha256,
        "approval_settings_sha256": promotion.approval_sha256,
        "request": _request(promotion),
        "ledger": [_line(line) for line in kept],
        "head": {"number": head.number, "hash": head.hash, "at": _time(at)},
    }
    return {**receipt, DIGEST: digest_of(receipt)}


def digest_of(receipt: Mapping[str, object]) -> str:
    """The lower-case hex sha256 of a receipt without its own digest, as canonical JSON."""
    members = {name: value for name, value in receipt.items() if name != DIGEST}
    return hashlib.sha256(canonical(members).encode()).hexdigest()


def _what(promotion: Promotion) -> dict[str, object]:
    version = promotion.version
    return {
        "gate": promotion.gate,
        "registry": promotion.registry,
        "model": promotion.model,
        "alias": promotion.alias,
        "version": version.version,
        "version_id": version.version_id,
        "mlflow_run": version.run_id,
        "source": version.source,
        "job_run": promotion.job_run_id,
        "champion": promotion.champion_version,
    }


def _who(promotion: Promotion) -> dict[str, object]:
    decision = promotion.decision
    deciders = () if decision is None else decision.deciders
    return {
        "verdict": decision.verdict.value if decision else None,
        "deciders": [
            {"login": each.login, "user_id": each.user_id, "seat": each.seat, "comment": each.comment}
            for each in deciders
        ],
        "trainers": [{"role": each.role, "name": each.name} for each in promotion.trainers],
        "excluded": [
            {"name": each.name, "role": each.role, "login": each.login, "user_id": each.user_id}
            for each in promotion.excluded
        ],
    }


def _request(promotion: Promotion) -> dict[str, object] | None:
    request = promotion.request
    if request is None:
        return None
    return {"provider": request.provider, "external_id": request.external_id, "url": request.url}


def _line(line: LedgerLine) -> dict[str, object]:
    """As in an export; a line that was edited by hand shows by a hash that does not fit."""
    members = json.loads(write_body(line.number, line.entry))
    return {**members, "previous_hash": line.previous_hash, "hash": line.hash}


def _time(at: datetime | None) -> str | None:
    """To the microsecond, as the ledger writes it: both must say the same."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds")
