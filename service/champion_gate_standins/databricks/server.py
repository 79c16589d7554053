"""A small Databricks workspace over HTTP: jobs, runs, notifications, Unity Catalog models, MLflow runs."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from champion_gate_standins.common.server import StandInApp
from champion_gate_standins.databricks.catalog import Catalog
from champion_gate_standins.databricks.clusters import Clusters
from champion_gate_standins.databricks.destinations import Destinations
from champion_gate_standins.databricks.faults import Fault, Faults
from champion_gate_standins.databricks.grants import Grants
from champion_gate_standins.databricks.guard import Guard
from champion_gate_standins.databricks.job_starts import JobStarts
from champion_gate_standins.databricks.jobs import Jobs
from champion_gate_standins.databricks.principals import Principal, Principals
from champion_gate_standins.databricks.runs import Hook
from champion_gate_standins.databricks.serving import Serving
from champion_gate_standins.databricks.sql import Sql

__all__ = ["DatabricksStandIn", "Fault", "Hook", "Request"]

_ERROR_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
    409: "RESOURCE_CONFLICT",
}
_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - databricks/sdk/oidc.py
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_OPEN_PATHS = ("/.well-known/", "/oidc/")


@dataclass(frozen=True)
class Request:
    """A request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    user_agent: str


class DatabricksStandIn:
    """Stands in for one workspace; serve `app` with `standins.server.serve`.

    Any of `tokens` is accepted as a bearer token; `client_id` with `client_secret` gets the first of them
    from the OAuth endpoint (M2M), as a service principal would. Others sign in with the tokens of `add_principal`.

    Attributes:
        app: the Flask app.
        jobs: jobs, runs and notifications.
        starts: runs that clients start.
        catalog: models and MLflow runs.
        serving: serving endpoints.
        destinations: notification destinations; none to begin with.
        grants: who was granted what; nobody anything to begin with, which hinders nobody unless it is `guarded`.
        principals: who may call.
        clusters: clusters and their policies.
        sql: SQL warehouses, of which there are none to begin with, and the audit log.
        faults: what goes wrong on purpose.
        tells_workspace: whether answers of the API bear the workspace's id in X-Databricks-Org-Id; the SDK reads
            it there where discovery did not tell (databricks/sdk/__init__.py, get_workspace_id).
        token_seconds: for how long a token of the OAuth endpoint is said to last.
        federation: which ID tokens of another issuer stand for which service principal; none to begin with.
        requests: every request that arrived, in order.
    """

    def __init__(
        self,
        *,
        workspace_id: str = "1234567890123456",
        tokens: tuple[str, ...] = ("standin-token",),
        client_id: str = "standin-client",
        client_secret: str = "standin-secret",  # noqa: S107 - of a stand-in
        user: str = "champion-gate@example.com",
        now: Callable[[], int] | None = None,
    ) -> None:
        now = now or (lambda: int(time.time() * 1000))
        self.workspace_id = workspace_id
        self.destinations = Destinations()
        self.jobs = Jobs(workspace_id, now, self.destinations)
        self.starts = JobStarts(self.jobs, user, now)
        self.catalog = Catalog(workspace_id, now)
        self.serving = Serving(user, now)
        self.principals = Principals()
        self.grants = Grants(self.principals, self.catalog.owner)
        self.clusters = Clusters()
        self.sql = Sql(now)
        self.faults = Faults()
        self.tells_workspace = True
        self.token_seconds = 3600
        self.federation: dict[str, str] = {}
        self.requests: list[Request] = []
        self._tokens = tokens
        for token in tokens:
            self.principals.add(Principal(user, ("ml-owners",), is_service="@" not in user), token)
        self._secret = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self.app = StandInApp(__name__)
        self._build()

    def add_principal(self, name: str, *, groups: tuple[str, ...] = (), admin: bool = False) -> str:
        """Let a person or, without `@` in its name, a service principal call; returns its token."""
        token = f"token-of-{name}"
        self.principals.add(Principal(name, groups, admin, is_service="@" not in name), token)
        return token

    def _build(self) -> None:
        self.app.before_request(self._record)
        self.faults.attach(self.app)
        self.app.before_request(self._authenticate)
        self.app.before_request(Guard(self.grants, self.jobs))
        self.app.after_request(self._sign)
        self.app.register_error_handler(HTTPException, _error)
        self.app.get("/.well-known/databricks-config")(self._workspace_config)
        self.app.get("/oidc/.well-known/oauth-authorization-server")(self._oauth_endpoints)
        self.app.post("/oidc/v1/token")(self._token)
        self.principals.attach(self.app)
        self.destinations.attach(self.app)
        self.grants.attach(self.app)
        self.jobs.attach(self.app)
        self.starts.attach(self.app)
        self.catalog.attach(self.app)
        self.serving.attach(self.app)
        self.clusters.attach(self.app)
        self.sql.attach(self.app)

    def _record(self) -> None:
        body = request.get_json(silent=True) if request.is_json else None
        agent = request.headers.get("User-Agent", "")
        self.requests.append(Request(request.method, request.path, request.args.to_dict(), body, agent))

    def _authenticate(self) -> Response | None:
        if request.path.startswith(_OPEN_PATHS):
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            return _answer(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type.")
        if token not in self.principals.by_token:
            return _answer(403, "403", "Invalid access token.")
        g.caller = self.principals.by_token[token]
        return None

    def _sign(self, response: Response) -> Response:
        if self.tells_workspace and request.path.startswith("/api/"):
            response.headers["X-Databricks-Org-Id"] = self.workspace_id
        return response

    def _workspace_config(self) -> Response:
        return jsonify(
            oidc_endpoint=request.host_url + "oidc",
            workspace_id=self.workspace_id,
            account_id="00000000-0000-0000-0000-000000000001",
            cloud="AWS",
        )

    def _oauth_endpoints(self) -> Response:
        base = request.host_url + "oidc"
        return jsonify(authorization_endpoint=f"{base}/v1/authorize", token_endpoint=f"{base}/v1/token")

    def _token(self) -> Response:
        sent = request.form
        if sent.get("grant_type") == _TOKEN_EXCHANGE and sent.get("subject_token_type") == _JWT:
            is_known = bool(sent.get("client_id")) and sent.get("client_id") == self.federation.get(
                sent.get("subject_token", "")
            )
        else:
            is_known = request.headers.get("Authorization") == f"Basic {self._secret}"
        if not is_known:
            response = jsonify(error="invalid_client", error_description="Client authentication failed")
            response.status_code = 401
            return response
        granted = {"access_token": self._tokens[0], "token_type": "Bearer", "expires_in": self.token_seconds}
        return jsonify({**granted, "scope": "all-apis"})


def _answer(status: int, error_code: str, message: str) -> Response:
    response = jsonify(error_code=error_code, message=message)
    response.status_code = status
    return response


def _error(error: HTTPException) -> Response:
    status = error.code or 500
    return _answer(status, _ERROR_CODES.get(status, "INTERNAL_ERROR"), error.description or error.name)
