"""The calls to GitHub about one repository that any form of approval makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from champion_gate.adapters.github.auth import MEMBERS, Access
from champion_gate.adapters.github.models import (
    Membership,
    Repository,
    User,
    github,
)
from champion_gate.adapters.github.settings import RepositoryPlace, check_login
from champion_gate.adapters.http.answer import Limits
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.adapters.http.models import Answered
from champion_gate.domain.names import joined
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.together import Together
from champion_gate.errors import (
    UnsafeTargetError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

LIMITS: Limits = (
    # docs.github.com, "Rate limits for the REST API", and older servers' words for the same.
    (403, "rate limit"),
    (403, "abuse detection"),
    (422, "submitted too quickly"),
)
M = TypeVar("M", bound=Answered)
P = TypeVar("P", bound=RepositoryPlace)
T = TypeVar("T")

PAGE = {"per_page": "100"}
"""The query for as many entries of a list as GitHub gives at once."""
_MOST_KEPT = 300
"""Pages of lists of which it is asked whether they have changed, and what is read of places: five answers a place."""


def new_client(
    url: str,
    api_version: str,
    *,
    ca_file: str | None,
    timeouts: Timeouts | None,
    sleep: Callable[[float], None],
    timed: Timed = untimed,
) -> ApiClient:
    """What calls a GitHub's REST API.

    Args:
        url: of the API: https://api.github.com, or https://HOST/api/v3.
        api_version: sent as X-GitHub-Api-Version.
        ca_file: PEM file of certificate authorities.
        timeouts: of every call.
        sleep: pauses between tries.
        timed: takes the time of each call.

    Raises:
        ConfigurationError: one of these cannot be used.
    """
    return ApiClient(
        vendor="GitHub",
        base_url=url,
        headers={
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": api_version,
            "User-Agent": "champion-gate",
        },
        ca_file=ca_file,
        timeouts=timeouts,
        sleep=sleep,
        limits=LIMITS,
        max_kept_pages=_MOST_KEPT,
        timed=timed,
    )


class RepositoryCalls(Generic[P]):
    """Calls about one repository. Errors are those of ApiClient.

    Attributes:
        together: makes calls at the same time that do not need each other.
    """

    def __init__(self, client: ApiClient, access: Access, spot: P, together: Together) -> None:
        self.spot = spot
        self.together = together
        self._client = client
        self._access = access
        self._auth = access.to(spot)
        self._repository = ("repos", spot.owner, spot.name)

    def sign_in(self) -> None:
        """Have credentials ready, so that calls that go out together do not each make a token; errors are those of a call."""
        self._auth.headers()

    def own_account(self) -> Person:
        """The account that acts when we do."""
        return self._access.own_account(self.spot)

    def user(self, login: str) -> User:
        """`GET /users/{username}`."""
        return github.one(User, self._client.get(joined("users", login), auth=self._auth), "user")

    def person(self, login: str) -> Person:
        """Resolve a login; UnsafeTargetError where our credentials do not let us ask."""
        try:
            found = self.user(check_login(login))
        except VendorNotFoundError:
            raise
        except VendorRefusedError as refused:
            raise UnsafeTargetError(str(refused)) from refused
        if found.type != "User":
            raise VendorNotFoundError("GitHub", f"{login} is an account of type {found.type}, no person.")
        if found.login.lower() != login.lower():
            raise VendorUnavailableError("GitHub", f"asked about {login}, it answered about {found.login}.")
        return Person(found.id, found.login, found.name or "")

    def repository(self) -> Repository:
        """`GET /repos/{owner}/{repo}`."""
        return self._place(Repository, "repository")

    def check_team(self, slug: str) -> None:
        """Raise unless the team's members can be read."""
        path = joined("orgs", self.spot.owner, "teams", slug, "members")
        answer = self._client.get(path, auth=self._access.to(self.spot, MEMBERS), params={"per_page": "1"})
        github.many(Answered, answer, "members")

    def team_members(self, slug: str) -> list[User]:
        """`GET /orgs/{org}/teams/{slug}/members`, those of its child teams included."""
        pages = self._client.get_pages(
            joined("orgs", self.spot.owner, "teams", slug, "members"),
            auth=self._access.to(self.spot, MEMBERS),
            read=lambda page: github.many(User, page, "members"),
            params=PAGE,
            list_path=joined("members"),
        )
        return [one for page in pages for one in page]

    def membership(self, slug: str, login: str) -> Membership:
        """`GET /orgs/{org}/teams/{slug}/memberships/{login}`; VendorNotFoundError for who is no member."""
        path = joined("orgs", self.spot.owner, "teams", slug, "memberships", login)
        answer = self._client.get(path, auth=self._access.to(self.spot, MEMBERS))
        return github.one(Membership, answer, "membership")

    def _get(self, *parts: str) -> object:
        return self._client.get(joined(*self._repository, *parts), auth=self._auth)

    def _place(self, model: type[M], what: str, *parts: str) -> M:
        """What a place is like now. It seldom changes and is read with each request, so GitHub is asked whether it has.

        docs.github.com, "Best practices for using the REST API": an answer 304 does not count against the rate limit.
        """
        path = joined(*self._repository, *parts)
        (found,) = self._client.get_kept_pages(
            path, auth=self._auth, read=lambda answer: github.one(model, answer, what), max_pages=1
        )
        return found

    def _place_pages(self, read: Callable[[object], T], *parts: str) -> list[T]:
        """The same of a list, page by page."""
        return self._client.get_kept_pages(
            joined(*self._repository, *parts),
            auth=self._auth,
            read=read,
            params=PAGE,
            list_path=joined(*parts),
        )

    def _pages(
        self, read: Callable[[object], T], *parts: str, params: Mapping[str, str] | None = None
    ) -> list[T]:
        """What is taken of all pages of a list. GitHub's links to next pages name the repository by its number.

        docs.github.com, "Using pagination in the REST API": `/repositories/1300192/…` for `/repos/OWNER/NAME/…`.
        """
        return self._client.get_pages(
            joined(*self._repository, *parts),
            auth=self._auth,
            read=read,
            params=params,
            list_path=joined(*parts),
        )

    def _every(self, model: type[M], what: str, *parts: str) -> list[M]:
        """All entries of a list that is an array."""
        pages = self._pages(lambda page: github.many(model, page, what), *parts)
        return [one for page in pages for one in page]
