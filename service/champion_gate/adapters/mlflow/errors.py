"""mlflow's exceptions -> our errors, each with what a person can do about it."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from http import HTTPStatus

import requests
import urllib3

from champion_gate.adapters.http.answer import (
    A_WEB_PAGE,
    LATER,
    PROXY,
    TOO_LARGE,
    causes_of,
    is_web_page,
    why_not_sent,
)
from champion_gate.domain.secrets import without_secrets
from champion_gate.errors import (
    ForbiddenError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

VENDOR = "MLflow"
_LONGEST_MESSAGE = 300
_CREDENTIALS = (
    "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of the service."
)
_ADDRESS = "Check `registry` in gates.yaml: it is the MLflow server's address, without the path of a page."
_WEB_PAGE = (
    f"{_ADDRESS} If it is, a login or a proxy stands in between, which has to let the service through."
)
_LATER_OR_LOG = f"{LATER} If it lasts: the MLflow server's log says what its database lacks."
_NOT_THERE = "It does not exist, or the service's MLflow user may not see it."
_NOT_FOUND = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_OLD_SERVER = "An old MLflow server may also not know this call."
_THEIR_WORDS = "The MLflow server does not accept what gates.yaml or the caller named: its words say what."
_REFUSED = {
    "ALREADY_EXISTS": _THEIR_WORDS,
    "CUSTOMER_UNAUTHORIZED": _CREDENTIALS,
    "ENDPOINT_NOT_FOUND": f"{_ADDRESS} {_OLD_SERVER}",
    "FEATURE_DISABLED": "This is switched off on the MLflow server: whoever runs it has to switch it on.",
    "INVALID_PARAMETER_VALUE": _THEIR_WORDS,
    "NOT_IMPLEMENTED": "The MLflow server does not know this call; a newer one may.",
    "RESOURCE_ALREADY_EXISTS": _THEIR_WORDS,
    "UNAUTHENTICATED": _CREDENTIALS,
}
_CONCERN_ALL = frozenset({"CUSTOMER_UNAUTHORIZED", "UNAUTHENTICATED"})
_BY_OTHERS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: f"{_WEB_PAGE} {_OLD_SERVER}",
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED: PROXY,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TOO_LARGE,
}
"""What to do about statuses that MLflow itself sends with an error_code or never: a proxy or an ingress answered."""
_DATABASE_FAILED = "BAD_REQUEST"
"""Most of what goes wrong in its database (mlflow/store/db/utils.py); a bad value is INVALID_PARAMETER_VALUE."""
_MAY_NOT_WRITE = "Let the service's MLflow user edit the model (permission EDIT or MANAGE)."
_MAY_NOT_READ = "Let the service's MLflow user read the model and its experiment (permission READ)."
# mlflow/utils/rest_utils.py, verify_rest_response: what it says of an answer that holds no error_code; and
# urllib3, where mlflow has it raise for what it takes for passing.
_STATUS = re.compile(r"failed with error code (\d{3})\b|too many (\d{3}) error responses")
_BODY = re.compile(r"Response body: '(.*)'\s*$", re.DOTALL)
# werkzeug's NotFound: what an MLflow server answers to a call that its release does not have.
_NO_SUCH_CALL = "The requested URL was not found on the server"
# mlflow/server/security_utils.py. Its list is compared with the port (mlflow#22095).
_HOST_REFUSED = "Invalid Host header"
_ORIGIN_REFUSED = "Cross-origin request blocked"
_SQLITE_HINTS = {
    "database is locked": "Another program keeps the file locked. " + LATER,
    "file is not a database": "`registry` in gates.yaml names a file that is no SQLite database.",
    "unable to open database file": "Let the service's account read and write the file and its directory.",
    "readonly database": "Let the service's account write the file and its directory.",
    "no such table": "The file is no registry of this version of MLflow: `mlflow db upgrade` brings it there.",
}
_OUT_OF_DATE = "Detected out-of-date database schema"


@dataclass(frozen=True)
class _Answer:
    """What mlflow tells of an answer: its status, 0 where it tells none, and a body that is no JSON."""

    status: int
    body: str


def translated(error: Exception, *, writes: bool, host: str = "") -> VendorError:
    """Our error for one of mlflow's (or of the libraries below it).

    Args:
        error: an MlflowException carries an `error_code` (mlflow/exceptions.py); anything else means that
            the answer could not be read.
        writes: whether the call changes something; its fate is unknown unless it was refused.
        host: `host[:port]` of the server, for advice; empty for a file.
    """
    code: str | None = getattr(error, "error_code", None)
    words = _raw_words(error)
    if code in _NOT_FOUND:
        return VendorNotFoundError(VENDOR, _cut(words), hint=_NOT_THERE)
    status, body = _STATUS.search(words), _BODY.search(words)
    answer = _Answer(int(status[1] or status[2]) if status else 0, body[1] if body else "")
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:  # redirects are not followed
        said = f"the server answered {answer.status}, a redirect."
        return VendorUnavailableError(VENDOR, said, hint=_WEB_PAGE, outcome_unknown=writes)
    if is_web_page(answer.body):
        return _web_page(answer, writes=writes)
    if code == "PERMISSION_DENIED":
        return _denied(words, writes=writes, host=host)
    if code in _REFUSED or HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return _refused(code, answer.status, words)
    return _unavailable(error, answer.status, words, writes=writes)


def is_refusal(error: Exception) -> bool:
    """Whether the server refused just this, so that repeating the call would not help."""
    ours = translated(error, writes=False)
    return isinstance(ours, VendorRefusedError) and not ours.concerns_all


def is_unknown_call(error: Exception) -> bool:
    """Whether the server itself says that its release does not have this call; a proxy's 404 does not."""
    return _NO_SUCH_CALL in _raw_words(error)


