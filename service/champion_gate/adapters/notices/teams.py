"""Microsoft Teams, by the address of a workflow (Power Automate) that posts an Adaptive Card 1.4."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.client import json_bytes
from champion_gate.adapters.notices.hook import fitting, gone
from champion_gate.domain.notices import Message
from champion_gate.errors import VendorUnavailableError

LARGEST = 28 * 1024
_BRACES = re.compile(r"(?<=\{)(?=\{)|(?<=\$)(?=\{)")  # {{DATE(…)}} and ${…} are replaced by what shows a card
_SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
ACCEPTED = "The workflow accepted it. Whether it is posted, Teams tells nobody but the workflow's owner."


class Teams:
    """What a workflow takes. Values stand in text runs, in which no Markdown is known (a TextBlock knows some)."""

    vendor = "Teams"

    def __init__(self, *, bare_card: bool) -> None:
        self._is_bare = bare_card

    def body(self, message: Message) -> bytes:
        """See Form."""
        return fitting(self._written, message, LARGEST)

    def headers(self, message_id: str, body: bytes) -> Mapping[str, str]:
        """None: the address holds a signature."""
        del message_id, body
        return {}

    def taken(self, answer: Answer) -> str:
        """See Form."""
        if answer.status not in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
            raise VendorUnavailableError(answer.vendor, "what answered is no workflow.", outcome_unknown=True)
        return ACCEPTED

    def word(self, answer: Answer) -> object:
        """See Form; Power Automate answers `{"error": {"code", "message"}}`."""
        try:
            told = answer.json()
        except VendorUnavailableError:
            return None
        error = told.get("error") if isinstance(told, dict) else None
        return error.get("code") if isinstance(error, dict) else None

    def never(self, answer: Answer) -> str | None:
        """See Form."""
        if not gone(answer):
            return None
        return (
            "Is the workflow there, turned on, and begun by “When a Teams webhook request is received”? Set its present "
            "address; bare_card: true is for workflows that wrap the card themselves."
        )

    def _written(self, message: Message) -> bytes:
        card = _card(message)
        if self._is_bare:
            return json_bytes(card)
        attachment = {
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": None,
            "content": card,
        }
        return json_bytes({"type": "message", "attachments": [attachment]})


def _card(message: Message) -> dict[str, Any]:
    rows = [[_run(f"{heading}: ", weight="bolder"), _run(value)] for heading, value in message.facts]
    title = [_run(message.title, weight="bolder", size="large")]
    return {
        "$schema": _SCHEMA,
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": "champion-gate",
        "body": [{"type": "RichTextBlock", "inlines": runs} for runs in (title, *rows)],
        "actions": [{"type": "Action.OpenUrl", "title": words, "url": url} for words, url in message.links],
        "msteams": {"width": "full"},
    }


def _run(text: str, **style: str) -> dict[str, str]:
    return {"type": "TextRun", "text": _BRACES.sub(" ", text) or "—", **style}
