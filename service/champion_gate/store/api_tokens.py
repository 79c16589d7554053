"""API tokens: their secrets only as hashes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from champion_gate.domain.callers import ApiToken, Role
from champion_gate.errors import ConflictError
from champion_gate.store.tables import api_tokens

_USE_IS_NOTED_EVERY = timedelta(seconds=60)


def create(connection: Connection, token: ApiToken) -> None:
    """Insert it.

    Args:
        connection: in a writing transaction.
        token: its name is free, or borne only by tokens that count no longer when it is created.

    Raises:
        ConflictError: its name is taken, or its id.
    """
    if connection.dialect.name == "postgresql":
        # Whether a name is free depends on the time, which no unique index can; so one creates at a time.
        connection.execute(text("LOCK TABLE api_tokens IN SHARE ROW EXCLUSIVE MODE"))
    taken = select(api_tokens.c.id).where(
        api_tokens.c.name == token.name,
        api_tokens.c.revoked_at.is_(None),
        or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > token.created_at),
    )
    if connection.execute(taken).first() is not None:
        raise ConflictError(
            f"There is a token named {token.name} already.", hint="Revoke it, or take another name."
        )
    row = {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "secret_sha256": token.secret_sha256,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }
    try:
        connection.execute(insert(api_tokens), row)
    except IntegrityError as error:
        raise ConflictError(f"There is a token with the id {token.id} already.") from error


def find(connection: Connection, token_id: str) -> ApiToken | None:
    """One by its id."""
    row = connection.execute(select(api_tokens).where(api_tokens.c.id == token_id)).one_or_none()
    return None if row is None else _token(row)


def find_all(connection: Connection) -> tuple[ApiToken, ...]:
    """All of them, newest first."""
    query = select(api_tokens).order_by(api_tokens.c.created_at.desc(), api_tokens.c.id.desc())
    return tuple(_token(row) for row in connection.execute(query))


def revoke(connection: Connection, token_id: str, at: datetime) -> bool:
    """It admits nobody from now on; False where there is none, or it has been revoked before."""
    open_token = (api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None))
    return connection.execute(update(api_tokens).where(*open_token).values(revoked_at=at)).rowcount == 1


def use_is_noted(connection: Connection, token_id: str, at: datetime) -> bool:
    """Whether a use within the last minute is on record, or there is no such token: nothing to write."""
    row = connection.execute(
        select(api_tokens.c.last_used_at).where(api_tokens.c.id == token_id)
    ).one_or_none()
    if row is None:
        return True
    return row.last_used_at is not None and at - row.last_used_at < _USE_IS_NOTED_EVERY


def note_use(connection: Connection, token_id: str, at: datetime) -> None:
    """Remember when it was last used; never an earlier time than the one on record."""
    earlier = or_(api_tokens.c.last_used_at.is_(None), api_tokens.c.last_used_at < at)
    connection.execute(update(api_tokens).where(api_tokens.c.id == token_id, earlier).values(last_used_at=at))


def _token(row: Row[Any]) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        secret_sha256=row.secret_sha256,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
