"""The Flask app: every route, what stands before it, and the headers on every answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask import Flask, Response

from champion_gate.core.ports import Clock, WakeUps
from champion_gate.core.posted_decision import PostedDecision
from champion_gate.core.store import Store
from champion_gate.web import auth, problems
from champion_gate.web.api import Api
from champion_gate.web.auth import Access
from champion_gate.web.decisions import Decisions
from champion_gate.web.health import Check, Health
from champion_gate.web.hooks import Hooks

__all__ = ["Access", "Check", "create_app"]

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def create_app(
    *,
    store: Store,
    wake_ups: WakeUps,
    clock: Clock,
    access: Access,
    checks: Sequence[Check],
    posted_decision: PostedDecision | None = None,
) -> Flask:
    """Build the app.

    Args:
        store: the rows.
        wake_ups: tells workers that a row is due.
        clock: where the time comes from.
        access: the secrets that callers know.
        checks: what `/readyz` runs.
        posted_decision: takes CI jobs' tokens; without it there is no such route.

    Raises:
        RuntimeError: a route declares no authentication.
    """
    app = Flask("champion_gate", static_folder=None)
    # Two spellings of one path must not meet two rules of a proxy in front.
    app.url_map.merge_slashes = False
    problems.register(app)
    _add_routes(
        app,
        Hooks(store, wake_ups, clock, access.provider_hooks),
        access.provider_hooks,
        Api(store),
        Health(checks, clock),
    )
    if posted_decision is not None:
        app.add_url_rule(
            "/api/v1/promotions/<promotion_id>/decision",
            view_func=Decisions(posted_decision).post,
            methods=["POST"],
        )
    auth.enforce(app, access)
    app.after_request(_add_headers)
    return app


def _add_routes(app: Flask, hooks: Hooks, provider_hooks: Iterable[str], api: Api, health: Health) -> None:
    app.add_url_rule("/hooks/databricks", view_func=hooks.databricks, methods=["POST"])
    for kind in provider_hooks:
        app.add_url_rule(
            f"/hooks/{kind}", f"hook of {kind}", hooks.provider, methods=["POST"], defaults={"provider": kind}
        )
    app.add_url_rule("/livez", view_func=health.livez)
    app.add_url_rule("/readyz", view_func=health.readyz)
    app.add_url_rule("/api/v1/promotions", view_func=api.promotions)
    app.add_url_rule("/api/v1/promotions/<promotion_id>", view_func=api.promotion)
    app.add_url_rule("/api/v1/promotions/<promotion_id>/evidence", view_func=api.evidence)
    app.add_url_rule("/api/v1/promotions/<promotion_id>/evidence.md", view_func=api.evidence_markdown)


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
