"""What does not belong to a value but was kept with it: `docker --env-file` keeps quotes, blanks and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_PLACEHOLDER = re.compile(
    r"<.*>|.*…|.*\.\.\.|\$\{?\w+\}?|x{3,15}|\*{3,}|todo|dummy|example|placeholder|(change|replace)[-_ ]?me.*|your[-_ ].*",
    re.IGNORECASE,
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_LIBRARIES = (
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *(*_PROXIES, *map(str.lower, _PROXIES)),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
)
"""Variables that mlflow, requests and Python read themselves."""
_COMMENT = re.compile(r"\s#")


def stray_part(text: str) -> str | None:
    """What is in a secret, an id or an address that should not be; None where all is as it should be."""
    if _COMMENT.search(text):
        return "a comment behind it (` #`)"
    if text.strip() != text:
        return "blanks at its ends"
    if text[:1] in {"'", '"'} or text[-1:] in {"'", '"'}:
        return "quotes around it"
    return "a placeholder in place of the value" if _PLACEHOLDER.fullmatch(text) else None


def without_strays(text: str) -> str:
    """The value that was probably meant, so that nothing else is said of what is refused already."""
    return _COMMENT.split(text)[0].strip().strip("'\"")


def libraries_problems(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that goes to a library as it is, and holds what does not belong to it."""
    for name in _LIBRARIES:
        if environ.get(name, "").strip() and (found := stray_problem(name, environ[name])):
            yield found


def stray_problem(variable: str, text: str) -> str | None:
    """A line that names the variable and never shows what was found; None where nothing is wrong."""
    found = stray_part(text)
    if found is None:
        return None
    return (
        f"{variable}: found {found} (not shown); expected the value alone: "
        "docker's --env-file and secret files keep quotes, blanks and comments"
    )
