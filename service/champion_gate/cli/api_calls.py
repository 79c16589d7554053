"""Calls to a service's API: its refusals become our errors, and nothing is followed, endless or too large."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from champion_gate.adapters.http.answer import A_WEB_PAGE as WEB_PAGE
from champion_gate.adapters.http.answer import is_web_page
from champion_gate.adapters.http.deadline import Deadline, new_session
from champion_gate.domain.text import one_line
from champion_gate.errors import GateError, VendorUnavailableError
from champion_gate.settings.api_access import ApiAccess

_SERVICE = "the service"
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 45.0  # an order waits half a minute for another writer of its alias
_LARGEST_ANSWER = 16 * 1024 * 1024
_CHUNK = 64 * 1024
_RETRIES = 2
_FIRST_PAUSE = 0.5
_LONGEST_TEXT = 2000
_PROBLEM = "application/problem+json"
_TRY_AGAIN = frozenset({408, 429, 502, 503, 504})
_TRY_AGAIN_CODES = frozenset({"alias_busy", "lease_lost"})


class ServiceError(GateError):
    """The service said no; status, code, text and hint are its own."""

    def __init__(self, status: int, problem: Mapping[str, object]) -> None:
        """Keep nothing of it that a terminal could obey.

        Args:
            status: of the answer.
            problem: its body, as RFC 9457 has it.
        """

        def text(name: str) -> str:
            return one_line(str(problem.get(name) or ""), _LONGEST_TEXT)

        super().__init__(text("detail") or f"The service answered {status}.", hint=text("hint"))
        self.status = status
        self.code = text("code")
        # A vendor's refusal is 502 too, and helps nobody to repeat.
        self.retryable = (status in _TRY_AGAIN and status != HTTPStatus.BAD_GATEWAY) or (
            self.code in _TRY_AGAIN_CODES
        )


class _Bearer(AuthBase):
    """Set by an object of ours, for else requests would send what ~/.netrc has for the host."""

    def __init__(self, access: ApiAccess) -> None:
        self._token = access.token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return request


class ApiCalls:
    """Calls one service. Reads, and POSTs by their key, are sent again where no answer came; all else once."""

    def __init__(
        self,
        access: ApiAccess,
        *,
        idempotency_key: str,
        sleep: Callable[[float], None] = time.sleep,
        total_seconds: float = 60.0,
    ) -> None:
        """Nothing is called yet.

        Args:
            access: where the service is, and our token.
            idempotency_key: sent with every POST; the service carries out one request a key.
            sleep: pauses between tries.
            total_seconds: how long one call may take, with its retries.
        """
        self._base = f"{access.url}/api/v1"
        self._auth = _Bearer(access)
        self._key = idempotency_key
        self._sleep = sleep
        self._total = total_seconds
        self._session = new_session()
        # Plain HTTP goes to this machine only, and so past every proxy.
        self._session.trust_env = access.url.startswith("https://")

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object with which a call is answered.

        Args:
            method: upper-case.
            path: below /api/v1, already encoded.
            query: parameters; those that are None are left out.
            body: sent as JSON.
            headers: further ones.

        Raises:
            ServiceError: the service said no.
            VendorUnavailableError: no answer, or none that can be read.
        """
        found = _object(self.raw(method, path, query=query, body=body, headers=headers))
        if found is None:
            raise unreadable(f"{method} {path}", may_have_acted=method != "GET")
        return found

    def raw(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of a good answer; as for `json`. A web page, such as a proxy's to sign in, is none."""
        sent = {"Accept": f"application/json, text/markdown, {_PROBLEM}", **(headers or {})}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        if method == "POST":
            sent["Idempotency-Key"] = self._key
        given = {name: text for name, text in (query or {}).items() if text is not None}
        url = f"{self._base}{path}" + (f"?{urlencode(given)}" if given else "")
        ends_at = time.monotonic() + self._total
        failures = 0
        while True:
            try:
                found = self._exchange(method, url, sent, data, ends_at)
                break
            except VendorUnavailableError:
                pause = _FIRST_PAUSE * 2**failures
                failures += 1
                late = time.monotonic() + pause >= ends_at
                if method not in {"GET", "POST"} or failures > _RETRIES or late:
                    raise
                self._sleep(pause)
        if is_web_page(found):
            raise unreadable(f"{method} {path}", WEB_PAGE, may_have_acted=method != "GET")
        return found

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, ends_at: float
    ) -> bytes:
        left = max(ends_at - time.monotonic(), 0.001)
        with Deadline(left) as deadline:
            try:
                response = self._session.request(
                    method,
                    url,
                    data=data,
                    headers=dict(headers),
                    timeout=(min(_CONNECT_SECONDS, left), min(_READ_SECONDS, left)),
                    allow_redirects=False,
                    stream=True,
                    auth=self._auth,
                )
                with response:
                    body = _bounded(response, f"{method} {urlsplit(url).path}")
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise self._no_answer(method, error, cut=deadline.passed) from None
        if deadline.passed:
            raise self._no_answer(method, None, cut=True)
        if not HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(response, body)
        return body

    def _no_answer(self, method: str, error: Exception | None, *, cut: bool) -> VendorUnavailableError:
        """Say so in words of ours: the library's may hold URLs with credentials (proxies)."""
        why = "no whole answer in time" if cut else type(error).__name__
        if isinstance(error, requests.exceptions.SSLError):
            why = "its certificate could not be verified"
        acts = method != "GET"
        hint = "Is `champion-gate serve` running, and the address right?"
        if acts:
            hint += " It may have been carried out: look before you repeat it."
        return VendorUnavailableError(
            _SERVICE, f"no answer from {self._base} ({why}).", hint=hint, outcome_unknown=acts
        )

    def _refusal(self, response: requests.Response, body: bytes) -> GateError:
        status = response.status_code
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        problem = _object(body) if kind == _PROBLEM else None
        if problem is not None:
            return ServiceError(status, problem)
        if status in _TRY_AGAIN:
            return VendorUnavailableError(
                _SERVICE, f"{self._base} answered {status}.", hint="Something before it may be at fault."
            )
        hint = "Is this the service's address? Its API lies at …/api/v1, which is added here."
        reason = f"with {WEB_PAGE}" if is_web_page(body) else "and no reason"
        return ServiceError(status, {"detail": f"{self._base} answered {status} {reason}.", "hint": hint})


def _bounded(response: requests.Response, call: str) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            raise unreadable(call, may_have_acted=response.request.method != "GET")
    return bytes(body)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def unreadable(
    call: str, what: str = "something that cannot be read", *, may_have_acted: bool = False
) -> VendorUnavailableError:
    """An answer that is not what the API promises.

    Args:
        call: its method and path.
        what: what came instead.
        may_have_acted: whether the call may have been carried out all the same.
    """
    return VendorUnavailableError(
        _SERVICE,
        f"{call} was answered with {what}.",
        hint="Is this the service's address, and of this version? A proxy before it may want people to sign in.",
        outcome_unknown=may_have_acted,
    )
