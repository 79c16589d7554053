"""Calls to one Databricks workspace: unified auth, time-outs, a deadline, errors translated, JSON checked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from champion_gate.adapters.databricks.errors import CREDENTIALS, VENDOR, Seen, translate, unreadable
from champion_gate.adapters.databricks.models import Page, databricks
from champion_gate.adapters.databricks.transport import (
    MOST_AT_ONCE,
    OutOfTimeError,
    SdkClock,
    Transport,
    bound_exchanges,
    patience,
)
from champion_gate.adapters.http.deadline import (
    BoundedCalls,
    GivenUpError,
    Timed,
    Timeouts,
    read_environment,
    untimed,
)
from champion_gate.adapters.http.models import Answered
from champion_gate.errors import VendorError, VendorRefusedError, VendorUnavailableError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.core import Config

M = TypeVar("M", bound=Answered)
P = TypeVar("P", bound=Page)

MAX_PAGES = 100  # a list that never ends must not hold a worker
ME = "/api/2.0/preview/scim/v2/Me"
"""Who we are; the SDK too reads the workspace's id from this answer's header."""

_DISCOVERY_SECONDS = 5.0  # the SDK asks in its constructor, before our own time-outs hold
_OAUTH_ENDPOINTS = "/oidc/.well-known/oauth-authorization-server"


class DatabricksConnection:
    """A WorkspaceClient made on first use, shared by all threads.

    The SDK's constructor already makes requests: one that failed is not kept, and one that had to do without
    discovery is made anew after a while.
    """

    def __init__(
        self,
        *,
        product_version: str,
        config_overrides: Mapping[str, object] | None,
        timeouts: Timeouts,
        half_made_seconds: float,
        sleep: Callable[[float], None],
        timed: Timed = untimed,
    ) -> None:
        self._product_version = product_version
        self._overrides = dict(config_overrides or {})
        self._timeouts = timeouts
        self._half_made_seconds = half_made_seconds
        self._sleep = sleep
        self._calls = BoundedCalls(VENDOR, slots=MOST_AT_ONCE, timed=timed)
        self._client: WorkspaceClient | None = None
        self._use_until = -math.inf  # on `time.monotonic`; the client's settings are known also afterwards
        self._heard_workspace_id: str | None = None

    @property
    def host(self) -> str | None:
        """The workspace's base URL without a trailing slash; None before the first call."""
        host: str | None = self._client.config.host if self._client else None
        return host

    @property
    def workspace_id(self) -> str | None:
        """The workspace's id: DATABRICKS_WORKSPACE_ID, else what discovery or any answer told; None before that."""
        found = self._client.config.workspace_id if self._client else None
        return str(found) if found else self._heard_workspace_id

    @property
    def heard_workspace_id(self) -> str | None:
        """The id of the workspace that answers our calls; None where no answer told it yet."""
        return self._heard_workspace_id

    def page(self, path: str) -> str:
        """A page of the workspace for people, as databricks/cli writes it (bundle/config/resources/)."""
        shown = f"{self.host or ''}/{path}"
        return f"{shown}?o={self.workspace_id}" if self.workspace_id else shown

    def begin(self) -> Operation:
        """Start an operation: calls that share one total deadline."""
        return Operation(self, time.monotonic() + self._timeouts.total)

    def call(
        self,
        method: str,
        path: str,
        *,
        until: float,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        blotted: Callable[[str], str] = str,
    ) -> dict[str, Any]:
        """Make one call and wait for it until the deadline.

        A call that is given up takes its client with it: who knows what it holds, and whoever comes next must not
        wait behind it.

        Args:
            method: GET calls are repeated by the SDK on 429, 503 and lost connections; others never.
            path: from `/api`, with every name in it checked and quoted.
            until: the deadline, on `time.monotonic`.
            query: sent URL-encoded.
            body: sent as JSON.
            blotted: takes out of Databricks' words what was sent and nobody may read.

        Raises:
            VendorUnavailableError, VendorRefusedError, VendorNotFoundError: see `errors`.
        """
        used, writes, what = self._client, method != "GET", f"{method} {path}"

        def call(_: object) -> dict[str, Any]:
            patience.begin(self._timeouts, until, may_repeat=not writes)
            try:
                return self._call(method, path, query, body)
            except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits is told in our words
                translated = _translated(error, what, writes=writes, blotted=blotted)
                raise translated from translated.__cause__

        seconds, given_up = until - time.monotonic(), f"{what} had no answer in time."
        try:
            return self._calls.run(call, seconds=seconds, given_up=given_up, writes=writes)
        except GivenUpError as error:
            if self._client is used:
                self._use_until = -math.inf
            if used is None:
                error.hint = f"We are not signed in yet. {CREDENTIALS}"
            raise

    def _call(
        self, method: str, path: str, query: Mapping[str, object] | None, body: Mapping[str, object] | None
    ) -> dict[str, Any]:
        client = self._client
        if client is None or time.monotonic() >= self._use_until:
            client = self._connect()
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
        if self._client is None:
            self._keep(client, is_whole=False)
        if not isinstance(answer, dict):
            raise unreadable(path)
        return answer

    def _connect(self) -> WorkspaceClient:
        # No lock: a constructor that hangs would block every other call; two clients do no harm.
        from databricks.sdk import WorkspaceClient  # noqa: PLC0415 - a second of import, only where it is used

        bound_exchanges()
        config, is_discovered = self._configure()
        client = WorkspaceClient(config=config)
        # The SDK has one time-out for connecting and reading and follows redirects; its session is private.
        session = client.api_client._api_client._session  # noqa: SLF001
        for scheme in ("https://", "http://"):
            session.mount(scheme, Transport(self._hear))
        read_environment(session, config.host)
        # Without discovery nothing shows that the settings are right, until a call has.
        if is_discovered or self._client is not None:
            self._keep(client, is_whole=bool(is_discovered and config.discovery_url))
        return client

    def _keep(self, client: WorkspaceClient, *, is_whole: bool) -> None:
        """Use it for the calls to come, unless a whole one is in use and this one came late and is none."""
        if is_whole or self._use_until != math.inf:
            self._client = client
            self._use_until = math.inf if is_whole else time.monotonic() + self._half_made_seconds

    def _configure(self) -> tuple[Config, bool]:
        """The SDK's settings, and whether they may be kept before a call has shown that they are right.

        The constructor asks discovery first, with the time-outs that it finds, and goes on without its answer;
        but OAuth needs the endpoints that stand there, so the workspace's own are then tried.
        """
        from databricks.sdk.core import Config  # noqa: PLC0415 - as above

        settings: dict[str, Any] = {
            "http_timeout_seconds": min(self._timeouts.read, _DISCOVERY_SECONDS),
            "retry_timeout_seconds": 1,
            "product": "champion-gate",
            "product_version": self._product_version,
            "clock": SdkClock(self._sleep),
            # Its threads are no daemons, and would keep a process from ending.
            "disable_async_token_refresh": True,
            **self._overrides,
        }
        is_discovered = True
        try:
            config = Config(**settings)
        except ValueError:
            if not settings.get("host") or "discovery_url" in settings:
                raise
            is_discovered = False
            config = Config(**settings, discovery_url=f"{settings['host']}{_OAUTH_ENDPOINTS}")
        config.http_timeout_seconds = self._timeouts.read
        config.retry_timeout_seconds = max(1, int(self._timeouts.total))
        self._refuse_browsers_address(config.host)
        return config, is_discovered

    def _refuse_browsers_address(self, host: str | None) -> None:
        """A host in the environment was checked at the start; one in a profile of the SDK's is seen here first."""
        parts = urlsplit(host or "")
        if parts.query or parts.fragment:
            raise VendorRefusedError(
                VENDOR,
                f"the host of the SDK's profile has more behind {parts.scheme}://{parts.netloc}, as in a browser.",
                hint="Keep only that, and put the number behind ?o= into workspace_id, or DATABRICKS_WORKSPACE_ID.",
                concerns_all=True,
            )

    def _hear(self, workspace_id: str) -> None:
        self._heard_workspace_id = workspace_id


