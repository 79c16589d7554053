"""Which promotion and CI job a token was first posted for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select

from champion_gate.domain.approval import TokenUse
from champion_gate.store.tables import job_tokens
from champion_gate.store.upsert import upsert


def bind(
    connection: Connection, token: str, *, promotion_id: str, job: str, expires_at: datetime, at: datetime
) -> TokenUse:
    """Bind a token to what it was first posted for, and say whether this is that first time.

    Args:
        connection: in a writing transaction.
        token: issuer and token id, however made one.
        promotion_id: what it was posted for.
        job: which CI job posted it.
        expires_at: until when the token could be posted again.
        at: now; what expired before is forgotten.
    """
    connection.execute(delete(job_tokens).where(job_tokens.c.expires_at < at))
    insert = upsert(connection, job_tokens).values(
        token=token, promotion_id=promotion_id, job=job, expires_at=expires_at
    )
    # Not `rowcount`, which SQLAlchemy does not promise for an INSERT: psycopg's is gone when it is asked for.
    statement = insert.on_conflict_do_nothing(index_elements=["token"]).returning(job_tokens.c.token)
    if connection.execute(statement).one_or_none() is not None:
        return TokenUse.FIRST
    row = connection.execute(select(job_tokens).where(job_tokens.c.token == token)).one()
    return TokenUse.AGAIN if (row.promotion_id, row.job) == (promotion_id, job) else TokenUse.ELSEWHERE
