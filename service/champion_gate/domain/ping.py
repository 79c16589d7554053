"""The doctor's ping: only who has this installation's secrets can ask it, and answer it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

PATH = "/hooks/ping"
SIGNATURE = "X-Champion-Gate-Signature"
LONGEST = 64
"""Bytes of the random text that is sent and answered."""


@dataclass(frozen=True)
class Ping:
    """Both sides of it; they share secrets, and no secret is sent.

    Attributes:
        secrets: the present one first, with which is asked; an answer is given to each.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)

    def question(self, sent: bytes) -> str:
        """The signature under which it is sent, in hex."""
        return _signed(self.secrets[0], "question", sent)

    def expected(self, sent: bytes) -> str:
        """What answers it, in hex."""
        return _signed(self.secrets[0], "answer", sent)

    def answer(self, sent: bytes, signature: str) -> str | None:
        """What answers it; None for whoever has none of our secrets, so that nobody else learns anything."""
        asked = [secret for secret in self.secrets if _is_same(_signed(secret, "question", sent), signature)]
        return _signed(asked[0], "answer", sent) if asked else None


def of_secrets(pairs: Iterable[tuple[str, str]], others: Iterable[str] = ()) -> Ping:
    """A ping by the secrets of webhooks, which every installation has of its own.

    Args:
        pairs: user names and passwords of Databricks' hook.
        others: secrets of the registry's webhooks; an installation may have no other.
    """
    return Ping((*(":".join(pair) for pair in pairs), *others))


def is_answer(found: bytes, expected: str) -> bool:
    """Whether that came back."""
    return hmac.compare_digest(found.strip(), expected.encode())


def _signed(secret: str, what: str, sent: bytes) -> str:
    text = b"champion-gate ping, %s: %s" % (what.encode(), sent)
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
