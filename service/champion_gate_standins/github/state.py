"""What the GitHub stand-in remembers: workflow runs, Apps and tokens, and all the rest."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from champion_gate_standins.github.accounts import RefusedError, Team, User
from champion_gate_standins.github.repositories import Environment, Repository, Workflow

T = TypeVar("T")

_OF_JOBS = ("in_progress", "queued", "waiting")
UNFINISHED = {*_OF_JOBS, "pending"}
"""The statuses of runs that have no conclusion."""

EVENTS = ("deployment_review", "deployment_status", "workflow_job", "workflow_run")
"""What deploy/github/README.md has an App subscribe to."""


@dataclass(eq=False)
class Job:
    """A job of one attempt of a run; `environment` is set on gated jobs.

    Attributes:
        reviewed_at: when its reviewers let it through; other rules may still hold it.
        started_at: when a runner took it; None where none ever did.
    """

    id: int
    name: str
    run_attempt: int
    created_at: datetime
    status: str
    environment: Environment | None = None
    conclusion: str | None = None
    reviewed_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def end(self, conclusion: str, at: datetime) -> None:
        """Complete the job."""
        self.status, self.conclusion, self.completed_at = "completed", conclusion, at


@dataclass(frozen=True, eq=False)
class Approval:
    """One review, as the approvals API lists it (which shows neither time nor attempt)."""

    environments: tuple[Environment, ...]
    state: str
    user: User
    comment: str
    at: datetime


@dataclass(eq=False)
class Run:
    """A workflow run. `jobs` holds those of all attempts, `approvals` too."""

    id: int
    run_number: int
    repository: Repository
    workflow: Workflow
    event: str
    actor: User
    triggering_actor: User
    head_branch: str
    head_sha: str
    display_title: str
    inputs: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    run_attempt: int = 1
    jobs: list[Job] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)
    cancelled: bool = False

    @property
    def promotion_id(self) -> str:
        """The correlation id that the run was dispatched with."""
        return self.inputs.get("promotion_id", "")

    def latest_jobs(self) -> list[Job]:
        """The jobs of the latest attempt."""
        return [job for job in self.jobs if job.run_attempt == self.run_attempt]

    def waiting_jobs(self) -> list[Job]:
        """The jobs that wait for a review."""
        return [job for job in self.held_jobs() if job.reviewed_at is None]

    def held_jobs(self) -> list[Job]:
        """The jobs that wait for a review or for another rule of their environment."""
        return [job for job in self.latest_jobs() if job.status == "waiting"]

    @property
    def status(self) -> str:
        """As GitHub derives it from the jobs; "pending" while the concurrency group is taken."""
        if self.cancelled:
            return "completed"
        states = {job.status for job in self.jobs if job.run_attempt == self.run_attempt}
        if not states:
            return "pending"
        return next((state for state in _OF_JOBS if state in states), "completed")

    @property
    def conclusion(self) -> str | None:
        """None before the end. A skipped job does not keep a run from being a success."""
        if self.status != "completed":
            return None
        ends = {job.conclusion for job in self.latest_jobs()}
        if self.cancelled:
            return "cancelled"
        if ends & {"failure", "timed_out"}:
            return "failure"
        return "cancelled" if "cancelled" in ends else "success"


@dataclass(eq=False)
class GitHubApp:
    """A GitHub App with its one installation.

    Attributes:
        public_key: PEM with which App JWTs are verified.
        permissions: what the installation was granted, e.g. {"actions": "write"}.
        repositories: full names it is installed on; None = all of the account.
        events: those of which it is told.
    """

    id: int
    client_id: str
    slug: str
    public_key: str
    installation_id: int
    bot: User
    owner: User
    permissions: dict[str, str]
    repositories: set[str] | None
    created_at: datetime
    suspended: bool = False
    events: list[str] = field(default_factory=lambda: list(EVENTS))


@dataclass(frozen=True, eq=False)
class Credential:
    """A token and what it may do; `app` is set on installation tokens, which expire."""

    user: User
    permissions: Mapping[str, str]
    repositories: frozenset[str] | None = None
    app: GitHubApp | None = None
    expires_at: datetime | None = None


class State:
    """Everything, behind one lock. Look-ups raise RefusedError 404.

    Attributes:
        org_variables: organization in lower case -> its Actions' variables that all its repositories see.
        moved: former names of repositories in lower case -> where they are now.
        external_url: the address by which the server calls itself, where that is not the one by which it is
            reached, as behind a proxy; None = as it is reached.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.ids: Iterator[int] = itertools.count(17_000_000_001)
        self.base_url = "http://localhost"
        self.external_url: str | None = None
        self.users: dict[str, User] = {}
        self.teams: dict[tuple[str, str], Team] = {}
        self.shown_members: dict[int, list[User]] | None = None
        self.repositories: dict[str, Repository] = {}
        self.moved: dict[str, Repository] = {}
        self.org_variables: dict[str, dict[str, str]] = {}
        self.apps: list[GitHubApp] = []
        self.credentials: dict[str, Credential] = {}
        self.runs: list[Run] = []
        self.ghost = User(10137, "ghost")

    def new_id(self) -> int:
        """A number that nothing else here has."""
        return next(self.ids)

    def user(self, login: str) -> User:
        """An account by login, in whatever case."""
        return _found(self.users.get(login.lower()))

    def account(self, login: str, *, kind: str) -> User:
        """An account by login, made where there is none."""
        if login.lower() not in self.users:
            self.users[login.lower()] = User(self.new_id(), login, kind)
        return self.users[login.lower()]

    def repository(self, full_name: str) -> Repository:
        """A repository by `owner/name`, in whatever case."""
        return _found(self.repositories.get(full_name.lower()))

    def environment(self, repository: Repository, name: str) -> Environment:
        """An environment by name, in whatever case."""
        return _found(repository.environments.get(name.lower()))

    def team(self, org: str, slug: str) -> Team:
        """A team, in whatever case."""
        return _found(self.teams.get((org.lower(), slug.lower())))

    def members(self, team: Team) -> list[User]:
        """Who is in the team as reads show it, which may lag behind what was written."""
        return team.members if self.shown_members is None else self.shown_members.get(team.id, [])

    def run(self, run_id: int, repository: Repository | None = None) -> Run:
        """A run by id, of this repository if one is given."""
        newest_first = (run for run in reversed(self.runs) if run.id == run_id)
        return _found(next((run for run in newest_first if repository in {None, run.repository}), None))


def _found(thing: T | None) -> T:
    if thing is None:
        raise RefusedError(404, "Not Found")
    return thing
