"""Whatever else Apprise knows (mail, Discord, Matrix, …): github.com/caronc/apprise, an optional extra."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from champion_gate.domain.notices import Message
from champion_gate.errors import VendorUnavailableError

_LARGEST = 4000  # characters; services cut at various lengths


class AppriseSender:
    """Hands a message to Apprise, which says no more than whether it was sent."""

    def __init__(self, name: str, url: str) -> None:
        """Nothing is sent yet; raises ImportError without the extra.

        Args:
            name: of the notice.
            url: of Apprise's own form, such as `mailtos://…`; the secret.
        """
        self._vendor = f"Apprise (notice {name})"
        self._apprise: Any = importlib.import_module("apprise")
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs what addresses hold
        self._url = url

    def send(self, message: Message, message_id: str) -> str:
        """See NoticeSender."""
        del message_id
        target = self._apprise.Apprise()
        lines = [f"{heading}: {value}" for heading, value in (*message.facts, *message.links)]
        known = target.add(self._url)
        if known and target.notify(body="\n".join(lines)[:_LARGEST], title=message.title, body_format="text"):
            return "Apprise sent it."
        why = "the service did not take the message." if known else "no service has an address of this form."
        raise VendorUnavailableError(self._vendor, why, outcome_unknown=known)
