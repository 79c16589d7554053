"""GitHub Actions as the place where people approve: a workflow run whose gated jobs wait for their reviewers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus

from champion_gate.adapters.ci_provider import CiProvider, Key, doubles_of, inputs_of, opened, run_id
from champion_gate.adapters.github import place as places
from champion_gate.adapters.github import reading, starts
from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.auth import new_access
from champion_gate.adapters.github.calls import new_client
from champion_gate.adapters.github.models import DispatchedRun, github
from champion_gate.adapters.github.secrets import Credentials, GitHubApp, GitHubToken
from champion_gate.adapters.github.settings import GitHubPlace, check_run_id
from champion_gate.adapters.http.answer import Answer
from champion_gate.adapters.http.deadline import Timed, Timeouts, untimed
from champion_gate.adapters.starts import SeenRun, spans
from champion_gate.domain.approval import FoundRequests, OpenedRequest, RequestState
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.together import Together
from champion_gate.errors import (
    UnsafeTargetError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

__all__ = ["GitHub", "GitHubApp", "GitHubToken"]

RETURNS_RUN_BY_REQUEST = "2022-11-28"
"""Under this API version a dispatch tells the run's id only if asked to; from 2026-03-10 on it always does."""

_MAX_CHARACTERS = 65_535
"""Of all inputs together, of which there may be 25 (docs.github.com, workflow_dispatch event)."""

_MARGIN = 535  # how GitHub counts characters is not documented
_PAGES_OF_ALL = 10  # GitHub lists no more than 1,000 runs of a search


