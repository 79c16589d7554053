"""The API's view of promotions: list, show, ask, cancel, retry."""

from __future__ import annotations

import json
import re

from flask import Response, jsonify

from champion_gate.domain.callers import Role
from champion_gate.domain.evidence_markdown import render_markdown
from champion_gate.domain.ports import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import NotFoundError
from champion_gate.flow.ci_outcome import promotion_named
from champion_gate.flow.receipts import make_receipt
from champion_gate.store import Store
from champion_gate.web.api.json_bodies import BODY_CAP
from champion_gate.web.api.operations import Operations
from champion_gate.web.api.requests import (
    AskBody,
    PromotionPath,
    PromotionsQuery,
    ReasonBody,
    RetryBody,
)
from champion_gate.web.api.views import promotion_detail_view, promotion_view
from champion_gate.web.auth import Auth, caller, guarded

MARKDOWN_LIMIT = 60_000
_PROMOTION_ID = re.compile(r"[a-z0-9-]{1,64}")


class PromotionReads:
    """The views that only look; they need nothing but the rows."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def promotions(self, query: PromotionsQuery) -> Response:
        """List promotions, newest first."""
        page = self._store.list_promotions(
            model=query.model, phase=query.phase, cursor=query.cursor, limit=query.limit
        )
        return jsonify({"promotions": [promotion_view(each) for each in page.items], "cursor": page.cursor})

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def promotion(self, path: PromotionPath) -> Response:
        """Show one promotion, with what is left to be done around it and its lines of the ledger."""
        found = self._find(path)
        left = self._store.get_follow_ups(found.id)
        lines = self._store.ledger_lines(promotion_id=found.id)
        return jsonify(promotion_detail_view(found, left, lines))

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def evidence(self, path: PromotionPath) -> Response:
        """Give out the evidence byte for byte as it was frozen, so that its sha256 can be recomputed."""
        text, digest = self._evidence(path)
        response = Response(text, content_type="application/json")
        response.set_etag(digest)
        return response

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def evidence_markdown(self, path: PromotionPath) -> Response:
        """Give out the evidence as the reviewer sees it."""
        text, digest = self._evidence(path)
        markdown = render_markdown(json.loads(text), digest, MARKDOWN_LIMIT)
        return Response(markdown, content_type="text/markdown; charset=utf-8")

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def receipt(self, path: PromotionPath) -> Response:
        """Give out one document for the auditor: what, who, when, the evidence's sha256 and the ledger's head."""
        return jsonify(make_receipt(self._store, self._find(path).id, self._clock.now()))

    def _find(self, path: PromotionPath) -> Promotion:
        return promotion_named(self._store, checked_id(path))

    def _evidence(self, path: PromotionPath) -> tuple[str, str]:
        promotion = self._find(path)
        if promotion.evidence_json is None or promotion.evidence_sha256 is None:
            raise NotFoundError(
                "This promotion has no evidence yet.", hint="It is frozen just before approval is asked for."
            )
        return promotion.evidence_json, promotion.evidence_sha256


class PromotionOrders:
    """The views through which operators start, end and retry promotions."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def ask(self, body: AskBody) -> Response:
        """Ask people whether a version may have the gate's alias."""
        promotion = self._operations.promotion_orders.ask(
            body.gate, body.version, job_run_id=body.job_run_id, caller=caller(), reason=body.reason
        )
        response = jsonify(promotion_view(promotion))
        response.status_code = 201
        response.headers["Location"] = f"/api/v1/promotions/{promotion.id}"
        return response

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def cancel(self, path: PromotionPath, body: ReasonBody) -> Response:
        """End a promotion that is not applied yet, and cancel its CI run."""
        promotion_id, actor = self._id(path), caller().actor
        self._operations.promotion_orders.cancel(
            promotion_id, actor=actor, reason=f"Cancelled by {actor}: {body.reason}"
        )
        return self._accepted(promotion_id)

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def retry(self, path: PromotionPath, body: RetryBody) -> Response:
        """Take a failed promotion up again, open again a request that never showed, or ask afresh for an ended one's version."""
        goes_on = self._operations.promotion_orders.retry(
            self._id(path), actor=caller().actor, reason=body.reason
        )
        return self._accepted(goes_on)

    def _id(self, path: PromotionPath) -> str:
        return promotion_named(self._operations.store, checked_id(path)).id

    def _accepted(self, promotion_id: str) -> Response:
        response = jsonify(promotion_view(self._operations.store.get_promotion(promotion_id)))
        response.status_code = 202
        return response


def checked_id(path: PromotionPath) -> str:
    """The id; raises NotFoundError for one that no promotion can have."""
    if not _PROMOTION_ID.fullmatch(path.promotion_id):
        raise NotFoundError("There is no such promotion.")
    return path.promotion_id
