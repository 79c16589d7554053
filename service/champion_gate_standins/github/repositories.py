"""The GitHub stand-in's repositories: environments, workflows, branches, pull requests, and what people may do there."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from champion_gate_standins.github.accounts import Team, User
from champion_gate_standins.github.commits import Comment, Commit, Happening, Review, Status

TEMPLATE_INPUTS = ("promotion_id", "model", "version", "alias", "evidence", "environments")
"""The inputs of deploy/github/champion-gate.yml, all required strings."""

ROLES = ("none", "read", "triage", "write", "maintain", "admin")
"""What people may do in a repository, the least first (docs.github.com, "Repository roles for an organization")."""


@dataclass(eq=False)
class Environment:
    """A deployment environment and its protection rules.

    Attributes:
        can_admins_bypass: None leaves the field out of answers, as older GitHub servers do.
        branch_policy: None = any branch, "protected", or the one branch that may deploy, or those that may.
        wait_timer: minutes from a job's creation, however soon it is reviewed.
        other_rule_holds: whether a custom protection rule (a GitHub App's) has not let jobs through yet.
    """

    id: int
    name: str
    created_at: datetime
    updated_at: datetime
    reviewers: list[User | Team] = field(default_factory=list)
    prevent_self_review: bool = False
    can_admins_bypass: bool | None = True
    branch_policy: str | tuple[str, ...] | None = None
    wait_timer: int = 0
    other_rule_holds: bool = False

    def people(self) -> list[User]:
        """Everybody who may review, team members included, each once."""
        found: dict[int, User] = {}
        for reviewer in self.reviewers:
            for person in reviewer.members if isinstance(reviewer, Team) else [reviewer]:
                found[person.id] = person
        return list(found.values())

    @property
    def branches(self) -> tuple[str, ...] | None:
        """The branches of its custom policies; None without any."""
        if self.branch_policy in {None, "protected"}:
            return None
        return (self.branch_policy,) if isinstance(self.branch_policy, str) else self.branch_policy

    def admits(self, branch: str) -> bool:
        """Whether jobs of this branch may deploy here; every branch counts as protected."""
        return self.branches is None or branch in self.branches


@dataclass(eq=False)
class Workflow:
    """A workflow file that can be dispatched.

    Attributes:
        run_name: a format string over the inputs.
        started: how many runs of it there have been.
    """

    id: int
    file: str
    name: str
    created_at: datetime
    inputs: tuple[str, ...] = TEMPLATE_INPUTS
    run_name: str = "Champion {model} v{version} [{promotion_id}]"
    state: str = "active"
    started: int = 0

    @property
    def path(self) -> str:
        """Its path inside the repository."""
        return f".github/workflows/{self.file}"


@dataclass(eq=False)
class Repository:
    """A repository.

    Attributes:
        environments: lower-case name -> environment; GitHub's names are case-insensitive.
        branches: name -> head commit.
        branch_rules: name -> the rules of rulesets that apply to it, type -> parameters.
        files: branch -> path -> text, of the files that anybody here has a use for.
        variables: of its Actions, name in upper case -> value.
        pulls: pull requests, oldest first.
        commits: by id, those that anybody has looked at; a fork has its origin's.
        statuses: of its commits, oldest first.
        roles: what each account or team may do; everybody else reads what is public.
        custom_roles: roles of the organization's own, each with the one it is made of.
        plan: of its owner: "free", "team" or "enterprise".
        merge_methods: how pull requests may be merged here.
        rules_ignored: as after a change from public to private on a plan without required reviewers
            (docs.github.com, "Using environments for deployment"): the rules are shown but do nothing.
    """

    id: int
    name: str
    owner: User
    default_branch: str
    private: bool
    created_at: datetime
    environments: dict[str, Environment] = field(default_factory=dict)
    workflows: dict[str, Workflow] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    branch_rules: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    pulls: list[PullRequest] = field(default_factory=list)
    commits: dict[str, Commit] = field(default_factory=dict)
    statuses: list[Status] = field(default_factory=list)
    roles: dict[User | Team, str] = field(default_factory=dict)
    custom_roles: dict[str, str] = field(default_factory=dict)
    plan: str = "team"
    merge_methods: tuple[str, ...] = ("merge", "squash", "rebase")
    rules_ignored: bool = False

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner.login}/{self.name}"


@dataclass(eq=False)
class PullRequest:
    """A pull request.

    Attributes:
        origin: the repository of its head: a fork, or the repository itself.
        head_sha: follows the branch while it is open.
        base_sha: the base branch's head when it was opened, retargeted or merged.
        requested: whose review is asked for.
        timeline: what happened, oldest first.
        lost_head: why it cannot be reopened; None = it can.
    """

    id: int
    number: int
    origin: Repository
    head: str
    head_sha: str
    base: str
    base_sha: str
    title: str
    body: str
    user: User
    created_at: datetime
    updated_at: datetime
    draft: bool = False
    state: str = "open"
    closed_at: datetime | None = None
    merged_at: datetime | None = None
    merged_by: User | None = None
    merge_sha: str | None = None
    lost_head: str | None = None
    requested: list[User | Team] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    timeline: list[Happening | Commit | Review | Comment] = field(default_factory=list)

    @property
    def comments(self) -> list[Comment]:
        """Its comments, oldest first."""
        return [one for one in self.timeline if isinstance(one, Comment)]


def role_of(repository: Repository, user: User) -> str:
    """The role's name of an account, the strongest that it has itself or by a team; everybody reads public ones."""
    held = [
        role
        for who, role in repository.roles.items()
        if who is user or (isinstance(who, Team) and user in who.members)
    ]
    default = "none" if repository.private else "read"
    return max([default, *held], key=lambda role: ROLES.index(repository.custom_roles.get(role, role)))


def may(repository: Repository, user: User, level: str) -> bool:
    """Whether the account has at least this role, by itself or as what its own role is made of."""
    role = role_of(repository, user)
    return ROLES.index(repository.custom_roles.get(role, role)) >= ROLES.index(level)
