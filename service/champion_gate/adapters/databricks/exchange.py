"""Time-outs for the SDK's token exchanges, which have none.

A token is also got from commands (`databricks auth token`, `az`), which are run without one. Exchanges go out through `requests.post` and `requests.get` without a session that could be set up
(databricks/sdk/oauth.py `retrieve_token`, oidc_token_supplier.py, credentials_provider.py), under the lock of the
token source: one that is never answered stops every later call. So those modules are given a `requests` with
time-outs of its own, and each exchange is made in a thread of its own, for an answer may drip.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
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
        return _in_time(partial(requests.get, url, params, **_with_timeout(kwargs)))

    def post(self, url: str, data: Any = None, json: Any = None, **kwargs: Any) -> requests.Response:
        """`requests.post`, bounded."""
        return _in_time(partial(requests.post, url, data, json, **_with_timeout(kwargs)))


def bound_exchanges() -> None:
    """Have the SDK's exchanges bounded, in this process; again changes nothing."""
    from importlib import import_module  # noqa: PLC0415 - the SDK takes a second, only where it is used

    for name in _SDK_MODULES:
        module = import_module(f"databricks.sdk.{name}")
        if not isinstance(module.requests, BoundedRequests):
            module.requests = BoundedRequests()  # type: ignore[attr-defined]
    commands = import_module("databricks.sdk.credentials_provider")
    if not isinstance(commands._run_subprocess, _InTime):  # noqa: SLF001 - it has no other door
        commands._run_subprocess = _InTime(commands._run_subprocess)  # type: ignore[attr-defined] # noqa: SLF001


def begin(connect: float, read: float, until: float) -> None:
    """Bound what this thread exchanges from now on.

    Args:
        connect: seconds for a connection.
        read: seconds between two pieces of an answer.
        until: the deadline, on `time.monotonic`.
    """
    _bounds.connect, _bounds.read, _bounds.until = connect, read, until


class _InTime:
    """Runs a command as the SDK does, and ends it when the time is over."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = kwargs.pop("timeout", None) or math.inf
        return self._run(*args, timeout=min(own, _left()), **kwargs)


def _in_time(exchange: Callable[[], requests.Response]) -> requests.Response:
    """The whole answer by the deadline, or requests.Timeout; requests itself bounds each piece alone."""
    answer: Future[requests.Response] = Future()

    def run() -> None:
        try:
            answer.set_result(exchange())
        except BaseException as error:  # noqa: BLE001 - it is raised where the exchange is waited for
            answer.set_exception(error)

    threading.Thread(target=run, name="databricks-exchange", daemon=True).start()
    try:
        return answer.result(timeout=_left())
    except TimeoutError:
        raise requests.Timeout("the token exchange had no whole answer in time") from None


def _left() -> float:
    """Seconds until this thread's deadline."""
    return _bounds.read if _bounds.until is None else max(0.01, _bounds.until - time.monotonic())


def _with_timeout(kwargs: dict[str, Any]) -> dict[str, Any]:
    left = _left()
    return {"timeout": (min(_bounds.connect, left), min(_bounds.read, left)), **kwargs}
