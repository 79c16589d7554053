"""A small stateful GitHub: repositories with protected environments, workflow runs, reviews, webhooks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Response, g, jsonify, request

from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.gated_job import AUDIENCE, GatedJobs
from champion_gate_standins.common.server import StandInApp
from champion_gate_standins.github.accounts import RefusedError, Team, User
from champion_gate_standins.github.api import Api, problem
from champion_gate_standins.github.api_of_git import GitApi
from champion_gate_standins.github.api_of_issues import IssuesApi
from champion_gate_standins.github.api_of_pulls import PullsApi
from champion_gate_standins.github.api_of_settings import SettingsApi
from champion_gate_standins.github.api_of_setup import SetupApi
from champion_gate_standins.github.app_pages import AppPages
from champion_gate_standins.github.oidc import IdTokens
from champion_gate_standins.github.page import RunPage
from champion_gate_standins.github.people import People
from champion_gate_standins.github.pull_page import PullPage
from champion_gate_standins.github.pulls import Pulls
from champion_gate_standins.github.repositories import Environment, Repository, Workflow
from champion_gate_standins.github.runs import Runs, new_branch
from champion_gate_standins.github.state import Credential, GitHubApp, Job, Run, State
from champion_gate_standins.github.webhooks import Webhooks

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ALL_PERMISSIONS = {
    "actions": "write",
    "actions_variables": "read",
    "contents": "read",
    "deployments": "write",
    "members": "read",
}


ADMINISTRATOR = {
    **ALL_PERMISSIONS,
    "actions_variables": "write",
    "administration": "write",
    "contents": "write",
    "pull_requests": "write",
    "workflows": "write",
}
"""What who sets up a repository may do there."""


class GitHubStandIn:
    """GitHub as far as champion-gate meets it. Thread-safe; nothing is kept on disk.

    Attributes:
        app: the Flask app: REST API, and pages for people.
        state: everything that it remembers.
        faults: how to make it misbehave.
        webhooks: where it sends webhooks and what it has sent; see also `webhook_url`.
        api: knobs of the API's versions.
        workflow_runs: knobs of how runs behave.
        oidc: issues the jobs' ID tokens.
        setup_api: knobs of how repositories are changed.
        app_pages: knobs of how people make and install Apps.
        people: acts of people in repositories: pull requests, reviews, branches, access.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        webhook_url: str | None = None,
        webhook_secret: str = "",
    ) -> None:
        """Start with no repository.

        Args:
            clock: aware UTC time; the wall clock by default.
            webhook_url: where webhooks go; None sends none.
            webhook_secret: the webhooks' shared secret.
        """
        self.state = State(clock or (lambda: datetime.now(UTC)))
        self.webhooks = Webhooks(self.state)
        self.webhooks.url, self.webhooks.secret = webhook_url, webhook_secret
        self.workflow_runs = Runs(self.state, self.webhooks.announce)
        self.api = Api(self.state, self.workflow_runs)
        self.oidc = IdTokens(self.state)
        self._gated_jobs: GatedJobs | None = None
        self.app = StandInApp(__name__)
        self.app.json.sort_keys = False  # type: ignore[attr-defined]
        self.app.register_blueprint(self.api.blueprint)
        self.app.register_blueprint(SettingsApi(self.state, self.webhooks).blueprint)
        self.setup_api = SetupApi(self.state, self.webhooks)
        self.app.register_blueprint(self.setup_api.blueprint)
        pulls = Pulls(self.state, self.webhooks)
        self.people = People(self.state, pulls)
        for blueprint in (
            GitApi(self.state, pulls.branches).blueprint,
            PullsApi(self.state, pulls).blueprint,
            IssuesApi(self.state, pulls).blueprint,
            PullPage(self.state, self.people).blueprint,
        ):
            self.app.register_blueprint(blueprint)
        self.app_pages = AppPages(self.state, self.webhooks, self.add_app)
        self.app.register_blueprint(self.app_pages.blueprint)
        for blueprint in self.oidc.blueprints:
            self.app.register_blueprint(blueprint)
        self.app.register_blueprint(RunPage(self.state, self.workflow_runs).blueprint)
        self.app.register_error_handler(RefusedError, problem)
        self.app.register_error_handler(404, lambda _error: problem(RefusedError(404, "Not Found")))
        self.app.before_request(self._before)
        inner = self.app.wsgi_app

        def locked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            with self.state.lock:
                return inner({**environ, "PATH_INFO": self._named(environ["PATH_INFO"])}, start_response)

        self.faults = Faults(locked)
        self.app.wsgi_app = self.faults  # type: ignore[method-assign]

    def _named(self, path: str) -> str:
        """The path with the repository's name, where it holds its number: links to next pages do."""
        numbered = re.fullmatch(r"/repositories/([0-9]+)(/.*)?", path)
        for repository in self.state.repositories.values() if numbered else ():
            if numbered and str(repository.id) == numbered[1]:
                return f"/repos/{repository.full_name}{numbered[2] or ''}"
        return path

    def _moved(self) -> Response | None:
        """To its number from a name that a repository has no longer (docs.github.com, "Redirects" of the REST API)."""
        asked = re.fullmatch(r"/repos/([^/]+/[^/]+)(/.*)?", request.path)
        name = asked[1].lower() if asked else ""
        if not asked or name in self.state.repositories or name not in self.state.moved:
            return None
        query = f"?{request.query_string.decode()}" if request.query_string else ""
        url = f"{self.state.base_url}/repositories/{self.state.moved[name].id}{asked[2] or ''}{query}"
        told = {
            "message": "Moved Permanently",
            "url": url,
            "documentation_url": "https://docs.github.com/rest",
        }
        answer = jsonify(told)
        answer.status_code = 301 if request.method == "GET" else 307
        answer.headers["Location"] = url
        return answer

    def _before(self) -> Response | None:
        self.state.base_url = g.own_address = self.state.external_url or request.url_root.rstrip("/")
        self.workflow_runs.fail_overdue()
        self.workflow_runs.go_on()
        return self._moved()

    def run_gated_jobs(self, gate_url: str) -> None:
        """Have released jobs do from now on what deploy/github/champion-gate.yml has them do.

        Args:
            gate_url: champion-gate's address, without a slash at the end.
        """
        self._gated_jobs = GatedJobs(gate_url)
        self.workflow_runs.run_job = self._run_job

    def _run_job(self, run: Run, job: Job) -> None:
        environment = job.environment.name if job.environment else ""
        if self._gated_jobs is not None:
            self._gated_jobs.start(
                run.promotion_id,
                lambda: self.oidc.id_token(run, environment, AUDIENCE),
                lambda well: self.end_job(run.id, environment, "success" if well else "failure"),
            )

    def close(self) -> None:
        """Let everything that hangs go on, and stop sending webhooks."""
        if self._gated_jobs is not None:
            self._gated_jobs.close()
        self.faults.clear()
        self.webhooks.close()

    # --- the world ---------------------------------------------------------------------------------------

    def add_user(self, login: str, type: str = "User") -> int:  # noqa: A002 - GitHub's word
        """Add an account and return its numeric id."""
        with self.state.lock:
            return self.state.account(login, kind=type).id

    def delete_user(self, login: str) -> None:
        """Delete an account: it leaves its teams and reviews, what it did is the ghost's."""
        with self.state.lock:
            user = self.state.users.pop(login.lower())
            for team in self.state.teams.values():
                team.members = [member for member in team.members if member is not user]
            for repository in self.state.repositories.values():
                for place in repository.environments.values():
                    place.reviewers = [reviewer for reviewer in place.reviewers if reviewer is not user]
            user.id, user.login, user.type = (
                self.state.ghost.id,
                self.state.ghost.login,
                self.state.ghost.type,
            )

    def add_team(self, org: str, slug: str, members: Sequence[str]) -> Team:
        """Add a team of these logins (or replace its members) and return it."""
        with self.state.lock:
            self.state.account(org, kind="Organization")
            people = [self.state.account(login, kind="User") for login in members]
            key = (org.lower(), slug.lower())
            team = self.state.teams.setdefault(key, Team(self.state.new_id(), org, slug, people))
            team.members = people
            return team

    def lag_memberships(self, *, lag: bool = True) -> None:
        """Have reads show who is in a team as it is at this moment, whatever is written from now on; or no longer."""
        with self.state.lock:
            now = {team.id: list(team.members) for team in self.state.teams.values()}
            self.state.shown_members = now if lag else None

    def rename_user(self, login: str, new: str) -> None:
        """Rename an account; from now on anybody may take the old login."""
        with self.state.lock:
            account = self.state.users.pop(login.lower())
            account.login = new
            self.state.users[new.lower()] = account

    def add_repository(
        self,
        full_name: str,
        default_branch: str = "main",
        *,
        private: bool = False,
        workflow: str | None = "champion-gate.yml",
    ) -> Repository:
        """Add a repository of an organization, with the approval workflow on its default branch, or with None without one."""
        owner, name = full_name.split("/")
        with self.state.lock:
            now = self.state.clock()
            account = self.state.account(owner, kind="Organization")
            repository = Repository(self.state.new_id(), name, account, default_branch, private, now)
            new_branch(repository, default_branch)
            if workflow is not None:
                repository.workflows[workflow] = Workflow(self.state.new_id(), workflow, "champion-gate", now)
            self.state.repositories[full_name.lower()] = repository
            return repository

    def protect_branch(
        self,
        repository: Repository | str,
        branch: str = "main",
        *,
        approvals: int | None = 1,
        updates: bool = False,
        deletion: bool = True,
    ) -> None:
        """Have a ruleset apply to a branch, in the place of any before.

        Args:
            repository: the repository or its full name.
            branch: of this name.
            approvals: how many a pull request needs; None demands no pull request.
            updates: whether nobody may change it.
            deletion: whether nobody may delete it.
        """
        pull_request: dict[str, object] = {
            "required_approving_review_count": approvals,
            "dismiss_stale_reviews_on_push": True,
            "require_code_owner_review": False,
            "require_last_push_approval": False,
            "required_review_thread_resolution": False,
        }
        rules: dict[str, dict[str, object]] = {"non_fast_forward": {}}
        rules |= {"deletion": {}} if deletion else {}
        rules |= {"update": {"update_allows_fetch_and_merge": False}} if updates else {}
        rules |= {"pull_request": pull_request} if approvals is not None else {}
        with self.state.lock:
            self.repository(repository).branch_rules[branch] = rules

    def unprotect_branch(self, repository: Repository | str, branch: str = "main") -> None:
        """Have no ruleset apply to the branch."""
        with self.state.lock:
            self.repository(repository).branch_rules.pop(branch, None)

    def protect_environment(
        self,
        repository: Repository | str,
        name: str,
        reviewers: Sequence[str | int | Team],
        *,
        can_admins_bypass: bool | None = False,
        prevent_self_review: bool = True,
        branch_policy: str | tuple[str, ...] | None = "main",
        wait_timer: int = 0,
    ) -> Environment:
        """Add an environment, or change the rules of one that exists (its id stays).

        Args:
            repository: the repository or its full name.
            name: of the environment.
            reviewers: logins, user ids or teams; none leaves it unprotected.
            can_admins_bypass: None leaves the field out of answers.
            prevent_self_review: whether who starts a run may not review it.
            branch_policy: the one branch that may deploy, several, "protected", or None for any.
            wait_timer: minutes from a job's creation, however soon it is reviewed.
        """
        with self.state.lock:
            found, now = self.repository(repository), self.state.clock()
            fresh = Environment(self.state.new_id(), name, now, now)
            place = found.environments.setdefault(name.lower(), fresh)
            place.reviewers = [self._reviewer(who) for who in reviewers]
            place.can_admins_bypass, place.prevent_self_review = can_admins_bypass, prevent_self_review
            place.branch_policy, place.wait_timer, place.updated_at = branch_policy, wait_timer, now
            return place

    def add_file(self, repository: Repository | str, path: str, text: str, branch: str = "main") -> None:
        """Put a file on a branch, in the place of any before."""
        with self.state.lock:
            self.repository(repository).files.setdefault(branch, {})[path] = text

    def merge(self, repository: Repository | str, number: int) -> None:
        """Merge a pull request as its repository's owner does, past the rules of its base branch."""
        with self.state.lock:
            found = self.repository(repository)
            found.roles.setdefault(found.owner, "admin")
            self.people.merge(found.full_name, number, found.owner.login, bypass=True)

    def delete_environment(self, repository: Repository | str, name: str) -> None:
        """Delete an environment; made anew, it has another id."""
        with self.state.lock:
            del self.repository(repository).environments[name.lower()]

    def _reviewer(self, who: str | int | Team) -> User | Team:
        if isinstance(who, Team):
            return who
        if isinstance(who, int):
            return next(user for user in self.state.users.values() if user.id == who)
        return self.state.account(who, kind="User")

    def repository(self, repository: Repository | str) -> Repository:
        """A repository by itself or by `owner/name`."""
        return repository if isinstance(repository, Repository) else self.state.repository(repository)

    # --- credentials -------------------------------------------------------------------------------------

    def add_token(self, login: str, permissions: Mapping[str, str] | None = None) -> str:
        """A fine-grained personal access token of this account, for all repositories.

        Args:
            login: the account, made where there is none.
            permissions: e.g. {"actions": "write"}; by default all that this stand-in knows.
        """
        with self.state.lock:
            token = f"github_pat_{self.state.new_id()}"
            held = dict(permissions if permissions is not None else ALL_PERMISSIONS)
            self.state.credentials[token] = Credential(self.state.account(login, kind="User"), held)
            return token

    def revoke_tokens(self) -> None:
        """Make every token that was given out invalid."""
        with self.state.lock:
            self.state.credentials.clear()

    def add_app(
        self,
        slug: str,
        public_key: str,
        *,
        owner: str = "example",
        permissions: Mapping[str, str] | None = None,
        repositories: Iterable[str] | None = None,
    ) -> GitHubApp:
        """Register a GitHub App and install it on its owner's account.

        Args:
            slug: its name; it acts as `<slug>[bot]`.
            public_key: PEM that belongs to the App's private key.
            owner: organization that owns it and has it installed.
            permissions: of the installation; {"actions": "write", "members": "read"} by default.
            repositories: full names it is installed on; None = all.
        """
        with self.state.lock:
            number = self.state.new_id()
            app = GitHubApp(
                id=number,
                client_id=f"Iv23li{number}",
                slug=slug,
                public_key=public_key,
                installation_id=self.state.new_id(),
                bot=self.state.account(f"{slug}[bot]", kind="Bot"),
                owner=self.state.account(owner, kind="Organization"),
                permissions=dict(permissions or {"actions": "write", "members": "read"}),
                repositories=None if repositories is None else set(repositories),
                created_at=self.state.clock(),
            )
            self.state.apps.append(app)
            return app

    # --- runs --------------------------------------------------------------------------------------------

    @property
    def runs(self) -> list[Run]:
        """All runs, oldest first."""
        with self.state.lock:
            return list(self.state.runs)

    def run(self, run_id: int | str) -> Run:
        """One run."""
        with self.state.lock:
            return self.state.run(int(run_id))

    def dispatch(
        self, repository: Repository | str, inputs: Mapping[str, str], *, login: str, ref: str = "main"
    ) -> Run:
        """Start a run as this account does by hand."""
        with self.state.lock:
            found = self.repository(repository)
            workflow = next(iter(found.workflows.values()))
            actor = self.state.account(login, kind="User")
            return self.workflow_runs.dispatch(found, workflow, ref=ref, inputs=inputs, actor=actor)

    def review(
        self,
        run_id: int | str,
        environment: str | Sequence[str],
        login: str,
        approve: bool,
        comment: str = "",
        *,
        force: bool = False,
    ) -> None:
        """Review as this account; RefusedError where GitHub would not let it.

        Args:
            run_id: the run.
            environment: one name, or several for one review of all of them.
            login: who reviews; with `force` made where there is none.
            approve: False rejects.
            comment: what the reviewer writes.
            force: act without being a reviewer; an administrator's bypass looks exactly like this.
        """
        names = [environment] if isinstance(environment, str) else list(environment)
        with self.state.lock:
            user = self.state.account(login, kind="User") if force else self.state.user(login)
            self.workflow_runs.review(
                self.run(run_id), names, user, approve=approve, comment=comment, force=force
            )

    def bypass(self, run_id: int | str, environment: str, login: str, comment: str = "") -> None:
        """Start the waiting job as an administrator does past the rules: listed as an approval by them."""
        self.review(run_id, environment, login, approve=True, comment=comment, force=True)

    def end_job(self, run_id: int | str, environment: str, conclusion: str = "success") -> None:
        """Complete a gated job in whatever way, e.g. "skipped"."""
        with self.state.lock:
            self.workflow_runs.end_job(self.run(run_id), environment, conclusion)

    def cancel(self, run_id: int | str) -> None:
        """Cancel a run, as somebody does on its page."""
        with self.state.lock:
            self.workflow_runs.cancel(self.run(run_id))

    def delete_run(self, run_id: int | str) -> None:
        """Delete a run, as somebody does on its page, or a clean-up of old runs."""
        with self.state.lock:
            self.state.runs.remove(self.run(run_id))

    def rerun(self, run_id: int | str, login: str) -> None:
        """Run all jobs again, as somebody does on the run's page."""
        with self.state.lock:
            self.workflow_runs.rerun(self.run(run_id), self.state.account(login, kind="User"))
