"""Time-outs for the SDK's token exchanges, which have none.

They go out through `requests.post` and `requests.get` without a session that could be set up
(databricks/sdk/oauth.py `retrieve_token`, oidc_token_supplier.py, credentials_provider.py), under the lock of the
token source: one that is never answered stops every later call. So those modules are given a `requests` with
time-outs of its own.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import requests

_SDK_MODULES = ("oauth", "oidc_token_supplier", "credentials_provider", "config")


class _Bounds(threading.local):
    """How long this thread's exchanges may take: seconds to connect, to read, and the end on `time.monotonic`."""

    connect: float = 5
    read: float = 15
    until: float | None = None


_bounds = _Bounds()


class BoundedRequests:
    """What the SDK uses of `requests`, with a time-out where the caller sets none."""

    def __getattr__(self, name: str) -> Any:
        """Everything else is as it is."""
        return getattr(requests, name)

    def get(self, url: str, params: Any = None, **kwargs: Any) -> requests.Response:
        """`requests.get`, bounded."""
        return requests.get(url, params, **_with_timeout(kwargs))  # noqa: S113 - it is in there

    def post(self, url: str, data: Any = None, json: Any = None, **kwargs: Any) -> requests.Response:
        """`requests.post`, bounded."""
        return requests.post(url, data, json, **_with_timeout(kwargs))  # noqa: S113 - it is in there


def bound_exchanges() -> None:
    """Have the SDK's exchanges bounded, in this process; again changes nothing."""
    from importlib import import_module  # noqa: PLC0415 - the SDK takes a second, only where it is used

    for name in _SDK_MODULES:
        module = import_module(f"databricks.sdk.{name}")
        if not isinstance(module.requests, BoundedRequests):
            module.requests = BoundedRequests()  # type: ignore[attr-defined]


def begin(connect: float, read: float, until: float) -> None:
    """Bound what this thread exchanges from now on.

    Args:
        connect: seconds for a connection.
        read: seconds between two pieces of an answer.
        until: the deadline, on `time.monotonic`.
    """
    _bounds.connect, _bounds.read, _bounds.until = connect, read, until


def _with_timeout(kwargs: dict[str, Any]) -> dict[str, Any]:
    left = _bounds.read if _bounds.until is None else max(0.01, _bounds.until - time.monotonic())
    return {"timeout": (min(_bounds.connect, left), min(_bounds.read, left)), **kwargs}