def unreadable(what: str) -> VendorUnavailableError:
    """The answer was not of the form that we know."""
    return VendorUnavailableError(VENDOR, f"{what} in the answer could not be read.")


def _web_page(answer: _Answer, *, writes: bool) -> VendorError:
    """A login or a proxy's error in place of an answer."""
    words = f"the server answered {answer.status or HTTPStatus.OK.value} with {A_WEB_PAGE}."
    if HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        hint = _BY_OTHERS.get(answer.status, _WEB_PAGE)
        return VendorRefusedError(VENDOR, words, hint=hint, concerns_all=True)
    return VendorUnavailableError(VENDOR, words, hint=_WEB_PAGE, outcome_unknown=writes)


def _denied(words: str, *, writes: bool, host: str) -> VendorError:
    if _HOST_REFUSED in words:
        hint = (
            f"Start the MLflow server with --allowed-hosts {host or 'HOST:PORT'} (MLFLOW_SERVER_ALLOWED_HOSTS): it "
            "takes calls only by the names, with their ports, that are listed there."
        )
        return VendorRefusedError(VENDOR, f"403: {_HOST_REFUSED}.", hint=hint, concerns_all=True)
    if _ORIGIN_REFUSED in words:
        hint = (
            "A proxy adds the header Origin: have it left out, or allow it on the MLflow server "
            "(--cors-allowed-origins)."
        )
        return VendorRefusedError(VENDOR, f"403: {_ORIGIN_REFUSED}.", hint=hint, concerns_all=True)
    return ForbiddenError(VENDOR, _cut(words), hint=_MAY_NOT_WRITE if writes else _MAY_NOT_READ)


def _refused(code: str | None, status: int, words: str) -> VendorError:
    if status in _BY_OTHERS:
        return VendorRefusedError(VENDOR, _cut(words), hint=_BY_OTHERS[status], concerns_all=True)
    if code in _REFUSED:
        return VendorRefusedError(VENDOR, _cut(words), hint=_REFUSED[code], concerns_all=code in _CONCERN_ALL)
    if status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}:
        limit = "The server's rate limit is used up. " if status == HTTPStatus.TOO_MANY_REQUESTS else ""
        said = f"the server answered {status}."
        return VendorUnavailableError(VENDOR, said, hint=limit + LATER)
    return VendorRefusedError(VENDOR, _cut(words), hint=_ADDRESS)


def _unavailable(error: Exception, status: int, words: str, *, writes: bool) -> VendorError:
    if status:
        said = f"the server answered {status}."
        return VendorUnavailableError(VENDOR, said, hint=LATER, outcome_unknown=writes)
    causes = list(causes_of(error))
    failed = _OUT_OF_DATE in words or getattr(error, "error_code", None) == _DATABASE_FAILED
    if failed or any(isinstance(cause, sqlite3.Error) for cause in causes):
        return _database_problem(words, writes=writes)
    not_sent = why_not_sent(error)
    if not_sent is not None:
        return VendorUnavailableError(VENDOR, f"{not_sent[0]}.", hint=not_sent[1])
    if any(isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes):
        said = "the server gave no answer in time."
        return VendorUnavailableError(VENDOR, said, hint=LATER, outcome_unknown=writes)
    if any(isinstance(cause, requests.RequestException) for cause in causes):
        said = "the connection broke before there was an answer."
        return VendorUnavailableError(VENDOR, said, hint=LATER, outcome_unknown=writes)
    return VendorUnavailableError(VENDOR, _cut(words), outcome_unknown=writes)


def _database_problem(words: str, *, writes: bool) -> VendorError:
    said = re.split(r"\s*\[SQL:|\s*Take a backup", words, maxsplit=1)[0]
    if _OUT_OF_DATE in words:
        hint = "The file is of another version of MLflow: `mlflow db upgrade` with the service's version brings it here."
    else:
        hint = next((hint for mark, hint in _SQLITE_HINTS.items() if mark in words), _LATER_OR_LOG)
    return VendorUnavailableError(VENDOR, _cut(said), hint=hint, outcome_unknown=writes)


def _raw_words(error: Exception) -> str:
    return str(getattr(error, "message", None) or error) or type(error).__name__


def _cut(words: str) -> str:
    text = without_secrets(" ".join(words.split()))  # before it is cut
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
