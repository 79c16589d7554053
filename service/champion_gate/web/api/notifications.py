"""The API's view of notifications: list, show, replay."""

from __future__ import annotations

import re

from flask import Response, jsonify

from champion_gate.domain.callers import Role
from champion_gate.domain.notifications import StoredNotification
from champion_gate.errors import NotFoundError
from champion_gate.web.api.json_bodies import BODY_CAP
from champion_gate.web.api.operations import Operations
from champion_gate.web.api.requests import NotificationPath, NotificationsQuery
from champion_gate.web.api.views import notification_view
from champion_gate.web.auth import Auth, guarded

_NOTIFICATION_ID = re.compile(r"[a-z0-9-]{1,64}")


class NotificationViews:
    """The views behind `/api/v1/notifications`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @guarded(Auth.BEARER, role=Role.OPERATOR)
    def notifications(self, query: NotificationsQuery) -> Response:
        """List notifications, newest first, by when each came for the first time."""
        page = self._operations.store.list_notifications(
            phase=query.phase, cursor=query.cursor, limit=query.limit
        )
        return jsonify(
            {"notifications": [notification_view(each) for each in page.items], "cursor": page.cursor}
        )

    @guarded(Auth.BEARER, role=Role.OPERATOR)
    def notification(self, path: NotificationPath) -> Response:
        """Show one notification and what it came to for each gate."""
        return jsonify(notification_view(self._find(path)))

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def replay(self, path: NotificationPath) -> Response:
        """Have a notification resolved once more; a repeated one never reopens what has ended."""
        row = self._operations.promotion_orders.replay(self._find(path).id)
        response = jsonify(notification_view(row))
        response.status_code = 202
        return response

    def _find(self, path: NotificationPath) -> StoredNotification:
        if not _NOTIFICATION_ID.fullmatch(path.notification_id):
            raise NotFoundError("There is no such notification.")
        return self._operations.store.get_notification(path.notification_id)
