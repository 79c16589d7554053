"""The API's view of steps: retry and skip; promotions show them."""

from __future__ import annotations

from champion_gate.flow.operator_steps import StepOrders
from champion_gate.web.api.answers import StepAnswer
from champion_gate.web.api.requests import ReasonBody, RetryBody, StepPath, checked_id
from champion_gate.web.api.routes import OPERATOR, POST, Answered, Operations, Route
from champion_gate.web.auth import caller

_ONE = "/steps/<step_id>"


class StepChanges:
    """The views through which operators order steps about."""

    def __init__(self, operations: Operations) -> None:
        self._orders: StepOrders = operations.step_orders

    @Route(POST, f"{_ONE}/retry", "retryStep", StepAnswer, role=OPERATOR, status=202, errors=(404, 409))
    def retry(self, path: StepPath, body: RetryBody) -> Answered:
        """Take a failed or skipped step up again, or try one at once that is put off.

        409 where it has succeeded, was overtaken, runs at the vendor, or is being worked on.
        """
        step_id = checked_id(path.step_id, "step")
        return StepAnswer.of(self._orders.retry(step_id, actor=caller().actor, reason=body.reason))

    @Route(POST, f"{_ONE}/skip", "skipStep", StepAnswer, role=OPERATOR, errors=(404, 409))
    def skip(self, path: StepPath, body: ReasonBody) -> Answered:
        """End a step that has failed or is put off, so that nothing tries it any more.

        409 where it has ended otherwise, runs at the vendor, or is being worked on.
        """
        step_id = checked_id(path.step_id, "step")
        return StepAnswer.of(self._orders.skip(step_id, actor=caller().actor, reason=body.reason))
