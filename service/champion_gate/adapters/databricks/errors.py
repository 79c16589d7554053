"""The SDK's and requests' errors, translated into ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

import requests

from champion_gate.adapters.databricks.advice import (
    CREDENTIALS,
    DISCOVERY,
    WEB_PAGE,
    advice,
    redirected,
)
from champion_gate.adapters.http.no_answer import causes_of, why_not_sent
from champion_gate.adapters.http.web_pages import WORDS as A_WEB_PAGE
from champion_gate.adapters.http.web_pages import is_web_page
from champion_gate.errors import (
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

VENDOR = "Databricks"
_MAX_WORDS = 500
_TRANSIENT = frozenset({408, 409, 425, 429})
_LIMITS = frozenset({"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "TEMPORARILY_UNAVAILABLE"})
"""Error codes that mean "later", whatever status they come with."""
_WRONG_SECRET = re.compile(r"invalid_client|unauthorized_client|invalid_grant|access_denied")
_NO_ENDPOINTS = re.compile(r"Invalid URL 'None'")


class InvalidRequestError(VendorRefusedError):
    """Databricks answered 400."""


@dataclass(frozen=True)
class Seen:
    """What is known of a call that met an error.

    Attributes:
        what: method and path, for people.
        status, retry_after: of the last answer, if there was one; seconds.
        web_page: whether that was HTML.
        redirect: where it sent us instead of answering; None if it did not.
        writes: whether it may have changed something.
        repeatable: whether the SDK would have repeated it, had there been time.
    """

    what: str
    status: int | None
    retry_after: float | None
    web_page: bool
    redirect: str | None
    writes: bool
    repeatable: bool

    def unavailable(self, words: str, hint: str = "") -> VendorUnavailableError:
        """The retryable error; a write's outcome is known only where Databricks answered 4xx."""
        refused = self.status is not None and 400 <= self.status < 500  # noqa: PLR2004 - HTTP
        return VendorUnavailableError(
            VENDOR,
            words,
            hint=hint,
            outcome_unknown=self.writes and not refused,
            retry_after=self.retry_after,
        )


def translate(error: BaseException, seen: Seen) -> VendorError:
    """Say what an error of the SDK means to us.

    Args:
        error: DatabricksError is an OSError, as are requests' errors and the builtin TimeoutError.
        seen: what is known of the call.
    """
    from databricks.sdk.errors.base import DatabricksError  # noqa: PLC0415 - a second of import

    if seen.redirect is not None:
        return seen.unavailable(f"{seen.what} answered with a redirect.", redirected(seen.redirect))
    if seen.web_page or any(
        isinstance(cause, requests.JSONDecodeError) and is_web_page(cause.doc) for cause in causes_of(error)
    ):
        return _web_page(seen)
    if isinstance(error, DatabricksError):
        return _answered(error, seen)
    return _not_answered(error, seen)


def unreadable(what: str) -> VendorUnavailableError:
    """The error for an answer that is not of the documented form."""
    return VendorUnavailableError(VENDOR, f"the answer of {what} is not of the form that we know.")


def _not_answered(error: BaseException, seen: Seen) -> VendorError:
    if isinstance(error, requests.JSONDecodeError | TypeError):
        return seen.unavailable(f"{seen.what} gave an answer that cannot be read.", WEB_PAGE)
    if isinstance(error, ValueError) and _WRONG_SECRET.search(str(error)):
        words = f"our credentials are refused: {_words(error)}"
        return VendorRefusedError(VENDOR, words, hint=CREDENTIALS, concerns_all=True)
    if isinstance(error, ValueError) and _NO_ENDPOINTS.search(str(error)):
        return seen.unavailable(f"{seen.what} failed: we could not sign in.", DISCOVERY)
    if isinstance(error, OSError):
        why, hint = why_not_sent(error) or (f"there was no answer ({type(error).__name__})", "")
        return seen.unavailable(f"{seen.what} failed: {why}.", hint)
    return seen.unavailable(f"{seen.what} failed: {_words(error)}", CREDENTIALS)


def _web_page(seen: Seen) -> VendorError:
    """A login, a front page or a proxy's error in place of an answer: it says nothing about what was asked for."""
    answered = f"was answered {seen.status}" if seen.status else "could not sign in, which was answered"
    words = f"{seen.what} {answered} with {A_WEB_PAGE}."
    refused = seen.status in {401, 403, 404, 407}
    if refused and not seen.repeatable:
        return VendorRefusedError(VENDOR, words, hint=WEB_PAGE, concerns_all=True)
    return seen.unavailable(words, WEB_PAGE)


def _answered(error: OSError, seen: Seen) -> VendorError:
    from databricks.sdk.errors import NotFound  # noqa: PLC0415 - as above

    status = seen.status or 0
    words = f"{seen.what} answered {seen.status or 'an error'}: {_words(error)}"
    code = str(getattr(error, "error_code", None) or "")
    # The SDK knows which 400s of the Jobs API mean that a run or job is not there.
    meant = 404 if isinstance(error, NotFound) else 429 if code in _LIMITS else status
    found = advice(meant, code, str(error), seen.what)
    later = seen.repeatable or meant in _TRANSIENT
    if later or status == 0 or status >= 500:  # noqa: PLR2004 - HTTP
        return seen.unavailable(words, found.hint)
    if isinstance(error, NotFound) and not found.concerns_all:
        return VendorNotFoundError(VENDOR, words, hint=found.hint)
    if status == 400 and not found.concerns_all:  # noqa: PLR2004 - HTTP
        return InvalidRequestError(VENDOR, words, hint=found.hint)
    return VendorRefusedError(VENDOR, words, hint=found.hint, concerns_all=found.concerns_all)


def _words(error: BaseException) -> str:
    """The vendor's words without the SDK's dump of its settings or of the whole exchange."""
    message = str(error) or type(error).__name__
    if message.startswith("unable to parse response"):
        return "an answer that cannot be read"
    return re.split(r"\.? Config: ", message, maxsplit=1)[0][:_MAX_WORDS]
