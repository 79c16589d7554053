"""The SDK's and requests' errors, translated into ours, with what a person can do about each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import requests

from champion_gate.adapters.http.answer import (
    A_WEB_PAGE,
    LATER,
    PROXY,
    TOO_LARGE,
    causes_of,
    is_web_page,
    why_not_sent,
)
from champion_gate.domain.secrets import cut_words
from champion_gate.errors import (
    ForbiddenError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

VENDOR = "Databricks"
CREDENTIALS = "Check DATABRICKS_HOST and the DATABRICKS_* credentials of the service."
WEB_PAGE = (
    "Check DATABRICKS_HOST: it is the workspace's bare address, such as https://adb-1.azuredatabricks.net. If it "
    "is, a login or a proxy stands in between, which has to let the service through."
)
DISCOVERY = (
    "The workspace did not tell where its OAuth endpoints are. Check DATABRICKS_HOST (or the host of the SDK's "
    "profile), or set DATABRICKS_DISCOVERY_URL."
)
_METASTORE = "METASTORE_DOES_NOT_EXIST"
_NO_CALL = "ENDPOINT_NOT_FOUND"
_MAX_WORDS = 500  # some errors bring whole stack traces
_TRANSIENT = frozenset({408, 409, 425, 429})
_LIMITS = frozenset({"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "TEMPORARILY_UNAVAILABLE"})
"""Error codes that mean "later", whatever status they come with."""
_WRONG_SECRET = re.compile(r"invalid_client|unauthorized_client|invalid_grant|access_denied")
_NO_ENDPOINTS = re.compile(r"Invalid URL 'None'")


class InvalidRequestError(VendorRefusedError):
    """Databricks answered 400."""


@dataclass(frozen=True)
class LastAnswer:
    """The last answer to a call, if there was one.

    Attributes:
        retry_after: seconds.
        redirect: where it sent us instead of answering; None if it did not.
    """

    status: int | None = None
    retry_after: float | None = None
    web_page: bool = False
    redirect: str | None = None


@dataclass(frozen=True)
class Seen:
    """What is known of a call that met an error.

    Attributes:
        what: method and path, for people.
        repeatable: whether the SDK would have repeated it, had there been time.
        blotted: takes out of Databricks' words what was sent and nobody may read.
    """

    what: str
    last: LastAnswer
    writes: bool
    repeatable: bool
    blotted: Callable[[str], str] = str

    def unavailable(self, words: str, hint: str = "") -> VendorUnavailableError:
        """The retryable error; a write's outcome is known only where Databricks answered 4xx."""
        status = self.last.status or 0
        refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        return VendorUnavailableError(
            VENDOR,
            words,
            hint=hint,
            outcome_unknown=self.writes and not refused,
            retry_after=self.last.retry_after,
        )


