"""GitLab in gates.yaml: its server, the places where people approve, and the names there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr

from champion_gate.domain import values
from champion_gate.domain.names import VENDOR_ID
from champion_gate.domain.values import (
    Account,
    Is,
    Listed,
    VendorId,
    checked,
    expected,
    repeated,
)
from champion_gate.domain.vendors import Place, Server, check_seats
from champion_gate.errors import InvalidNameError

_KIND, _TITLE = "gitlab", "GitLab"
_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
_LONGEST_NAME = 255
_BRANCH_ONLY = (
    "Only the protected branch guards this gate (protection: branch). What that cannot promise: GitLab itself "
    "lets every Maintainer start the job, those who trained the version and the account that starts the pipelines "
    "among them; a start that does not count here ends the request, but GitLab does not prevent it. Whoever "
    "has that account's token can act as it. One click is all there is: no second person, no comment, no reject "
    "button (cancelling the pipeline rejects), and nothing in the job's token proves that the job was protected."
)


# --- the names --------------------------------------------------------------------------------------------


def _address(value: object) -> str:
    address = values.address(value)
    if "/api/" in f"{address}/":
        raise expected("the address of GitLab itself, such as https://gitlab.com, without /api/v4")
    return address


def _project(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= values.MAX_ID:
        return value
    raise expected("the project's number (Settings, General); its path may be taken over by somebody else")


def _job(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= _LONGEST_NAME
        or value.strip() != value
        or not value.isprintable()
    ):
        raise expected("the name of a CI/CD job of 1 to 255 characters, such as approve")
    if value.startswith("."):
        raise expected("the name of a CI/CD job without a dot at its start (GitLab never runs those)")
    return value


_ADDRESS = Is(_address, {"type": "string", "pattern": "^https?://"})
_PROJECT = Is(_project, {"type": "integer", "minimum": 1})
_JOB = Is(_job, {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^.]"})
_ENVIRONMENT = values.text(
    r"[A-Za-z0-9](?:[A-Za-z0-9 ._/-]{0,238}[A-Za-z0-9._-])?",
    "a GitLab environment's name of letters, digits, blanks and . _ / - (at most 240 characters)",
)
_APPROVER = values.account(
    rf"(?!(?:project|group)_[0-9]+_bot){values.USERNAME}",
    "a person's GitLab username such as jane.doe, or {login: jane.doe, id: 42} (a bot is no person)",
)
_USERNAME = values.text(values.USERNAME, "a GitLab username such as gate-bot")


def check_login(login: str) -> str:
    """Return the username, or raise InvalidNameError."""
    if not _LOGIN.fullmatch(login):
        raise InvalidNameError(f"{login!r} is no GitLab username.")
    return login


def check_number(number: str, what: str, hint: str = "") -> str:
    """Return the decimal number, or raise InvalidNameError."""
    if not VENDOR_ID.fullmatch(number):
        raise InvalidNameError(f"{what} {number!r} is no number.", hint=hint)
    return number


# --- gates.yaml -------------------------------------------------------------------------------------------


class Protection(StrEnum):
    """What keeps everybody from letting the gated job start.

    ENVIRONMENT: a protected environment (Premium). BRANCH: a protected branch whose mergers are
    Maintainers (all tiers).
    """

    ENVIRONMENT = "environment"
    BRANCH = "branch"


class GitLabServer(Server):
    """`gitlab:` at the top: the one GitLab of all gates that ask there."""

    kind: ClassVar[str] = _KIND
    title: ClassVar[str] = _TITLE

    url: Annotated[str, _ADDRESS] = Field(
        default="https://gitlab.com",
        description="address of GitLab, with its sub-path if it has one: https://HOST/gitlab",
    )

    @property
    def issuer(self) -> str:
        """See Server."""
        return self.oidc.issuer or self.url

    @classmethod
    def signs_publicly(cls, host: str) -> bool:
        """See Server. Beside a GitLab in a sub-path there may be issuers of people on the same host."""
        return host == "gitlab.com"


class GitLabPlace(Place):
    """Where in GitLab people approve, and what must not change about it."""

    kind: ClassVar[str] = _KIND
    title: ClassVar[str] = _TITLE

    project: Annotated[int, _PROJECT] = Field(description="the project's number (Settings, General)")
    ref: Annotated[str, values.BRANCH] = Field(
        default="main", description="the protected branch whose pipelines are started"
    )
    job: Annotated[str, _JOB] = Field(default="approve", description="name of the gated manual job")
    environment: Annotated[str, _ENVIRONMENT] = Field(
        default="champion", description="the environment that the gated job names"
    )
    protection: Annotated[Protection, Field(strict=False)] = Field(
        default=Protection.ENVIRONMENT,
        description="what keeps people from starting the job: environment (a protected environment, GitLab "
        "Premium), or branch (a protected branch of Maintainers, every tier)",
    )
    approvers: Annotated[tuple[Annotated[Account, _APPROVER], ...], Listed(at_most=100)] = Field(
        default=(),
        description="usernames of the only people who may approve; everybody whom the protection admits if empty. "
        "{login, id} pins a username to the account's number",
    )
    approvals: int = Field(
        default=1,
        ge=1,
        le=10,
        description="how many different people must approve; several take approval rules on the environment",
    )
    namespace_id: VendorId | None = Field(
        default=None, description="pins the numeric id of the group that the project is in"
    )
    bot: Annotated[str, _USERNAME] | None = Field(
        default=None, description="username of the trigger token's owner, where GitLab does not show it"
    )

    _stored_seats: tuple[str, ...] = PrivateAttr(default=())

    def problems(self) -> Iterator[str]:
        """See Strict."""
        for index, login in repeated([each.login for each in self.approvers]):
            yield f"approvers[{index}]: found {login!r} a second time (GitLab ignores case); keep one"
        if self.approvals > 1 and self.protection is Protection.BRANCH:
            yield (
                f"approvals: found {self.approvals}; expected 1, because with protection: branch the one click of whoever "
                "starts the job is all there is; several approvals take protection: environment"
            )
        bot = (self.bot or "").casefold()
        usable = [each for each in self.approvers if each.login.casefold() != bot]
        if len(usable) < len(self.approvers):
            yield f"approvers: names {self.bot}, who asks (bot) and whose approval never counts"
        if self.approvers and len(usable) < self.approvals:
            yield (
                f"approvers: names {len(usable)} who can approve, and approvals demands {self.approvals} different people; "
                "expected at least as many"
            )

    @classmethod
    def of(cls, place: Place) -> GitLabPlace:
        """The place, read out of a request's row where it is not typed yet.

        Raises:
            InvalidNameError: one of its names is not of the form that GitLab takes.
        """
        if isinstance(place, cls):
            return place
        words, seats = place.words(), place.seats
        project = check_number(words.get("project", ""), "project", "Write its number (Settings, General).")
        protection = words.get("protection", Protection.ENVIRONMENT.value)
        if protection not in set(Protection):
            raise InvalidNameError(
                f"protection {protection!r} is not known.", hint="Write environment or branch."
            )
        check_seats(seats, "seat")
        namespace = words.get("namespace_id")
        named = [each.strip() for each in words.get("approvers", "").split(",")]
        read = cls.model_construct(
            project=int(project),
            ref=checked(values.BRANCH, words.get("ref", "main").removeprefix("refs/heads/"), "branch"),
            job=checked(_JOB, words.get("job", "approve"), "job"),
            environment=checked(_ENVIRONMENT, words.get("environment", "champion"), "environment"),
            protection=Protection(protection),
            approvers=tuple(_stored_account(each) for each in named if each),
            approvals=len(seats),
            namespace_id=int(check_number(namespace, "namespace_id")) if namespace else None,
            bot=check_login(words["bot"]) if words.get("bot") else None,
        )
        read._stored_seats = seats  # noqa: SLF001 - its own
        return read

    @property
    def seats(self) -> tuple[str, ...]:
        """See Place: the names under which people read of each approval."""
        if self._stored_seats:
            return self._stored_seats
        if self.approvals == 1:
            return (self.environment,)
        return tuple(f"{self.environment} ({n}/{self.approvals})" for n in range(1, self.approvals + 1))

    @property
    def wanted_ids(self) -> dict[str, str]:
        """Pin -> number that the operator demands ("namespace_id")."""
        return {} if self.namespace_id is None else {"namespace_id": str(self.namespace_id)}

    def words(self) -> dict[str, str]:
        """See Place."""
        words = {
            "project": str(self.project),
            "ref": self.ref,
            "job": self.job,
            "environment": self.environment,
            "protection": self.protection.value,
        }
        if self.approvers:
            words["approvers"] = ",".join(map(str, self.approvers))
        if self.bot is not None:
            words["bot"] = self.bot
        return words | self.wanted_ids

    def explained(self, server: Server) -> Iterator[str]:
        """See Place."""
        pinned = " (pinned: namespace id)" if self.namespace_id is not None else ""
        where = f"in the GitLab project {self.project}{pinned} at {server.url}, in a pipeline on {self.ref}"
        if self.protection is Protection.BRANCH:
            yield f"A Maintainer approves it by starting the manual job {self.job} {where}."
        elif self.approvals == 1:
            yield (
                f"Somebody whom the protected environment {self.environment} admits approves it {where}: by starting "
                f"the manual job {self.job} or, where the environment has an approval rule, by approving its "
                "deployment before."
            )
        else:
            yield (
                f"{self.approvals} different people whom the approval rules of the protected environment "
                f"{self.environment} name approve its deployment {where}; then the manual job {self.job} has to be "
                "started."
            )
        if self.approvers:
            yield f"Nobody counts but {', '.join(each.shown for each in self.approvers)}."
        if self.bot is not None:
            yield f"The pipelines are started as {self.bot}, whose approval never counts."
        if self.protection is Protection.BRANCH:
            yield _BRANCH_ONLY


def _stored_account(written: str) -> Account:
    account = Account.of(written)
    check_login(account.login)
    if account.user_id is not None:
        check_number(account.user_id, f"the id of {account.login}")
    return account
