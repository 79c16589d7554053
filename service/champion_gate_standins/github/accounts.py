"""The GitHub stand-in's accounts, and its refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from champion_gate.errors import GateError


class RefusedError(GateError):
    """GitHub would answer this with an error.

    Attributes:
        status: the HTTP status, e.g. 404 or 422.
        errors: what GitHub's answer lists beside its message.
    """

    code = "refused"

    def __init__(self, status: int, message: str, errors: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.errors = list(errors)


@dataclass(eq=False)
class User:
    """An account. `type` is "User", "Bot" or "Organization", as GitHub has it."""

    id: int
    login: str
    type: str = "User"


@dataclass(eq=False)
class Team:
    """A team of an organization."""

    id: int
    org: str
    slug: str
    members: list[User]
