"""mlflow's exceptions -> our errors."""

from __future__ import annotations

import re

from champion_gate.errors import (
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

VENDOR = "MLflow"
_LONGEST_MESSAGE = 300
_NOT_FOUND = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
_REFUSED = {
    "ALREADY_EXISTS": "",
    "BAD_REQUEST": "",
    "CUSTOMER_UNAUTHORIZED": "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
    "ENDPOINT_NOT_FOUND": "Check the registry's address: this does not look like an MLflow server.",
    "FEATURE_DISABLED": "",
    "INVALID_PARAMETER_VALUE": "",
    "NOT_IMPLEMENTED": "The MLflow server does not know this call; a newer one may.",
    "PERMISSION_DENIED": "Let the service's MLflow user edit the model (permission EDIT or MANAGE).",
    "RESOURCE_ALREADY_EXISTS": "",
    "UNAUTHENTICATED": "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.",
}
# mlflow/utils/rest_utils.py, verify_rest_response: what it says of an answer that holds no error_code.
_STATUS = re.compile(r"failed with error code (\d{3})\b")
_LATER = frozenset({408, 425, 429})


def translated(error: Exception, *, writes: bool) -> VendorError:
    """Our error for one of mlflow's (or of the libraries below it).

    Args:
        error: an MlflowException carries an `error_code` (mlflow/exceptions.py); anything else means that
            the answer could not be read.
        writes: whether the call changes something; its fate is unknown unless it was refused.
    """
    code = getattr(error, "error_code", None)
    words = _words(error)
    if code in _NOT_FOUND:
        return VendorNotFoundError(VENDOR, words)
    if code in _REFUSED:
        return VendorRefusedError(VENDOR, words, hint=_REFUSED[code])
    match = _STATUS.search(words)
    status = int(match[1]) if match else 0
    if 300 <= status < 500 and status not in _LATER:  # noqa: PLR2004 - redirects are not followed
        return VendorRefusedError(VENDOR, words)
    return VendorUnavailableError(VENDOR, words, outcome_unknown=writes)


def is_refusal(error: Exception) -> bool:
    """Whether the server refused just this, so that repeating the call would not help."""
    ours = translated(error, writes=False)
    return isinstance(ours, VendorRefusedError) and not ours.concerns_all


def unreadable(what: str) -> VendorUnavailableError:
    """The answer was not of the form that we know."""
    return VendorUnavailableError(VENDOR, f"{what} in the answer could not be read.")


def _words(error: Exception) -> str:
    text = " ".join(str(getattr(error, "message", None) or error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
