"""What makes a call ours; and credentials that need no making: none at all, or one header."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol


class Auth(Protocol):
    """What makes a call ours."""

    def headers(self) -> Mapping[str, str]:
        """The headers to send; may itself call the vendor for a token."""
        ...

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Called once after a 401: forget what these headers were made of. Whether another try may help.

        Several calls may be refused at the same time; the first of them renews for all.
        """
        ...


class NoAuth:
    """For what everybody may ask, and for calls whose body carries the credentials."""

    def headers(self) -> Mapping[str, str]:
        """None."""
        return {}

    def renew(self, refused: Mapping[str, str]) -> bool:  # noqa: ARG002 - nothing was sent
        """Nothing to be renewed."""
        return False


class Rotation:
    """Which of several credentials is used: the next one after the vendor has refused one."""

    def __init__(self, count: int) -> None:
        """The first is used to begin with.

        Args:
            count: how many there are.
        """
        self._count = count
        self.current = 0

    def renew(self) -> bool:
        """Take the next one. Whether there is another."""
        if self._count == 1:
            return False
        self.current = (self.current + 1) % self._count
        return True


class HeaderTokens:
    """One header that carries a token: the current one, or a twin that is being replaced."""

    def __init__(self, name: str, values: Sequence[str]) -> None:
        """Nothing is sent yet.

        Args:
            name: of the header, e.g. Authorization.
            values: what it may hold, scheme included, the preferred one first.
        """
        self._name = name
        self._values = tuple(values)
        self._rotation = Rotation(len(values))
        self._lock = threading.Lock()

    def headers(self) -> Mapping[str, str]:
        """The one header."""
        return {self._name: self._values[self._rotation.current]}

    def renew(self, refused: Mapping[str, str]) -> bool:
        """Take the next token. Whether there is another."""
        with self._lock:
            return self.headers() != refused or self._rotation.renew()


def looks_like_a_token(token: str) -> bool:
    """Whether this can be sent in a header: visible ASCII characters only."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token
