"""Who may change the branch whose CI/CD file decides what reviewers are shown and which job is gated.

docs.gitlab.com, "Protected branches"; a branch may fall under several rules, wildcards among them, and the
most permissive one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from champion_gate.adapters.gitlab.api import ProjectApi
from champion_gate.adapters.gitlab.models import AccessLevel
from champion_gate.adapters.gitlab.people import MAINTAINER, AccessRule, People
from champion_gate.adapters.gitlab.settings import GitLabPlace
from champion_gate.domain.ports.approval import Person
from champion_gate.errors import TooLongListError, VendorRefusedError

_NAMED = 5  # of those who may push; more help nobody who reads the error


@dataclass(frozen=True)
class Branch:
    """The rules of all protected branches that our ref falls under.

    Attributes:
        is_protected: whether there is any.
        push, merge, unprotect: who may do so. Where nobody is named who may take the protection away, every
            Maintainer may.
    """

    is_protected: bool
    push: tuple[AccessRule, ...]
    merge: tuple[AccessRule, ...]
    unprotect: tuple[AccessRule, ...]


def read_branch(api: ProjectApi) -> Branch:
    """Look at the branch; errors are those of ApiClient."""
    found = [one for one in api.protected_branches() if _covers(one.name, api.spot.ref)]
    return Branch(
        is_protected=bool(found),
        push=_access(one.push_access_levels for one in found),
        merge=_access(one.merge_access_levels for one in found),
        # Free tiers do not tell it: there every Maintainer may.
        unprotect=_access(one.unprotect_access_levels or [] for one in found),
    )


def branch_problems(spot: GitLabPlace, branch: Branch, people: People, bot: Person) -> Iterator[str]:
    """Who could change the branch, and with `protection: branch` let the job start, and is no Maintainer."""
    page = f"Branch {spot.ref} of project {spot.project} (Settings, Repository, Protected branches)"
    if not branch.is_protected:
        yield f"{page}: it is not protected. Protect it, for Maintainers only."
    if any(rule.admits_developers for rule in branch.push):
        yield f"{page}: Developers may push to it. Set `Allowed to push` to Maintainers or no one."
    if any(rule.admits_developers for rule in branch.merge):
        yield (
            f"{page}: Developers may merge into it, and so may change the CI/CD file and, with protection: branch, "
            "let the job start. Set `Allowed to merge` to Maintainers."
        )
    if any(rule.admits_developers for rule in branch.unprotect):
        yield f"{page}: Developers may unprotect it. Set `Allowed to unprotect` to Maintainers."
    rules = {*branch.push, *branch.merge, *branch.unprotect}
    yield from (f"{page}: {each}" for each in _outsiders(rules, people, bot))


def _outsiders(rules: Iterable[AccessRule], people: People, bot: Person) -> Iterator[str]:
    """Those below Maintainer who are named one by one or by a group, and those who cannot be told."""
    ids = sorted({str(rule.number) for rule in rules if rule.kind == "user"} - {bot.user_id}, key=int)
    low = [user_id for user_id in ids if people.level(user_id) < MAINTAINER]
    if low:
        yield (
            f"the users {', '.join(low)}, who may push, merge or unprotect, are no Maintainers. "
            "Take them off, or make them Maintainers."
        )
    for number in sorted({rule.number for rule in rules if rule.kind == "group"}):
        try:
            low = people.below_maintainer(number, bot.user_id)
        except TooLongListError:
            yield (
                f"group {number} may push, merge or unprotect, and has, or its project has, more than 1,000 members, "
                "who are not all looked at. Let in a smaller group or people by name, or Maintainers."
            )
            continue
        except VendorRefusedError as refused:
            yield (
                f"group {number} may push, merge or unprotect, and who is in it cannot be read ({refused.message}). "
                "Let our read token's account see the group, or take it off and allow Maintainers."
            )
            continue
        if low:
            named = ", ".join(low[:_NAMED]) + (f" and {len(low) - _NAMED} more" if len(low) > _NAMED else "")
            yield (
                f"group {number} may push, merge or unprotect, and of its members {named} are no Maintainers of the project. "
                "Take the group off, or make them Maintainers."
            )
    yield from sorted(f"{why}." for rule in rules if (why := rule.strange_because))


def _access(found: Iterable[Iterable[AccessLevel]]) -> tuple[AccessRule, ...]:
    return tuple(AccessRule.of(entry) for one in found for entry in one)


def _covers(name: str, ref: str) -> bool:
    return re.fullmatch(re.escape(name).replace(r"\*", ".*"), ref) is not None
