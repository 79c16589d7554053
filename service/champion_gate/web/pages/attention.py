"""What led nowhere, and what is not set up as it should be: notifications, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Response, request, url_for

from champion_gate.domain.callers import Role
from champion_gate.domain.findings import Finding
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.errors import NotFoundError
from champion_gate.store import Store
from champion_gate.web.pages.site import Page, Site

_ROWS = 50


class AttentionPages:
    """The views behind `/notifications` and `/doctor`."""

    def __init__(self, site: Site, store: Store, findings: Callable[[], Sequence[Finding]]) -> None:
        self._site = site
        self._store = store
        self._findings = findings

    @Page("/notifications", "notifications", Role.OPERATOR)
    def notifications(self) -> Response:
        """Those of one phase, newest first."""
        given = request.args.get("phase", NotificationPhase.UNRESOLVED.value)
        try:
            phase = NotificationPhase(given)
        except ValueError:
            raise NotFoundError("There is no such phase of notifications.") from None
        page = self._store.list_notifications(
            phase=phase, cursor=request.args.get("cursor") or None, limit=_ROWS
        )
        older = page.cursor and url_for("notifications", phase=given, cursor=page.cursor)
        return self._site.render(
            "notifications.html",
            title="Notifications",
            found=page.items,
            older=older,
            phase=phase,
            phases=list(NotificationPhase),
        )

    @Page("/doctor", "findings")
    def findings(self) -> Response:
        """What the service's own round of the doctor found that is not right."""
        return self._site.render("findings.html", title="What the doctor found", found=self._findings())
