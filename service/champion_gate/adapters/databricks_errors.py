"""The SDK's and requests' errors, translated into ours."""

from __future__ import annotations

import re
from dataclasses import dataclass

import requests

from champion_gate.errors import (
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

VENDOR = "Databricks"
_MAX_WORDS = 500
_TRANSIENT = frozenset({408, 409, 425, 429})
_WRONG_SECRET = re.compile(r"invalid_client|unauthorized_client|invalid_grant|access_denied")
_CREDENTIALS_HINT = "Check DATABRICKS_HOST and the DATABRICKS_* credentials of the service."
_HINTS = {401: _CREDENTIALS_HINT, 403: "Give the service's principal the permission."}


class InvalidRequestError(VendorRefusedError):
    """Databricks answered 400."""


@dataclass(frozen=True)
class Seen:
    """What is known of a call that met an error.

    Attributes:
        what: method and path, for people.
        status, retry_after: of the last answer, if there was one; seconds.
        writes: whether it may have changed something.
        repeatable: whether the SDK would have repeated it, had there been time.
    """

    what: str
    status: int | None
    retry_after: float | None
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

    if isinstance(error, DatabricksError):
        return _answered(error, seen)
    if isinstance(error, requests.JSONDecodeError | TypeError):
        return seen.unavailable(f"{seen.what} gave an answer that cannot be read.")
    if isinstance(error, requests.TooManyRedirects):
        return seen.unavailable(f"{seen.what} answered with a redirect.", "Check DATABRICKS_HOST.")
    if isinstance(error, ValueError) and _WRONG_SECRET.search(str(error)):
        words = f"our credentials are refused: {_words(error)}"
        return VendorRefusedError(VENDOR, words, hint=_CREDENTIALS_HINT)
    if isinstance(error, OSError):
        return seen.unavailable(f"{seen.what} had no answer ({type(error).__name__}).")
    return seen.unavailable(f"{seen.what} failed: {_words(error)}", _CREDENTIALS_HINT)


def unreadable(what: str) -> VendorUnavailableError:
    """The error for an answer that is not of the documented form."""
    return VendorUnavailableError(VENDOR, f"the answer of {what} is not of the form that we know.")


def _answered(error: OSError, seen: Seen) -> VendorError:
    from databricks.sdk.errors import NotFound  # noqa: PLC0415 - as above

    status = seen.status
    words = f"{seen.what} answered {status or 'an error'}: {_words(error)}"
    if seen.repeatable or status is None or status >= 500 or status in _TRANSIENT:  # noqa: PLR2004 - HTTP
        return seen.unavailable(words)
    if isinstance(error, NotFound):
        hint = "It does not exist, or the service's principal may not see it."
        return VendorNotFoundError(VENDOR, words, hint=hint)
    if status == 400:  # noqa: PLR2004 - HTTP
        return InvalidRequestError(VENDOR, words)
    return VendorRefusedError(VENDOR, words, hint=_HINTS.get(status, ""))


def _words(error: BaseException) -> str:
    """The vendor's words without the SDK's dump of its settings or of the whole exchange."""
    message = str(error) or type(error).__name__
    if message.startswith("unable to parse response"):
        return "an answer that cannot be read"
    return re.split(r"\.? Config: ", message, maxsplit=1)[0][:_MAX_WORDS]
