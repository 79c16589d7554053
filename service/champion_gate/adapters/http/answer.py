"""What a call was answered with, or why it got no answer, and which of our errors that is."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ProxyError

from champion_gate.adapters.http.public import PRIVATE, PrivateAddressError
from champion_gate.domain.secrets import cut_words
from champion_gate.errors import (
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

A_WEB_PAGE = "a web page in place of JSON"
LATER = "Nothing has to be done: it is tried again by itself."
PROXY = "Check HTTPS_PROXY and NO_PROXY of the service, and the proxy's rules."
TOO_LARGE = (
    "A proxy in between takes no body of this size: let its limit be raised (nginx: client_max_body_size)."
)

_DEEPEST_CAUSE = 12  # causes may go in a circle
_BEGINNING = 1000  # enough to tell an error's page
_PAGE = re.compile(r"<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_MESSAGE_KEYS = ("message", "error_description", "error")
_MESSAGE_LENGTH = 200  # vendors' messages may quote what they were sent
_WAIT_WHEN_LIMITED = 60.0  # GitHub: where no time is said, wait for at least a minute
_LONGEST_WAIT = 3600.0  # rate limits are by the hour

Limits = Sequence[tuple[int, str]]
"""What a vendor says when it means "later": the status, which without these words would be a refusal, and words
of its message, in lower case."""


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        headers: names in lower case.
        may_have_acted: whether the call may have changed something at the vendor.
        limits: how this vendor tells limits from refusals.
    """

    vendor: str
    call: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    may_have_acted: bool
    limits: Limits = ()

    def json(self) -> object:
        """The body as JSON.

        Raises:
            VendorUnavailableError: it is none.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            is_page = is_web_page(self.body)
            raise VendorUnavailableError(
                self.vendor,
                f"{self.call} was answered with {self.status} and {A_WEB_PAGE if is_page else 'something that is no JSON'}.",
                hint=_WEB_PAGE if is_page else "",
                outcome_unknown=self.may_have_acted,
            ) from None

    @property
    def etag(self) -> str | None:
        """Its ETag (RFC 9110, 8.8.3); None without one. Asked with anything else, such as `*`, a server says 304 to whatever there is."""
        found = self.headers.get("etag", "")
        return found if _ETAG.fullmatch(found) else None

    def next_query(self, list_path: str) -> str | None:
        """The query of the next page, as `Link: rel="next"` names it; None on the last one.

        Args:
            list_path: how the path of the next page has to end.

        Raises:
            VendorRefusedError: it is a page of another list.
            VendorUnavailableError: its address cannot be read.
        """
        links = requests.utils.parse_header_links(self.headers.get("link", ""))
        link = next((link["url"] for link in links if link.get("rel") == "next"), None)
        if link is None:
            return None
        try:
            there = urlsplit(link)
        except ValueError:
            words = f"{self.call} names a next page whose address cannot be read."
            raise VendorUnavailableError(self.vendor, words) from None
        if not unquote(there.path).endswith(unquote(list_path)):
            raise VendorRefusedError(
                self.vendor,
                f"{self.call} names {there.path!r} as its next page, which is another list.",
                hint="Does a proxy in front of the server change the paths of calls?",
            )
        return there.query

    def message(self) -> str:
        """The vendor's own word for an error: one line, cut, without anything that looks like a secret."""
        return cut_words(self._said(), _MESSAGE_LENGTH)

    def says(self, words: str) -> bool:
        """Whether the vendor's word for an error holds these, also far behind; in lower case."""
        return words in self._said().lower()

    def _said(self) -> str:
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        said = next((told[key] for key in _MESSAGE_KEYS if key in told), "") if isinstance(told, dict) else ""
        # GitLab tells what is wrong with a body as an object of lists.
        text = said if isinstance(said, str) else json.dumps(said)
        return " ".join(text.split())

    def error(self) -> VendorError:
        """The error that this answer stands for; every status that is not known is a refusal."""
        error = self._error()
        if isinstance(error, VendorRefusedError):
            error.of_write = self.may_have_acted
        return error

    def _error(self) -> VendorError:
        said = self.message()
        is_page = is_web_page(self.body)
        more = f" and {A_WEB_PAGE}." if is_page else f": {said}" if said else "."
        text = f"{self.call} was answered with {self.status}{more}"
        if self._is_limit():
            return VendorUnavailableError(
                self.vendor, text, hint="The rate limit is used up.", retry_after=self._retry_after()
            )
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.REQUEST_TIMEOUT:
            after = self._retry_after() if "retry-after" in self.headers else None
            return VendorUnavailableError(
                self.vendor, text, hint=LATER, outcome_unknown=self.may_have_acted, retry_after=after
            )
        if is_page and self.status in _REFUSED_BY_OTHERS:
            return VendorRefusedError(self.vendor, text, hint=_WEB_PAGE, concerns_all=True)
        if self.status == HTTPStatus.NOT_FOUND:
            return VendorNotFoundError(
                self.vendor, text, hint="It does not exist, or our credentials do not show it."
            )
        return VendorRefusedError(
            self.vendor,
            text,
            hint=_HINTS.get(self.status, ""),
            concerns_all=self.status in _SAID_TO_ALL,
        )

    def _is_limit(self) -> bool:
        """Whether it says "later", and not "no": by its status or headers, or by the vendor's own words."""
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return True
        headers_say = "retry-after" in self.headers or self.headers.get("x-ratelimit-remaining") == "0"
        if self.status == HTTPStatus.FORBIDDEN and headers_say:
            return True
        return any(self.status == status and self.says(words) for status, words in self.limits)

    def _retry_after(self) -> float:
        """Seconds to wait, of either form (RFC 9110, 10.2.3). A reset time is compared with the server's own clock, so ours may be off."""
        given = self.headers.get("retry-after", "")
        if given.isdecimal():
            return min(float(given), _LONGEST_WAIT)
        try:
            there = parsedate_to_datetime(self.headers["date"]).timestamp()
            if given:
                at = parsedate_to_datetime(given).timestamp()
                return min(at - there, _LONGEST_WAIT) if at > there else _WAIT_WHEN_LIMITED
            reset = float(self.headers["x-ratelimit-reset"])
            return min(max(reset - there, 1.0), _LONGEST_WAIT)
        except (KeyError, ValueError, TypeError, OverflowError):
            return _WAIT_WHEN_LIMITED


