"""API tokens: made, checked and revoked. Whoever holds one is the caller by its name and with its role."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from champion_gate.domain.callers import ApiToken, Caller, Role
from champion_gate.domain.ports.runtime import Chance, Clock
from champion_gate.domain.text import is_plain_name, one_line, pretends_to_be_us
from champion_gate.errors import ConflictError, InvalidInputError, NotFoundError
from champion_gate.store import Store

_log = logging.getLogger(__name__)

PREFIX = "cgate_"
"""How every API token begins, so that secret scanners and our own log recognise one."""

_FORM = re.compile(PREFIX + r"([a-z0-9]{16})_([a-z0-9]{64})")
_SECRET_PARTS = 4  # of 16 characters, 82 bits each
_LONGEST_NAME = 100
_NOBODYS_HASH = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class ApiTokens:
    """The tokens that the store keeps, of which it knows only hashes."""

    store: Store
    clock: Clock
    chance: Chance

    def create(
        self, name: str, role: Role, *, expires_at: datetime | None, created_by: str
    ) -> tuple[ApiToken, str]:
        """Make one.

        Args:
            name: who or what will use it; goes into the ledger as the actor of its calls.
            role: what it may do.
            expires_at: from then on it does not count, in UTC; None: never.
            created_by: who makes it.

        Returns:
            The token as it is kept, and its text, which is nowhere else.

        Raises:
            InvalidInputError: the name could deceive a reader of the ledger, or the time has passed.
            ConflictError: another token that counts bears the name.
        """
        now = self.clock.now()
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError("The token would have expired already.", hint="Choose a later time.")
        secret = "".join(self.chance.token() for _ in range(_SECRET_PARTS))
        token = ApiToken(
            id=self.chance.token(),
            name=_check_name(name),
            role=role,
            secret_sha256=_hash(secret),
            created_at=now,
            created_by=created_by,
            expires_at=expires_at,
        )
        self.store.create_api_token(token)
        return token, f"{PREFIX}{token.id}_{secret}"

    def revoke(self, token_id_or_name: str) -> ApiToken:
        """Have a token admit nobody from now on.

        Args:
            token_id_or_name: its id, or the name of one that counts.

        Returns:
            The token as it was.

        Raises:
            NotFoundError: there is none of this id, and none that counts of this name.
            ConflictError: two tokens are meant, or it has been revoked before.
        """
        now = self.clock.now()
        meant = [
            token
            for token in self.store.list_api_tokens()
            if token.id == token_id_or_name or (token.name == token_id_or_name and token.counts_at(now))
        ]
        if not meant:
            raise NotFoundError(
                "There is no such token, or it does not count any more.",
                hint="`champion-gate tokens list` shows all.",
            )
        if len(meant) > 1:
            raise ConflictError(
                "That is the id of one token and the name of another.", hint="Name their ids."
            )
        if not self.store.revoke_api_token(meant[0].id, now):
            raise ConflictError(f"Token {meant[0].id} has been revoked before.")
        return meant[0]

    def list(self) -> tuple[ApiToken, ...]:
        """All tokens, also expired and revoked ones, newest first."""
        return self.store.list_api_tokens()

    def authenticate(self, text: str) -> ApiToken | None:
        """The token that this is the text of; None where it is none that counts, for a reason that is only logged.

        Args:
            text: as it was sent, of any length.
        """
        now = self.clock.now()
        found = self._find(text, now)
        if isinstance(found, ApiToken):
            self._note_use(found, now)
            return found
        _log.info("an API token was refused", extra={"reason": found})
        return None

    def _find(self, text: str, now: datetime) -> ApiToken | str:
        """The token, or why there is none."""
        form = _FORM.fullmatch(text)
        if form is None:
            return "it has not the form of one"
        token_id, secret = form.groups()
        token = self.store.api_token(token_id)
        # An unknown id takes as long as a wrong secret.
        is_right = hmac.compare_digest(_hash(secret), _NOBODYS_HASH if token is None else token.secret_sha256)
        if token is None:
            return f"there is none of the id {token_id}"
        if not is_right:
            return f"its secret is not that of {token_id}"
        if not token.counts_at(now):
            return f"{token_id} {'was revoked' if token.revoked_at else 'has expired'}"
        return token

    def _note_use(self, token: ApiToken, now: datetime) -> None:
        try:
            self.store.note_api_token_use(token.id, now)
        except Exception:  # noqa: BLE001 - a full disk must not keep readers out
            _log.exception("the use of an API token was not noted")


def api_caller(
    tokens: ApiTokens, of_issuer: Callable[[str], tuple[str, Role, str]] | None = None
) -> Callable[[str, str | None], Caller | None]:
    """How bearer text is turned into a caller.

    Args:
        tokens: knows the texts that begin as API tokens do.
        of_issuer: knows all others, where an issuer is configured: gives actor, role and how we know.

    Returns:
        A function of the text and the source address. It returns None, or raises NotAuthenticatedError, where
        the text admits nobody, and raises VendorUnavailableError where the issuer's keys cannot be read.
    """

    def caller_of(text: str, address: str | None) -> Caller | None:
        if text.startswith(PREFIX) or of_issuer is None:
            token = tokens.authenticate(text)
            return Caller(token.name, token.role, f"API token {token.id}", address) if token else None
        actor, role, authenticated_by = of_issuer(text)
        return Caller(actor, role, authenticated_by, address)

    return caller_of


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_name(name: str) -> str:
    if not is_plain_name(name, _LONGEST_NAME):
        raise InvalidInputError(
            f"{one_line(name, _LONGEST_NAME)!r} cannot be a token's name.",
            hint=f"Use 1 to {_LONGEST_NAME} visible characters without a backslash, and no blank at either end.",
        )
    if pretends_to_be_us(name):
        raise InvalidInputError(
            "A token's name must not look like the gate itself or like somebody outside.",
            hint="Let it begin otherwise than with champion-gate or outside.",
        )
    return name
