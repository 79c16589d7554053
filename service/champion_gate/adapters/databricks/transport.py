"""What the SDK sends its calls through: own time-outs, a deadline, no redirects, and what the last answer was."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
import requests.adapters

from champion_gate.adapters.http.web_pages import is_web_page

MOST_AT_ONCE = 8
_MAX_RETRY_AFTER = 86_400.0
_NUMBER = re.compile(r"[0-9]{1,19}")
_WORKSPACE_HEADER = "X-Databricks-Org-Id"


@dataclass(frozen=True)
class Budget:
    """How long we wait, in seconds.

    Attributes:
        connect: for a TCP and TLS connection.
        read: between two pieces of an answer.
        total: for one operation with all its calls, repeats and token exchanges.
        half_made: for how long a client is used that was made without the workspace's discovery.
    """

    connect: float = 5
    read: float = 15
    total: float = 60
    half_made: float = 600


class OutOfTimeError(OSError):
    """No time is left, or the call must not be repeated; the error that led here is its context."""


class Patience(threading.local):
    """What the call that runs in this thread may still do, and the last answer that it got."""

    until: float = 0.0
    may_repeat: bool = True
    status: int | None = None
    retry_after: float | None = None
    web_page: bool = False
    redirect: str | None = None

    def begin(self, until: float, *, may_repeat: bool) -> None:
        """Begin a call that ends at `until`, on `time.monotonic`."""
        self.until, self.may_repeat = until, may_repeat
        self.forget_answer()

    def forget_answer(self) -> None:
        """Before another answer comes."""
        self.status = self.retry_after = self.redirect = None
        self.web_page = False


class SdkClock:
    """The SDK's clock (databricks/sdk/clock.py): it decides on repeats by sleeping, so we end them there."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def time(self) -> float:
        """Now, in seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Pause before the SDK's next try, or end the call."""
        if not self._patience.may_repeat or time.monotonic() + seconds >= self._patience.until:
            raise OutOfTimeError
        time.sleep(seconds)


class Transport(requests.adapters.HTTPAdapter):
    """Own time-outs for connecting and reading, no redirects, and nothing sent after the deadline."""

    def __init__(self, budget: Budget, patience: Patience, heard: Callable[[str], None]) -> None:
        self._budget = budget
        self._patience = patience
        self._heard = heard
        super().__init__(pool_connections=2, pool_maxsize=MOST_AT_ONCE)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one request (requests' own contract)."""
        left = self._patience.until - time.monotonic()
        # A write must have ended when its caller gives up and somebody else takes over.
        needed = 0.0 if self._patience.may_repeat else self._budget.connect + self._budget.read
        if left <= needed:
            raise OutOfTimeError
        kwargs["timeout"] = (min(self._budget.connect, left), min(self._budget.read, left))
        self._patience.forget_answer()
        response = super().send(request, *args, **kwargs)
        self._note(response)
        if response.is_redirect:
            response.close()
            raise requests.TooManyRedirects("a redirect, which an API does not answer with")
        return response

    def _note(self, response: requests.Response) -> None:
        patience, headers = self._patience, response.headers
        patience.status = response.status_code
        seconds = headers.get("Retry-After", "")
        patience.retry_after = min(float(seconds), _MAX_RETRY_AFTER) if _NUMBER.fullmatch(seconds) else None
        patience.redirect = headers.get("Location", "") if response.is_redirect else None
        patience.web_page = not response.is_redirect and is_web_page(response.content)
        workspace_id = headers.get(_WORKSPACE_HEADER, "")
        if response.ok and _NUMBER.fullmatch(workspace_id):
            self._heard(workspace_id)
