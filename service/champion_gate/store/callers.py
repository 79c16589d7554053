"""What callers present: CI jobs' tokens, API tokens, sessions, and requests with an `Idempotency-Key`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, delete, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from champion_gate.domain.approval import TokenUse
from champion_gate.domain.callers import ApiToken, Person, Session
from champion_gate.domain.rows import RepeatableRequest
from champion_gate.errors import ConflictError
from champion_gate.store.engine import Transactions, upsert
from champion_gate.store.releases import let_all_read
from champion_gate.store.tables import api_tokens, job_tokens, requests, sessions
from champion_gate.store.values import from_json, from_plain, to_json

_USE_IS_NOTED_EVERY = timedelta(seconds=60)  # a call that reads is not to cost a write each time
_ANSWERS_ARE_KEPT = timedelta(hours=24)  # who repeats an order with its key does so within minutes
_SESSION = select(sessions).where(sessions.c.id_sha256 == bindparam("id"))


class Callers(Transactions):
    """Tokens, API tokens' secrets only as hashes, and the requests that come with them."""

    def bind_token(
        self, token: str, *, promotion_id: str, job: str, expires_at: datetime, at: datetime
    ) -> TokenUse:
        """Bind a CI job's token to the promotion and job that it is first posted for; forgotten after `expires_at`."""
        with self._write() as connection:
            connection.execute(delete(job_tokens).where(job_tokens.c.expires_at < at))
            first = upsert(connection, job_tokens).values(
                token=token, promotion_id=promotion_id, job=job, expires_at=expires_at
            )
            # Not `rowcount`, which SQLAlchemy does not promise for an INSERT: psycopg's is gone when it is asked for.
            bound = first.on_conflict_do_nothing(index_elements=["token"]).returning(job_tokens.c.token)
            if connection.execute(bound).one_or_none() is not None:
                return TokenUse.FIRST
            row = connection.execute(select(job_tokens).where(job_tokens.c.token == token)).one()
        return TokenUse.AGAIN if (row.promotion_id, row.job) == (promotion_id, job) else TokenUse.ELSEWHERE

    def create_api_token(self, token: ApiToken) -> None:
        """Keep a new one.

        Args:
            token: its name is free, or borne only by tokens that count no longer when it is created.

        Raises:
            ConflictError: its name is taken, or its id.
        """
        taken = select(api_tokens.c.id).where(
            api_tokens.c.name == token.name,
            api_tokens.c.revoked_at.is_(None),
            or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > token.created_at),
        )
        with self._write() as connection:
            if connection.dialect.name == "postgresql":
                # Whether a name is free depends on the time, which no unique index can; so one creates at a time.
                connection.execute(text("LOCK TABLE api_tokens IN SHARE ROW EXCLUSIVE MODE"))
            if connection.execute(taken).first() is not None:
                raise ConflictError(
                    f"There is a token named {token.name} already.", hint="Revoke it, or take another name."
                )
            let_all_read(connection, token)
            try:
                connection.execute(insert(api_tokens), {**vars(token), "role": token.role.value})
            except IntegrityError as error:
                raise ConflictError(f"There is a token with the id {token.id} already.") from error

    def api_token(self, token_id: str) -> ApiToken | None:
        """One by its id."""
        row = self._row(select(api_tokens).where(api_tokens.c.id == token_id))
        return None if row is None else _token(row)

    def list_api_tokens(self) -> tuple[ApiToken, ...]:
        """All of them, also expired and revoked ones, newest first."""
        query = select(api_tokens).order_by(api_tokens.c.created_at.desc(), api_tokens.c.id.desc())
        return tuple(_token(row) for row in self._rows(query))

    def revoke_api_token(self, token_id: str, at: datetime) -> bool:
        """It admits nobody from now on; False where there is none, or it has been revoked before."""
        open_token = (api_tokens.c.id == token_id, api_tokens.c.revoked_at.is_(None))
        with self._write() as connection:
            revoked = connection.execute(update(api_tokens).where(*open_token).values(revoked_at=at))
            return revoked.rowcount == 1

    def note_api_token_use(self, token_id: str, at: datetime) -> None:
        """Remember when it was last used, at most once a minute: most calls only read."""
        used = api_tokens.c.last_used_at
        row = self._row(select(used).where(api_tokens.c.id == token_id))
        if row is None or (row.last_used_at is not None and at - row.last_used_at < _USE_IS_NOTED_EVERY):
            return
        earlier = or_(used.is_(None), used < at)
        with self._write() as connection:
            connection.execute(
                update(api_tokens).where(api_tokens.c.id == token_id, earlier).values(last_used_at=at)
            )

    def begin_session(self, session: Session) -> None:
        """Keep a new one, and forget those that count no longer when it begins."""
        person = None if session.person is None else to_json(session.person)
        with self._write() as connection:
            let_all_read(connection, session)
            connection.execute(delete(sessions).where(sessions.c.expires_at <= session.begun_at))
            connection.execute(insert(sessions), {**vars(session), "person": person})

    def session(self, id_sha256: str) -> Session | None:
        """One by the hash of its id, whether it counts or not."""
        row = self._row(_SESSION, id=id_sha256)
        if row is None:
            return None
        person = None if row.person is None else from_json(Person, row.person)
        return Session(row.id_sha256, row.token_id, person, row.begun_at, row.expires_at)

    def end_session(self, id_sha256: str) -> None:
        """Forget one; nothing where there is none."""
        with self._write() as connection:
            connection.execute(delete(sessions).where(sessions.c.id_sha256 == id_sha256))

    def begin_request(self, request: RepeatableRequest, at: datetime) -> RepeatableRequest | None:
        """Remember that a request is being carried out; one that is known already is returned as it is kept.

        Those that were begun a day ago are forgotten.
        """
        with self._write() as connection:
            connection.execute(delete(requests).where(requests.c.begun_at <= at - _ANSWERS_ARE_KEPT))
            first = upsert(connection, requests).values(
                key=request.key, fingerprint=request.fingerprint, begun_at=at, status=None, answer=""
            )
            # Not `rowcount`: see `bind_token`.
            begun = first.on_conflict_do_nothing(index_elements=["key"]).returning(requests.c.key)
            while True:
                if connection.execute(begun).one_or_none() is not None:
                    return None
                row = connection.execute(select(requests).where(requests.c.key == request.key)).one_or_none()
                # In PostgreSQL the other one may be forgotten between the two statements; then it is our turn.
                if row is not None:
                    return RepeatableRequest(row.key, row.fingerprint, row.status, row.answer)

    def finish_request(self, request: RepeatableRequest) -> None:
        """Keep the answer of a request that was begun; an answer that is there already stays."""
        answered = update(requests).where(*_unanswered(request))
        with self._write() as connection:
            connection.execute(answered.values(status=request.status, answer=request.answer))

    def forget_request(self, request: RepeatableRequest) -> None:
        """The request did nothing: it may be carried out when it comes again, unless it has been answered."""
        with self._write() as connection:
            connection.execute(delete(requests).where(*_unanswered(request)))


def _token(row: Row[Any]) -> ApiToken:
    return from_plain(ApiToken, row._asdict())


def _unanswered(request: RepeatableRequest) -> tuple[ColumnElement[bool], ...]:
    return (
        requests.c.key == request.key,
        requests.c.fingerprint == request.fingerprint,
        requests.c.status.is_(None),
    )
