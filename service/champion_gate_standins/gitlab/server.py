"""A small stateful GitLab: projects, protected branches and environments, pipelines, approvals, webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from champion_gate_standins.common.gated_job import AUDIENCE, GatedJobs
from champion_gate_standins.gitlab.api import Api
from champion_gate_standins.gitlab.api_of_settings import SettingsApi
from champion_gate_standins.gitlab.app import build_app
from champion_gate_standins.gitlab.changes_api import ChangesApi
from champion_gate_standins.gitlab.groups import CustomRole, DeployKey, Group
from champion_gate_standins.gitlab.groups_api import GroupsApi
from champion_gate_standins.gitlab.oidc import IdTokens
from champion_gate_standins.gitlab.page import PipelinePage
from champion_gate_standins.gitlab.pipelines import Pipelines
from champion_gate_standins.gitlab.state import (
    DEVELOPER,
    MAINTAINER,
    NO_ONE,
    Access,
    AccessToken,
    ApprovalRule,
    Deployment,
    Job,
    Pipeline,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    RefusedError,
    State,
    Trigger,
    User,
    commit_sha,
)
from champion_gate_standins.gitlab.webhooks import Webhooks

Who = int | str | Group | DeployKey | CustomRole
"""Whom a protection lets in: an access level (0 = no one, 30, 40, …), somebody's username, or what it is."""


