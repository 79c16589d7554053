"""Why a call got no answer, in words of ours: the libraries' may hold URLs with credentials (proxies)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import requests
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ProxyError

PROXY = "Check HTTPS_PROXY and NO_PROXY of the service, and the proxy's rules."
TOO_LARGE = (
    "A proxy in between takes no body of this size: let its limit be raised (nginx: client_max_body_size)."
)
_DEEPEST_CAUSE = 12


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it wraps, as requests wraps those of urllib3, and urllib3 those of ssl."""
    for _ in range(_DEEPEST_CAUSE):
        if not isinstance(error, BaseException):
            return
        yield error
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__


def why_not_sent(error: BaseException | None) -> tuple[str, str] | None:
    """What kept a call from being sent at all, and what a person can do; None where it may have been sent."""
    for cause in causes_of(error):
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