_WEB_PAGE = (
    "Check its address (`url` in gates.yaml). If it is right, a login or a proxy stands in between, which has to let "
    "the service through."
)
_SAID_TO_ALL = frozenset({302, 303, 401, 407, 413})  # whatever was asked for
_REFUSED_BY_OTHERS = frozenset({401, 403, 404, 407})
_HINTS: Mapping[int, str] = {
    HTTPStatus.FOUND: _WEB_PAGE,
    HTTPStatus.SEE_OTHER: _WEB_PAGE,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: PROXY,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TOO_LARGE,
    HTTPStatus.UNAUTHORIZED: "Check the credentials that the service was given.",
    HTTPStatus.FORBIDDEN: "Our credentials lack a permission for this.",
    HTTPStatus.MOVED_PERMANENTLY: "It has been renamed or moved; write its present name in gates.yaml.",
    HTTPStatus.PERMANENT_REDIRECT: "It has been renamed or moved; write its present name in gates.yaml.",
    HTTPStatus.TEMPORARY_REDIRECT: "It has been renamed or moved; write its present name in gates.yaml.",
}


# --- no answer, or a page ----------------------------------------------------------------------------------


def is_web_page(body: bytes | str) -> bool:
    """Whether a body is HTML (a login, a proxy's error, a front page), whatever its content type says; only its beginning is looked at."""
    text = body[:_BEGINNING]
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    words = words.lstrip("\ufeff \t\r\n")
    return words.startswith("<") and _PAGE.search(words) is not None


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it wraps, as requests wraps those of urllib3, and urllib3 those of ssl."""
    for _ in range(_DEEPEST_CAUSE):
        if not isinstance(error, BaseException):
            return
        yield error
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__


def why_not_sent(error: BaseException | None) -> tuple[str, str] | None:
    """What kept a call from being sent at all, and what a person can do; None where it may have been sent.

    In words of ours: the libraries' may hold URLs with credentials (proxies).
    """
    for cause in causes_of(error):
        if isinstance(cause, PrivateAddressError):
            return PRIVATE
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "its certificate could not be verified", (
                "Where a private certificate authority signs it, name its file (REQUESTS_CA_BUNDLE, or `ca_file` "
                "of GitHub and GitLab in gates.yaml)."
            )
        if isinstance(cause, ProxyError | requests.exceptions.ProxyError):
            return "the proxy on the way to it does not let us through", PROXY
        if isinstance(cause, NameResolutionError | socket.gaierror):
            return (
                "its host name is not known here",
                "Check the address for a typing error, and the service's DNS.",
            )
        if isinstance(cause, ConnectTimeoutError | NewConnectionError | ConnectionRefusedError):
            return "no connection could be made", (
                "It may be down, or a firewall stands between: the service tries again."
            )
    return None


# --- answers that are kept ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeptPage:
    """What was taken of a page of a list.

    Attributes:
        etag: of the answer; None where it had none.
        next_query: of the page after it; None on the last one.
        value: what was read of the body.
    """

    etag: str | None
    next_query: str | None
    value: Any


class Cache:
    """What was taken of the last answers with an ETag, the longest unused thrown out first; never their bodies."""

    def __init__(self, max_pages: int) -> None:
        self._max_pages = max_pages
        self._pages: OrderedDict[str, KeptPage] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, url: str) -> KeptPage | None:
        """The last one of this URL, if it is still here."""
        with self._lock:
            if url in self._pages:
                self._pages.move_to_end(url)
            return self._pages.get(url)

    def put(self, url: str, page: KeptPage) -> None:
        """Keep it in place of the one before."""
        with self._lock:
            self._pages[url] = page
            self._pages.move_to_end(url)
            if len(self._pages) > self._max_pages:
                self._pages.popitem(last=False)
