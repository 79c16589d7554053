"""Calls to one Databricks workspace: unified auth, time-outs, a deadline, errors translated, JSON checked."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters

from champion_gate.adapters.databricks_errors import VENDOR, Seen, translate, unreadable
from champion_gate.errors import VendorError, VendorRefusedError, VendorUnavailableError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

MAX_PAGES = 100
_MAX_AT_ONCE = 8
_MAX_RETRY_AFTER = 86_400.0
_ID = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True)
class Budget:
    """How long we wait, in seconds.

    Attributes:
        connect: for a TCP and TLS connection.
        read: between two pieces of an answer.
        total: for one operation with all its calls, repeats and token exchanges.
    """

    connect: float = 5
    read: float = 15
    total: float = 60


class _OutOfTimeError(OSError):
    """No time is left, or the call must not be repeated; the error that led here is its context."""


class _Patience(threading.local):
    """What the call that runs in this thread may still do, and the last answer that it got."""

    until: float = 0.0
    may_repeat: bool = True
    status: int | None = None
    retry_after: float | None = None


class _SdkClock:
    """The SDK's clock (databricks/sdk/clock.py): it decides on repeats by sleeping, so we end them there."""

    def __init__(self, patience: _Patience) -> None:
        self._patience = patience

    def time(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if not self._patience.may_repeat or time.monotonic() + seconds >= self._patience.until:
            raise _OutOfTimeError
        time.sleep(seconds)


class _Transport(requests.adapters.HTTPAdapter):
    """Own time-outs for connecting and reading, no redirects, and nothing sent after the deadline."""

    def __init__(self, budget: Budget, patience: _Patience) -> None:
        self._budget = budget
        self._patience = patience
        super().__init__(pool_connections=2, pool_maxsize=_MAX_AT_ONCE)

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        left = self._patience.until - time.monotonic()
        # A write must have ended when its caller gives up and somebody else takes over.
        needed = 0.0 if self._patience.may_repeat else self._budget.connect + self._budget.read
        if left <= needed:
            raise _OutOfTimeError
        kwargs["timeout"] = (min(self._budget.connect, left), min(self._budget.read, left))
        self._patience.status = self._patience.retry_after = None
        response = super().send(request, *args, **kwargs)
        self._patience.status = response.status_code
        seconds = response.headers.get("Retry-After", "")
        self._patience.retry_after = min(float(seconds), _MAX_RETRY_AFTER) if _ID.fullmatch(seconds) else None
        if response.is_redirect:
            response.close()
            raise requests.TooManyRedirects("a redirect, which an API does not answer with")
        return response


class DatabricksConnection:
    """A WorkspaceClient made on first use, shared by all threads.

    The SDK's constructor already makes requests, and a failed one is not kept.
    """

    def __init__(
        self, *, product_version: str, config_overrides: Mapping[str, object] | None, budget: Budget
    ) -> None:
        self._product_version = product_version
        self._overrides = dict(config_overrides or {})
        self.budget = budget
        self._patience = _Patience()
        self._slots = threading.BoundedSemaphore(_MAX_AT_ONCE)
        self._client: WorkspaceClient | None = None

    @property
    def host(self) -> str | None:
        """The workspace's base URL without a trailing slash; None before the first call."""
        host: str | None = self._client.config.host if self._client else None
        return host

    @property
    def configured_workspace_id(self) -> str | None:
        """The workspace's id as configured or as the SDK found it; None before the first call."""
        found = self._client.config.workspace_id if self._client else None
        return str(found) if found else None

    def begin(self) -> Operation:
        """Start an operation: calls that share one total deadline."""
        return Operation(self, time.monotonic() + self.budget.total)

    def call(
        self,
        method: str,
        path: str,
        *,
        until: float,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Make one call in a thread of its own and wait for it until the deadline.

        The thread is what bounds answers that trickle, and the SDK's token exchange, which has no time-out
        (databricks/sdk/oauth.py, retrieve_token).

        Args:
            method: GET calls are repeated by the SDK on 429, 503 and lost connections; others never.
            path: from `/api`, with every name in it checked and quoted.
            until: the deadline, on `time.monotonic`.
            query: sent URL-encoded.
            body: sent as JSON.

        Raises:
            VendorUnavailableError, VendorRefusedError, VendorNotFoundError: see `errors`.
        """
        writes = method != "GET"
        if not self._slots.acquire(timeout=max(0.0, until - time.monotonic())):
            raise VendorUnavailableError(VENDOR, "too many earlier calls are still without an answer.")
        result: Future[dict[str, Any]] = Future()

        def run() -> None:
            self._patience.until, self._patience.may_repeat = until, not writes
            self._patience.status = self._patience.retry_after = None
            try:
                result.set_result(self._call(method, path, query, body))
            except BaseException as error:  # noqa: BLE001 - whatever it is, the waiting thread is told
                result.set_exception(self._translated(error, f"{method} {path}", writes=writes))
            finally:
                self._slots.release()

        try:
            threading.Thread(target=run, name="databricks-call", daemon=True).start()
        except RuntimeError:
            self._slots.release()
            raise VendorUnavailableError(VENDOR, "this machine has no thread left for the call.") from None
        try:
            return result.result(timeout=max(0.0, until - time.monotonic()))
        except TimeoutError:
            raise VendorUnavailableError(
                VENDOR, f"{method} {path} had no answer in time.", outcome_unknown=writes
            ) from None

    def _call(
        self, method: str, path: str, query: Mapping[str, object] | None, body: Mapping[str, object] | None
    ) -> dict[str, Any]:
        client = self._client or self._connect()
        headers = {"Accept": "application/json"}
        if client.config.workspace_id:  # as the SDK's own services do, for hosts that serve many workspaces
            headers["X-Databricks-Workspace-Id"] = str(client.config.workspace_id)
        answer = client.api_client.do(
            method,
            path,
            query=dict(query) if query is not None else None,
            body=dict(body) if body is not None else None,
            headers=headers,
        )
        return record(answer, path)

    def _connect(self) -> WorkspaceClient:
        # No lock: a constructor that hangs would block every other call; two clients do no harm.
        from databricks.sdk import WorkspaceClient  # noqa: PLC0415 - a second of import, only where it is used
        from databricks.sdk.core import Config  # noqa: PLC0415

        settings: dict[str, Any] = {
            "http_timeout_seconds": self.budget.read,
            "retry_timeout_seconds": max(1, int(self.budget.total)),
            "product": "champion-gate",
            "product_version": self._product_version,
            "clock": _SdkClock(self._patience),
            **self._overrides,
        }
        client = WorkspaceClient(config=Config(**settings))
        # The SDK has one time-out for connecting and reading and follows redirects; its session is private.
        session = client.api_client._api_client._session  # noqa: SLF001
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Transport(self.budget, self._patience))
        self._client = client
        return client

    def _translated(self, error: BaseException, what: str, *, writes: bool) -> VendorError:
        if isinstance(error, VendorError):
            return error
        gave_up = isinstance(error, _OutOfTimeError)
        cause = error
        while isinstance(cause, _OutOfTimeError | TimeoutError) and (cause.__cause__ or cause.__context__):
            cause = cause.__cause__ or cause.__context__ or cause
        seen = Seen(
            what=what,
            status=self._patience.status,
            retry_after=self._patience.retry_after,
            writes=writes,
            repeatable=gave_up or cause is not error,
        )
        translated = translate(cause, seen)
        translated.__cause__ = cause
        return translated


@dataclass
class Operation:
    """Calls that share one total deadline."""

    connection: DatabricksConnection
    until: float

    def read(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """GET; see `DatabricksConnection.call`."""
        return self.connection.call("GET", path, until=self.until, query=query)

    def write(self, method: str, path: str, body: Mapping[str, object] | None = None) -> None:
        """PUT, POST or DELETE, sent at most once; see `DatabricksConnection.call`."""
        self.connection.call(method, path, until=self.until, body=body)

    def search(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """POST that changes nothing, sent at most once; see `DatabricksConnection.call`."""
        return self.connection.call("POST", path, until=self.until, body=body)

    def pages(self, path: str, query: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """GET page after page until none is left; a page may be empty and not be the last.

        Raises:
            VendorRefusedError: there are more than MAX_PAGES, so what we have is not the whole.
        """
        token: str | None = None
        for _ in range(MAX_PAGES):
            page = self.read(path, {**query, **({"page_token": token} if token else {})})
            yield page
            before, token = token, text(page.get("next_page_token"))
            if not token:
                return
            if token == before:
                raise VendorRefusedError(VENDOR, f"{path} names the same page as its next one again.")
        raise VendorRefusedError(VENDOR, f"{path} has more than {MAX_PAGES} pages, more than we read.")


def import_sdk() -> None:
    """Import databricks-sdk, which takes a second or two; later calls cost nothing."""
    import databricks.sdk  # noqa: F401, PLC0415


def connect(
    *,
    product_version: str,
    config_overrides: Mapping[str, object] | None = None,
    budget: Budget | None = None,
) -> DatabricksConnection:
    """Prepare the connection to the one workspace; no call is made.

    The SDK reads its own DATABRICKS_* variables and profiles when it is first used.

    Args:
        product_version: our version, sent in the User-Agent.
        config_overrides: arguments of `databricks.sdk.core.Config` that win over the environment.
        budget: how long we wait.
    """
    return DatabricksConnection(
        product_version=product_version, config_overrides=config_overrides, budget=budget or Budget()
    )


def record(value: object, what: str) -> dict[str, Any]:
    """Return a JSON object, or raise VendorUnavailableError."""
    if not isinstance(value, dict):
        raise unreadable(what)
    return value


def records(value: object, what: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects, empty where the field is absent, or raise VendorUnavailableError."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise unreadable(what)
    return [record(item, what) for item in value]


def number_text(value: object, what: str) -> str:
    """Return an id or number, which comes as a JSON number or as digits, as digits."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and _ID.fullmatch(value):
        return str(int(value))
    raise unreadable(what)


def text(value: object) -> str | None:
    """Return a non-empty string, else None."""
    return value if isinstance(value, str) and value else None
