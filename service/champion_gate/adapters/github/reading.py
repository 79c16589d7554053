"""Reads what people said about a workflow run: whose run it is, who reviewed, which gated jobs were let start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.models import Approval, Job, Run
from champion_gate.adapters.github.place import (
    Environment,
    Survey,
    changes,
    moved,
    stored_environments,
    survey,
)
from champion_gate.adapters.github.run import (
    RUN_AGAIN,
    gated_jobs,
    held_by,
    is_later_attempt,
    not_ended,
    released,
    void_because,
)
from champion_gate.adapters.github.settings import gated_job
from champion_gate.domain.approval import RequestState, Review, Verdict
from champion_gate.domain.ports.runtime import Clock
from champion_gate.errors import VendorNotFoundError, VendorRefusedError

_STATUSES = frozenset({"queued", "in_progress", "completed", "waiting", "requested", "pending"})
_VERDICTS = {"approved": Verdict.APPROVED, "rejected": Verdict.REJECTED}
# GitHub's list of reviews lags behind the job that one has let start.
_REVIEW_APPEARS_WITHIN = timedelta(minutes=1)


def state_of(
    api: RepositoryApi, run_id: str, seats: Sequence[str], pins: Mapping[str, str], clock: Clock
) -> RequestState:
    """Everything that decides, without duplicates of the run.

    The order matters, since people go on acting while we read: the run before its jobs, so that of a run
    that has ended the last word is read; the jobs before the reviews, so that the review that let a job
    start is there; and the run's attempt once more after them. The place is looked at before the reviews:
    nobody who was made a reviewer since is taken for one. Who is in its teams, as whom the vendor has it now,
    depends on neither the run nor its attempt.
    """
    (run, jobs), looked = api.together.all(lambda: (api.run(run_id), api.jobs(run_id)), lambda: survey(api))
    approvals = api.approvals(run_id)
    problems = [*looked.problems, *changes(pins, looked)]
    gated = gated_jobs(jobs, run_id, seats, problems)
    started = released(gated, problems)
    void = void_because(run, run_id, pins, problems)
    later = any(is_later_attempt(job, problems) for job in jobs)
    # Reviews do not tell which attempt they are of, so the run is asked once more.
    asks_again = void is None and bool(started) and not later
    reviews, again = api.together.all(
        lambda: reviews_of(api, approvals, looked, pins, problems),
        lambda: api.run(run_id) if asks_again else run,
    )
    problems += _reviews_to_come(started, reviews, clock.now())
    if void is None and (later or (asks_again and is_later_attempt(again, problems))):
        void = RUN_AGAIN
    finished = _has_ended(run, run_id, gated, problems)
    without = _no_gated_job(jobs, run_id, seats)
    if without is not None and jobs and run.status == "waiting":
        problems.append(without)
    if void is None and finished:
        void = _cancelled_because(run, seats, started, reviews) or without
    approved = {review.seat for review in reviews if review.verdict is Verdict.APPROVED}
    waiting = {seat: job for seat, job in gated.items() if seat in approved - started.keys()}
    held = {} if finished else held_by(api, run_id, waiting, looked.environments, clock.now())
    missing = {} if without is None else {"jobs": without}
    missing |= {
        f"runner: {seat}": f"GitHub names no runner and no step of the ended job {job.name}, which was approved."
        for seat, job in waiting.items()
        if job.status == "completed"
    }
    return RequestState(tuple(problems), void, reviews, started, finished, held, missing, moved(pins, looked))


def _has_ended(run: Run, run_id: str, gated: Mapping[str, Job], problems: list[str]) -> bool:
    if run.status not in _STATUSES:
        problems.append(f"GitHub says that workflow run {run_id} is {run.status!r}, which is not known.")
    if run.status != "completed":
        return False
    problems += [
        f"GitHub says that workflow run {run_id} has ended, and that its job {name} has not."
        for name in not_ended(gated)
    ]
    return True


def _cancelled_because(
    run: Run, seats: Sequence[str], started: Mapping[str, datetime], reviews: Sequence[Review]
) -> str | None:
    rejected = any(review.verdict is Verdict.REJECTED for review in reviews)
    if run.conclusion != "cancelled" or rejected or set(started) == set(seats):
        return None
    return "The workflow run was cancelled before every gated job was let start."


def _reviews_to_come(
    started: Mapping[str, datetime], reviews: Sequence[Review], now: datetime
) -> Iterator[str]:
    """A job that has just started and has no review yet: a list that lags behind must not cost an approval."""
    reviewed = {review.seat for review in reviews}
    for seat, at in started.items():
        if seat not in reviewed and now - at < _REVIEW_APPEARS_WITHIN:
            yield f"The job of environment {seat} has just started, and GitHub lists no review of it yet."


def reviews_of(
    api: RepositoryApi,
    approvals: Sequence[Approval],
    looked: Survey,
    pins: Mapping[str, str],
    problems: list[str],
) -> tuple[Review, ...]:
    """Every vote on the environments that were asked for; the environment's id decides, not its name.

    Args:
        api: for looking up who is in a team.
        approvals: the answer of the approvals API, of all attempts.
        looked: the place as it is now.
        pins: as stored with the request.
        problems: what makes a vote untrustworthy is added here.
    """
    seats = {str(pin.get("id")): seat for seat, pin in stored_environments(pins).items()}
    environments = {environment.seat: environment for environment in looked.environments}
    listed = _Listed(api, problems)
    reviews = []
    for approval in approvals:
        ours = [seats[voted.id] for voted in approval.environments if voted.id in seats]
        if approval.state == "pending" or not ours:
            continue
        if approval.state not in _VERDICTS:
            problems.append(
                f"GitHub names a review {approval.state!r}, which is not known to be an approval."
            )
            continue
        voter = _Voter.of(approval, pins, problems)
        reviews += [
            Review(
                seat=seat,
                verdict=_VERDICTS[approval.state],
                user_id=voter.user_id,
                login=voter.login,
                comment=approval.comment,
                is_person=voter.is_person,
                is_opener=voter.is_opener,
                is_listed=voter.is_person and listed.names(environments.get(seat), voter),
            )
            for seat in ours
        ]
    return tuple(reviews)


@dataclass(frozen=True)
class _Voter:
    user_id: str
    login: str
    is_person: bool
    is_opener: bool

    @classmethod
    def of(cls, approval: Approval, pins: Mapping[str, str], problems: list[str]) -> _Voter:
        user = approval.user
        if user is None:
            return cls("", "a deleted account", is_person=False, is_opener=False)
        if user.type is None:
            problems.append(f"GitHub does not tell whether {user.login}, who gave a review, is a person.")
        return cls(
            user.id,
            user.login,
            is_person=user.type == "User",
            is_opener=user.id == pins.get("bot_id"),
        )


class _Listed:
    """Whether somebody is among an environment's reviewers; each team is asked once."""

    def __init__(self, api: RepositoryApi, problems: list[str]) -> None:
        self._api = api
        self._problems = problems
        self._known: dict[tuple[str, str], bool] = {}

    def names(self, environment: Environment | None, voter: _Voter) -> bool:
        if environment is None:
            return False
        if voter.user_id in environment.user_ids:
            return True
        return any(self._is_member(slug, voter) for slug in environment.teams.values())

    def _is_member(self, slug: str, voter: _Voter) -> bool:
        if (slug, voter.user_id) not in self._known:
            self._known[slug, voter.user_id] = self._ask(slug, voter)
        return self._known[slug, voter.user_id]

    def _ask(self, slug: str, voter: _Voter) -> bool:
        """404 means no member only where the team can be read at all.

        GitHub is asked by login, which may have changed hands since the vote.
        """
        login = voter.login
        try:
            user, membership = self._api.together.outcomes(
                lambda: self._api.user(login), lambda: self._api.membership(slug, login)
            )
            if user().id != voter.user_id:
                self._problems.append(f"{login} is another account now than the one that decided.")
                return False
            return membership().state == "active"
        except VendorNotFoundError:
            return self._no_member(slug)
        except VendorRefusedError as refused:
            self._problems.append(f"Whether {login} is in the team {slug} cannot be read: {refused}")
            return False

    def _no_member(self, slug: str) -> bool:
        """False, with a problem where the team's members cannot be read and a 404 may mean anything."""
        try:
            self._api.check_team(slug)
        except VendorRefusedError as refused:
            self._problems.append(f"Who is in the team {slug} cannot be read: {refused}")
        return False


def _no_gated_job(jobs: Sequence[Job], run_id: str, seats: Sequence[str]) -> str | None:
    """Which gated job a run lacks, and which jobs it has, as a sentence; None where it lacks none.

    Nobody could approve in it, or nobody's approval be told: the workflow file names its jobs otherwise, or the
    list lags behind.
    """
    names = {job.name: job.conclusion or job.status for job in jobs}
    lacking = [gated_job(seat) for seat in seats if gated_job(seat) not in names]
    if not lacking:
        return None
    if not names:
        return f"GitHub lists no job of workflow run {run_id}."
    there = ", ".join(f"{name} ({state})" for name, state in sorted(names.items()))
    return (
        f"Workflow run {run_id} has no job named {' and none named '.join(lacking)}. Its jobs are: {there}. "
        "Compare the workflow file with deploy/github/champion-gate.yml."
    )
