"""`Idempotency-Key`: a request that is sent twice is carried out once, and answered the same both times."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus

from flask import Response, request

from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.json_body import json_object
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.rows import RepeatableRequest
from champion_gate.errors import (
    ConflictError,
    GateError,
    InvalidInputError,
    LeaseLostError,
    StoreUnavailableError,
)
from champion_gate.log import get_logger
from champion_gate.store import Store
from champion_gate.web.auth import body, caller
from champion_gate.web.problems import of_gate_error

log = get_logger(__name__)

_KEPT_HEADERS = ("Location", "ETag")


class KeyReusedError(InvalidInputError):
    """The key was sent before with another request."""

    code = "idempotency_key_reused"


class RequestUnderWayError(ConflictError):
    """The request with this key has not been answered: it is being carried out, or was cut off."""

    code = "request_under_way"


class Repeatable:
    """Remembers requests by caller, path and `Idempotency-Key`, and their answers for a day."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def answer(self, key: str | None, carry_out: Callable[[], Response]) -> Response:
        """Answer the request in hand: as before if it was answered before, else by carrying it out.

        Args:
            key: its `Idempotency-Key`, of visible ASCII; None where it has none.
            carry_out: does what is asked for.

        An error after which the request may come again is not kept; one that leaves open whether anything
        was done stays under way, so that nobody does it twice unseen.

        Raises:
            KeyReusedError: the key stands for another request.
            RequestUnderWayError: the first one has not been answered.
            GateError: what carrying it out raised.
        """
        if key is None:
            return carry_out()
        asked = RepeatableRequest(
            key=request_key(caller().authenticated_by, request.path, key), fingerprint=_fingerprint()
        )
        known = self._store.begin_request(asked, self._clock.now())
        if known is not None:
            return _again(asked, known)
        try:
            response = carry_out()
        except GateError as error:
            if not _outcome_is_unknown(error):
                self._settle(asked, error)
            raise
        self._keep(asked, response)
        return response

    def _settle(self, asked: RepeatableRequest, error: GateError) -> None:
        if error.retryable or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._store.forget_request(asked)
        else:
            self._keep(asked, of_gate_error(error))

    def _keep(self, asked: RepeatableRequest, response: Response) -> None:
        headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        answer = {
            "content_type": response.content_type,
            "headers": headers,
            "body": response.get_data(as_text=True),
        }
        done = RepeatableRequest(asked.key, asked.fingerprint, response.status_code, json.dumps(answer))
        try:
            self._store.finish_request(done)
        except Exception:  # what was asked for is done, and its answer is true
            log.exception("the answer of a repeatable request was not kept; it stays under way")


def request_key(authenticated_by: str, path: str, key: str) -> str:
    """Under what a request is kept: a hash, because a path may be longer than what a database indexes."""
    return _sha256([authenticated_by, path, key])


def _fingerprint() -> str:
    """Of what is asked for and on which condition, whatever the white space and order of keys in the body."""
    query, condition = request.query_string.decode("latin-1"), request.headers.get("If-Match")
    asked = [request.method, request.path, query, condition]
    try:
        return _sha256([*asked, json_object(body() or b"{}")])
    except (ValueError, RecursionError):  # of a view that looks at no body
        return _sha256([*asked, body().hex()])


def _sha256(parts: list[object]) -> str:
    return sha256_of(canonical(parts, spaced=True))


def _outcome_is_unknown(error: GateError) -> bool:
    # A database that fails, or a lease that is lost, may do so after the registry was called.
    return bool(getattr(error, "outcome_unknown", False)) or isinstance(
        error, StoreUnavailableError | LeaseLostError
    )


def _again(asked: RepeatableRequest, known: RepeatableRequest) -> Response:
    if known.fingerprint != asked.fingerprint:
        raise KeyReusedError(
            "This Idempotency-Key was sent before with another request.",
            hint="Use a new key for each request.",
        )
    if known.status is None:
        raise RequestUnderWayError(
            "A request with this Idempotency-Key is being carried out, or was cut off.",
            hint="Look at the thing that it was to change before you send it again under a new key.",
        )
    kept = json.loads(known.answer)
    response = Response(kept["body"], known.status, kept["headers"], content_type=kept["content_type"])
    response.headers["Idempotency-Replayed"] = "true"
    return response
