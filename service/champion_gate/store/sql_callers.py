"""The Store's part that keeps what callers present: CI jobs' tokens, API tokens, requests that may be repeated."""

from __future__ import annotations

from datetime import datetime

from champion_gate.domain.approval import TokenUse
from champion_gate.domain.callers import ApiToken
from champion_gate.domain.store import RepeatableRequest
from champion_gate.store import api_tokens, job_tokens, requests
from champion_gate.store.sql_base import SqlBase


class SqlCallers(SqlBase):
    """Tokens and the requests that come with them."""

    def bind_token(
        self, token: str, *, promotion_id: str, job: str, expires_at: datetime, at: datetime
    ) -> TokenUse:
        """Bind a CI job's token to the promotion and job that it is first posted for."""
        with self._write() as connection:
            return job_tokens.bind(
                connection, token, promotion_id=promotion_id, job=job, expires_at=expires_at, at=at
            )

    def create_api_token(self, token: ApiToken) -> None:
        """Keep a new one; raises ConflictError where its name is borne by another that counts at `created_at`."""
        with self._write() as connection:
            api_tokens.create(connection, token)

    def api_token(self, token_id: str) -> ApiToken | None:
        """One by its id."""
        with self._read() as connection:
            return api_tokens.find(connection, token_id)

    def list_api_tokens(self) -> tuple[ApiToken, ...]:
        """All of them, also expired and revoked ones, newest first."""
        with self._read() as connection:
            return api_tokens.find_all(connection)

    def revoke_api_token(self, token_id: str, at: datetime) -> bool:
        """It admits nobody from now on; False where there is none, or it has been revoked before."""
        with self._write() as connection:
            return api_tokens.revoke(connection, token_id, at)

    def note_api_token_use(self, token_id: str, at: datetime) -> None:
        """Remember when it was last used, at most once a minute: most calls only read."""
        with self._read() as connection:
            noted = api_tokens.use_is_noted(connection, token_id, at)
        if not noted:
            with self._write() as connection:
                api_tokens.note_use(connection, token_id, at)

    def begin_request(self, request: RepeatableRequest, at: datetime) -> RepeatableRequest | None:
        """Remember that a request is being carried out; one that is known already is returned as it is kept.

        Those that were begun a day ago are forgotten.
        """
        with self._write() as connection:
            return requests.begin(connection, request, at)

    def finish_request(self, request: RepeatableRequest) -> None:
        """Keep the answer of a request that was begun."""
        with self._write() as connection:
            requests.finish(connection, request)

    def forget_request(self, request: RepeatableRequest) -> None:
        """The request did nothing: it may be carried out when it comes again."""
        with self._write() as connection:
            requests.forget(connection, request)
