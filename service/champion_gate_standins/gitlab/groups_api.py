"""Who belongs to what on the GitLab stand-in: groups and the members of groups and projects, under /api/v4."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request

from champion_gate_standins.gitlab import answers, auth
from champion_gate_standins.gitlab.groups import Group
from champion_gate_standins.gitlab.lists import listed, page_of
from champion_gate_standins.gitlab.state import NO_ONE, RefusedError, State, found


class GroupsApi:
    """The endpoints, over the state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.blueprint = Blueprint("groups", __name__, url_prefix="/api/v4")
        one = "/groups/<int:group_id>"
        for rule, view in (
            (one, self.get_group),
            (f"{one}/members", self.list_direct_members),
            (f"{one}/members/all", self.list_all_members),
            (f"{one}/members/<int:user_id>", self.get_direct_member),
            (f"{one}/members/all/<int:user_id>", self.get_any_member),
            ("/projects/<int:project_id>/members/all", self.list_project_members),
        ):
            self.blueprint.add_url_rule(rule, rule, view)

    def get_group(self, group_id: int) -> Response:
        """`GET /groups/:id`."""
        return jsonify(answers.group(self._state.base_url, self._reach(group_id)))

    def list_direct_members(self, group_id: int) -> Response:
        """`GET /groups/:id/members`, without inherited ones."""
        return self._list(self._reach(group_id).levels(inherited=False))

    def list_all_members(self, group_id: int) -> Response:
        """`GET /groups/:id/members/all`, inherited ones included."""
        return self._list(self._reach(group_id).levels())

    def get_direct_member(self, group_id: int, user_id: int) -> Response:
        """`GET /groups/:id/members/:user_id`; 404 for who is no direct one."""
        return self._member(self._reach(group_id).levels(inherited=False), user_id)

    def get_any_member(self, group_id: int, user_id: int) -> Response:
        """`GET /groups/:id/members/all/:user_id`; 404 for who is none."""
        return self._member(self._reach(group_id).levels(), user_id)

    def list_project_members(self, project_id: int) -> Response:
        """`GET /projects/:id/members/all`, inherited and invited ones included."""
        token = auth.authenticate(self._state, dict(request.headers))
        auth.require_scope(token, writes=False)
        return self._list(self._state.members(auth.reach(self._state, token, project_id)))

    def _reach(self, group_id: int) -> Group:
        """The group; RefusedError 404 where it is absent or hidden from the token.

        A private group is read by its members and by those of its projects (app/policies/group_policy.rb).
        """
        token = auth.authenticate(self._state, dict(request.headers))
        auth.require_scope(token, writes=False)
        group = found(self._state.groups.get(group_id), "Group")
        of_its_projects = any(
            project.path.startswith(f"{group.path}/") and project.level(token.user) > NO_ONE
            for project in self._state.projects.values()
        )
        if group.visibility != "public" and token.user.id not in group.levels() and not of_its_projects:
            raise RefusedError(404, "404 Group Not Found")
        return group

    def _list(self, levels: Mapping[int, int]) -> Response:
        people = {user.id: user for user in self._state.users.values()}
        page, headers = page_of(sorted(levels))
        members = [answers.member(self._state.base_url, people[number], levels[number]) for number in page]
        return listed(members, headers)

    def _member(self, levels: Mapping[int, int], user_id: int) -> Response:
        people = {user.id: user for user in self._state.users.values()}
        return jsonify(answers.member(self._state.base_url, people[user_id], found(levels.get(user_id))))
