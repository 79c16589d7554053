"""What the GitLab stand-in remembers: people, projects and their protections, pipelines, jobs, deployments."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from champion_gate.errors import GateError
from champion_gate_standins.gitlab.groups import CustomRole, DeployKey, Group

T = TypeVar("T")

GUEST, REPORTER, DEVELOPER, MAINTAINER, OWNER = 10, 20, 30, 40, 50
NO_ONE = 0
ROLES = {
    NO_ONE: "No one",
    GUEST: "Guest",
    REPORTER: "Reporter",
    DEVELOPER: "Developers + Maintainers",
    MAINTAINER: "Maintainers",
    OWNER: "Owners",
}
"""GitLab's access levels (docs.gitlab.com, "Members API"), as protected branches describe them."""

TEMPLATE_INPUTS: Mapping[str, str] = {
    "promotion_id": r"^[A-Za-z0-9-]{1,64}$",
    "model": r"^[A-Za-z0-9_.@+=~-]{1,255}$",
    "version": r"^[0-9]{1,18}$",
    "alias": r"^[A-Za-z0-9_-]{1,255}$",
    "environment": r"^[A-Za-z0-9][A-Za-z0-9 ._/-]{0,254}$",
    "gate_url": (
        r"^(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?|http://127\.0\.0\.1:[0-9]{1,5})(/[A-Za-z0-9._~-]+)*$"
    ),
    "evidence_base64": r"^[A-Za-z0-9+/]+={0,2}$",
}
"""The inputs of deploy/gitlab/champion-gate.gitlab-ci.yml with their regular expressions, all strings.

GitLab puts inputs into the file's text before it reads it as YAML (lib/gitlab/ci/config/interpolation/
text_template.rb), so the evidence travels as base64.
"""


class RefusedError(GateError):
    """GitLab would answer this with an error.

    Attributes:
        status: the HTTP status.
        answer: the JSON body.
    """

    code = "refused"

    def __init__(self, status: int, message: object, *, key: str = "message", **more: str) -> None:
        super().__init__(str(message))
        self.status = status
        self.answer = {key: message, **more}


@dataclass(eq=False)
class User:
    """An account; those of access tokens are bots."""

    id: int
    username: str
    name: str
    created_at: datetime
    bot: bool = False
    state: str = "active"


@dataclass(frozen=True, eq=False)
class Access:
    """Who is let in: a role and all above it, one person, a group, a deploy key or a custom role.

    Attributes:
        inherits: whether the members of the groups above the group are let in too (group_inheritance_type 1).
        more: further fields of the answer.
    """

    id: int
    level: int | None = None
    user: User | None = None
    group: Group | None = None
    inherits: bool = False
    deploy_key: DeployKey | None = None
    custom_role: CustomRole | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    def admits(self, user: User, level: int) -> bool:
        """Whether it lets this account in, which has this role in the project."""
        if self.user is not None:
            return user is self.user and level > NO_ONE
        if self.group is not None:
            return level > NO_ONE and user.id in self.group.levels(inherited=self.inherits)
        return bool(self.level) and level >= (self.level or NO_ONE)


@dataclass(eq=False)
class ApprovalRule:
    """So many people of this kind have to approve a deployment."""

    access: Access
    required_approvals: int


@dataclass(eq=False)
class ProtectedEnvironment:
    """Who may deploy to an environment, and who has to approve (Premium)."""

    name: str
    deploy_access_levels: list[Access]
    approval_rules: list[ApprovalRule]


@dataclass(eq=False)
class ProtectedBranch:
    """Who may push and merge, and take the protection away; where nobody is named, Maintainers may."""

    id: int
    name: str
    push: list[Access]
    merge: list[Access]
    unprotect: list[Access] = field(default_factory=list)


@dataclass(eq=False)
class Environment:
    """A deployment environment; a job that names one makes it."""

    id: int
    name: str
    created_at: datetime
    tier: str = "production"

    @property
    def slug(self) -> str:
        """As it appears in addresses."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:24]


@dataclass(eq=False)
class Project:
    """A project.

    Attributes:
        path: full path, `group/project`.
        tier: "free" or "premium"; protected environments exist on premium only.
        members: user id -> access level, inherited membership included.
        shared_with: groups that were invited, each with the highest role that its members get.
        branches: name -> head commit.
        files: branch -> path -> text, of the files that anybody here has a use for.
        settings: further fields of `GET /projects/:id`, e.g. `ci_pipeline_variables_minimum_override_role`.
    """

    id: int
    path: str
    namespace_id: int
    default_branch: str
    tier: str
    created_at: datetime
    visibility: str = "private"
    members: dict[int, int] = field(default_factory=dict)
    shared_with: dict[Group, int] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    protected_branches: dict[str, ProtectedBranch] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)
    protected_environments: dict[str, ProtectedEnvironment] = field(default_factory=dict)
    triggers: list[Trigger] = field(default_factory=list)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)

    def level(self, user: User) -> int:
        """The account's role here; 0 for none."""
        return self.levels().get(user.id, NO_ONE) if user.state == "active" else NO_ONE

    def levels(self) -> dict[int, int]:
        """User id -> role, those of invited groups included (docs.gitlab.com, "Share a project with a group")."""
        found = dict(self.members)
        for group, most in self.shared_with.items():
            for user_id, level in group.levels().items():
                found[user_id] = max(min(level, most), found.get(user_id, NO_ONE))
        return found

    def may_write(self, user: User, branch: str) -> bool:
        """Whether the account may push or merge to a branch."""
        level = self.level(user)
        protected = self.protected_branches.get(branch)
        if protected is None:
            return level >= DEVELOPER
        return any(access.admits(user, level) for access in [*protected.push, *protected.merge])


