"""Where the gated CI job asks, with its own ID token, how the decision of its people turned out."""

from __future__ import annotations

from flask import Response, jsonify

from champion_gate.flow.ci_outcome import Outcome, PostedDecision, Standing
from champion_gate.web.api.answers import DecisionAnswer
from champion_gate.web.api.requests import PromotionPath
from champion_gate.web.api.routes import POST, Answered, Route
from champion_gate.web.auth import bearer_token
from champion_gate.web.problems import problem
from champion_gate.web.throttle import ConcurrencyLimit

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
        self._waiting = ConcurrencyLimit(waiting)

    @Route(
        POST,
        "/promotions/<promotion_id>/decision",
        "postDecision",
        DecisionAnswer,
        role=None,
        also=(202,),
        errors=(409,),
        headers=("Retry-After",),
        body_cap=BODY_CAP,
    )
    def post(self, path: PromotionPath) -> Answered:
        """Ask, as the approved CI job, how the decision of its people turned out.

        200: promoted, or others have still to decide. 202: under way, ask again. 409 `promotion_ended`: it
        ended otherwise. The token is believed in nothing but that it is the gated job's.
        """
        outcome = self._posted.take(path.promotion_id, bearer_token(), place=self._waiting.place())
        return _response(outcome)


def _response(outcome: Outcome) -> Response:
    """200: promoted, or others have still to decide. 202: ask again. 409: it ended otherwise."""
    said = DecisionAnswer.of(outcome.promotion).model_dump(mode="json")
    if outcome.standing is Standing.ENDED:
        hint = "The promotion has ended; approving this run again changes nothing."
        return problem(409, code="promotion_ended", detail=outcome.promotion.reason, hint=hint, **said)
    response = jsonify(said)
    response.status_code = _STATUSES[outcome.standing]
    if outcome.standing is Standing.UNDER_WAY:
        response.headers["Retry-After"] = _ASK_AGAIN_SECONDS
    return response
