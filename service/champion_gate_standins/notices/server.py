"""Receivers that look at form, size, pace and signature, and answer as the vendors do (facts: their documentation).

Slack's webhook answers in plain words. A workflow of Power Automate answers 202 whatever becomes of the card. The third
is any receiver of Standard Webhooks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import Response, request
from standardwebhooks.webhooks import Webhook

from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.server import StandInApp

SLACK_PATH = "/services/T0000/B0000/a-secret-of-slack"
TEAMS_PATH = "/powerautomate/automations/direct/workflows/w1/triggers/manual/paths/invoke"
TEAMS_QUERY = "?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=a-signature-of-teams"
WEBHOOK_PATH = "/hook"
SIGNING_KEY = "whsec_YS1zZWNyZXQtb2YtdGhlLXN0YW5kLWlu"

_LARGEST_CARD, _LARGEST_EVENT = 28 * 1024, 20_000
_TOLERANCE = timedelta(minutes=5)
_MOST_BLOCKS, _MOST_FIELDS = 50, 10
_LONGEST = {"header": 150, "section": 3000, "field": 2000, "button": 75}
_CARD_PARTS = {"TextBlock", "RichTextBlock", "FactSet"}


@dataclass(frozen=True)
class Received:
    """One message that a receiver took.

    Attributes:
        message_id: of Standard Webhooks; empty elsewhere.
    """

    kind: str
    body: Any
    message_id: str = ""


@dataclass
class NoticeReceivers:
    """The three of them. Thread-safe; nothing is kept on disk.

    Attributes:
        clock: where the time comes from.
        slack_is: what became of the webhook or its channel, as Slack says it; empty while all is well.
        workflow_is: "there", "deleted", or "failing": it accepts, and posts nothing.
        webhook_is_gone: whether the third wants nothing any more.
        wants_bare_cards: whether the workflow wraps the card itself.
        taken: every message that is shown to somebody, oldest first.
        posted_nothing: why the workflow posted nothing of what it accepted.
    """

    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    slack_is: str = ""
    workflow_is: str = "there"
    webhook_is_gone: bool = False
    wants_bare_cards: bool = False
    secrets: list[str] = field(default_factory=lambda: [SIGNING_KEY])
    taken: list[Received] = field(default_factory=list)
    posted_nothing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._last_of_slack: datetime | None = None
        self._lock = threading.Lock()
        self.app = StandInApp("notices")
        self.app.add_url_rule("/services/<path:_secret>", view_func=self._slack, methods=["POST"])
        self.app.add_url_rule(TEAMS_PATH, view_func=self._teams, methods=["POST"])
        self.app.add_url_rule(WEBHOOK_PATH, view_func=self._webhook, methods=["POST"])
        self.faults = Faults(self.app.wsgi_app)
        self.app.wsgi_app = self.faults  # type: ignore[method-assign] # Flask's own way to add middleware

    def of(self, kind: str) -> list[Received]:
        """What one of them took."""
        return [each for each in self.taken if each.kind == kind]

    # --- Slack ---

    def _slack(self, _secret: str) -> Response:
        if request.path != SLACK_PATH or self.slack_is == "no_service":
            return _words("no_service", HTTPStatus.NOT_FOUND)
        if self.slack_is:
            statuses = {"channel_is_archived": HTTPStatus.GONE, "channel_not_found": HTTPStatus.NOT_FOUND}
            return _words(self.slack_is, statuses.get(self.slack_is, HTTPStatus.FORBIDDEN))
        with self._lock:
            now = self.clock()
            if self._last_of_slack is not None and now - self._last_of_slack < timedelta(seconds=1):
                answer = _words("rate_limited", HTTPStatus.TOO_MANY_REQUESTS)
                answer.headers["Retry-After"] = "1"
                return answer
            self._last_of_slack = now
        body = _json()
        if not isinstance(body, dict) or any(_slack_problems(body)):
            return _words("invalid_payload", HTTPStatus.BAD_REQUEST)
        if not body.get("text"):
            return _words("no_text", HTTPStatus.BAD_REQUEST)
        self.taken.append(Received("slack", body))
        return _words("ok", HTTPStatus.OK)

    # --- Teams ---

    def _teams(self) -> Response:
        if request.args.get("sig") != "a-signature-of-teams":
            return _error("DirectApiAuthorizationRequired", HTTPStatus.UNAUTHORIZED)
        if self.workflow_is == "deleted":
            return _error("WorkflowNotFound", HTTPStatus.NOT_FOUND)
        why = self._posts_nothing_because()
        if why:
            self.posted_nothing.append(why)
        else:
            self.taken.append(Received("teams", _json()))
        return Response("", HTTPStatus.ACCEPTED)

    def _posts_nothing_because(self) -> str:
        if self.workflow_is == "failing":
            return "the flow failed"
        if len(request.get_data()) > _LARGEST_CARD:
            return "RequestEntityTooLarge"
        body = _json()
        card = body
        if not self.wants_bare_cards:
            attachments = body.get("attachments") if isinstance(body, dict) else None
            if not attachments or body.get("type") != "message":
                return "there are no attachments"
            (attachment,) = attachments
            if attachment.get("contentType") != "application/vnd.microsoft.card.adaptive":
                return "the attachment is no card"
            card = attachment.get("content")
        return next(_card_problems(card), "")

    # --- Standard Webhooks ---

    def _webhook(self) -> Response:
        if self.webhook_is_gone:
            return Response("", HTTPStatus.GONE)
        body, headers = request.get_data(), request.headers
        message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        at = datetime.fromtimestamp(int(stamp or 0), UTC)
        signatures = headers.get("webhook-signature", "").split(" ")
        wanted = {Webhook(secret).sign(message_id, at, body.decode()) for secret in self.secrets}
        is_ours = message_id and wanted.intersection(signatures) and abs(self.clock() - at) <= _TOLERANCE
        if not is_ours:
            return Response("", HTTPStatus.UNAUTHORIZED)
        if len(body) >= _LARGEST_EVENT:
            return Response("", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        event = _json()
        if not isinstance(event, dict) or event.keys() != {"type", "timestamp", "data"}:
            return Response("", HTTPStatus.UNPROCESSABLE_ENTITY)
        self.taken.append(Received("webhook", event, message_id))
        return Response("", HTTPStatus.NO_CONTENT)


def _slack_problems(body: dict[str, Any]) -> Iterator[str]:
    """Why Slack refuses a payload, of what its documentation says of blocks."""
    blocks = body.get("blocks", [])
    if len(blocks) > _MOST_BLOCKS:
        yield "too many blocks"
    for block in blocks:
        kind = block.get("type")
        if kind not in {"header", "section", "actions", "context", "divider"}:
            yield f"{kind} is no block"
        if len(block.get("fields", [])) > _MOST_FIELDS:
            yield "too many fields"
        texts = [(kind, block["text"])] if "text" in block else []
        texts += [("field", each) for each in block.get("fields", [])]
        texts += [("button", each["text"]) for each in block.get("elements", [])]
        for place, text in texts:
            is_plain = text.get("type") == "plain_text"
            if not text.get("text") or len(text["text"]) > _LONGEST[place]:
                yield "a text is empty or too long"
            if (place in {"header", "button"} and not is_plain) or ("emoji" in text and not is_plain):
                yield "a text is of the wrong kind"


def _card_problems(card: Any) -> Iterator[str]:
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard" or card.get("version") != "1.4":
        yield "it is no Adaptive Card 1.4"
        return
    yield from (
        f"{each.get('type')} is no part" for each in card["body"] if each.get("type") not in _CARD_PARTS
    )
    for each in card.get("actions", []):
        if each.get("type") != "Action.OpenUrl" or not each.get("url", "").startswith("http"):
            yield "an action is none"


def _json() -> Any:
    try:
        return json.loads(request.get_data())
    except ValueError:
        return None


def _words(text: str, status: HTTPStatus) -> Response:
    return Response(text, status, content_type="text/html")


def _error(code: str, status: HTTPStatus) -> Response:
    told = {"error": {"code": code, "message": f"No, says {request.url}"}}
    return Response(json.dumps(told), status, content_type="application/json")
