"""The API's view of notifications: list, show, replay."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from champion_gate.domain.notifications import NotificationPhase, StoredNotification
from champion_gate.web.api.answers import Answer, Time
from champion_gate.web.api.requests import NotificationPath, NotificationsQuery, checked_id
from champion_gate.web.api.routes import GET, OPERATOR, POST, Answered, Operations, Route

_ONE = "/notifications/<notification_id>"


class ResolutionAnswer(Answer):
    """What a notification came to for one gate."""

    gate: str
    phase: NotificationPhase
    reason: str
    promotion: str | None = Field(validation_alias="promotion_id")


class NotificationAnswer(Answer):
    """What Databricks told us of a job run, and what came of it."""

    id: str
    source: str
    phase: NotificationPhase
    reason: str
    event_type: str
    workspace_id: str
    job_id: str
    job_name: str
    job_run_id: str
    run_id: str
    task_key: str | None
    count: int = Field(description="How often it came.")
    attempts: int
    last_error: str | None
    first_received_at: Time
    last_received_at: Time
    due_at: Time | None
    resolutions: list[ResolutionAnswer]

    @classmethod
    def of(cls, row: StoredNotification) -> Self:
        """Of a notification as it is stored."""
        return cls.reading(row, row.notification, row.retry)


class NotificationList(Answer):
    """Part of the list, newest first."""

    notifications: list[NotificationAnswer]
    cursor: str | None = Field(description="Asks for the next part; null at the end.")


class NotificationViews:
    """The views behind `/api/v1/notifications`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @Route(GET, "/notifications", "listNotifications", NotificationList, role=OPERATOR)
    def notifications(self, query: NotificationsQuery) -> Answered:
        """List notifications, newest first, by when each came for the first time."""
        page = self._operations.store.list_notifications(
            phase=query.phase, cursor=query.cursor, limit=query.limit
        )
        return NotificationList(notifications=[*map(NotificationAnswer.of, page.items)], cursor=page.cursor)

    @Route(GET, _ONE, "getNotification", NotificationAnswer, role=OPERATOR, errors=(404,))
    def notification(self, path: NotificationPath) -> Answered:
        """Show one notification and what it came to for each gate."""
        return NotificationAnswer.of(self._find(path))

    @Route(
        POST,
        f"{_ONE}/replay",
        "replayNotification",
        NotificationAnswer,
        role=OPERATOR,
        status=202,
        errors=(404, 409),
    )
    def replay(self, path: NotificationPath) -> Answered:
        """Have a notification resolved once more; a repeated one never reopens what has ended.

        A notification of the same job run later never reopens what has ended.
        """
        return NotificationAnswer.of(self._operations.promotion_orders.replay(self._find(path).id))

    def _find(self, path: NotificationPath) -> StoredNotification:
        return self._operations.store.get_notification(checked_id(path.notification_id, "notification"))
