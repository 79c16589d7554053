"""GitHub's pull requests as the place where people approve: a commit with the evidence, and its reviews."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial

from champion_gate.adapters.ci_provider import CiProvider, Key, doubles_of
from champion_gate.adapters.github.auth import new_access
from champion_gate.adapters.github.calls import new_client
from champion_gate.adapters.github.review import ending, opening, reading
from champion_gate.adapters.github.review import place as places
from champion_gate.adapters.github.review.api import ReviewApi
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.github.secrets import Credentials
from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.adapters.starts import SeenRun
from champion_gate.domain.approval import FoundRequests, OpenedRequest, RequestState
from champion_gate.domain.evidence import render_markdown
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.ports.approval import Accounts, Person
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import StepKind
from champion_gate.domain.together import Together
from champion_gate.domain.values import Account
from champion_gate.errors import UnsafeTargetError, VendorNotFoundError, VendorRefusedError


class GitHubReview(CiProvider[ReviewApi]):
    """An ApprovalProvider on the reviews of GitHub's pull requests. Safe to share between threads."""

    waiting = frozenset({"open", "closed"})
    goes_on = True

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
        timed: Timed = untimed,
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
            timed: takes the time of each call.

        Raises:
            ConfigurationError: one of these cannot be used.
        """
        client = new_client(url, api_version, ca_file=ca_file, timeouts=timeouts, sleep=sleep, timed=timed)
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
        """See ApprovalProvider: several calls, and each goes on with what is there."""
        return opening.opened(self.api(target), promotion, evidence)

    def find(self, target: ApprovalTarget, promotion: Promotion) -> FoundRequests:
        """See ApprovalProvider: by the name of its branch."""
        shown = render_markdown(json.loads(promotion.evidence_json or "{}"), promotion.evidence_sha256 or "")
        return opening.found(self.api(target), promotion, shown)

    def read(self, target: ApprovalTarget, promotion: Promotion) -> RequestState:
        """See ApprovalProvider: the pull request, its reviews, and what their authors may do, as GitHub has them now."""
        request = promotion.request
        if request is None or request.external_id is None:
            raise VendorRefusedError("GitHub", f"promotion {promotion.id} has no pull request to be read.")
        api, number = self.api(target), opening.number_of(request.external_id)
        try:
            return reading.state_of(api, number, promotion, request)
        except VendorNotFoundError:
            opening.check_gone(api, number, promotion)
            raise

    def duplicates(self, target: ApprovalTarget, promotion: Promotion) -> tuple[str, ...]:
        """What else we opened for this promotion; all of it, where which one is its own is not known."""
        api = self.api(target)
        asked = doubles_of(promotion, self._seen(api, "open"))
        return tuple(dict.fromkeys([*asked, *opening.other_branches(api, promotion)]))

    def cancel(self, target: ApprovalTarget, external_id: str) -> None:
        """See ApprovalProvider: the pull request is closed, and its branch deleted."""
        opening.withdraw(self.api(target), external_id)

    # --- what people are told ---------------------------------------------------------------------------------

    def steps(self, target: ApprovalTarget) -> frozenset[StepKind]:
        """See ApprovalProvider."""
        merges = GitHubReviewPlace.of(target.place).merge
        return frozenset(
            {StepKind.STATUS, StepKind.COMMENT, StepKind.MERGE if merges else StepKind.CANCEL_REQUEST}
        )

    def show_status(self, target: ApprovalTarget, promotion: Promotion, words: str) -> None:
        """See ApprovalProvider: as a status of our commit."""
        ending.show_status(self.api(target), promotion, words)

    def comment(self, target: ApprovalTarget, promotion: Promotion, text: str) -> None:
        """See ApprovalProvider: as a comment on the pull request."""
        ending.comment(self.api(target), promotion, text)

    def merge(self, target: ApprovalTarget, promotion: Promotion) -> str:
        """See ApprovalProvider: the evidence goes into the base branch."""
        return ending.merge(self.api(target), promotion)

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
            SeenRun(
                opening.external_id(one), opening.asked_for(one), one.state, one.created_at, one.updated_at
            )
            for one in api.listed_pulls(state)
            if one.user is not None and one.user.id == own
        ]
