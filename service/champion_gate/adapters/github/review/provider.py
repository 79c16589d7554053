"""GitHub's pull requests as the place where people approve: a commit with the evidence, and its reviews."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

from champion_gate.adapters.ci_provider import CiProvider, Key
from champion_gate.adapters.github.api import new_client
from champion_gate.adapters.github.auth import new_access
from champion_gate.adapters.github.models import github
from champion_gate.adapters.github.review import place as places
from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.models import ListedPull
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.github.secrets import Credentials
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.starts import SeenRun
from champion_gate.domain.approval import FoundRequests, OpenedRequest, RequestState
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.ports import Accounts, Clock, Person
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.together import Together
from champion_gate.domain.values import Account
from champion_gate.errors import UnsafeTargetError, VendorRefusedError


class GitHubReview(CiProvider[ReviewApi]):
    """An ApprovalProvider on the reviews of GitHub's pull requests. Safe to share between threads."""

    waiting = frozenset({"open", "closed"})

    def __init__(
        self,
        *,
        url: str,
        credentials: Credentials,
        clock: Clock,
        previous: Credentials | None = None,
        api_version: str = "2022-11-28",
        ca_file: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        together: Together | None = None,
        timeouts: Timeouts | None = None,
        accounts: Accounts | None = None,
        name: str = "github_review",
    ) -> None:
        """Nothing is called yet.

        Args:
            url: of the API: https://api.github.com, or https://HOST/api/v3.
            credentials: the App or the token with which we act.
            clock: tells when tokens end.
            previous: what to use where GitHub refuses the current credentials, while they are replaced.
            api_version: sent as X-GitHub-Api-Version.
            ca_file: PEM file of certificate authorities.
            sleep: pauses between tries.
            together: makes calls at the same time that do not need each other; None takes threads of its own.
            timeouts: of every call.
            accounts: remembers whose the logins in gates.yaml are; None takes whoever has them now.
            name: the key under which gates refer to this provider.

        Raises:
            ConfigurationError: one of these cannot be used.
        """
        client = new_client(url, api_version, ca_file=ca_file, timeouts=timeouts, sleep=sleep)
        super().__init__(name, client)
        self._together = together or Together()
        self._clock = clock
        self._accounts = accounts
        self.access = new_access(client, credentials, clock, previous)

    def check(self) -> None:
        """A call that GitHub refuses if the credentials are wrong."""
        self.access.check()

    def api(self, target: ApprovalTarget) -> ReviewApi:
        """See CiProvider."""
        return ReviewApi(self.client, self.access, GitHubReviewPlace.of(target.place), self._together)

    # --- before anybody is asked ------------------------------------------------------------------------------

    def check_place(
        self, target: ApprovalTarget, expires_after: timedelta | None = None
    ) -> Mapping[str, str]:
        """See ApprovalProvider; the pins are numeric ids as strings."""
        api = self.api(target)
        looked = self._survey(api)
        problems = [*looked.problems]
        if not problems and expires_after is not None:
            problems += places.too_few(api, looked)
        if problems:
            raise UnsafeTargetError("", problems=problems) from looked.refused
        return looked.pins

    def find_person(self, target: ApprovalTarget, login: str) -> Person:
        """See ApprovalProvider; UnsafeTargetError where our credentials do not let us ask."""
        return self.api(target).person(login)

    def may_approve(self, target: ApprovalTarget) -> Sequence[frozenset[str]]:
        """See ApprovalProvider: who is named for each seat or in a team that is, and may write to the repository."""
        api = self.api(target)
        looked = self._survey(api)
        if looked.problems:
            raise UnsafeTargetError("", problems=looked.problems) from looked.refused
        people = {looked.people[one.login]: one.login for one in api.spot.people}
        teams = {slug: {one.id: one.login for one in api.team_members(slug)} for slug in api.spot.teams}
        logins = people | {number: login for members in teams.values() for number, login in members.items()}
        logins.pop(looked.pins["bot_id"], None)
        ids = list(logins)
        writes = api.together.each([partial(places.may_write, api, logins[each]) for each in ids])
        able = {number for number, is_able in zip(ids, writes, strict=True) if is_able}
        return [
            frozenset(
                able
                & (
                    {looked.people[one.login] for one in who.people}
                    | {number for slug in who.teams for number in teams[slug]}
                )
            )
            for _, who in api.spot.wanted
        ]

    def _survey(self, api: ReviewApi) -> places.Survey:
        return places.survey(api, partial(self._account, api))

    def _account(self, api: ReviewApi, named: Account) -> Person:
        find = partial(api.person, named.login)
        return find() if self._accounts is None else self._accounts.account(self.name, named, find)

    # --- asking and deciding ----------------------------------------------------------------------------------

    def open(self, target: ApprovalTarget, promotion: Promotion, evidence: str) -> OpenedRequest | None:
        """See ApprovalProvider."""
        raise _not_yet(target, promotion, evidence)

    def find(self, target: ApprovalTarget, promotion: Promotion) -> FoundRequests:
        """See ApprovalProvider."""
        raise _not_yet(target, promotion)

    def read(self, target: ApprovalTarget, promotion: Promotion) -> RequestState:
        """See ApprovalProvider."""
        raise _not_yet(target, promotion)

    def duplicates(self, target: ApprovalTarget, promotion: Promotion) -> tuple[str, ...]:
        """See ApprovalProvider."""
        raise _not_yet(target, promotion)

    def cancel(self, target: ApprovalTarget, external_id: str) -> None:
        """See ApprovalProvider."""
        raise _not_yet(target, external_id)

    # --- looking for news -------------------------------------------------------------------------------------

    def _list_key(self, api: ReviewApi, promotion: Promotion) -> Key:  # noqa: ARG002 - one list for all
        return (api.spot.repository.lower(), api.spot.base)

    def _waiting_runs(self, api: ReviewApi, promotion: Promotion) -> list[SeenRun]:  # noqa: ARG002
        return self._seen(api, "open")

    def _runs_of(self, api: ReviewApi, promotions: Sequence[Promotion]) -> list[SeenRun]:  # noqa: ARG002
        return self._seen(api, "closed")

    def _seen(self, api: ReviewApi, state: str) -> list[SeenRun]:
        """Our own pull requests, as they are listed."""
        own = api.own_account().user_id
        return [
            SeenRun(external_id(one), one.title, one.state, one.created_at, one.updated_at)
            for one in api.listed_pulls(state)
            if one.user is not None and one.user.id == own
        ]


def external_id(pull: ListedPull) -> str:
    """What a request is known by: the repository's number too, as those of pull requests begin anew in each."""
    repository = github.told(pull.base.repo, "pull.base.repo").id
    return f"{repository}-{pull.number}"


def _not_yet(*_: object) -> VendorRefusedError:
    return VendorRefusedError("GitHub", "pull requests are not opened by this release.")
