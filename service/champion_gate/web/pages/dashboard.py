"""The dashboard put together: every page for people who are signed in, and the one for who is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import Flask, Response, g, request

from champion_gate.domain.findings import Finding
from champion_gate.domain.ports.runtime import Chance
from champion_gate.flow.sessions import Sessions
from champion_gate.web.api.routes import Operations
from champion_gate.web.auth import Auth
from champion_gate.web.pages.attention import AttentionPages
from champion_gate.web.pages.models import ModelPages
from champion_gate.web.pages.orders import Orders
from champion_gate.web.pages.overview import Overview
from champion_gate.web.pages.promotions import PromotionPages
from champion_gate.web.pages.sign_in import Doors, IdentityProvider, SignIn
from champion_gate.web.pages.site import Site
from champion_gate.web.throttle import Attempts, ConcurrencyLimit


@dataclass(frozen=True)
class Dashboard:
    """What the pages need besides the core.

    Attributes:
        provider: where people sign in with an account of theirs; None where API tokens alone are taken.
        findings: what the doctor found that is not right; at hand.
    """

    sessions: Sessions
    chance: Chance
    provider: IdentityProvider | None = None
    findings: Callable[[], Sequence[Finding]] = tuple


def add_pages(
    app: Flask,
    dashboard: Dashboard,
    operations: Operations,
    *,
    attempts: Attempts,
    waiting: ConcurrencyLimit,
    warnings: Callable[[], Sequence[str]],
) -> None:
    """Serve the pages.

    Args:
        app: which serves them.
        dashboard: see there.
        operations: the parts of the core that they show and call.
        attempts: the API's, so that whoever is refused is counted once.
        waiting: the API's limit of those that wait for vendors.
        warnings: what `/readyz` warns of.
    """
    site, store = Site(app, operations.clock, warnings), operations.store
    site.add_assets()
    doors = Doors(dashboard.sessions, dashboard.provider, dashboard.chance, attempts, waiting)
    for views in (
        Overview(site, store),
        PromotionPages(site, store),
        ModelPages(site, store, operations.managed, operations.clock),
        AttentionPages(site, store, dashboard.findings),
        Orders(site, operations, waiting),
        SignIn(app, site, doors),
    ):
        site.add(views)

    @app.after_request
    def as_page(response: Response) -> Response:
        """Problems of pages are pages too."""
        is_page = _is_mistyped() if g.get("auth") is None else g.auth in {Auth.SESSION, Auth.VISITOR}
        if not is_page or response.mimetype != "application/problem+json":
            return response
        said = json.loads(response.get_data())
        page = site.problem(response.status_code, said["detail"], said["hint"])
        if "Retry-After" in response.headers:
            page.headers["Retry-After"] = response.headers["Retry-After"]
        return page


def _is_mistyped() -> bool:
    """Whether a browser asks for an address that nothing is at."""
    is_for_programs = request.path.startswith(("/api/", "/hooks/"))
    best = request.accept_mimetypes.best_match(["application/problem+json", "text/html"])
    return best == "text/html" and not is_for_programs
