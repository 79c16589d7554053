"""Who is signed in to the pages: begun by an API token or an identity provider, read again at each request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from champion_gate.domain.callers import Caller, Person, Role, Session
from champion_gate.flow.api_tokens import ApiTokens

LASTS = timedelta(hours=8)
_SECRET_PARTS = 3  # of 16 characters, 82 bits each


@dataclass(frozen=True)
class Sessions:
    """The sessions that the store keeps, of whose ids it knows only hashes.

    Attributes:
        tokens: the API tokens that may sign in.
        role_of: what gates.yaml makes of a person now; None admits nobody by an identity provider.
    """

    tokens: ApiTokens
    role_of: Callable[[Person], Role | None] | None = None

    def begin(self, text: str) -> str | None:
        """Sign in whoever shows the text of an API token.

        Returns:
            The session's id, which is nowhere else; None where the text is none of a token that counts.
        """
        token = self.tokens.authenticate(text)
        return None if token is None else self._begun(token.id, None)

    def begin_for(self, person: Person) -> str | None:
        """The same for somebody whom the identity provider knows; None where that is nobody who has a role."""
        return None if self._role_of(person) is None else self._begun(None, person)

    def caller(self, session_id: str, address: str | None) -> Caller | None:
        """Who has this session, and with the role of now; None where it counts no longer, or its token does not."""
        now = self.tokens.clock.now()
        found = self.tokens.store.session(_hash(session_id))
        # A clock that was set back must not make a session longer.
        if found is None or not found.begun_at - LASTS <= now < found.expires_at:
            return None
        if found.person is not None:
            role = self._role_of(found.person)
            return (
                None
                if role is None
                else Caller(found.person.actor, role, found.person.authenticated_by, address)
            )
        token = self.tokens.store.api_token(found.token_id or "")
        if token is None or not token.counts_at(now):
            return None
        return Caller(token.name, token.role, f"API token {token.id}", address)

    def end(self, session_id: str) -> None:
        """Sign out; nothing where nobody is signed in by it."""
        self.tokens.store.end_session(_hash(session_id))

    def _role_of(self, person: Person) -> Role | None:
        return None if self.role_of is None else self.role_of(person)

    def _begun(self, token_id: str | None, person: Person | None) -> str:
        session_id = "".join(self.tokens.chance.token() for _ in range(_SECRET_PARTS))
        now = self.tokens.clock.now()
        self.tokens.store.begin_session(Session(_hash(session_id), token_id, person, now, now + LASTS))
        return session_id


def _hash(session_id: str) -> str:
    return hashlib.sha256(session_id.encode()).hexdigest()
