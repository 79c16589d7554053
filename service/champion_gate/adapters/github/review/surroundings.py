"""What is around pull requests in which people approve, and decides nothing: for who sets it up and who checks it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from champion_gate.adapters.github.models import github
from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.place import MAY_WRITE
from champion_gate.adapters.http.models import Answered
from champion_gate.domain.text import enumerated, one_line
from champion_gate.errors import VendorNotFoundError

_WORKFLOWS = (".github", "workflows")
_ABOUT_ITSELF = ("readme", "license", "codeowners", "security", "contributing", ".")
Doubt = tuple[str, str]
"""What is so, and what to do about it."""


class _Entry(Answered):
    name: str


class SurroundingsApi(ReviewApi):
    """Calls about what is around the pull requests, too. Errors are those of ApiClient."""

    def names(self, *folder: str) -> list[str]:
        """`GET …/contents/{path}`: what is in a folder of the default branch; nothing where there is none."""
        try:
            found = github.many(_Entry, self._contents("contents", *folder), "contents")
        except VendorNotFoundError:  # of an empty repository too
            return []
        return [each.name for each in found]


def holdings(api: SurroundingsApi) -> Iterator[Doubt]:
    """What a repository holds that who may write to it, as we may, had better not reach."""
    name = api.spot.repository
    repository, found, workflows = api.together.outcomes(
        api.repository, api.names, partial(api.names, *_WORKFLOWS)
    )
    if repository().private is False:
        yield f"{name} is public: everybody can read the evidence.", "Make it private, unless they may."
    if files := workflows():
        yield (
            f"{name} has workflows ({_some(files)}): they run what we write, with its secrets.",
            "Have people approve in a repository of its own, without any.",
        )
    ours = api.spot.path.partition("/")[0]
    others = [one for one in found() if one != ours and not one.lower().startswith(_ABOUT_ITSELF)]
    if others:
        yield (
            f"{name} holds {_some(others)} too: whoever gets our key can change that.",
            "Have people approve in a repository of its own.",
        )


def unable(api: SurroundingsApi) -> Iterator[Doubt]:
    """People whom gates.yaml names, and whose approval would not count; logins of nobody are the survey's to tell."""
    people = [one.login for one in api.spot.people]
    found = api.together.each_outcome([partial(api.permission, login) for login in people])
    for login, permission in zip(people, found, strict=True):
        try:
            has = permission().permission
        except VendorNotFoundError:
            continue
        if has not in MAY_WRITE:
            yield (
                f"{login} has the permission {one_line(has)} on {api.spot.repository}, and needs write.",
                f"Give {login}, or a team of theirs, the role Write on the repository's page, Settings, Collaborators.",
            )


def _some(names: list[str]) -> str:
    shown = [one_line(each) for each in names[:3]]
    return enumerated([*shown, "more"] if len(names) > len(shown) else shown)
