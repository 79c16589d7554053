"""`approval.github_review` in gates.yaml: the repository, who may approve there, and which seats there are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from champion_gate.adapters.github.settings import RepositoryPlace, check_login, stored_repository
from champion_gate.domain import values
from champion_gate.domain.canonical import canonical
from champion_gate.domain.names import VENDOR_ID
from champion_gate.domain.seats import filled
from champion_gate.domain.text import enumerated
from champion_gate.domain.values import Account, Listed, Strict, checked, repeated
from champion_gate.domain.vendors import Place, Server, check_seats
from champion_gate.errors import InvalidNameError

_KIND, _TITLE = "github_review", "GitHub"
_SEAT = "review"
"""How a seat is called that bears no role."""
_MOST_SEATS = 10

_PERSON = values.account(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    "a person's GitHub login such as octo-login, or {login: octo-login, id: 583231} (a bot is no person)",
)
_TEAM = values.text(
    r"[a-z0-9_](?:[a-z0-9_.-]{0,98}[a-z0-9_])?",
    "the slug of a team of the repository's organization, such as ml-leads (without the organization)",
)
_ROLE = values.text(
    r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?",
    "a role's name of letters, digits, blanks and . _ - such as risk (at most 63 characters)",
)
_PATH = values.text(
    r"(?=.{1,150}$)[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*",
    "a folder of the repository such as promotions (letters, digits and . _ - /, no part beginning with a dot)",
)


class Approvers(Strict):
    """Who may approve."""

    people: Annotated[tuple[Annotated[Account, _PERSON], ...], Listed(at_most=100)] = Field(
        default=(), description="GitHub logins. {login, id} pins a login to the account's number"
    )
    teams: Annotated[tuple[Annotated[str, _TEAM], ...], Listed(at_most=20)] = Field(
        default=(), description="slugs of teams of the repository's organization, whose members may approve"
    )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        for index, login in repeated([each.login for each in self.people]):
            yield f"people[{index}]: found {login!r} a second time (GitHub ignores case); keep one"
        for index, slug in repeated(self.teams):
            yield f"teams[{index}]: found {slug!r} a second time; keep one"
        if not self.people and not self.teams:
            yield "people: found nobody, and no teams; expected somebody who may approve"


class Role(Approvers):
    """One kind of approval that is needed, and who may give it."""

    approvals: int = Field(
        default=1, ge=1, le=_MOST_SEATS, description="how many different people of these must approve"
    )


class GitHubReviewPlace(RepositoryPlace):
    """The repository in whose pull requests people approve, and who they are."""

    kind: ClassVar[str] = _KIND
    title: ClassVar[str] = _TITLE
    starts_jobs: ClassVar[bool] = False
    asks_with: ClassVar[tuple[str, str]] = ("pull_requests", "write")

    base: Annotated[str, values.BRANCH] = Field(
        default="main", description="the branch into which the pull requests are opened"
    )
    approvers: Annotated[Approvers | None, values.NEVER_NULL] = Field(
        default=None,
        description="who may approve, where there are no roles; they also need write access to the repository",
        json_schema_extra=values.never_null_in_schema,
    )
    approvals: int = Field(
        default=1,
        ge=1,
        le=_MOST_SEATS,
        description="how many different people must approve, where there are no roles",
    )
    roles: dict[Annotated[str, _ROLE], Role] = Field(
        default_factory=dict,
        description="role -> who may approve in it, and how many must; each approval is by a different person",
    )
    path: Annotated[str, _PATH] = Field(
        default="promotions", description="the folder in which each pull request adds its evidence"
    )
    merge: bool = Field(
        default=False,
        description="merge what was approved into base once the alias has moved; else the pull request is closed",
    )

    _stored_seats: tuple[str, ...] = PrivateAttr(default=())

    def problems(self) -> Iterator[str]:
        """See Strict."""
        yield from super().problems()
        beside = [name for name in ("approvers", "approvals") if name in self.model_fields_set]
        if self.roles and beside:
            yield f"roles: stands beside {' and '.join(beside)}; expected roles, or approvers with approvals"
            return
        if not self.roles and self.approvers is None:
            yield "approvers: is missing; expected people or teams here, or roles"
            return
        for index, name in repeated(list(self.roles)):
            yield f"roles.{list(self.roles)[index]}: is the same as {name} but for upper and lower case; keep one"
        if len(self.seats) > _MOST_SEATS:
            yield f"roles: need {len(self.seats)} approvals together; expected at most {_MOST_SEATS}"
        # Who is in a team is known to GitHub alone.
        named = [{one.login.casefold(): one for one in who.people} for _, who in self.wanted if not who.teams]
        if len(filled(named)) < len(named):
            people = sorted({login for each in named for login in each})
            key = "roles" if self.roles else "approvals"
            yield (
                f"{key}: need {len(named)} different people, and {enumerated(people)} cannot give as many; "
                "expected more people, or fewer approvals"
            )

    @classmethod
    def of(cls, place: Place) -> GitHubReviewPlace:
        """The place, read out of a request's row where it is not typed yet.

        Raises:
            InvalidNameError: one of its names is not of the form that GitHub takes.
        """
        if isinstance(place, cls):
            return place
        words, seats = place.words(), place.seats
        check_seats(seats, "seat")
        read = cls.model_construct(
            **stored_repository(place),
            base=checked(values.BRANCH, words.get("base", ""), "branch"),
            path=checked(_PATH, words.get("path", ""), "folder"),
            merge=words.get("merge") == "true",
            **_stored_seats(words.get("who", "")),
        )
        if len(read.seats) != len(seats):
            raise InvalidNameError(f"{len(seats)} seats are stored, and people for {len(read.seats)}.")
        read._stored_seats = seats  # noqa: SLF001 - its own
        return read

    @property
    def wanted(self) -> Sequence[tuple[str, Approvers]]:
        """(seat, who may fill it), in order."""
        roles = self.roles or {_SEAT: self._only_role}
        return [
            (name if role.approvals == 1 else f"{name} ({number}/{role.approvals})", role)
            for name, role in roles.items()
            for number in range(1, role.approvals + 1)
        ]

    @property
    def _only_role(self) -> Role:
        who = self.approvers or Approvers.model_construct()
        return Role.model_construct(people=who.people, teams=who.teams, approvals=self.approvals)

    @property
    def seats(self) -> tuple[str, ...]:
        """See Place: one for each approval, called by its role."""
        return self._stored_seats or tuple(seat for seat, _ in self.wanted)

    @property
    def people(self) -> tuple[Account, ...]:
        """Everybody who is named, each once."""
        return tuple(dict.fromkeys(one for _, who in self.wanted for one in who.people))

    @property
    def teams(self) -> tuple[str, ...]:
        """All teams that are named, each once."""
        return tuple(dict.fromkeys(slug for _, who in self.wanted for slug in who.teams))

    def words(self) -> dict[str, str]:
        """See Place."""
        roles = self.roles or {"": self._only_role}
        who = [
            {
                "role": name,
                "people": list(map(str, role.people)),
                "teams": list(role.teams),
                "approvals": role.approvals,
            }
            for name, role in roles.items()
        ]
        return {
            "repository": self.repository,
            "base": self.base,
            "path": self.path,
            "merge": "true" if self.merge else "false",
            "who": canonical(who),
            **self.wanted_ids,
        }

    def explained(self, server: Server) -> Iterator[str]:
        """See Place."""
        pinned = f" (pinned: {', '.join(self.wanted_ids)})" if self.wanted_ids else ""
        yield (
            f"People approve it by reviewing a pull request into {self.base} of the GitHub repository {self.repository}"
            f"{pinned} at {server.url}, which adds the evidence below {self.path}/."
        )
        for name, role in (self.roles or {"": self._only_role}).items():
            who = enumerated(
                [*(each.shown for each in role.people), *(f"team {each}" for each in role.teams)]
            )
            count = "One" if role.approvals == 1 else str(role.approvals)
            yield f"{count} of {who} must approve{f' as {name}' if name else ''}."
        if len(self.seats) > 1:
            yield f"These {len(self.seats)} approvals are by different people."
        yield (
            "Once the alias has moved, the pull request is merged."
            if self.merge
            else "In the end the pull request is closed and its branch deleted."
        )


def _stored_seats(written: str) -> dict[str, Any]:
    """The keys that say who may approve, out of a row."""
    try:
        roles = json.loads(written)
        read = {
            each["role"]: Role.model_construct(
                people=tuple(_stored_account(one) for one in each["people"]),
                teams=tuple(checked(_TEAM, slug, "team") for slug in each["teams"]),
                approvals=int(each["approvals"]),
            )
            for each in roles
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InvalidNameError("Who may approve is stored in no form that is known.") from None
    if list(read) == [""]:
        only = read[""]
        who = Approvers.model_construct(people=only.people, teams=only.teams)
        return {"approvers": who, "approvals": only.approvals}
    return {"roles": {checked(_ROLE, name, "role"): role for name, role in read.items()}}


def _stored_account(written: str) -> Account:
    account = Account.of(written)
    check_login(account.login)
    if account.user_id is not None and not VENDOR_ID.fullmatch(account.user_id):
        raise InvalidNameError(f"the id of {account.login} is no number.")
    return account
