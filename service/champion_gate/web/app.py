"""The Flask app: every route, what stands before it, and the headers on every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from flask import Flask, Response

from champion_gate.domain import ping
from champion_gate.domain.notifications import JobNotification
from champion_gate.domain.ports.runtime import Clock, WakeUps
from champion_gate.domain.text import counted
from champion_gate.flow.after import failed_of_latest_moves
from champion_gate.flow.ci_outcome import PostedDecision
from champion_gate.meters import Meters
from champion_gate.store import Store
from champion_gate.web import auth, problems
from champion_gate.web.api.aliases import AliasViews
from champion_gate.web.api.ci_outcome import Decisions
from champion_gate.web.api.identities import IdentityViews
from champion_gate.web.api.notifications import NotificationViews
from champion_gate.web.api.promotions import PromotionChanges, PromotionReads
from champion_gate.web.api.routes import Api, Operations
from champion_gate.web.api.steps import StepChanges
from champion_gate.web.auth import Access
from champion_gate.web.health import Check, Health
from champion_gate.web.hooks import NOT_WANTED, Hooks, TakesNews
from champion_gate.web.metrics import Metrics
from champion_gate.web.pages.dashboard import Dashboard, add_pages
from champion_gate.web.pages.docs import Docs
from champion_gate.web.throttle import apply_proxy_hops

__all__ = ["Access", "Check", "Dashboard", "Operations", "create_app"]

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
    operations: Operations | None = None,
    unwatched: Callable[[JobNotification], str | None] = lambda _: None,
    registry_news: TakesNews = lambda _: NOT_WANTED,
    findings: Callable[[], Sequence[Mapping[str, str]]] = tuple,
    dashboard: Dashboard | None = None,
    meters: Meters | None = None,
    proxy_hops: int = 0,
    raises: bool = False,
) -> Flask:
    """Build the app.

    Raises:
        RuntimeError: a route declares no authentication.
    """
    app = Flask("champion_gate", static_folder=None, template_folder="web/templates")
    # Two spellings of one path must not meet two rules of a proxy in front.
    app.url_map.merge_slashes = False
    app.config["PROPAGATE_EXCEPTIONS"] = raises
    problems.register(app)
    api = Api(app, store, clock)
    _add_plain_routes(
        app,
        Hooks(store, wake_ups, clock, access, unwatched=unwatched, registry_news=registry_news),
        access,
        Health(
            checks,
            clock,
            ledger_head=store.ledger_head,
            warnings=lambda: _warnings(store),
            findings=findings,
        ),
        Docs(app, api),
    )
    metrics = Metrics(meters or Meters(), store, clock, findings)
    app.add_url_rule("/metrics", view_func=metrics.metrics)
    metrics.count_hooks(app)
    api.add(PromotionReads(store, clock))
    if posted_decision is not None:
        api.add(Decisions(posted_decision))
    if operations is not None:
        for views in (PromotionChanges, StepChanges, AliasViews, IdentityViews, NotificationViews):
            api.add(views(operations))
    apply_proxy_hops(app, proxy_hops)
    # Flask calls these from the last to the first.
    app.after_request(_add_headers)
    if dashboard is not None and operations is not None:
        warnings = partial(_warnings, store)
        add_pages(
            app, dashboard, operations, attempts=access.attempts, waiting=api.waiting, warnings=warnings
        )
    auth.enforce(app, access)
    return app


def _warnings(store: Store) -> list[str]:
    """In words that anybody may read: of no model and no vendor."""
    words = []
    if failed := len(failed_of_latest_moves(store)):
        words.append(
            f"{failed} of the jobs and endpoints that follow moves of aliases failed. `champion-gate steps list MODEL ALIAS` "
            "tells which and why; `champion-gate steps retry` or `skip` settles them."
        )
    if untold := len(store.failed_notices()):
        words.append(
            f"{counted(untold, 'message')} to people {'was' if untold == 1 else 'were'} given up. `champion-gate doctor` tells which and why; `champion-gate steps "
            "retry` or `skip` settles them."
        )
    return words


def _add_plain_routes(app: Flask, hooks: Hooks, access: Access, health: Health, docs: Docs) -> None:
    """The routes that the OpenAPI document leaves out."""
    databricks = hooks.databricks if access.uses_databricks else hooks.not_configured
    app.add_url_rule("/hooks/databricks", view_func=databricks, methods=["POST"])
    app.add_url_rule(ping.PATH, view_func=hooks.ping, methods=["POST"])
    for kind, view in (
        *((kind, hooks.provider) for kind in access.provider_hooks),
        *((kind, hooks.registry) for kind in access.registry_hooks),
    ):
        app.add_url_rule(
            f"/hooks/{kind}", f"hook of {kind}", view, methods=["POST"], defaults={"sender": kind}
        )
    app.add_url_rule("/livez", view_func=health.livez)
    app.add_url_rule("/readyz", view_func=health.readyz)
    app.add_url_rule("/openapi.json", view_func=docs.document)
    app.add_url_rule("/docs", view_func=docs.page)


def _add_headers(response: Response) -> Response:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response