@dataclass
class Operation:
    """Calls that share one total deadline."""

    connection: DatabricksConnection
    until: float

    def read(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """GET; see `DatabricksConnection.call`."""
        return self.connection.call("GET", path, until=self.until, query=query)

    def get(self, model: type[M], path: str, query: Mapping[str, object] | None = None) -> M:
        """GET, and what is taken of the answer."""
        return databricks.one(model, self.read(path, query), path)

    def write(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        blotted: Callable[[str], str] = str,
    ) -> None:
        """PUT, POST or DELETE, sent at most once; see `DatabricksConnection.call`."""
        self.connection.call(method, path, until=self.until, body=body, blotted=blotted)

    def post(self, model: type[M], path: str, body: Mapping[str, object]) -> M:
        """POST, sent at most once, and what is taken of the answer; see `DatabricksConnection.call`.

        Raises:
            VendorUnavailableError: with `outcome_unknown` also where the answer cannot be read.
        """
        answer = self.connection.call("POST", path, until=self.until, body=body)
        try:
            return databricks.one(model, answer, path)
        except VendorUnavailableError as error:
            error.outcome_unknown = True
            raise

    def pages(self, model: type[P], path: str, query: Mapping[str, object]) -> Iterator[P]:
        """GET page after page until none is left; a page may be empty and not be the last.

        Raises:
            VendorRefusedError: there are more than MAX_PAGES, so what we have is not the whole.
        """
        token: str | None = None
        for _ in range(MAX_PAGES):
            page = self.get(model, path, {**query, **({"page_token": token} if token else {})})
            yield page
            before, token = token, page.next_page_token
            if not token:
                return
            if token == before:
                raise VendorRefusedError(VENDOR, f"{path} names the same page as its next one again.")
        raise VendorRefusedError(VENDOR, f"{path} has more than {MAX_PAGES} pages, more than we read.")


def _translated(
    error: BaseException, what: str, *, writes: bool, blotted: Callable[[str], str]
) -> VendorError:
    if isinstance(error, VendorError):
        return error
    gave_up = isinstance(error, OutOfTimeError)
    cause = error
    while isinstance(cause, OutOfTimeError | TimeoutError) and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__ or cause
    repeatable = gave_up or cause is not error
    seen = Seen(what, patience.last, writes=writes, repeatable=repeatable, blotted=blotted)
    translated = translate(cause, seen)
    translated.__cause__ = cause
    return translated


def import_sdk() -> None:
    """Import databricks-sdk, which takes a second or two; later calls cost nothing."""
    import databricks.sdk  # noqa: F401, PLC0415


def connect(
    *,
    product_version: str,
    config_overrides: Mapping[str, object] | None = None,
    timeouts: Timeouts | None = None,
    half_made_seconds: float = 600,
    sleep: Callable[[float], None] = time.sleep,
    timed: Timed = untimed,
) -> DatabricksConnection:
    """Prepare the connection to the one workspace; no call is made.

    The SDK reads its own DATABRICKS_* variables and profiles when it is first used.

    Args:
        product_version: our version, sent in the User-Agent.
        config_overrides: arguments of `databricks.sdk.core.Config` that win over the environment.
        timeouts: `total` is for one operation with all its calls, repeats and token exchanges.
        half_made_seconds: for how long a client is used that was made without the workspace's discovery.
        sleep: pauses between the tries of a call.
        timed: takes the time of each call, its repeats included.
    """
    return DatabricksConnection(
        product_version=product_version,
        config_overrides=config_overrides,
        timeouts=timeouts or Timeouts(),
        half_made_seconds=half_made_seconds,
        sleep=sleep,
        timed=timed,
    )
