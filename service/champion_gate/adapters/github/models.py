"""What we take of GitHub's answers.

Fields, and which may be null or absent: GitHub's description of its REST API; beyond it `can_admins_bypass`, which is
answered and not described.
"""

from __future__ import annotations

from pydantic import Field

from champion_gate.adapters import starts
from champion_gate.adapters.http.models import Answered, NumberId, Reader, Time

github = Reader("GitHub")


class Numbered(Answered):
    """Something of which the id is all that we need."""

    id: NumberId


class App(Answered):
    """A GitHub App, as it sees itself."""

    slug: str


class AccessToken(Answered):
    """An installation's token."""

    token: str = Field(repr=False)
    expires_at: Time


class Installation(Numbered):
    """An App's installation, with what it was granted."""

    html_url: str = ""
    permissions: dict[str, str] = Field(default_factory=dict)
    suspended_at: str | None = None


class HookConfig(Answered):
    """Where an App's webhook goes; `insecure_ssl` is 1 where the receiver's certificate is not looked at."""

    url: str | None = None
    insecure_ssl: str | int | float | None = None


class HookDelivery(Answered):
    """A webhook that was sent; the code is the receiver's HTTP status, or 0 without an answer."""

    delivered_at: Time
    event: str
    status: str
    status_code: int


class User(Answered):
    """An account. `type` is `User` for people, who need not give their name."""

    id: NumberId
    login: str
    type: str | None = None
    name: str | None = None


class Repository(Answered):
    """A repository."""

    id: NumberId
    owner: Numbered
    full_name: str
    archived: bool | None = None
    disabled: bool | None = None
    private: bool | None = None


class File(Answered):
    """A file of a repository, as base64 with line ends."""

    content: str
    encoding: str


class Variable(Answered):
    """A variable of Actions."""

    name: str
    value: str


class Workflow(Answered):
    """A workflow file that GitHub knows."""

    id: NumberId
    path: str
    state: str


class Membership(Answered):
    """Somebody's membership of a team."""

    state: str


# --- what protects -----------------------------------------------------------------------------------------


class _Reviewer(Answered):
    id: NumberId
    slug: str | None = None
    login: str | None = None

    @property
    def name(self) -> str:
        """As people know it."""
        return self.login or self.slug or self.id


class _ReviewerEntry(Answered):
    reviewer: _Reviewer
    type: str | None = None


class ProtectionRule(Answered):
    """A rule of an environment; which fields it has depends on its type."""

    type: str
    reviewers: list[_ReviewerEntry] | None = None
    prevent_self_review: bool | None = None
    wait_timer: int | None = None


class _DeploymentBranches(Answered):
    protected_branches: bool
    custom_branch_policies: bool


class Environment(Answered):
    """An environment with its protection."""

    id: NumberId
    name: str
    protection_rules: list[ProtectionRule]
    deployment_branch_policy: _DeploymentBranches | None = None
    can_admins_bypass: bool | None = None


class BranchPolicy(Answered):
    """A branch, or a tag, from which may be deployed."""

    name: str
    type: str = "branch"


class _PullRequestRule(Answered):
    required_approving_review_count: int | None = None


class BranchRule(Answered):
    """A rule of an active ruleset."""

    type: str
    parameters: _PullRequestRule | None = None


# --- workflow runs -----------------------------------------------------------------------------------------


class DispatchedRun(Answered):
    """What a dispatch tells of the run that it started."""

    workflow_run_id: NumberId
    html_url: str


class _RunRepository(Answered):
    id: NumberId
    full_name: str


class Run(Answered):
    """A workflow run."""

    id: NumberId
    status: str
    run_attempt: int
    event: str
    path: str
    head_branch: str
    head_sha: str
    workflow_id: NumberId
    repository: _RunRepository
    actor: Numbered
    html_url: str | None = None
    conclusion: str | None = None


class ListedRun(starts.ListedRun):
    """A workflow run in a list, whoever started it; of a deleted account's run nobody is told as its actor."""

    title: str = Field(alias="display_title")
    url: str = Field(alias="html_url")
    event: str
    actor: Numbered | None = None


class _Step(Answered):
    started_at: str | None = None
    conclusion: str | None = None


class Job(Answered):
    """A job of a run. Until it starts, `started_at` is the time of its creation."""

    run_id: NumberId
    run_attempt: int
    name: str
    status: str
    conclusion: str | None = None
    started_at: Time | None = None
    html_url: str | None = None
    runner_id: int | None = None
    runner_name: str | None = None
    steps: list[_Step] | None = None


class Approval(Answered):
    """A review of a run, of whichever attempt; nobody is told where the account was deleted."""

    state: str
    environments: list[Numbered]
    user: User | None
    comment: str


class PendingDeployment(Answered):
    """What a run's job waits for."""

    environment: Numbered
    wait_timer: int | None = None
    wait_timer_started_at: Time | None = None
