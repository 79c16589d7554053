"""Slack's incoming webhooks (docs.slack.dev: "Sending messages using incoming webhooks", "Block Kit")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.client import json_bytes
from champion_gate.adapters.notices.hook import gone
from champion_gate.domain.notices import Message
from champion_gate.errors import VendorUnavailableError

_HEADER, _FIELD, _BUTTON, _URL = 150, 2000, 75, 3000  # characters
_ROWS = 5  # a section has ten fields
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_OURS = frozenset({"invalid_payload", "no_text", "too_many_attachments"})
_REPORT = "Slack does not take our form of it: please report that."
_NEW = "Make a new incoming webhook in Slack, and set its address."


class Slack:
    """What an incoming webhook of Slack's takes. Values are plain text, in which no markup is known."""

    vendor = "Slack"

    def body(self, message: Message) -> bytes:
        """See Form."""
        return json_bytes(
            {
                "text": escaped(message.title, _FIELD),
                "mrkdwn": False,
                "unfurl_links": False,
                "unfurl_media": False,
                "blocks": list(_blocks(message)),
            }
        )

    def headers(self, message_id: str, body: bytes) -> Mapping[str, str]:
        """None: the address is all that Slack asks for."""
        del message_id, body
        return {}

    def taken(self, answer: Answer) -> str:
        """See Form."""
        if answer.body.strip() != b"ok":
            raise VendorUnavailableError(answer.vendor, "what answered is not Slack.", outcome_unknown=True)
        return "Slack took it."

    def word(self, answer: Answer) -> str:
        """See Form; Slack's answers are plain text."""
        return answer.body[:_BUTTON].decode(errors="replace").strip()

    def never(self, answer: Answer) -> str | None:
        """See Form."""
        if not gone(answer):
            return None
        return _REPORT if self.word(answer) in _OURS else _NEW


def _blocks(message: Message) -> Iterator[dict[str, Any]]:
    title = _plain(message.title, _FIELD)
    # The end of a long name may be what tells one model from another, and a header has no room for it.
    yield {"type": "header" if len(title["text"]) <= _HEADER else "section", "text": title}
    rows = [(_plain(heading, _FIELD), _plain(value, _FIELD)) for heading, value in message.facts]
    for at in range(0, len(rows), _ROWS):
        yield {"type": "section", "fields": [cell for row in rows[at : at + _ROWS] for cell in row]}
    links = [(words, url) for words, url in message.links if len(url) <= _URL]
    if links:
        yield {
            "type": "actions",
            "elements": [
                {"type": "button", "text": _plain(words, _BUTTON), "url": url, "action_id": f"open-{index}"}
                for index, (words, url) in enumerate(links)
            ],
        }


def _plain(text: str, most: int) -> dict[str, Any]:
    # `emoji` turns `:name:` into a picture.
    return {"type": "plain_text", "text": escaped(text, most) or "—", "emoji": False}


def escaped(text: str, most: int) -> str:
    """The text without Slack's control characters, of at most so many characters, no escape cut in two."""
    found: list[str] = []
    left = most - 1
    for char in text:
        piece = _ESCAPES.get(char, char)
        if len(piece) > left:
            return "".join([*found, "…"])
        found.append(piece)
        left -= len(piece)
    return "".join(found)
