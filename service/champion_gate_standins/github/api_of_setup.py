"""The endpoints of the GitHub stand-in by which people change a repository, and an App its webhook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.github import answers, auth
from champion_gate_standins.github.accounts import RefusedError, Team, User
from champion_gate_standins.github.api import json_body, nothing
from champion_gate_standins.github.lists import text_of
from champion_gate_standins.github.repositories import Environment, Repository
from champion_gate_standins.github.state import State
from champion_gate_standins.github.webhooks import Webhooks

_ENVIRONMENT_KEYS = {
    "wait_timer",
    "prevent_self_review",
    "reviewers",
    "deployment_branch_policy",
    "can_admins_bypass",
}
_MOST_REVIEWERS = 6


class SetupApi:
    """The endpoints, over the state.

    Attributes:
        takes_bypass: whether it takes `can_admins_bypass`, which older servers refuse
            (integrations/terraform-provider-github#1804).
    """

    def __init__(self, state: State, webhooks: Webhooks) -> None:
        self._state = state
        self._webhooks = webhooks
        self.takes_bypass = True
        self.blueprint = Blueprint("setup", __name__)
        repo = "/repos/<owner>/<name>"
        policies = f"{repo}/environments/<place>/deployment-branch-policies"
        for method, rule, view in (
            ("PATCH", "/app/hook/config", self.set_hook),
            ("GET", "/orgs/<org>/teams/<slug>", self.get_team),
            ("PUT", f"{repo}/environments/<path:place>", self.put_environment),
            ("POST", policies, self.add_policy),
            ("DELETE", f"{policies}/<int:number>", self.delete_policy),
            ("POST", f"{repo}/actions/variables", self.add_variable),
            ("PATCH", f"{repo}/actions/variables/<variable>", self.change_variable),
        ):
            self.blueprint.add_url_rule(rule, f"{method} {rule}".replace(".", ""), view, methods=[method])

    def _reach(self, owner: str, name: str, permission: str, level: str = "write") -> Repository:
        caller = auth.authenticate(self._state, request.headers.get("Authorization"))
        repository = auth.reach(self._state, caller, f"{owner}/{name}")
        auth.require(caller, permission, level)
        return repository

    # --- an App's webhook, teams -----------------------------------------------------------------------------

    def set_hook(self) -> Response:
        """`PATCH /app/hook/config`."""
        auth.authenticate_app(self._state, request.headers.get("Authorization"))
        body = json_body()
        self._webhooks.url = body.get("url", self._webhooks.url)
        self._webhooks.secret = body.get("secret", self._webhooks.secret)
        return jsonify(
            {"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": self._webhooks.url}
        )

    def get_team(self, org: str, slug: str) -> Response:
        """`GET /orgs/{org}/teams/{team_slug}`."""
        auth.require(auth.authenticate(self._state, request.headers.get("Authorization")), "members", "read")
        team, owner = self._state.team(org, slug), self._state.user(org)
        return jsonify(answers.full_team(self._state.base_url, team, owner))

    # --- environments ----------------------------------------------------------------------------------------

    def put_environment(self, owner: str, name: str, place: str) -> Response:
        """`PUT …/environments/{environment_name}`: what is not in the body is as in a new environment afterwards."""
        repository, body = self._reach(owner, name, "administration"), json_body()
        known = _ENVIRONMENT_KEYS - (set() if self.takes_bypass else {"can_admins_bypass"})
        for key in body.keys() - known:
            raise RefusedError(422, f'Invalid request.\n\n"{key}" is not a permitted key.')
        reviewers = [self._reviewer(each) for each in body.get("reviewers") or []]
        if len(reviewers) > _MOST_REVIEWERS:
            raise RefusedError(422, "Invalid request.\n\nNo more than 6 reviewers may be listed.")
        if repository.private and (reviewers or body.get("wait_timer")):
            raise RefusedError(
                422,
                "Failed to create the environment protection rule. Please ensure the billing plan supports the "
                "required reviewers protection rule.",
            )
        now = self._state.clock()
        fresh = Environment(self._state.new_id(), place, now, now)
        found = repository.environments.setdefault(place.lower(), fresh)
        found.reviewers, found.wait_timer, found.updated_at = reviewers, body.get("wait_timer") or 0, now
        found.prevent_self_review = bool(body.get("prevent_self_review"))
        found.can_admins_bypass = body.get("can_admins_bypass", True) is not False
        policy = body.get("deployment_branch_policy")
        if policy and policy["protected_branches"] == policy["custom_branch_policies"]:
            raise RefusedError(
                422, "protected_branches and custom_branch_policies cannot have the same value"
            )
        custom = () if found.branches is None else found.branches
        found.branch_policy = (
            None if policy is None else "protected" if policy["protected_branches"] else custom
        )
        return jsonify(answers.environment(self._state.base_url, repository, found))

    def _reviewer(self, wanted: Mapping[str, Any]) -> User | Team:
        everybody: list[User | Team] = (
            [*self._state.teams.values()] if wanted.get("type") == "Team" else [*self._state.users.values()]
        )
        found = next((each for each in everybody if each.id == wanted.get("id")), None)
        if found is None:
            raise RefusedError(422, "Invalid request.\n\nA reviewer cannot be found.")
        return found

    def add_policy(self, owner: str, name: str, place: str) -> Response:
        """`POST …/deployment-branch-policies`; 303 where it is there already, 404 without custom ones."""
        found = self._state.environment(self._reach(owner, name, "administration"), place)
        branch = text_of(json_body(), "name")
        if found.branches is None:
            raise RefusedError(404, "Not Found")
        if branch in found.branches:
            return nothing(303)
        found.branch_policy = (*found.branches, branch)
        return jsonify(answers.branch_policy(found, branch))

    def delete_policy(self, owner: str, name: str, place: str, number: int) -> Response:
        """`DELETE …/deployment-branch-policies/{branch_policy_id}`."""
        found = self._state.environment(self._reach(owner, name, "administration"), place)
        kept = tuple(
            each for each in found.branches or () if answers.branch_policy(found, each)["id"] != number
        )
        if kept == (found.branches or ()):
            raise RefusedError(404, "Not Found")
        found.branch_policy = kept
        return nothing(204)

    # --- variables -------------------------------------------------------------------------------------------

    def add_variable(self, owner: str, name: str) -> tuple[Response, int]:
        """`POST …/actions/variables`; 409 where it is there."""
        found, body = self._reach(owner, name, "actions_variables").variables, json_body()
        variable = text_of(body, "name").upper()
        if variable in found:
            raise RefusedError(409, "Already exists - Variable already exists")
        found[variable] = text_of(body, "value")
        return jsonify({}), 201

    def change_variable(self, owner: str, name: str, variable: str) -> Response:
        """`PATCH …/actions/variables/{name}`."""
        found = self._reach(owner, name, "actions_variables").variables
        if variable.upper() not in found:
            raise RefusedError(404, "Not Found")
        found[variable.upper()] = text_of(json_body(), "value")
        return nothing(204)
