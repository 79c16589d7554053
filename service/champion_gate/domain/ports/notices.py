"""What flow asks of whoever takes notices."""

from __future__ import annotations

from typing import Protocol

from champion_gate.domain.notices import Message


class NoticeSender(Protocol):
    """Where one notice is sent."""

    def send(self, message: Message, message_id: str) -> str:
        """Send a message once; the same id tells a receiver that it has it already.

        Returns:
            What is known of it then, as a sentence: some receivers say no more than that they took it.

        Raises:
            NeverTakenError: it is not taken, now or later, until a person changes something.
            VendorError: it was not taken, or nobody knows.
        """
        ...
