"""Whether a repository may be asked in, who may approve there, and the ids that must stay the same until it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from champion_gate.adapters.github.place import repository_ids
from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.models import Permission, Team
from champion_gate.adapters.pins import changed_pins, unpacked
from champion_gate.domain.canonical import canonical
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.seats import filled
from champion_gate.domain.text import enumerated
from champion_gate.domain.values import Account
from champion_gate.errors import UnsafeTargetError, VendorNotFoundError, VendorRefusedError

_COMPARED = ("repository_id", "owner_id", "bot_id", "base")
MAY_WRITE = frozenset({"write", "admin"})
"""GitHub tells `maintain` as write, and `triage` as read."""


@dataclass(frozen=True)
class Survey:
    """What a look at the place brought.

    Attributes:
        pins: ids to be stored with a request; complete only where there is no problem.
        problems: what makes the place unsafe, each with what to change and where.
        people: login -> the id of whoever is named so.
        teams: slug -> id.
        refused: why it could not be looked at, which is one of the problems.
    """

    pins: Mapping[str, str]
    problems: tuple[str, ...]
    people: Mapping[str, str]
    teams: Mapping[str, str]
    refused: VendorRefusedError | None = None


def survey(api: ReviewApi, account: Callable[[Account], Person]) -> Survey:
    """Look at repository, branch, and everybody who is named, at all of them at once.

    Args:
        api: of the place.
        account: whose a login is.

    Raises:
        VendorUnavailableError: GitHub could not be read; a refusal is a problem, not an error.
    """
    spot, problems = api.spot, list[str]()
    pins = {"base": spot.base}
    people: dict[str, str] = {}
    teams: dict[str, str] = {}
    refused: VendorRefusedError | None = None
    try:
        api.sign_in()  # once, not by each of the calls
        repository, own, head, who = api.together.outcomes(
            api.repository,
            api.own_account,
            lambda: api.head_of(spot.base),
            lambda: (
                api.together.each_outcome([partial(account, each) for each in spot.people]),
                api.together.each_outcome([partial(api.team, each) for each in spot.teams]),
            ),
        )
        pins |= repository_ids(api, repository, problems)
        bot = own()
        pins |= {"bot_id": bot.user_id, "bot_login": bot.login}
        if head() is None:
            problems.append(f"{spot.repository} has no branch {spot.base}: correct `base` in gates.yaml.")
        named, of_teams = who()
        for each, find in zip(spot.people, named, strict=True):
            people |= _person(each, find, bot, problems)
        for slug, read in zip(spot.teams, of_teams, strict=True):
            teams |= _team(spot.owner, slug, read, problems)
    except VendorRefusedError as error:
        problems.append(f"{spot.repository} cannot be checked: {error}")
        refused = error
    pins |= {"people": canonical(people), "teams": canonical(teams)}
    return Survey(pins, tuple(problems), people, teams, refused)


def changes(stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In which ways the place is not what it was when the request opened."""
    return changed_pins((name for name in _COMPARED if name in now), stored, now)


def ids_of(stored: Mapping[str, str], what: str) -> Mapping[str, str]:
    """Login or slug, in lower case -> id, as stored under `people` or `teams`; empty where that cannot be read."""
    return {name.casefold(): str(number) for name, number in unpacked(stored.get(what, "")).items()}


def too_few(api: ReviewApi, looked: Survey) -> Iterator[str]:
    """That the people who are named alone cannot fill the seats, where nobody else may."""
    spot = api.spot
    named = [who for _, who in spot.wanted if not who.teams]
    people = list(dict.fromkeys(one.login for who in named for one in who.people))
    read = dict(
        zip(people, api.together.each([partial(may_write, api, each) for each in people]), strict=True)
    )
    own = looked.pins["bot_id"]
    able = [
        {
            looked.people[one.login]: one.login
            for one in who.people
            if read[one.login] and looked.people[one.login] != own
        }
        for who in named
    ]
    if len(filled(able)) < len(named):
        lacking = [login for login in people if not read[login]]
        why = f": {enumerated(lacking)} may not write there" if lacking else ""
        yield (
            f"{spot.repository}: of those whom gates.yaml names, too few may approve{why}. Give them the role Write "
            "(Settings, Collaborators and teams), or name others."
        )


def may_write(api: ReviewApi, login: str, user_id: str | None = None) -> bool:
    """Whether an account may write to the repository, as things are now; GitHub is asked by login.

    Raises:
        UnsafeTargetError: another account has the login now.
    """
    try:
        found: Permission = api.permission(login)
    except VendorNotFoundError:
        return False
    if user_id is not None and (found.user is None or found.user.id != user_id):
        raise UnsafeTargetError(f"{login} is another account now than the one that decided.")
    return found.permission in MAY_WRITE


def _person(named: Account, find: Callable[[], Person], bot: Person, problems: list[str]) -> dict[str, str]:
    try:
        found = find()
    except (UnsafeTargetError, VendorNotFoundError) as error:
        problems.append(f"Who {named.login}, whom gates.yaml lets approve, is cannot be told: {error}")
        return {}
    if found.user_id == bot.user_id:
        problems.append(f"{named.login} is the account that asks, whose approval never counts: name others.")
    return {named.login: found.user_id}


def _team(owner: str, slug: str, read: Callable[[], Team], problems: list[str]) -> dict[str, str]:
    try:
        return {slug: read().id}
    except VendorRefusedError as refused:
        problems.append(
            f"Team {slug} of {owner}, which gates.yaml lets approve, cannot be read ({refused.message}). Correct its "
            "slug, and give the App or token the organization permission Members: read; or name people instead."
        )
        return {}
