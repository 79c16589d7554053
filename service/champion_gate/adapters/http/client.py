"""Outgoing HTTP to one vendor's JSON API: time-outs, bounded retries of reads, conditional requests, paging."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import requests
import urllib3

from champion_gate.adapters.http.answer import Answer, Cache, KeptPage, Limits, why_not_sent
from champion_gate.adapters.http.auth import Auth
from champion_gate.adapters.http.deadline import (
    Deadline,
    Timed,
    Timeouts,
    new_session,
    read_environment,
    untimed,
)
from champion_gate.errors import (
    ConfigurationError,
    GateError,
    TooLongListError,
    VendorRefusedError,
    VendorUnavailableError,
)

T = TypeVar("T")

_RETRIES = 2  # the worker tries again later, and holds no thread meanwhile
_FIRST_PAUSE = 0.5  # seconds; doubled each time
_CHUNK = 64 * 1024
_MIB = 1024 * 1024


class ApiClient:
    """Calls one vendor. Safe to share between threads.

    Redirects are not followed. GETs (and calls marked `repeatable`) are tried three times; all else is
    sent once, and where its fate is not known the error says so (`outcome_unknown`).
    """

    def __init__(
        self,
        *,
        vendor: str,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeouts: Timeouts | None = None,
        sleep: Callable[[float], None] = time.sleep,
        max_answer_bytes: int = 8 * _MIB,
        max_kept_pages: int = 100,
        limits: Limits = (),
        refusal: Callable[[Answer], GateError] = Answer.error,
        takes_proxies: bool = True,
        timed: Timed = untimed,
        is_secret: bool = False,
        public_only: bool = False,
    ) -> None:
        """Nothing is called yet.

        Args:
            vendor: its name in words, for messages.
            base_url: scheme, host and leading path, e.g. `https://github.example.com/api/v3`.
            headers: sent with every call.
            ca_file: PEM file or directory of certificate authorities; None takes the usual ones.
            timeouts: see there.
            sleep: pauses between tries.
            max_answer_bytes: a longer body (unpacked) is an error.
            max_kept_pages: of how many pages what was taken is kept, for conditional requests.
            limits: how the vendor tells limits, which pass, from refusals.
            refusal: the error that an answer stands for.
            takes_proxies: whether those that the environment names are used.
            timed: takes the time of each call, its retries included.
            is_secret: whether whoever knows a path may call it, so that no message names one.
            public_only: whether a connection to an address of a private network, or of this machine, is refused. Who
                connects through a proxy leaves that to the proxy's rules.

        Raises:
            ConfigurationError: the URL or the file cannot be used.
        """
        problems = []
        split = urlsplit(base_url)
        if split.scheme not in {"http", "https"} or not split.hostname or split.query or split.fragment:
            problems.append(f"{vendor}: {base_url!r} is no base URL such as https://api.example.com")
        if split.username is not None:
            problems = [f"{vendor}: the base URL must not hold a user name or password"]
        if ca_file is not None and not os.path.exists(ca_file):  # noqa: PTH110 - a file or a directory
            problems.append(f"{vendor}: there is no file {ca_file!r} of certificate authorities")
        if problems:
            raise ConfigurationError(problems)
        self.vendor = vendor
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._timeouts = timeouts or Timeouts()
        self._sleep = sleep
        self._max_answer_bytes = max_answer_bytes
        self._limits = limits
        self._cache = Cache(max_kept_pages)
        self._refusal = refusal
        self._timed = timed
        self._is_secret = is_secret
        if is_secret:  # urllib3 warns of an answer's odd headers, and names the whole address
            logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
        self._session = new_session(public_only=public_only)
        self._session.trust_env = takes_proxies
        self._session.verify = ca_file or True
        read_environment(self._session, base_url)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def get(self, path: str, *, auth: Auth, params: Mapping[str, str] | None = None) -> object:
        """The JSON at a path.

        Raises:
            VendorUnavailableError: no answer, an unreadable one, a 5xx, or the rate limit.
            VendorRefusedError: any other status but 200; VendorNotFoundError for 404.
        """
        return self._get(self._url(path, params), auth=auth).json()

    def get_pages(
        self,
        path: str,
        *,
        auth: Auth,
        read: Callable[[object], T],
        params: Mapping[str, str] | None = None,
        max_pages: int = 10,
        list_path: str = "",
    ) -> list[T]:
        """What is taken of every page, as `Link: rel="next"` names them.

        Only the query of such a link is taken: a server behind a proxy names itself by a scheme, host, port or
        leading path by which we do not reach it.

        Args:
            path: below the base URL, made by `joined`.
            auth: the credentials.
            read: takes of a page's JSON what is needed; a page may have a megabyte, so no two are kept at a time.
            params: the query of the first page.
            max_pages: more are an error.
            list_path: how the path of every next page has to end; all of `path` where it is not given.

        Raises:
            TooLongListError: more pages than that.
            VendorRefusedError: a link to another list, or one to a page that was read.
            VendorError: as for `get`, and what `read` raises.
        """

        def page_at(url: str) -> KeptPage:
            answer = self._get(url, auth=auth)
            return KeptPage(None, answer.next_query(list_path or path), read(answer.json()))

        return self._walk(path, params, page_at, max_pages)

    def get_kept_pages(
        self,
        path: str,
        *,
        auth: Auth,
        read: Callable[[object], T],
        params: Mapping[str, str] | None = None,
        max_pages: int = 10,
        list_path: str = "",
    ) -> list[T]:
        """What is taken of every page, for a list that is looked at again and again.

        Each page is asked for with the ETag of its last answer. One that has not changed costs no rate limit, and
        nothing is read again; only what was taken is kept, as bodies are large.

        Args:
            path: as for `get_pages`, like what is not named here.
            auth: the credentials.
            read: takes of a page's JSON what is needed; the same for every look at this list.
            params: the query of the first page.
            max_pages: more are an error.
            list_path: how the path of every next page has to end.

        Raises:
            VendorError: as for `get_pages`.
        """

        def page_at(url: str) -> KeptPage:
            known = self._cache.get(url)
            answer = self._get(url, auth=auth, etag=known.etag if known else None)
            if known is not None and answer.status == HTTPStatus.NOT_MODIFIED:
                return known
            page = KeptPage(answer.etag, answer.next_query(list_path or path), read(answer.json()))
            if page.etag is not None:
                self._cache.put(url, page)
            return page

        return self._walk(path, params, page_at, max_pages)

    def _walk(
        self,
        path: str,
        params: Mapping[str, str] | None,
        page_at: Callable[[str], KeptPage],
        max_pages: int,
    ) -> list[Any]:
        pages: list[Any] = []
        url = self._url(path, params)
        read: set[str] = set()
        while len(pages) < max_pages:
            page = page_at(url)
            pages.append(page.value)
            read.add(url)
            if page.next_query is None:
                return pages
            url = f"{self._url(path, None)}?{page.next_query}"
            if url in read:
                raise VendorRefusedError(
                    self.vendor,
                    f"GET {path} names a page as its next one that was read before.",
                    hint="Does a proxy in front of the server drop or change the queries of calls?",
                )
        raise TooLongListError(
            self.vendor, f"GET {path} has more than {max_pages} pages, which are not all read."
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        auth: Auth,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, object] | str | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        repeatable: bool = False,
    ) -> Answer:
        """Send JSON, or what the headers say, once.

        Args:
            method: upper-case.
            path: below the base URL, made by `joined`.
            auth: the credentials.
            params: the query.
            body: a JSON object, or text, of which the headers say what it is; None sends no body.
            headers: further ones.
            accept: statuses that are answers here, not errors.
            repeatable: doing it twice does no harm, so it is tried as often as a GET.

        Returns:
            An answer with a 2xx status or one of `accept`.

        Raises:
            VendorUnavailableError: with `outcome_unknown` unless it is sure that nothing was done.
            VendorRefusedError: any other status.
        """
        text = body if body is None or isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        data = None if text is None else text.encode(errors="replace")
        url = self._url(path, params)
        with self._timed(self.vendor):
            answer = self._call(
                method, url, auth=auth, data=data, extra=headers, repeatable=repeatable, accept=accept
            )
            if answer.status in accept or HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return answer
            raise self._refusal(answer)

    def post(
        self,
        path: str,
        *,
        auth: Auth,
        body: Mapping[str, object] | None = None,
        accept: Collection[int] = (),
        repeatable: bool = False,
    ) -> Answer:
        """POST JSON; the rest is as for `send`."""
        return self.send("POST", path, auth=auth, body=body, accept=accept, repeatable=repeatable)

    # --- reads ------------------------------------------------------------------------------------------------

    def _get(self, url: str, *, auth: Auth, etag: str | None = None) -> Answer:
        """The answer; one without a body where it still has this ETag."""
        extra = {} if etag is None else {"If-None-Match": etag}
        with self._timed(self.vendor):
            answer = self._call("GET", url, auth=auth, extra=extra, repeatable=True)
            unchanged = etag is not None and answer.status == HTTPStatus.NOT_MODIFIED
            if answer.status != HTTPStatus.OK and not unchanged:
                raise self._refusal(answer)
        return answer

    def _url(self, path: str, params: Mapping[str, str] | None) -> str:
        return f"{self._base_url}{path}" + (f"?{urlencode(params)}" if params else "")

    # --- one call with its retries ----------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        url: str,
        *,
        auth: Auth,
        repeatable: bool,
        data: bytes | None = None,
        extra: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> Answer:
        name = method if self._is_secret else f"{method} {urlsplit(url).path}"
        call = _Call(method, url, data, may_act=not repeatable, name=name)
        credentials = auth.headers()
        ends_at = time.monotonic() + self._timeouts.total
        failures, renewed = 0, False
        while True:
            headers = {**self._headers, **credentials, **(extra or {})}
            try:
                answer = self._exchange(call, headers, ends_at)
                if not renewed and answer.status == HTTPStatus.UNAUTHORIZED and auth.renew(credentials):
                    credentials, renewed = auth.headers(), True
                    continue
                if answer.status not in accept and answer.status >= HTTPStatus.BAD_REQUEST:
                    raise self._refusal(answer)
            except VendorUnavailableError as error:
                pause = _FIRST_PAUSE * 2**failures
                failures += 1
                late = time.monotonic() + pause >= ends_at
                if not repeatable or failures > _RETRIES or error.retry_after is not None or late:
                    raise
                self._sleep(pause)
            else:
                return answer

    def _exchange(self, call: _Call, headers: Mapping[str, str], ends_at: float) -> Answer:
        left = max(ends_at - time.monotonic(), 0.001)
        with Deadline(left) as deadline:
            try:
                response = self._session.request(
                    call.method,
                    call.url,
                    data=call.data,
                    headers={**({"Content-Type": "application/json"} if call.data else {}), **headers},
                    timeout=(min(self._timeouts.connect, left), min(self._timeouts.read, left)),
                    allow_redirects=False,
                    stream=True,
                )
                with response:
                    body = self._read(call, response)
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise self._no_answer(call, error, cut=deadline.passed) from None
        if deadline.passed:
            raise self._no_answer(call, None, cut=True)
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Answer(self.vendor, call.name, response.status_code, lower, body, call.may_act, self._limits)

    def _read(self, call: _Call, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > self._max_answer_bytes:
                raise VendorUnavailableError(
                    self.vendor,
                    f"{call.name} was answered with more than {self._max_answer_bytes} bytes.",
                    outcome_unknown=call.may_act,
                )
        return bytes(body)

    def _no_answer(self, call: _Call, error: Exception | None, *, cut: bool) -> VendorUnavailableError:
        not_sent = why_not_sent(error)
        hint = ""
        if not_sent is not None:
            why, hint = not_sent
        elif cut:
            why = f"no whole answer within {self._timeouts.total:g} s"
        elif isinstance(error, requests.Timeout):
            why = f"no answer within {self._timeouts.read:g} s"
        else:
            why = f"the connection broke ({type(error).__name__})"
        return VendorUnavailableError(
            self.vendor,
            f"{call.name} failed: {why}.",
            hint=hint,
            outcome_unknown=not_sent is None and call.may_act,
        )


def json_bytes(body: Mapping[str, object]) -> bytes:
    """A JSON object as it is sent; lone surrogates are replaced."""
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


@dataclass(frozen=True)
class _Call:
    """A call; `name` is what messages call it: method and path at most, never the query."""

    method: str
    url: str
    data: bytes | None
    may_act: bool
    name: str
