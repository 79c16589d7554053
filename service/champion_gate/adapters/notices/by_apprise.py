"""Whatever else Apprise knows (mail, Discord, Matrix, …): github.com/caronc/apprise, an optional extra."""

from __future__ import annotations

import importlib
import logging
from typing import Any

from champion_gate.adapters.http.deadline import BoundedCalls
from champion_gate.domain.notices import Message
from champion_gate.errors import VendorUnavailableError

_LARGEST = 4000  # characters; services cut at various lengths
_MOST_AT_ONCE = 2  # calls that hang, and that nobody waits for any more


class AppriseSender:
    """Hands a message to Apprise, which says no more than whether it was sent."""

    def __init__(self, name: str, url: str, *, seconds: float = 60.0) -> None:
        """Nothing is sent yet; raises ImportError without the extra.

        Args:
            name: of the notice.
            url: of Apprise's own form, such as `mailtos://…`; the secret.
            seconds: how long one message may take; Apprise itself has no such limit.
        """
        self._vendor = f"Apprise (notice {name})"
        self._apprise: Any = importlib.import_module("apprise")
        for logs in ("apprise", "urllib3.connection"):  # they log addresses, or what those hold
            logging.getLogger(logs).setLevel(logging.CRITICAL)
        self._calls = BoundedCalls(self._vendor, slots=_MOST_AT_ONCE)
        self._seconds = seconds
        self._url = url

    def send(self, message: Message, message_id: str) -> str:
        """See NoticeSender."""
        del message_id
        return self._calls.run(lambda _: self._sent(message), seconds=self._seconds, writes=True)

    def _sent(self, message: Message) -> str:
        target = self._apprise.Apprise()
        lines = [f"{heading}: {value}" for heading, value in (*message.facts, *message.links)]
        known = target.add(self._url)
        if known and target.notify(body="\n".join(lines)[:_LARGEST], title=message.title, body_format="text"):
            return "Apprise sent it."
        why = "the service did not take the message." if known else "no service has an address of this form."
        raise VendorUnavailableError(self._vendor, why, outcome_unknown=known)
