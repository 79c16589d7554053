"""What a person can do about what Databricks answers, and whether every call would be answered so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from champion_gate.adapters.http.no_answer import PROXY, TOO_LARGE

CREDENTIALS = "Check DATABRICKS_HOST and the DATABRICKS_* credentials of the service."
WEB_PAGE = (
    "Check DATABRICKS_HOST: it is the workspace's bare address, such as https://adb-1.azuredatabricks.net. If it "
    "is, a login or a proxy stands in between, which has to let the service through."
)
DISCOVERY = (
    "The workspace did not tell where its OAuth endpoints are. Check DATABRICKS_HOST (or the host of the SDK's "
    "profile), or set DATABRICKS_DISCOVERY_URL."
)
_LATER = "Nothing has to be done: it is tried again by itself."
_METASTORE = "METASTORE_DOES_NOT_EXIST"
_NO_CALL = "ENDPOINT_NOT_FOUND"


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
    HTTPStatus.REQUEST_TIMEOUT: _LATER,
    HTTPStatus.CONFLICT: f"Somebody else changed it at that moment. {_LATER}",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TOO_LARGE,
    HTTPStatus.TOO_EARLY: _LATER,
    HTTPStatus.TOO_MANY_REQUESTS: f"The workspace's rate limit is used up. {_LATER}",
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
    r"/mlflow/": "Give the service's principal the permission CAN READ on the MLflow experiment of the run.",
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
        return _LATER
    return _BY_STATUS.get(status, "Check DATABRICKS_HOST: a workspace of Databricks takes this call.")


def redirected(location: str) -> str:
    """What to do about a redirect; one to this page means that the workspace is closed to our network."""
    if "private-link-validation-error" in location:
        return (
            "The workspace takes calls through Private Link alone, and the service's network is not in it: connect "
            "that network, or let an administrator allow public access."
        )
    return WEB_PAGE
