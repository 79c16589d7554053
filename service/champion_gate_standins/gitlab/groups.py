"""Whom a protection of the GitLab stand-in may name besides people and roles: groups, deploy keys, custom roles."""

from __future__ import annotations

from dataclasses import dataclass, field

_NO_ROLE = 0


@dataclass(eq=False)
class Group:
    """A group.

    Attributes:
        path: full path, `group/subgroup`.
        parent: the group above, whose members are members here too.
        members: user id -> access level, without those of the group above.
        visibility: "private" or "public"; who may read it.
    """

    id: int
    path: str
    parent: Group | None = None
    members: dict[int, int] = field(default_factory=dict)
    visibility: str = "private"

    def levels(self, *, inherited: bool = True) -> dict[int, int]:
        """User id -> role, the highest where somebody has several."""
        found = dict(self.parent.levels()) if inherited and self.parent else {}
        for user_id, level in self.members.items():
            found[user_id] = max(level, found.get(user_id, _NO_ROLE))
        return found


@dataclass(frozen=True)
class DeployKey:
    """A key with which whoever has it may push. It belongs to nobody that GitLab would name."""

    id: int
    title: str = "deploy"


@dataclass(frozen=True)
class CustomRole:
    """A role that an administrator made (Ultimate), known by its number only.

    Attributes:
        base: access level on which it is built; None where the answer tells none.
    """

    id: int
    base: int | None = None
