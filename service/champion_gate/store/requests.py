"""Requests with an `Idempotency-Key`, kept for a day with what they were answered."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, select, update

from champion_gate.domain.store import RepeatableRequest
from champion_gate.store.tables import requests
from champion_gate.store.upsert import upsert

_KEPT = timedelta(hours=24)


def begin(connection: Connection, request: RepeatableRequest, at: datetime) -> RepeatableRequest | None:
    """Insert it; one with its key that is there already is returned as it is kept.

    Args:
        connection: in a writing transaction.
        request: what is asked for.
        at: now; what began a day before is forgotten.
    """
    connection.execute(delete(requests).where(requests.c.begun_at <= at - _KEPT))
    insert = upsert(connection, requests).values(
        key=request.key, fingerprint=request.fingerprint, begun_at=at, status=None, answer=""
    )
    # Not `rowcount`, which SQLAlchemy does not promise for an INSERT: psycopg's is gone when it is asked for.
    statement = insert.on_conflict_do_nothing(index_elements=["key"]).returning(requests.c.key)
    while True:
        if connection.execute(statement).one_or_none() is not None:
            return None
        row = connection.execute(select(requests).where(requests.c.key == request.key)).one_or_none()
        # In PostgreSQL the other one may be forgotten between the two statements; then it is our turn.
        if row is not None:
            return RepeatableRequest(row.key, row.fingerprint, row.status, row.answer)


def finish(connection: Connection, request: RepeatableRequest) -> None:
    """Write the answer of a request that was begun; an answer that is there already stays."""
    connection.execute(
        update(requests).where(*_unanswered(request)).values(status=request.status, answer=request.answer)
    )


def forget(connection: Connection, request: RepeatableRequest) -> None:
    """Delete it, unless it has been answered."""
    connection.execute(delete(requests).where(*_unanswered(request)))


def _unanswered(request: RepeatableRequest) -> tuple[ColumnElement[bool], ...]:
    return (
        requests.c.key == request.key,
        requests.c.fingerprint == request.fingerprint,
        requests.c.status.is_(None),
    )
