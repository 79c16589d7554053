"""What the SDK sends through: own time-outs, a deadline, no redirects in calls, and what the last answer was.

Calls go through an adapter that is mounted in the SDK's session. Its token exchanges go out through `requests.post`
and `requests.get` without a session that could be set up (databricks/sdk/oauth.py `retrieve_token`,
oidc_token_supplier.py, credentials_provider.py), under the lock of the token source: one that is never answered
stops every later call. So those modules are given a `requests` with a deadline of its own. Tokens that come from
commands (`databricks auth token`, `az`) are waited for without one too, and get it here.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import requests
import requests.adapters

from champion_gate.adapters.databricks.errors import LastAnswer
from champion_gate.adapters.http.answer import is_web_page
from champion_gate.adapters.http.deadline import Deadline, Timeouts, new_session
from champion_gate.domain.names import vendor_id

MOST_AT_ONCE = 8  # a workspace limits how much it is asked at once
_MAX_RETRY_AFTER = 86_400.0  # a day, after which nothing is tried any more
_WORKSPACE_HEADER = "X-Databricks-Org-Id"
_SDK_MODULES = ("oauth", "oidc_token_supplier", "credentials_provider", "config")


class OutOfTimeError(OSError):
    """No time is left, or the call must not be repeated; the error that led here is its context."""


class Patience(threading.local):
    """What the call that runs in this thread may still do, and the last answer that it got."""

    timeouts = Timeouts()
    until: float | None = None
    skipped: float = 0.0
    may_repeat: bool = True
    last = LastAnswer()

    def begin(self, timeouts: Timeouts, until: float, *, may_repeat: bool) -> None:
        """Begin a call that ends at `until`, on `time.monotonic`."""
        self.timeouts, self.until, self.may_repeat = timeouts, until, may_repeat
        self.skipped, self.last = 0.0, LastAnswer()

    def now(self) -> float:
        """`time.monotonic`, with each pause counted in full, however long it really took."""
        return time.monotonic() + self.skipped

    def pause(self, seconds: float, sleep: Callable[[float], None]) -> None:
        """Let so many seconds pass."""
        over = self.now() + seconds
        sleep(seconds)
        self.skipped += max(0.0, over - self.now())

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.timeouts.read if self.until is None else self.until - self.now()

    def for_one_exchange(self) -> tuple[float, float]:
        """Seconds to connect and to read, as requests takes them."""
        left = max(self.left(), 0.01)
        return min(self.timeouts.connect, left), min(self.timeouts.read, left)


patience = Patience()


class SdkClock:
    """The SDK's clock (databricks/sdk/clock.py): it decides on repeats by sleeping, so we end them there."""

    def __init__(self, sleep: Callable[[float], None]) -> None:
        """Nobody sleeps yet."""
        self._sleep = sleep

    def time(self) -> float:
        """Now, in seconds."""
        return patience.now()

    def sleep(self, seconds: float) -> None:
        """Pause before the SDK's next try, or end the call."""
        if not patience.may_repeat or seconds >= patience.left():
            raise OutOfTimeError
        patience.pause(seconds, self._sleep)


class Transport(requests.adapters.HTTPAdapter):
    """Own time-outs for connecting and reading, no redirects, and nothing sent after the deadline."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        """Nothing is sent yet; `heard` is told the workspace's id, where an answer names it."""
        self._heard = heard
        super().__init__(pool_connections=2, pool_maxsize=MOST_AT_ONCE)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request (requests' own contract)."""
        # A write must have ended when its caller gives up and somebody else takes over.
        needed = 0.0 if patience.may_repeat else patience.timeouts.connect + patience.timeouts.read
        if patience.left() <= needed:
            raise OutOfTimeError
        kwargs["timeout"] = patience.for_one_exchange()
        patience.last = LastAnswer()
        response = super().send(request, *args, **kwargs)
        self._note(response)
        if response.is_redirect:
            response.close()
            raise requests.TooManyRedirects("a redirect, which an API does not answer with")
        return response

    def _note(self, response: requests.Response) -> None:
        headers = response.headers
        seconds = headers.get("Retry-After", "")
        patience.last = LastAnswer(
            status=response.status_code,
            retry_after=min(float(seconds), _MAX_RETRY_AFTER) if vendor_id(seconds) else None,
            web_page=not response.is_redirect and is_web_page(response.content),
            redirect=headers.get("Location", "") if response.is_redirect else None,
        )
        workspace_id = headers.get(_WORKSPACE_HEADER, "")
        if response.ok and vendor_id(workspace_id):
            self._heard(workspace_id)


# --- token exchanges --------------------------------------------------------------------------------------


class BoundedRequests:
    """What the SDK uses of `requests`, with a deadline, and with time-outs where the caller sets none."""

    def __getattr__(self, name: str) -> Any:
        """Everything else is as it is."""
        return getattr(requests, name)

    def get(self, url: str, params: Any = None, **kwargs: Any) -> requests.Response:
        """`requests.get`, bounded."""
        return _in_time("GET", url, params=params, **kwargs)

    def post(self, url: str, data: Any = None, json: Any = None, **kwargs: Any) -> requests.Response:
        """`requests.post`, bounded."""
        return _in_time("POST", url, data=data, json=json, **kwargs)


def bound_exchanges() -> None:
    """Have the SDK's exchanges bounded, in this process; again changes nothing."""
    from importlib import import_module  # noqa: PLC0415 - the SDK takes a second, only where it is used

    for name in _SDK_MODULES:
        module = import_module(f"databricks.sdk.{name}")
        if not isinstance(module.requests, BoundedRequests):
            module.requests = BoundedRequests()  # type: ignore[attr-defined]
    commands = import_module("databricks.sdk.credentials_provider")
    if not isinstance(commands._run_subprocess, _CommandInTime):  # noqa: SLF001 - it has no other door
        commands._run_subprocess = _CommandInTime(commands._run_subprocess)  # type: ignore[attr-defined] # noqa: SLF001


class _CommandInTime:
    """Runs a command as the SDK does, and ends it when the time is over."""

    def __init__(self, run: Callable[..., Any]) -> None:
        self._run = run

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        own = kwargs.pop("timeout", None) or math.inf
        return self._run(*args, timeout=min(own, max(patience.left(), 0.01)), **kwargs)


def _in_time(method: str, url: str, **kwargs: Any) -> requests.Response:
    """The whole answer by the deadline, or requests.Timeout; requests itself bounds each piece alone."""
    kwargs.setdefault("timeout", patience.for_one_exchange())
    answer = None
    with new_session() as session, Deadline(max(patience.left(), 0.01)) as deadline:
        try:
            answer = session.request(method, url, **kwargs)
        except (requests.RequestException, OSError):
            if not deadline.passed:
                raise
    if answer is None or deadline.passed:
        raise requests.Timeout("the token exchange had no whole answer in time")
    return answer
