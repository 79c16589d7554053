"""The API's view of promotions: list, show, ask, cancel, retry."""

from __future__ import annotations

import json
from datetime import datetime

from flask import Response, jsonify

from champion_gate.domain.evidence_markdown import render_markdown
from champion_gate.domain.ledger.receipt import receipt_of
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.errors import NotFoundError
from champion_gate.flow.ci_outcome import promotion_named
from champion_gate.store import Store
from champion_gate.web.api.answers import (
    PromotionAnswer,
    PromotionDetailAnswer,
    PromotionList,
    StepAnswer,
    StepList,
)
from champion_gate.web.api.requests import (
    AskBody,
    PromotionPath,
    PromotionsQuery,
    ReasonBody,
    RetryBody,
    checked_id,
)
from champion_gate.web.api.routes import GET, OPERATOR, POST, VIEWER, Answered, Operations, Route
from champion_gate.web.auth import caller

MARKDOWN_LIMIT = 60_000  # characters; GitHub's inputs take 65,535 together
_ONE = "/promotions/<promotion_id>"
_OBJECT = {"application/json": {"type": "object", "additionalProperties": True}}
_MARKDOWN = {"text/markdown": {"type": "string"}}


class PromotionReads:
    """The views that only look; they need nothing but the rows."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @Route(GET, "/promotions", "listPromotions", PromotionList, role=VIEWER)
    def promotions(self, query: PromotionsQuery) -> Answered:
        """List promotions, newest first."""
        page = self._store.list_promotions(
            model=query.model, phase=query.phase, cursor=query.cursor, limit=query.limit
        )
        failed = self._store.failed_of_promotions([each.id for each in page.items])
        shown = [PromotionAnswer.of(each, failed.get(each.id, 0)) for each in page.items]
        return PromotionList(promotions=shown, cursor=page.cursor)

    @Route(GET, _ONE, "getPromotion", PromotionDetailAnswer, role=VIEWER, errors=(404,))
    def promotion(self, path: PromotionPath) -> Answered:
        """Show one promotion, with its steps and its lines of the ledger."""
        found = self._find(path)
        steps = self._store.steps_of(found.id)
        return PromotionDetailAnswer.of_all(found, steps, self._store.ledger_lines(promotion_id=found.id))

    @Route(GET, f"{_ONE}/steps", "listSteps", StepList, role=VIEWER, errors=(404,))
    def steps(self, path: PromotionPath) -> Answered:
        """List the work around a promotion, done and to be done."""
        return StepList(steps=[*map(StepAnswer.of, self._store.steps_of(self._find(path).id))])

    @Route(GET, f"{_ONE}/evidence", "getEvidence", _OBJECT, role=VIEWER, errors=(404,), headers=("ETag",))
    def evidence(self, path: PromotionPath) -> Answered:
        """Give out the evidence byte for byte as it was frozen, so that its sha256 can be recomputed."""
        text, digest = self._evidence(path)
        response = Response(text, content_type="application/json")
        response.set_etag(digest)
        return response

    @Route(GET, f"{_ONE}/evidence.md", "getEvidenceMarkdown", _MARKDOWN, role=VIEWER, errors=(404,))
    def evidence_markdown(self, path: PromotionPath) -> Answered:
        """Give out the evidence as the reviewer sees it."""
        text, digest = self._evidence(path)
        markdown = render_markdown(json.loads(text), digest, MARKDOWN_LIMIT)
        return Response(markdown, content_type="text/markdown; charset=utf-8")

    @Route(GET, f"{_ONE}/receipt", "getReceipt", _OBJECT, role=VIEWER, errors=(404, 409))
    def receipt(self, path: PromotionPath) -> Answered:
        """Give out one document for the auditor: what, who, when, the evidence's sha256 and the ledger's head.

        Keep it: `champion-gate ledger verify-receipt FILE` checks it against an export of the ledger. 409
        `not_ended` before the promotion has ended.
        """
        return jsonify(make_receipt(self._store, self._find(path).id, self._clock.now()))

    def _find(self, path: PromotionPath) -> Promotion:
        return promotion_named(self._store, checked_id(path.promotion_id, "promotion"))

    def _evidence(self, path: PromotionPath) -> tuple[str, str]:
        promotion = self._find(path)
        if promotion.evidence_json is None or promotion.evidence_sha256 is None:
            raise NotFoundError(
                "This promotion has no evidence yet.", hint="It is frozen just before approval is asked for."
            )
        return promotion.evidence_json, promotion.evidence_sha256


class PromotionChanges:
    """The views through which operators start, end and retry promotions."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @Route(
        POST,
        "/promotions",
        "askForApproval",
        PromotionAnswer,
        role=OPERATOR,
        status=201,
        errors=(404, 409, 502, 503),
        headers=("Location",),
    )
    def ask(self, body: AskBody) -> Answered:
        """Ask people whether a version may have the gate's alias.

        For a version that no notification told about, or afresh for one whose promotion has ended. Who may
        approve, and all that is checked, stays the gate's.
        """
        promotion = self._operations.promotion_orders.ask(
            body.gate, body.version, job_run_id=body.job_run_id, caller=caller(), reason=body.reason
        )
        return PromotionAnswer.of(promotion), {"Location": f"/api/v1/promotions/{promotion.id}"}

    @Route(
        POST,
        f"{_ONE}/cancel",
        "cancelPromotion",
        PromotionAnswer,
        role=OPERATOR,
        status=202,
        errors=(404, 409),
    )
    def cancel(self, path: PromotionPath, body: ReasonBody) -> Answered:
        """End a promotion that is not applied yet, and cancel its CI run.

        Its decision is read once more first: one that was approved meanwhile is applied, if it can be at
        once. One that is approved and waits ends as soon as a write that has begun is settled. Where the
        vendor does not tell the decision it ends within 15 minutes all the same.
        """
        promotion_id, actor = self._id(path), caller().actor
        self._operations.promotion_orders.cancel(
            promotion_id, actor=actor, reason=f"Cancelled by {actor}: {body.reason}"
        )
        return self._again(promotion_id)

    @Route(
        POST,
        f"{_ONE}/retry",
        "retryPromotion",
        PromotionAnswer,
        role=OPERATOR,
        status=202,
        errors=(404, 409, 502, 503),
    )
    def retry(self, path: PromotionPath, body: RetryBody) -> Answered:
        """Take a failed promotion up again, open again a request that never showed, or ask afresh for an ended one's version.

        Answers with the promotion that goes on: the same, or a fresh one.
        """
        goes_on = self._operations.promotion_orders.retry(
            self._id(path), actor=caller().actor, reason=body.reason
        )
        return self._again(goes_on)

    def _id(self, path: PromotionPath) -> str:
        return promotion_named(self._operations.store, checked_id(path.promotion_id, "promotion")).id

    def _again(self, promotion_id: str) -> PromotionAnswer:
        return PromotionAnswer.of(self._operations.store.get_promotion(promotion_id))


def make_receipt(store: Store, promotion_id: str, at: datetime) -> dict[str, object]:
    """The receipt of a promotion as the store has it.

    Raises:
        NotFoundError: there is no such promotion.
        NotEndedError: it has not ended.
    """
    # In this order: whatever ended the promotion was in the ledger before the head was read.
    promotion = store.get_promotion(promotion_id)
    head = store.ledger_head()
    return receipt_of(promotion, store.ledger_lines(promotion_id=promotion_id, limit=None), head, at)
