"""Who calls the GitLab stand-in: access tokens with scopes, and what roles may do."""

from __future__ import annotations

from collections.abc import Mapping

from champion_gate_standins.gitlab.state import NO_ONE, AccessToken, Project, RefusedError, State

_READS = frozenset({"read_api", "api"})


def authenticate(state: State, headers: Mapping[str, str]) -> AccessToken:
    """The token of a PRIVATE-TOKEN or an Authorization header.

    Raises:
        RefusedError: 401 for none, or one that is unknown, revoked or expired (lib/api/api_guard.rb).
    """
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    secret = headers.get("Private-Token") or (bearer.strip() if scheme.lower() == "bearer" else "")
    token = state.tokens.get(secret)
    if token is None or token.user.state != "active":
        raise RefusedError(401, "401 Unauthorized")
    if token.revoked:
        problem = "Token was revoked. You have to re-authorize from the user."
        raise RefusedError(401, "invalid_token", key="error", error_description=problem)
    if token.expires_at and token.expires_at <= state.clock():
        problem = "Token is expired. You can either do re-authorization or token refresh."
        raise RefusedError(401, "invalid_token", key="error", error_description=problem)
    return token


def require_scope(token: AccessToken, *, writes: bool) -> None:
    """RefusedError 403 unless the token's scopes allow reading or, with `writes`, everything."""
    if "api" in token.scopes or (not writes and _READS & set(token.scopes)):
        return
    raise RefusedError(
        403,
        "insufficient_scope",
        key="error",
        error_description="The request requires higher privileges than provided by the access token.",
        scope="api" if writes else "api read_api",
    )


def reach(state: State, token: AccessToken, project_id: int) -> Project:
    """The project; RefusedError 404 where it is absent or hidden from the token."""
    project = state.project(project_id)
    foreign = token.project is not None and token.project is not project
    if foreign or (project.visibility != "public" and project.level(token.user) == NO_ONE):
        raise RefusedError(404, "404 Project Not Found")
    return project


def require_role(token: AccessToken, project: Project, level: int) -> None:
    """RefusedError 403 unless the token's account has this role or a higher one."""
    if project.level(token.user) < level:
        raise RefusedError(403, "403 Forbidden")
