"""Where the gated CI job asks, with its own ID token, how the decision of its people turned out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response, jsonify

from champion_gate.flow.ci_outcome import Answer, PostedDecision, Standing
from champion_gate.web.api.requests import PromotionPath
from champion_gate.web.api.views import rfc3339
from champion_gate.web.auth import Auth, bearer_token, guarded
from champion_gate.web.problems import problem

BODY_CAP = 4 * 1024
_STATUSES = {Standing.PROMOTED: 200, Standing.OTHERS_DECIDE: 200, Standing.UNDER_WAY: 202}
_ASK_AGAIN_SECONDS = "2"


class Decisions:
    """The view behind `/api/v1/promotions/{id}/decision`.

    Args:
        posted: takes the tokens.
        waiting: how many requests may wait for an outcome at the same time; others are answered 202 at once,
            so that jobs that wait cannot take all threads from the hooks.
    """

    def __init__(self, posted: PostedDecision, *, waiting: int = 6) -> None:
        self._posted = posted
        self._places = threading.BoundedSemaphore(waiting)

    @guarded(Auth.CI_JOB, body_cap=BODY_CAP)
    def post(self, path: PromotionPath) -> Response:
        """Ask, as the approved CI job, how the decision of its people turned out."""
        return _response(self._posted.take(path.promotion_id, bearer_token(), place=self._place()))

    @contextmanager
    def _place(self) -> Iterator[bool]:
        taken = self._places.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._places.release()


def _response(answer: Answer) -> Response:
    """200: promoted, or others have still to decide. 202: ask again. 409: it ended otherwise."""
    promotion = answer.promotion
    said = {
        "promotion": promotion.id,
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "model": promotion.model,
        "alias": promotion.alias,
        "version": promotion.version.version,
        "updated_at": rfc3339(promotion.updated_at),
    }
    if answer.standing is Standing.ENDED:
        hint = "The promotion has ended; approving this run again changes nothing."
        return problem(409, code="promotion_ended", detail=promotion.reason, hint=hint, **said)
    response = jsonify(said)
    response.status_code = _STATUSES[answer.standing]
    if answer.standing is Standing.UNDER_WAY:
        response.headers["Retry-After"] = _ASK_AGAIN_SECONDS
    return response