@dataclass(eq=False)
class Trigger:
    """A pipeline trigger token; pipelines run as its owner."""

    id: int
    token: str
    description: str
    owner: User
    created_at: datetime


@dataclass(eq=False)
class AccessToken:
    """A personal, project or group access token.

    Attributes:
        project: where a project access token may be used; None for personal ones.
    """

    id: int
    name: str
    token: str
    user: User
    scopes: tuple[str, ...]
    created_at: datetime
    project: Project | None = None
    expires_at: datetime | None = None
    revoked: bool = False


@dataclass(frozen=True, eq=False)
class Approval:
    """What one person said of a deployment; counted for one rule."""

    user: User
    status: str
    comment: str
    created_at: datetime
    rule: ApprovalRule


@dataclass(eq=False)
class Deployment:
    """What a job with an environment does. `user` is who started the pipeline."""

    id: int
    iid: int
    environment: Environment
    job: Job
    user: User
    status: str
    created_at: datetime
    updated_at: datetime
    approvals: list[Approval] = field(default_factory=list)


@dataclass(eq=False)
class Job:
    """A job of a pipeline; a retry makes a new one and marks the old.

    Attributes:
        user: who started the pipeline; from a play or a retry on, who did that.
        manual: whether somebody has to play it.
        variables: those given when it was played.
    """

    id: int
    name: str
    pipeline: Pipeline
    user: User
    status: str
    created_at: datetime
    manual: bool = False
    allow_failure: bool = False
    environment: Environment | None = None
    deployment: Deployment | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    failure_reason: str | None = None
    archived: bool = False
    retried: bool = False
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in {"success", "failed", "canceled", "skipped"}


@dataclass(eq=False)
class Pipeline:
    """A pipeline with all its jobs, retried ones included; `name` is empty where the CI file gives none."""

    id: int
    iid: int
    project: Project
    ref: str
    sha: str
    source: str
    user: User
    name: str
    inputs: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    jobs: list[Job] = field(default_factory=list)

    def latest_jobs(self) -> list[Job]:
        """The jobs that no retry has replaced."""
        return [job for job in self.jobs if not job.retried]

    @property
    def status(self) -> str:
        """As GitLab derives it (lib/gitlab/ci/status/composite.rb): optional manual jobs and failures do not count."""
        counted = [
            job.status
            for job in self.latest_jobs()
            if not (job.allow_failure and job.status in {"manual", "failed", "canceled"})
        ]
        if set(counted) <= {"success", "skipped"}:
            return "success" if "success" in counted else "skipped"
        if set(counted) <= {"canceled", "success", "skipped"}:
            return "canceled"
        going_on = ("running", "preparing", "waiting_for_resource", "pending", "manual")
        return next((each for each in going_on if each in counted), "failed")


class State:
    """Everything, behind one lock. Look-ups raise RefusedError 404.

    Attributes:
        external_url: the address by which the instance calls itself, where that is not the one by which it is
            reached, as behind a proxy (`external_url` of gitlab.rb); None = as it is reached.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.ids: Iterator[int] = itertools.count(7001)
        self.base_url = "http://localhost"
        self.external_url: str | None = None
        self.users: dict[str, User] = {}
        self.namespaces: dict[str, int] = {}
        self.projects: dict[int, Project] = {}
        self.groups: dict[int, Group] = {}
        self.shown_members: dict[int, dict[int, int]] | None = None
        self.tokens: dict[str, AccessToken] = {}
        self.pipelines: list[Pipeline] = []
        self.deployments: list[Deployment] = []

    def new_id(self) -> int:
        """A number that nothing else here has."""
        return next(self.ids)

    def user(self, username: str) -> User:
        """An account by username, in whatever case."""
        return found(self.users.get(username.lower()), "User")

    def account(self, username: str, *, bot: bool = False) -> User:
        """An account by username, made where there is none."""
        key = username.lower()
        if key not in self.users:
            self.users[key] = User(self.new_id(), username, username.title(), self.clock(), bot)
        return self.users[key]

    def members(self, project: Project) -> dict[int, int]:
        """The project's members with their roles as reads show them, which may lag behind what was written."""
        return project.levels() if self.shown_members is None else self.shown_members.get(project.id, {})

    def project(self, project_id: int) -> Project:
        """A project by id."""
        return found(self.projects.get(project_id), "Project")

    def pipeline(self, pipeline_id: int, project: Project | None = None) -> Pipeline:
        """A pipeline by id, of this project if one is given."""
        return found(
            next((p for p in self.pipelines if p.id == pipeline_id and project in {None, p.project}), None)
        )

    def job(self, job_id: int, project: Project | None = None) -> Job:
        """A job by id, of this project if one is given."""
        jobs = (job for each in self.pipelines if project in {None, each.project} for job in each.jobs)
        return found(next((job for job in jobs if job.id == job_id), None))

    def deployment(self, deployment_id: int, project: Project | None = None) -> Deployment:
        """A deployment by id, of this project if one is given."""
        return found(
            next(
                (
                    each
                    for each in self.deployments
                    if each.id == deployment_id and project in {None, each.job.pipeline.project}
                ),
                None,
            )
        )


def found(thing: T | None, what: str = "") -> T:
    """The thing; RefusedError 404 for None (lib/api/helpers.rb words it with and without what is missing)."""
    if thing is None:
        raise RefusedError(404, f"404 {what} Not Found" if what else "404 Not found")
    return thing


def commit_sha(*parts: object) -> str:
    """A stable made-up commit id of 40 hex digits."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]
