"""The API, `/api/v1`: every route of it, with what its description says beyond its models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPMethod, HTTPStatus
from typing import TypeAlias

from flask import Response

from champion_gate.domain.ports import Clock
from champion_gate.store import Store
from champion_gate.web.api import answers
from champion_gate.web.api.aliases import AliasChanges, AliasReads
from champion_gate.web.api.ci_outcome import Decisions
from champion_gate.web.api.idempotency import Repeatable
from champion_gate.web.api.identities import IdentityViews
from champion_gate.web.api.notifications import NotificationViews
from champion_gate.web.api.openapi import ApiApp, Described
from champion_gate.web.api.operations import Operations, Places
from champion_gate.web.api.promotions import PromotionOrders, PromotionReads

Route: TypeAlias = tuple[HTTPMethod, str, Callable[..., Response], Described]

_PROMOTIONS = "/api/v1/promotions"
_PROMOTION = f"{_PROMOTIONS}/<promotion_id>"
_MODEL = "/api/v1/models/<model>"
_ALIAS = f"{_MODEL}/aliases/<alias>"
_NOTIFICATIONS = "/api/v1/notifications"
_IDENTITIES = "/api/v1/identities"
_IDENTITY = f"{_IDENTITIES}/<provider>/<login>"
_OBJECT = {"application/json": {"type": "object", "additionalProperties": True}}
_MARKDOWN = {"text/markdown": {"type": "string"}}

_BY_HAND = (
    "Recorded in the ledger with who, from where and why. Refused with 409 `on_hold` while a hold stands, unless "
    "`override_hold` is true. An alias that neither a gate nor `aliases` in gates.yaml names is 404 `not_managed`."
)
_KEPT = "A notification of the same job run later never reopens what has ended."


def add_reads(app: ApiApp, store: Store, clock: Clock) -> None:
    """The routes that need nothing but the rows."""
    reads = PromotionReads(store, clock)
    app.describe(
        HTTPMethod.GET,
        _PROMOTIONS,
        reads.promotions,
        Described("listPromotions", "Promotions", answers.PromotionList),
    )
    app.describe(
        HTTPMethod.GET,
        _PROMOTION,
        reads.promotion,
        Described("getPromotion", "Promotions", answers.PromotionDetailAnswer, problems=(404,)),
    )
    app.describe(
        HTTPMethod.GET,
        f"{_PROMOTION}/evidence",
        reads.evidence,
        Described("getEvidence", "Promotions", _OBJECT, problems=(404,), headers=("ETag",)),
    )
    app.describe(
        HTTPMethod.GET,
        f"{_PROMOTION}/evidence.md",
        reads.evidence_markdown,
        Described("getEvidenceMarkdown", "Promotions", _MARKDOWN, problems=(404,)),
    )
    app.describe(
        HTTPMethod.GET,
        f"{_PROMOTION}/receipt",
        reads.receipt,
        Described(
            "getReceipt",
            "Promotions",
            _OBJECT,
            problems=(404, 409),
            about="Keep it: `champion-gate ledger verify-receipt FILE` checks it against an export of the ledger. "
            "409 `not_ended` before the promotion has ended.",
        ),
    )


def add_decision(app: ApiApp, decisions: Decisions) -> None:
    """The route on which gated CI jobs ask."""
    app.describe(
        HTTPMethod.POST,
        f"{_PROMOTION}/decision",
        decisions.post,
        Described(
            "postDecision",
            "Promotions",
            answers.DecisionAnswer,
            also=(202,),
            problems=(409,),
            headers=("Retry-After",),
            about="200: promoted, or others have still to decide. 202: under way, ask again. 409 "
            "`promotion_ended`: it ended otherwise. The token is believed in nothing but that it is the gated job's.",
        ),
    )


def add_operations(app: ApiApp, operations: Operations) -> None:
    """The routes that need the registry or change something."""
    repeatable = Repeatable(operations.store, operations.clock)
    places = Places()
    for method, rule, view, described in (
        *_promotions(operations),
        *_aliases(operations),
        *_identities(operations),
        *_rest(operations),
    ):
        calls_out = HTTPStatus.SERVICE_UNAVAILABLE in described.problems
        app.describe(
            method,
            rule,
            places.bound(view) if calls_out else view,
            described,
            repeatable if described.is_repeatable else None,
        )


def _promotions(operations: Operations) -> Iterator[Route]:
    orders, shown = PromotionOrders(operations), answers.PromotionAnswer
    yield (
        HTTPMethod.POST,
        _PROMOTIONS,
        orders.ask,
        Described(
            "askForApproval",
            "Promotions",
            shown,
            status=201,
            problems=(404, 409, 502, 503),
            headers=("Location",),
            is_repeatable=True,
            about="For a version that no notification told about, or afresh for one whose promotion has ended. Who "
            "may approve, and all that is checked, stays the gate's.",
        ),
    )
    yield (
        HTTPMethod.POST,
        f"{_PROMOTION}/cancel",
        orders.cancel,
        Described(
            "cancelPromotion",
            "Promotions",
            shown,
            status=202,
            problems=(404, 409),
            is_repeatable=True,
            about="Its decision is read once more first: one that was approved meanwhile is applied, if it can be at "
            "once. One that is approved and waits ends as soon as a write that has begun is settled. Where the vendor "
            "does not tell the decision it ends within 15 minutes all the same.",
        ),
    )
    yield (
        HTTPMethod.POST,
        f"{_PROMOTION}/retry",
        orders.retry,
        Described(
            "retryPromotion",
            "Promotions",
            shown,
            status=202,
            problems=(404, 409, 502, 503),
            is_repeatable=True,
            about="Answers with the promotion that goes on: the same, or a fresh one.",
        ),
    )


def _aliases(operations: Operations) -> Iterator[Route]:
    reads, changes = AliasReads(operations), AliasChanges(operations)
    state, change = answers.AliasAnswer, answers.AliasChangeAnswer
    order = (404, 409, 412, 502, 503)
    yield (
        HTTPMethod.GET,
        _MODEL,
        reads.model,
        Described("getModel", "Aliases", answers.ModelAnswer, problems=(404, 502, 503)),
    )
    yield (
        HTTPMethod.GET,
        _ALIAS,
        reads.alias,
        Described(
            "getAlias",
            "Aliases",
            state,
            problems=(404, 502, 503),
            headers=("ETag",),
            about="404 `alias_not_set` where it is on no version; the problem then has the members of a state.",
        ),
    )
    yield (
        HTTPMethod.PUT,
        _ALIAS,
        changes.put,
        Described("setAlias", "Aliases", change, problems=order, headers=("ETag",), about=_BY_HAND),
    )
    yield (
        HTTPMethod.DELETE,
        _ALIAS,
        changes.delete,
        Described("deleteAlias", "Aliases", change, problems=order, headers=("ETag",), about=_BY_HAND),
    )
    yield (
        HTTPMethod.POST,
        f"{_ALIAS}/rollback",
        changes.roll_back,
        Described(
            "rollBackAlias",
            "Aliases",
            change,
            problems=order,
            headers=("ETag",),
            is_repeatable=True,
            about="To the version before in the ledger, never to one that was itself rolled back; 409 where there is "
            "none or it is gone. It places a hold; under it, another rollback must say with `If-Match` from which version "
            f"it goes, or override. {_BY_HAND}",
        ),
    )
    yield (
        HTTPMethod.PUT,
        f"{_ALIAS}/hold",
        changes.hold,
        Described("holdAlias", "Aliases", state, problems=(404, 409, 503), headers=("ETag",)),
    )
    yield (
        HTTPMethod.DELETE,
        f"{_ALIAS}/hold",
        changes.release,
        Described("releaseAlias", "Aliases", state, problems=(404, 409, 503), headers=("ETag",)),
    )
    yield (
        HTTPMethod.GET,
        f"{_ALIAS}/history",
        reads.history,
        Described("getAliasHistory", "Aliases", answers.History, problems=(404,)),
    )


def _identities(operations: Operations) -> Iterator[Route]:
    views, shown = IdentityViews(operations), answers.IdentityAnswer
    yield (
        HTTPMethod.GET,
        _IDENTITIES,
        views.identities,
        Described("listIdentities", "Identities", answers.IdentityList),
    )
    yield (
        HTTPMethod.POST,
        f"{_IDENTITY}/accept",
        views.accept,
        Described(
            "acceptIdentity",
            "Identities",
            shown,
            problems=(404, 409),
            is_repeatable=True,
            about="For a login that another account has than before, which keeps requests waiting. The account that "
            "had it stays excluded where it was a trainer's. Recorded in the ledger. 409 where nothing is to be accepted.",
        ),
    )
    yield (
        HTTPMethod.POST,
        f"{_IDENTITY}/forget",
        views.forget,
        Described(
            "forgetIdentity",
            "Identities",
            shown,
            problems=(404, 409),
            is_repeatable=True,
            about="None of its accounts is excluded because of it from what is asked from now on; a login that "
            "gates.yaml still names is resolved anew. Recorded in the ledger.",
        ),
    )


def _rest(operations: Operations) -> Iterator[Route]:
    views, shown = NotificationViews(operations), answers.NotificationAnswer
    yield (
        HTTPMethod.GET,
        _NOTIFICATIONS,
        views.notifications,
        Described("listNotifications", "Notifications", answers.NotificationList),
    )
    yield (
        HTTPMethod.GET,
        f"{_NOTIFICATIONS}/<notification_id>",
        views.notification,
        Described("getNotification", "Notifications", shown, problems=(404,)),
    )
    yield (
        HTTPMethod.POST,
        f"{_NOTIFICATIONS}/<notification_id>/replay",
        views.replay,
        Described(
            "replayNotification",
            "Notifications",
            shown,
            status=202,
            problems=(404, 409),
            is_repeatable=True,
            about=_KEPT,
        ),
    )
