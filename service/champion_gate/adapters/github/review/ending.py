"""What is shown on a pull request, and how it is merged once the alias has moved."""

from __future__ import annotations

from http import HTTPStatus

from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.opening import external_id, is_own, number_of
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.errors import VendorRefusedError, VendorUnavailableError

_CONTEXT = "champion-gate"
_METHODS = ("merge", "squash", "rebase")
"""A repository may allow some of these only; which, only who administers it is told."""

_BASE_MOVED = "Base branch was modified"
"""Of two merges at the same time the second is answered with 405 and this: no other method is wanted then."""


def show_status(api: ReviewApi, promotion: Promotion, words: str) -> None:
    """`POST …/statuses/{sha}` on our commit (docs.github.com, "REST API endpoints for commit statuses")."""
    phase = promotion.phase
    state = "pending" if phase.is_open else "success" if phase is Phase.PROMOTED else "failure"
    body = {"state": state, "description": words, "context": _CONTEXT}
    api.set_status(_commit(promotion), body)


def comment(api: ReviewApi, promotion: Promotion, text: str) -> None:
    """Comment once: a comment that may have arrived is looked for, by a mark that is not shown."""
    number, mark = _number(promotion), f"<!-- champion-gate {promotion.correlation_id} {promotion.phase} -->"
    own = api.own_account().user_id
    comments = api.comments(number)
    if any(one.user is not None and one.user.id == own and mark in one.body for one in comments):
        return
    if promotion.request is None or external_id(api.pull(number)) != promotion.request.external_id:
        raise VendorRefusedError("GitHub", f"pull request {number} is one of another repository now.")
    api.comment(number, f"{text}\n\n{mark}")


def merge(api: ReviewApi, promotion: Promotion) -> str:
    """Merge our commit and nothing else, and delete the branch; see ApprovalProvider."""
    number, commit = _number(promotion), _commit(promotion)
    pull = api.pull(number)
    if not is_own(api, pull) or pull.head.sha != commit or pull.base.ref != api.spot.base:
        raise VendorRefusedError("GitHub", f"pull request {number} is not what was approved any more.")
    if not pull.merged:
        if pull.state != "open":
            raise VendorRefusedError("GitHub", f"pull request {number} is {pull.state}: reopen it.")
        _send(api, number, {"sha": commit})
        pull = api.pull(number)
        if not pull.merged:
            raise VendorUnavailableError("GitHub", f"pull request {number} is not shown as merged yet.")
    api.delete_branch(pull.head.ref)
    return f"Pull request {number} is merged into {pull.base.ref}."


def _send(api: ReviewApi, number: str, body: dict[str, object]) -> None:
    for method in _METHODS:
        answer = api.merge_pull(number, {**body, "merge_method": method})
        if answer.status not in {HTTPStatus.CONFLICT, HTTPStatus.METHOD_NOT_ALLOWED}:
            return
        said = answer.error().message
        if answer.status == HTTPStatus.CONFLICT or _BASE_MOVED in said:
            # The base branch has just moved, or our commit is not the head any more, which the next look tells.
            raise VendorUnavailableError("GitHub", f"pull request {number} could not be merged: {said}")
    raise answer.error()


def _number(promotion: Promotion) -> str:
    request = promotion.request
    if request is None or request.external_id is None:
        raise VendorRefusedError("GitHub", f"promotion {promotion.id} has no pull request.")
    return number_of(request.external_id)


def _commit(promotion: Promotion) -> str:
    commit = promotion.request.pins.get("commit") if promotion.request else None
    if commit is None:
        raise VendorRefusedError("GitHub", f"promotion {promotion.id} has no commit on record.")
    return commit
