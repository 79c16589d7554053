"""Who may do what in a project: rules that name people, groups and roles, and whether somebody fulfils one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from champion_gate.adapters.gitlab.api import ProjectApi
from champion_gate.adapters.gitlab.models import AccessLevel, Member, User, gitlab
from champion_gate.errors import VendorNotFoundError, VendorRefusedError

DEVELOPER = 30  # GitLab's numbers for its roles
MAINTAINER = 40
NOBODY = 0
_KINDS = {
    "user_id": "user",
    "group_id": "group",
    "deploy_key_id": "deploy key",
    "member_role_id": "custom role",
}
_BOT = re.compile(r"(?:project|group)_[0-9]+_bot")
_INHERITANCE = {None: False, 0: False, 1: True}


@dataclass(frozen=True)
class AccessRule:
    """One line of "allowed to": one person, one group, or a role and all above it.

    Attributes:
        kind: "user", "group", "deploy key", "custom role" or "role", or the keys of an entry that we do not know.
        number: the id of what is named, or the role's level (Developer 30, Maintainer 40, Owner 50); 0 for what
            we do not know.
        inherited: whether members of the groups above a group count too.
        approvals: how many approvals it demands; 0 where it is about something else.
    """

    kind: str
    number: int
    inherited: bool = False
    approvals: int = 0

    @classmethod
    def of(cls, entry: AccessLevel) -> AccessRule:
        """Read an entry of deploy_access_levels, approval_rules, push_, merge_ or unprotect_access_levels.

        An entry for a person or a group may hold a level too, which then means nothing
        (docs.gitlab.com, "Protected environments API").

        Raises:
            VendorUnavailableError: it names nobody, and no role.
        """
        named = sorted(key for key, value in entry if key.endswith("_id") and value is not None)
        if not named:
            level = gitlab.told(entry.access_level, "access_level")
            return cls("role", level, approvals=entry.required_approvals)
        kind = _KINDS.get(named[0], named[0]) if len(named) == 1 else " and ".join(named)
        inheritance = entry.group_inheritance_type if kind == "group" else None
        if inheritance not in _INHERITANCE:
            kind = f"group_inheritance_type {inheritance} and group_id"
        number = getattr(entry, named[0]) if kind in _KINDS.values() else 0
        return cls(kind, number, _INHERITANCE.get(inheritance, False), entry.required_approvals)

    @property
    def strange_because(self) -> str | None:
        """Why nobody can say whom this lets in, and what to do; None for a person, a group or a role."""
        if self.kind in {"user", "group", "role"}:
            return None
        if self.kind == "deploy key":
            return (
                f"deploy key {self.number} may push, with which somebody unnamed could change the CI/CD file. "
                "Take the key off"
            )
        if self.kind == "custom role":
            return (
                f"it lets in the custom role {self.number} (member_role_id), and GitLab does not tell what its "
                "holders may do besides. Take the role off, and allow Maintainers or name people"
            )
        return (
            f"it lets in somebody by {self.kind}, which champion-gate does not know. "
            "Take the entry off, and allow Maintainers or name people"
        )

    @property
    def admits_developers(self) -> bool:
        """Whether a role below Maintainer is enough."""
        return self.kind == "role" and NOBODY < self.number < MAINTAINER

    def pin(self) -> list[object]:
        """In a form that can be stored and compared."""
        return [self.kind, self.number, self.inherited, self.approvals]


class People:
    """Looks people up; each question is asked once."""

    def __init__(self, api: ProjectApi) -> None:
        self._api = api
        self._levels: dict[str, int] = {}
        self._in_project: dict[str, int] | None = None
        self._in_group: dict[tuple[int, bool, str], bool] = {}
        self._is_person: dict[str, bool] = {}

    def fulfils(self, rules: Iterable[AccessRule], user_id: str) -> bool:
        """Whether one of the rules admits this user, as things are now."""
        return any(self._fulfils(rule, user_id) for rule in rules)

    def level(self, user_id: str) -> int:
        """The user's role in the project; 0 for who is no active member."""
        if user_id not in self._levels:
            try:
                member = self._api.member(user_id)
            except VendorNotFoundError:
                self._levels[user_id] = NOBODY
            else:
                self._levels[user_id] = member.access_level if _is_active(member, user_id) else NOBODY
        return self._levels[user_id]

    def below_maintainer(self, group_id: int, but: str) -> list[str]:
        """Usernames of the group's active members, inherited ones included, who are no Maintainers of the project.

        Args:
            group_id: the group.
            but: a user's id who is passed over.

        Raises:
            VendorRefusedError: the members of the group or of the project are not shown to us.
        """
        members = self._api.group_members(str(group_id), inherited=True)
        if self._in_project is None:
            self._in_project = {one.id: one.access_level for one in self._api.members()}
        return [
            one.username
            for one in members
            if one.state == "active" and one.id != but and self._in_project.get(one.id, NOBODY) < MAINTAINER
        ]

    def admitted(self, rules: Iterable[AccessRule]) -> frozenset[str]:
        """The ids of all whom one of the rules admits, as things are now; access tokens' bots are left out.

        Raises:
            VendorRefusedError: the members of a group or of the project are not shown to us.
        """
        found: set[str] = set()
        for rule in rules:
            if rule.kind == "user":
                found.add(str(rule.number))
                continue
            if rule.kind == "group":
                members = self._api.group_members(str(rule.number), inherited=rule.inherited)
            else:
                members = self._api.members() if rule.kind == "role" and rule.number > NOBODY else []
                members = [one for one in members if one.access_level >= rule.number]
            found |= {one.id for one in members if one.state == "active" and not _BOT.match(one.username)}
        return frozenset(found)

    def is_person(self, user_id: str) -> bool:
        """Whether it is a person's account: no bot (access tokens act as such), not blocked, not deleted."""
        if user_id not in self._is_person:
            try:
                user = self._api.user(user_id)
            except VendorNotFoundError:
                self._is_person[user_id] = False
            else:
                self._is_person[user_id] = _is_active(user, user_id) and user.bot is False
        return self._is_person[user_id]

    def unreadable_groups(self, rules: Iterable[AccessRule]) -> list[str]:
        """Groups whose members are not shown to us, with the reason: nobody could be recognised as one."""
        found = []
        for number in sorted({rule.number for rule in rules if rule.kind == "group"}):
            try:
                self._api.check_group(str(number))
            except VendorRefusedError as refused:
                found.append(f"who is in group {number} cannot be read ({refused.message})")
        return found

    def _fulfils(self, rule: AccessRule, user_id: str) -> bool:
        if rule.kind == "user":
            return str(rule.number) == user_id
        if rule.kind == "group":
            return self._is_in_group(rule, user_id)
        return rule.kind == "role" and rule.number > NOBODY and self.level(user_id) >= rule.number

    def _is_in_group(self, rule: AccessRule, user_id: str) -> bool:
        key = (rule.number, rule.inherited, user_id)
        if key not in self._in_group:
            try:
                member = self._api.group_member(str(rule.number), user_id, inherited=rule.inherited)
            except VendorNotFoundError:
                self._in_group[key] = False
            else:
                self._in_group[key] = _is_active(member, user_id)
        return self._in_group[key]


def _is_active(found: Member | User, user_id: str) -> bool:
    return found.id == user_id and found.state == "active"