class GitLabStandIn:
    """GitLab as far as champion-gate meets it. Thread-safe; nothing is kept on disk.

    Attributes:
        app: the Flask app: REST API under /api/v4, discovery document and keys.
        state: everything that it remembers.
        faults: how to make it misbehave.
        webhooks: where it sends webhooks and what it has sent.
        api: knobs of the API.
        ci: knobs of how pipelines behave.
        changes: knobs of the API by which projects are set up.
        id_tokens: issues the jobs' ID tokens.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        prefix: str = "",
        webhook_url: str | None = None,
        webhook_secret_token: str = "",
        webhook_signing_token: str = "",
    ) -> None:
        """Start with no project.

        Args:
            clock: aware UTC time; the wall clock by default.
            prefix: path of the installation, e.g. "/gitlab"; elsewhere everything is 404.
            webhook_url: where webhooks go; None sends none.
            webhook_secret_token: sent as X-Gitlab-Token.
            webhook_signing_token: `whsec_` and the key in base64; signs the webhooks.
        """
        self.state = State(clock or (lambda: datetime.now(UTC)))
        self.webhooks = Webhooks(self.state)
        self.webhooks.url = webhook_url
        self.webhooks.secret_token = webhook_secret_token
        self.webhooks.signing_token = webhook_signing_token
        self.ci = Pipelines(self.state, self.webhooks.announce)
        self.api = Api(self.state, self.ci)
        self.id_tokens = IdTokens(self.state, self.ci)
        self._gated_jobs: GatedJobs | None = None
        groups, page = GroupsApi(self.state), PipelinePage(self.state, self.ci)
        settings = SettingsApi(self.state, self.webhooks)
        blueprints = (
            self.api.blueprint,
            settings.blueprint,
            groups.blueprint,
            self.id_tokens.blueprint,
            page.blueprint,
        )
        self.app, self.faults = build_app(self.state, blueprints, prefix=prefix)
        self.changes = ChangesApi(self.state, self.webhooks, self.add_project_token)
        self.app.register_blueprint(self.changes.blueprint)

    def run_gated_jobs(self, gate_url: str) -> None:
        """Have played jobs do from now on what deploy/gitlab/champion-gate.gitlab-ci.yml has them do.

        Args:
            gate_url: champion-gate's address, without a slash at the end.
        """
        self._gated_jobs = GatedJobs(gate_url)
        self.ci.run_job = self._run_job

    def _run_job(self, job: Job) -> None:
        if self._gated_jobs is not None:
            self._gated_jobs.start(
                job.pipeline.inputs.get("promotion_id", ""),
                lambda: self.id_tokens.id_token(job, AUDIENCE),
                lambda well: self.end_job(job, "success" if well else "failed"),
            )

    def close(self) -> None:
        """Let everything that hangs go on, and stop sending webhooks."""
        if self._gated_jobs is not None:
            self._gated_jobs.close()
        self.faults.clear()
        self.webhooks.close()

    # --- the world ---------------------------------------------------------------------------------------

    def add_user(self, username: str, *, bot: bool = False) -> int:
        """Add an account and return its id."""
        with self.state.lock:
            return self.state.account(username, bot=bot).id

    def block_user(self, username: str) -> None:
        """Block an account: its roles and tokens are worth nothing, what it did stays."""
        with self.state.lock:
            self.state.user(username).state = "blocked"

    def rename_user(self, username: str, new: str) -> None:
        """Rename an account; from now on anybody may take the old username."""
        with self.state.lock:
            account = self.state.users.pop(username.lower())
            account.username = new
            self.state.users[new.lower()] = account

    def lag_memberships(self, *, lag: bool = True) -> None:
        """Have reads show members as they are at this moment, whatever is written from now on; or no longer."""
        with self.state.lock:
            now = {project.id: project.levels() for project in self.state.projects.values()}
            self.state.shown_members = now if lag else None

    def add_project(
        self,
        path: str,
        *,
        id: int | None = None,  # noqa: A002 - GitLab's word
        default_branch: str = "main",
        tier: str = "free",
        members: Mapping[str, int] | None = None,
        protect_default_branch: bool = True,
    ) -> Project:
        """Add a project with the approval pipeline on its default branch.

        Args:
            path: `group/project`.
            id: its id; a new number by default.
            default_branch: its one branch.
            tier: "free" or "premium".
            members: username -> access level; accounts are made where there are none.
            protect_default_branch: as GitLab does by itself: Maintainers may push and merge.
        """
        with self.state.lock:
            number = self.state.new_id() if id is None else id
            namespace = self.state.namespaces.setdefault(path.rpartition("/")[0], self.state.new_id())
            project = Project(number, path, namespace, default_branch, tier, self.state.clock())
            self.state.projects[number] = project
            self.add_branch(project, default_branch)
            for username, level in (members or {}).items():
                self.add_member(project, username, level)
            if protect_default_branch:
                self.protect_branch(project, default_branch)
            return project

    def add_branch(self, project: Project | int, name: str) -> None:
        """Add a branch with a made-up head commit, or move it to another one."""
        with self.state.lock:
            place = self.project(project)
            place.branches[name] = commit_sha(place.path, name, self.state.new_id())

    def add_file(self, project: Project | int, path: str, text: str, branch: str = "main") -> None:
        """Put a file on a branch, in the place of any before."""
        with self.state.lock:
            self.project(project).files.setdefault(branch, {})[path] = text

    def add_member(self, project: Project | int, username: str, level: int) -> int:
        """Give an account a role (10 to 50), or with 0 take it away; returns its id."""
        with self.state.lock:
            account = self.state.account(username)
            self.project(project).members[account.id] = level
            if level == NO_ONE:
                del self.project(project).members[account.id]
            return account.id

    def add_group(
        self,
        path: str,
        members: Mapping[str, int] | None = None,
        *,
        parent: Group | None = None,
        visibility: str = "private",
    ) -> Group:
        """Add a group.

        Args:
            path: full path.
            members: username -> access level; accounts are made where there are none.
            parent: the group above.
            visibility: "private" (its members read it, and those of its projects) or "public".
        """
        with self.state.lock:
            levels = {self.state.account(name).id: level for name, level in (members or {}).items()}
            group = Group(self.state.new_id(), path, parent, levels, visibility)
            self.state.groups[group.id] = group
            return group

    def share(self, project: Project | int, group: Group, level: int) -> None:
        """Invite a group to a project: its members get their role in it, at most this one."""
        with self.state.lock:
            self.project(project).shared_with[group] = level

    def protect_branch(
        self,
        project: Project | int,
        name: str,
        *,
        push: Sequence[Who] = (MAINTAINER,),
        merge: Sequence[Who] = (MAINTAINER,),
        unprotect: Sequence[Who] = (),
    ) -> ProtectedBranch:
        """Protect a branch, or change who may push, merge and take the protection away."""
        with self.state.lock:
            place = self.project(project)
            made = ProtectedBranch(
                self.state.new_id(),
                name,
                self._accesses(push),
                self._accesses(merge),
                self._accesses(unprotect),
            )
            place.protected_branches[name] = made
            return made

    def unprotect_branch(self, project: Project | int, name: str) -> None:
        """Take a branch's protection away."""
        with self.state.lock:
            del self.project(project).protected_branches[name]

    def protect_environment(
        self,
        project: Project | int,
        name: str,
        *,
        deployers: Sequence[Who] = (MAINTAINER,),
        approvals: Mapping[Who, int] | None = None,
    ) -> ProtectedEnvironment:
        """Protect an environment, or change its protection; it has an effect on the premium tier only.

        Args:
            project: the project or its id.
            name: of the environment.
            deployers: who may run its jobs.
            approvals: who has to approve -> how many of them.
        """
        with self.state.lock:
            rules = [ApprovalRule(self._access(who), count) for who, count in (approvals or {}).items()]
            made = ProtectedEnvironment(name, self._accesses(deployers), rules)
            self.project(project).protected_environments[name] = made
            return made

    def unprotect_environment(self, project: Project | int, name: str) -> None:
        """Take an environment's protection away."""
        with self.state.lock:
            del self.project(project).protected_environments[name]

    def _access(self, who: Who) -> Access:
        number = self.state.new_id()
        match who:
            case int():
                return Access(number, level=who)
            case Group():
                return Access(number, group=who)
            case DeployKey():
                return Access(number, deploy_key=who)
            case CustomRole():
                return Access(number, custom_role=who)
            case _:
                return Access(number, user=self.state.account(who))

    def _accesses(self, people: Sequence[Who]) -> list[Access]:
        return [self._access(who) for who in people]

    def project(self, project: Project | int) -> Project:
        """A project by itself or by id."""
        return project if isinstance(project, Project) else self.state.project(project)

    # --- credentials -------------------------------------------------------------------------------------

    def add_token(
        self,
        username: str,
        scopes: Sequence[str] = ("read_api",),
        *,
        expires_at: datetime | None = None,
    ) -> str:
        """A personal access token of this account.

        Args:
            username: the account, made where there is none.
            scopes: e.g. ("read_api",) or ("api",).
            expires_at: aware; None = never.
        """
        with self.state.lock:
            account = self.state.account(username)
            return self._new_token(account, username, scopes, expires_at=expires_at)

    def add_project_token(
        self, project: Project | int, name: str, level: int, scopes: Sequence[str] = ("read_api",)
    ) -> str:
        """A project access token: its bot has this role, and it reaches this project only."""
        with self.state.lock:
            place = self.project(project)
            bot = self.state.account(f"project_{place.id}_bot_{commit_sha(name)[:32]}", bot=True)
            bot.name = name
            place.members[bot.id] = level
            return self._new_token(bot, name, scopes, project=place)

    def _new_token(
        self,
        account: User,
        name: str,
        scopes: Sequence[str],
        *,
        project: Project | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        number = self.state.new_id()
        secret = f"glpat-{commit_sha('token', number)[:20]}"
        self.state.tokens[secret] = AccessToken(
            number, name, secret, account, tuple(scopes), self.state.clock(), project, expires_at
        )
        return secret

    def revoke_token(self, token: str) -> None:
        """Revoke an access token."""
        with self.state.lock:
            self.state.tokens[token].revoked = True

    def add_trigger(self, project: Project | int, owner: str, description: str = "champion-gate") -> str:
        """A pipeline trigger token of this account, who is made a Maintainer unless a member already."""
        with self.state.lock:
            place, account = self.project(project), self.state.account(owner)
            place.members.setdefault(account.id, MAINTAINER)
            number = self.state.new_id()
            token = f"glptt-{commit_sha('trigger', number)}"
            place.triggers.append(Trigger(number, token, description, account, self.state.clock()))
            return token

    # --- pipelines ---------------------------------------------------------------------------------------

    @property
    def pipelines(self) -> list[Pipeline]:
        """All pipelines, oldest first."""
        with self.state.lock:
            return list(self.state.pipelines)

    def pipeline(self, pipeline_id: int | str) -> Pipeline:
        """One pipeline."""
        with self.state.lock:
            return self.state.pipeline(int(pipeline_id))

    def job(self, pipeline_id: int | str, name: str = "approve") -> Job:
        """The latest job of this name."""
        with self.state.lock:
            jobs = {job.name: job for job in self.pipeline(pipeline_id).latest_jobs()}
            return jobs[name]

    def deployment(self, pipeline_id: int | str) -> Deployment:
        """The deployment of the latest gated job."""
        with self.state.lock:
            found = self.job(pipeline_id, self.ci.gated_job).deployment
            if found is None:
                raise RefusedError(404, "404 Not found")
            return found

    def start(
        self,
        project: Project | int,
        inputs: Mapping[str, object],
        *,
        username: str,
        ref: str = "main",
        source: str = "web",
    ) -> Pipeline:
        """Start a pipeline as this account does by hand, made a Developer unless a member already."""
        with self.state.lock:
            place, account = self.project(project), self.state.account(username)
            place.members.setdefault(account.id, DEVELOPER)
            return self.ci.start(place, account, ref=ref, inputs=inputs, source=source)

    def play(self, job: Job | int, username: str, variables: Mapping[str, str] | None = None) -> Job:
        """Play a job as this account; RefusedError where GitLab would not let it.

        Args:
            job: the job or its id; one that has ended is retried.
            username: who plays it.
            variables: given along, where the project allows that.
        """
        with self.state.lock:
            return self.ci.play(self._job(job), self.state.account(username), variables)

    def retry(self, job: Job | int, username: str) -> Job:
        """Run an ended job again; the new one is this account's."""
        with self.state.lock:
            return self.ci.retry(self._job(job), self.state.account(username))

    def end_job(self, job: Job | int, status: str = "success", failure_reason: str | None = None) -> None:
        """End a running job: "success", "failed" or "canceled"."""
        with self.state.lock:
            self.ci.end(self._job(job), status, failure_reason)

    def archive(self, pipeline_id: int | str) -> None:
        """Archive the jobs of a pipeline, as an administrator's setting does after a time."""
        with self.state.lock:
            for job in self.pipeline(pipeline_id).jobs:
                job.archived = True

    def approve_deployment(
        self, deployment: Deployment | int, username: str, status: str = "approved", comment: str = ""
    ) -> None:
        """Approve ("approved") or reject ("rejected") a blocked deployment as this account."""
        with self.state.lock:
            one = deployment if isinstance(deployment, Deployment) else self.state.deployment(deployment)
            self.ci.approve_deployment(one, self.state.user(username), status, comment)

    def delete_pipeline(self, pipeline_id: int | str) -> None:
        """Delete a pipeline with its jobs, as an Owner does on its page, or a clean-up of old ones."""
        with self.state.lock:
            self.state.pipelines.remove(self.pipeline(pipeline_id))

    def cancel(self, pipeline_id: int | str) -> None:
        """Cancel a pipeline, as somebody does on its page."""
        with self.state.lock:
            self.ci.cancel(self.pipeline(pipeline_id))

    def _job(self, job: Job | int) -> Job:
        return job if isinstance(job, Job) else self.state.job(job)