class GitHub(CiProvider[RepositoryApi]):
    """An ApprovalProvider on GitHub's REST API, github.com or an Enterprise Server. Safe to share between threads."""

    waiting = frozenset({"waiting", "queued", "pending", "requested"})

    def __init__(
        self,
        *,
        url: str,
        credentials: Credentials,
        clock: Clock,
        previous: Credentials | None = None,
        api_version: str = RETURNS_RUN_BY_REQUEST,
        ca_file: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        together: Together | None = None,
        timeouts: Timeouts | None = None,
        name: str = "github",
        timed: Timed = untimed,
    ) -> None:
        """Nothing is called yet.

        Args:
            url: of the API: https://api.github.com, or https://HOST/api/v3.
            credentials: the App or the token with which we act.
            clock: tells when tokens end, and how fresh an approval is.
            previous: what to use where GitHub refuses the current credentials, while they are replaced.
            api_version: sent as X-GitHub-Api-Version.
            ca_file: PEM file of certificate authorities.
            sleep: pauses between tries.
            together: makes calls at the same time that do not need each other; None takes threads of its own.
            timeouts: of every call.
            name: the key under which gates refer to this provider.
            timed: takes the time of each call.

        Raises:
            ConfigurationError: one of these cannot be used.
        """
        client = new_client(url, api_version, ca_file=ca_file, timeouts=timeouts, sleep=sleep, timed=timed)
        super().__init__(name, client)
        self._together = together or Together()
        self._clock = clock
        self.access = new_access(client, credentials, clock, previous)
        self._asks_for_run = api_version == RETURNS_RUN_BY_REQUEST

    def check(self) -> None:
        """A call that GitHub refuses if the credentials are wrong."""
        self.access.check()

    # --- before anybody is asked ------------------------------------------------------------------------------

    def check_place(
        self, target: ApprovalTarget, expires_after: timedelta | None = None
    ) -> Mapping[str, str]:
        """See ApprovalProvider; the pins are numeric ids as strings."""
        api = self.api(target)
        looked = places.survey(api)
        problems = [*looked.problems, *places.unreadable_teams(api, looked)]
        if expires_after is not None:
            problems += places.too_long_waits(api, looked, expires_after)
        if problems:
            raise UnsafeTargetError("", problems=problems) from looked.refused
        return looked.pins

    def find_person(self, target: ApprovalTarget, login: str) -> Person:
        """See ApprovalProvider; UnsafeTargetError where our credentials do not let us ask."""
        return self.api(target).person(login)

    def may_approve(self, target: ApprovalTarget) -> Sequence[frozenset[str]]:
        """See ApprovalProvider: the reviewers of each environment, the members of their teams among them."""
        api = self.api(target)
        looked = places.survey(api)
        if len(looked.environments) < len(target.seats):
            raise UnsafeTargetError("", problems=looked.problems) from looked.refused
        members = {
            slug: {one.id for one in api.team_members(slug)}
            for each in looked.environments
            for slug in each.teams.values()
        }
        own = {looked.pins["bot_id"]}
        return [
            each.user_ids.union(*(members[slug] for slug in each.teams.values())) - own
            for each in looked.environments
        ]

    # --- asking -----------------------------------------------------------------------------------------------

    def open(self, target: ApprovalTarget, promotion: Promotion, evidence: str) -> OpenedRequest | None:
        """See ApprovalProvider: dispatch the workflow, once."""
        api = self.api(target)
        body = {"ref": api.spot.ref, "inputs": _inputs_of(promotion, target.seats, evidence)}
        answer = api.dispatch({**body, "return_run_details": True} if self._asks_for_run else body)
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY and self._asks_for_run:
            # An older Enterprise Server refuses the whole call over a key that it does not know.
            if not answer.says("return_run_details"):
                raise answer.error()
            self._asks_for_run = False
            answer = api.dispatch(body)
        if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            raise answer.error()
        return _opened(answer)

    def find(self, target: ApprovalTarget, promotion: Promotion) -> FoundRequests:
        """The runs that we dispatched for this promotion, known by the id in their title."""
        api = self.api(target)
        started = starts.dispatched_by_us(api, promotion)
        return started.found(starts.remark(api, started))

    # --- deciding ---------------------------------------------------------------------------------------------

    def read(self, target: ApprovalTarget, promotion: Promotion) -> RequestState:
        """See ApprovalProvider: the run, the environments, the reviews and the gated jobs, as GitHub has them now.

        Only of the place is what was read before taken again, where GitHub says that it has not changed.
        """
        request = promotion.request
        if request is None or request.external_id is None:
            raise VendorRefusedError("GitHub", f"promotion {promotion.id} has no workflow run to be read.")
        api, number = self.api(target), check_run_id(request.external_id)
        try:
            return reading.state_of(api, number, target.seats, request.pins, self._clock)
        except VendorNotFoundError:
            starts.check_gone(api, number, promotion)
            raise

    def duplicates(self, target: ApprovalTarget, promotion: Promotion) -> tuple[str, ...]:
        """Other runs of ours for this promotion that have not ended; where it was started once, that wait for people."""
        api, request = self.api(target), promotion.request
        if request is not None and request.starts > 1:
            return starts.dispatched_by_us(api, promotion).open_ones_but({request.external_id})
        # In the template's concurrency group a second run for a promotion waits for the first.
        waiting = [*api.waiting_runs(), *api.waiting_runs("pending")]
        for run in waiting:
            github.told(
                run.status or None, "run.status"
            )  # without it, one that has ended would count as open
        return doubles_of(promotion, waiting)

    def cancel(self, target: ApprovalTarget, external_id: str) -> None:
        """See ApprovalProvider; VendorUnavailableError where GitHub took the call but the run goes on."""
        api, number = self.api(target), check_run_id(external_id)
        if api.cancel(number).status == HTTPStatus.ACCEPTED:
            return
        status = api.run(number).status
        if status != "completed":
            raise VendorUnavailableError(
                "GitHub", f"workflow run {number} is {status} and could not be cancelled."
            )

    # --- looking for news -------------------------------------------------------------------------------------

    def api(self, target: ApprovalTarget) -> RepositoryApi:
        """See CiProvider."""
        return RepositoryApi(self.client, self.access, GitHubPlace.of(target.place), self._together)

    def _list_key(self, api: RepositoryApi, promotion: Promotion) -> Key:  # noqa: ARG002 - one list for all
        return (api.spot.repository.lower(), api.spot.workflow)

    def _waiting_runs(self, api: RepositoryApi, promotion: Promotion) -> list[SeenRun]:  # noqa: ARG002
        return api.waiting_runs()

    def _runs_of(self, api: RepositoryApi, promotions: Sequence[Promotion]) -> list[SeenRun]:
        when = spans(promotions)
        listed = [run for since, until in when for run in api.dispatched_runs(since, until, SeenRun.of)]
        if {run.id for run in listed}.issuperset(map(run_id, promotions)):
            return listed
        # GitHub's filtered lists have been seen empty for more than a day.
        return [*listed, *api.newest_runs(when[0][0], SeenRun.of, most=_PAGES_OF_ALL)[0]]


def _opened(answer: Answer) -> OpenedRequest | None:
    if answer.status == HTTPStatus.NO_CONTENT:
        return None

    def read() -> OpenedRequest:
        made = github.one(DispatchedRun, answer.json(), "dispatch")
        return OpenedRequest(made.workflow_run_id, made.html_url)

    return opened("GitHub", "a run was dispatched", read)


def _inputs_of(promotion: Promotion, seats: Sequence[str], evidence: str) -> dict[str, str]:
    """The inputs of deploy/github/champion-gate.yml; evidence that is too long is cut, with a note."""
    return inputs_of(
        promotion,
        evidence,
        more={"environments": json.dumps(list(seats))},
        most=_MAX_CHARACTERS - _MARGIN,
        vendor="GitHub",
    )
