"""The read-only API, `/api/v1`: promotions and their evidence."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from flask import Response, jsonify, request

from champion_gate.core.evidence_markdown import render_markdown
from champion_gate.core.ports import Store
from champion_gate.core.promotion import ApprovalRequest, Decision, EndRequest, Phase, Promotion
from champion_gate.errors import InvalidInputError, NotFoundError
from champion_gate.web.auth import Auth, guarded

MARKDOWN_LIMIT = 60_000
_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200
_LIST_PARAMETERS = frozenset({"model", "phase", "cursor", "limit"})
_PROMOTION_ID = re.compile(r"[a-z0-9-]{1,64}")


class Api:
    """The views behind `/api/v1`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @guarded(Auth.BEARER)
    def promotions(self) -> Response:
        """List promotions, newest first; `cursor` of the answer asks for the next part."""
        unknown = sorted(set(request.args) - _LIST_PARAMETERS)
        if unknown:
            raise InvalidInputError(
                f"There is no parameter {unknown[0]!r}.", hint=f"Use {', '.join(sorted(_LIST_PARAMETERS))}."
            )
        page = self._store.list_promotions(
            model=request.args.get("model"),
            phase=_phase(request.args.get("phase")),
            cursor=request.args.get("cursor"),
            limit=_limit(request.args.get("limit")),
        )
        return jsonify({"promotions": [promotion_json(each) for each in page.items], "cursor": page.cursor})

    @guarded(Auth.BEARER)
    def promotion(self, promotion_id: str) -> Response:
        """Show one promotion."""
        return jsonify(promotion_json(self._find(promotion_id)))

    @guarded(Auth.BEARER)
    def evidence(self, promotion_id: str) -> Response:
        """Give out the evidence byte for byte as it was frozen, so that its sha256 can be recomputed."""
        text, digest = self._evidence(promotion_id)
        response = Response(text, content_type="application/json")
        response.set_etag(digest)
        return response

    @guarded(Auth.BEARER)
    def evidence_markdown(self, promotion_id: str) -> Response:
        """Give out the evidence as the reviewer sees it."""
        text, digest = self._evidence(promotion_id)
        markdown = render_markdown(json.loads(text), digest, MARKDOWN_LIMIT)
        return Response(markdown, content_type="text/markdown; charset=utf-8")

    def _find(self, promotion_id: str) -> Promotion:
        if not _PROMOTION_ID.fullmatch(promotion_id):
            raise NotFoundError("There is no such promotion.")
        return self._store.get_promotion(promotion_id)

    def _evidence(self, promotion_id: str) -> tuple[str, str]:
        promotion = self._find(promotion_id)
        if promotion.evidence_json is None or promotion.evidence_sha256 is None:
            raise NotFoundError(
                "This promotion has no evidence yet.", hint="It is frozen just before approval is asked for."
            )
        return promotion.evidence_json, promotion.evidence_sha256


def promotion_json(promotion: Promotion) -> dict[str, Any]:
    """A promotion as clients see it: these fields and no others, ids as strings, times in UTC."""
    return {
        "id": promotion.id,
        "gate": promotion.gate,
        "registry": promotion.registry,
        "model": promotion.model,
        "version": promotion.version.version,
        "alias": promotion.alias,
        "found_by": promotion.found_by,
        "champion_version": promotion.champion_version,
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "job": {"id": promotion.job_id, "run_id": promotion.job_run_id, "url": promotion.job_url},
        "trainers": [{"role": each.role, "name": each.name} for each in promotion.trainers],
        "excluded": [{"name": each.name, "login": each.login} for each in promotion.excluded],
        "request": _request_json(promotion.request),
        "decision": _decision_json(promotion.decision),
        "end_request": _end_request_json(promotion.end_request),
        "evidence_sha256": promotion.evidence_sha256,
        "requested_at": rfc3339(promotion.requested_at),
        "updated_at": rfc3339(promotion.updated_at),
        "ended_at": rfc3339(promotion.ended_at),
        "due_at": rfc3339(promotion.due_at),
        "attempts": promotion.attempts,
        "failing_since": rfc3339(promotion.failing_since),
        "failed_from": promotion.failed_from.value if promotion.failed_from else None,
        "last_error": promotion.last_error,
    }


def rfc3339(at: datetime | None) -> str | None:
    """A time as in 2025-01-31T08:00:00.000Z; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_json(opened: ApprovalRequest | None) -> dict[str, Any] | None:
    if opened is None:
        return None
    return {
        "provider": opened.provider,
        "external_id": opened.external_id,
        "url": opened.url,
        "opened_at": rfc3339(opened.opened_at),
        "expires_at": rfc3339(opened.expires_at),
    }


def _decision_json(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None:
        return None
    return {
        "verdict": decision.verdict.value,
        "reason": decision.reason,
        "source": decision.source,
        "decided_at": rfc3339(decision.decided_at),
        "deciders": [
            {"user_id": each.user_id, "login": each.login, "seat": each.seat, "comment": each.comment}
            for each in decision.deciders
        ],
    }


def _end_request_json(end: EndRequest | None) -> dict[str, Any] | None:
    if end is None:
        return None
    return {"phase": end.phase.value, "actor": end.actor, "reason": end.reason, "at": rfc3339(end.at)}


def _phase(given: str | None) -> Phase | None:
    if given is None:
        return None
    try:
        return Phase(given)
    except ValueError:
        raise InvalidInputError(
            f"{given!r} is no phase.", hint="Use one of " + ", ".join(each.value for each in Phase) + "."
        ) from None


def _limit(given: str | None) -> int:
    if given is None:
        return _DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,3}", given) or not 1 <= int(given) <= _MAX_LIMIT:
        raise InvalidInputError(f"{given!r} is no limit.", hint=f"Use a number from 1 to {_MAX_LIMIT}.")
    return int(given)
