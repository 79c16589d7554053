"""The names that a gate gives for GitLab, checked before any of them enters a URL or a query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from champion_gate.domain.gates import Account, ApprovalTarget
from champion_gate.errors import InvalidNameError
from champion_gate.settings import gates_values as values

_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_LONGEST_NAME = 255
_PINNABLE = ("project_id", "namespace_id")


class Protection(StrEnum):
    """What keeps everybody from letting the gated job start.

    ENVIRONMENT: a protected environment (Premium). BRANCH: a protected branch whose mergers are
    Maintainers (all tiers).
    """

    ENVIRONMENT = "environment"
    BRANCH = "branch"


@dataclass(frozen=True)
class Spot:
    """Where a gate's approvals happen.

    Attributes:
        project: its number; a path may be taken over by somebody else.
        ref: branch, without refs/heads/.
        job: name of the gated job.
        environment: the one that the gated job names.
        approvers: accounts; empty = whoever the protection admits.
        bot: username of the trigger token's owner, where GitLab does not show us; may be empty.
        seats: one for each approval that is needed.
        wanted_ids: pin -> number that the operator demands ("project_id", "namespace_id").
    """

    project: str
    ref: str
    job: str
    environment: str
    protection: Protection
    approvers: tuple[Account, ...]
    bot: str
    seats: tuple[str, ...]
    wanted_ids: tuple[tuple[str, str], ...] = ()


def spot_of(target: ApprovalTarget) -> Spot:
    """Read a gate's approval settings.

    Args:
        target: `place` holds project (a number), ref (a branch, default main), job (default approve),
            environment (default champion), protection ("environment" or "branch"), and if the operator
            wishes approvers (usernames, or `username:id`, comma between), bot (a username), project_id and namespace_id;
            `seats` has one name for each approval that is needed.

    Raises:
        InvalidNameError: one of them is not of the form that GitLab takes.
    """
    place = target.place
    project = check_number(place.get("project", ""), "project", "Write its number (Settings, General).")
    protection = place.get("protection", Protection.ENVIRONMENT.value)
    if protection not in set(Protection):
        raise InvalidNameError(
            f"protection {protection!r} is not known.", hint="Write environment or branch."
        )
    _check_seats(target.seats)
    wanted = tuple((key, str(place[key])) for key in _PINNABLE if place.get(key))
    for key, number in wanted:
        check_number(number, key)
    named = [each.strip() for each in place.get("approvers", "").split(",")]
    return Spot(
        project=project,
        ref=values.checked(values.BRANCH, place.get("ref", "main").removeprefix("refs/heads/"), "branch"),
        job=values.checked(values.CI_JOB, place.get("job", "approve"), "job"),
        environment=values.checked(
            values.GITLAB_ENVIRONMENT, place.get("environment", "champion"), "environment"
        ),
        protection=Protection(protection),
        approvers=tuple(_account(each) for each in named if each),
        bot=check_login(place["bot"]) if place.get("bot") else "",
        seats=target.seats,
        wanted_ids=wanted,
    )


def _check_seats(seats: tuple[str, ...]) -> None:
    if not seats:
        raise InvalidNameError("There is no seat: nobody would have to approve.")
    for seat in seats:
        _check_name(seat, "seat")
    if len({seat.casefold() for seat in seats}) < len(seats):
        raise InvalidNameError(f"The seats {', '.join(seats)} are not all different.")


def _check_name(name: str, what: str) -> str:
    if not name.strip() or len(name) > _LONGEST_NAME or name in {".", ".."} or not name.isprintable():
        raise InvalidNameError(f"{name!r} is no {what}.")
    return name


def check_login(login: str) -> str:
    """Return the username, or raise InvalidNameError."""
    if not _LOGIN.fullmatch(login):
        raise InvalidNameError(f"{login!r} is no GitLab username.")
    return login


def _account(written: str) -> Account:
    account = Account.of(written)
    check_login(account.login)
    if account.user_id is not None:
        check_number(account.user_id, f"the id of {account.login}")
    return account


def check_number(number: str, what: str, hint: str = "") -> str:
    """Return the decimal number, or raise InvalidNameError.

    Args:
        number: as it was given.
        what: whose number it is, for the message.
        hint: what to write instead.
    """
    if not _NUMBER.fullmatch(number):
        raise InvalidNameError(f"{what} {number!r} is no number.", hint=hint)
    return number
