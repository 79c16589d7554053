"""Who calls the API or the command line, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from champion_gate.domain.text import is_plain_name, pretends_to_be_us

LONGEST_NAME = 200


class Role(StrEnum):
    """What a caller may do. An operator may do all that a viewer may."""

    VIEWER = "viewer"
    OPERATOR = "operator"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what the other may."""
        return self is Role.OPERATOR or other is Role.VIEWER


@dataclass(frozen=True)
class Caller:
    """Somebody who has been authenticated.

    Attributes:
        actor: the name that goes into the ledger: an API token's name, a person's name at the issuer, or
            the system user of the command line.
        role: what they may do.
        authenticated_by: how we know: `API token t-…`, `OIDC <issuer> <sub>`, `command line`.
        address: the source address of the call; None on the command line.
    """

    actor: str
    role: Role
    authenticated_by: str
    address: str | None = None


@dataclass(frozen=True)
class ApiToken:
    """A bearer token of the API, as it is kept: its secret part only as a hash.

    Attributes:
        id: also the readable part of the token; `[a-z0-9]+`.
        name: who or what uses it; the actor of its calls. No two tokens that count share one.
        secret_sha256: lower-case hex.
        created_by: who made it.
        expires_at: from then on it does not count; None: never.
        last_used_at: to the minute; None: never.
    """

    id: str
    name: str
    role: Role
    secret_sha256: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def counts_at(self, at: datetime) -> bool:
        """Whether it admits anybody at that time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True)
class Person:
    """Somebody whom an identity provider has signed in.

    Attributes:
        actor: the name for the ledger.
        issuer, subject: who that is at the provider, whatever the name is there.
        role_values: what the token's claim of roles held; gates.yaml makes a role of it.
    """

    actor: str
    issuer: str
    subject: str
    role_values: tuple[str, ...]

    @property
    def authenticated_by(self) -> str:
        """How we know."""
        return f"OIDC {self.issuer} {self.subject}"


@dataclass(frozen=True)
class Attempt:
    """One try to sign in at an identity provider, made of what only that browser knows.

    Attributes:
        state: comes back with the code, and shows that it is for this browser.
        nonce: the ID token must hold it.
        verifier: shows the provider that whoever redeems the code is who asked for it.
    """

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Session:
    """A person who is signed in to the pages, by an API token or by an identity provider; never a role.

    Attributes:
        id_sha256: lower-case hex, of the random text in the person's cookie.
        token_id: the API token's; None where an identity provider signed in.
        person: whom it signed in; None where a token did.
        expires_at: from then on it does not count.
    """

    id_sha256: str
    token_id: str | None
    person: Person | None
    begun_at: datetime
    expires_at: datetime


def is_callers_name(name: str, longest: int = LONGEST_NAME) -> bool:
    """Whether somebody may be known by this name: a reader of the ledger sees all of it, and takes it for nobody else.

    Args:
        name: as an issuer, a system or a person gives it.
        longest: how many characters it may have.
    """
    return is_plain_name(name, longest) and not pretends_to_be_us(name)
