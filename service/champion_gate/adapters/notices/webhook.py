"""Any receiver that knows Standard Webhooks (github.com/standard-webhooks, spec 1.0): signed, with an id that stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus

from standardwebhooks.webhooks import Webhook

from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.client import json_bytes
from champion_gate.adapters.notices.hook import fitting
from champion_gate.domain.canonical import utc_text
from champion_gate.domain.notices import Message

LARGEST = 20 * 1000


class SignedWebhook:
    """What such a receiver takes: `{"type", "timestamp", "data"}`."""

    vendor = "webhook"

    def __init__(self, secrets: Sequence[str], now: Callable[[], datetime]) -> None:
        """Set up.

        Args:
            secrets: `whsec_…`, each of which signs: the present one, and during a rotation the one before.
            now: an attempt's own time is signed with it, or a receiver would refuse a late one as replayed.
        """
        self._signers = [Webhook(secret) for secret in secrets]
        self._now = now

    def body(self, message: Message) -> bytes:
        """See Form."""
        return fitting(_written, message, LARGEST - 1)

    def headers(self, message_id: str, body: bytes) -> Mapping[str, str]:
        """See Form."""
        at = self._now()
        signatures = [signer.sign(message_id, at, body.decode()) for signer in self._signers]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def taken(self, answer: Answer) -> str:
        """See Form."""
        return f"The receiver took it ({answer.status})."

    def word(self, answer: Answer) -> None:
        """None: the specification knows statuses alone."""
        del answer

    def never(self, answer: Answer) -> str | None:
        """Only 410 is an end: a receiver that is being replaced may say anything else for a while."""
        if answer.status != HTTPStatus.GONE:
            return None
        return "The receiver wants no more messages: set its present address, or take the notice out of gates.yaml."


def _written(message: Message) -> bytes:
    return json_bytes(
        {
            "type": message.event.type,
            "timestamp": utc_text(message.at, "seconds"),
            "data": {"title": message.title, **message.data},
        }
    )