def translate(error: BaseException, seen: Seen) -> VendorError:
    """Say what an error of the SDK means to us.

    Args:
        error: DatabricksError is an OSError, as are requests' errors and the builtin TimeoutError.
        seen: what is known of the call.
    """
    from databricks.sdk.errors.base import DatabricksError  # noqa: PLC0415 - a second of import

    if seen.last.redirect is not None:
        return seen.unavailable(f"{seen.what} answered with a redirect.", redirected(seen.last.redirect))
    if seen.last.web_page or any(
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
        words = f"our credentials are refused: {_words(error, seen)}"
        return VendorRefusedError(VENDOR, words, hint=CREDENTIALS, concerns_all=True)
    if isinstance(error, ValueError) and _NO_ENDPOINTS.search(str(error)):
        return seen.unavailable(f"{seen.what} failed: we could not sign in.", DISCOVERY)
    if isinstance(error, OSError):
        why, hint = why_not_sent(error) or (f"there was no answer ({type(error).__name__})", "")
        return seen.unavailable(f"{seen.what} failed: {why}.", hint)
    return seen.unavailable(f"{seen.what} failed: {_words(error, seen)}", CREDENTIALS)


def _web_page(seen: Seen) -> VendorError:
    """A login, a front page or a proxy's error in place of an answer: it says nothing about what was asked for."""
    answered = (
        f"was answered {seen.last.status}" if seen.last.status else "could not sign in, which was answered"
    )
    words = f"{seen.what} {answered} with {A_WEB_PAGE}."
    refused = seen.last.status in {401, 403, 404, 407}
    if refused and not seen.repeatable:
        return VendorRefusedError(VENDOR, words, hint=WEB_PAGE, concerns_all=True)
    return seen.unavailable(words, WEB_PAGE)


def _answered(error: OSError, seen: Seen) -> VendorError:
    from databricks.sdk.errors import NotFound  # noqa: PLC0415 - as above

    status = seen.last.status or 0
    words = f"{seen.what} answered {seen.last.status or 'an error'}: {_words(error, seen)}"
    code = str(getattr(error, "error_code", None) or "")
    # The SDK knows which 400s of the Jobs API mean that a run or job is not there.
    meant = 404 if isinstance(error, NotFound) else 429 if code in _LIMITS else status
    found = advice(meant, code, str(error), seen.what)
    later = seen.repeatable or meant in _TRANSIENT
    if later or status == 0 or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return seen.unavailable(words, found.hint)
    if isinstance(error, NotFound) and not found.concerns_all:
        return VendorNotFoundError(VENDOR, words, hint=found.hint)
    if status == HTTPStatus.BAD_REQUEST and not found.concerns_all:
        return InvalidRequestError(VENDOR, words, hint=found.hint)
    if status == HTTPStatus.FORBIDDEN and not found.concerns_all:
        return ForbiddenError(VENDOR, words, hint=found.hint)
    return VendorRefusedError(VENDOR, words, hint=found.hint, concerns_all=found.concerns_all)


def _words(error: BaseException, seen: Seen) -> str:
    """The vendor's words without the SDK's dump of its settings or of the whole exchange."""
    message = str(error) or type(error).__name__
    if message.startswith("unable to parse response"):
        return "an answer that cannot be read"
    return cut_words(seen.blotted(re.split(r"\.? Config: ", message, maxsplit=1)[0]), _MAX_WORDS)


# --- what to do about it -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        hint: a sentence for people.
        concerns_all: every call would be answered so: credentials, network, address.
    """

    hint: str
    concerns_all: bool = False


# Words of real answers: databricks-sdk-go#853, #873 and #981, omnigent#4463, security-analysis-tool#82.
_BY_WORDS = {
    r"blocked by Databricks IP ACL|IP access list": (
        "Let a workspace administrator add the service's outgoing address to the IP access list."
    ),
    r"Invalid access to Org|Unauthorized access to (?:Org|workspace)": (
        "The credentials are not of this workspace: check DATABRICKS_HOST and DATABRICKS_WORKSPACE_ID, and let the "
        "service's principal be assigned to the workspace."
    ),
    r"Invalid access token|token (?:is|has) expired|expired token|Credential was not sent|^User not authorized\W*(?:\[|$)": (
        f"The token is wrong, has expired or was revoked. {CREDENTIALS}"
    ),
}
_BY_CODE = {
    _METASTORE: "The workspace has no Unity Catalog: let an account administrator assign a metastore, or check "
    "DATABRICKS_HOST.",
    _NO_CALL: "Databricks does not know this call: check that DATABRICKS_HOST is a workspace's address, not the "
    "account's.",
    "FEATURE_DISABLED": "This is switched off in the workspace: an administrator has to switch it on.",
}

_BY_STATUS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: CREDENTIALS,
    HTTPStatus.BAD_REQUEST: "Databricks does not accept what gates.yaml or the caller named: its words say what.",
    HTTPStatus.NOT_FOUND: "It does not exist, or the service's principal may not see it.",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: PROXY,
    HTTPStatus.REQUEST_TIMEOUT: LATER,
    HTTPStatus.CONFLICT: f"Somebody else changed it at that moment. {LATER}",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TOO_LARGE,
    HTTPStatus.TOO_EARLY: LATER,
    HTTPStatus.TOO_MANY_REQUESTS: f"The workspace's rate limit is used up. {LATER}",
}
_SAID_TO_ALL = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    }
)

# What each call needs: docs.databricks.com, manage-model-lifecycle and jobs privileges; SDK docstrings.
_MODEL = "USE CATALOG and USE SCHEMA above it"
_PERMISSIONS = {
    r"(?:PUT|DELETE) .*/unity-catalog/models/.*/aliases/": (
        "Setting an alias needs the model's owner: let the service's principal, or a group that it is in, own the "
        f"model (EXECUTE or CREATE MODEL VERSION is no permission for it), with {_MODEL}."
    ),
    r"/model-versions/set-tag": (
        f"Tagging needs the model's owner or APPLY TAG: give the service's principal that permission, with {_MODEL}."
    ),
    r"/unity-catalog/": f"Give the service's principal the permission EXECUTE on the model, with {_MODEL}.",
    r"PUT .*/serving-endpoints/": (
        "Moving an endpoint needs the permission CAN MANAGE on it: give it to the service's principal."
    ),
    r"/serving-endpoints/": "Give the service's principal the permission CAN VIEW on the serving endpoint.",
    r"/mlflow/": "Give the service's principal the permission CAN READ on the MLflow experiment of the run.",
    r"POST .*/jobs/": (
        "Starting and cancelling runs needs the permission CAN MANAGE RUN on the job: give it to the service's principal."
    ),
    r"/jobs/": (
        "Give the service's principal the permission CAN VIEW on the job, and on the jobs that it starts."
    ),
}


def advice(status: int, code: str, words: str, what: str) -> Advice:
    """What to do about an answer that is an error.

    Args:
        status: of HTTP.
        code: Databricks' `error_code`; may be empty or the status once more.
        words: Databricks' message.
        what: method and path of the call.
    """
    for pattern, hint in _BY_WORDS.items():
        if re.search(pattern, words, re.IGNORECASE):
            return Advice(hint, concerns_all=True)
    if code in _BY_CODE:
        return Advice(_BY_CODE[code], concerns_all=True)
    if status == HTTPStatus.NOT_FOUND and not code:
        return Advice(WEB_PAGE, concerns_all=True)  # Databricks itself says what it is that is not there
    return Advice(_by_status(status, what), concerns_all=status in _SAID_TO_ALL)


def _by_status(status: int, what: str) -> str:
    if status == HTTPStatus.FORBIDDEN:
        return next((hint for pattern, hint in _PERMISSIONS.items() if re.search(pattern, what)), CREDENTIALS)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return LATER
    return _BY_STATUS.get(status, "Check DATABRICKS_HOST: a workspace of Databricks takes this call.")


def redirected(location: str) -> str:
    """What to do about a redirect; one to this page means that the workspace is closed to our network."""
    if "private-link-validation-error" in location:
        return (
            "The workspace takes calls through Private Link alone, and the service's network is not in it: connect "
            "that network, or let an administrator allow public access."
        )
    return WEB_PAGE
