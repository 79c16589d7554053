"""The calls to GitLab about one project: what is sent, and what comes back, read into models.

Paths and fields: docs.gitlab.com, REST API; lib/api/ and lib/api/entities/ of gitlab-org/gitlab.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import TypeVar

from champion_gate.adapters.gitlab import models
from champion_gate.adapters.gitlab.models import (
    Deployment,
    Job,
    ListedDeployment,
    ListedPipeline,
    Member,
    Numbered,
    Pipeline,
    Project,
    ProtectedBranch,
    ProtectedEnvironment,
    Trigger,
    User,
    gitlab,
)
from champion_gate.adapters.gitlab.settings import GitLabPlace
from champion_gate.adapters.http.answer import Answer, Limits
from champion_gate.adapters.http.auth import Auth, NoAuth
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.models import Answered
from champion_gate.adapters.starts import SeenRun
from champion_gate.domain.gates import Account
from champion_gate.domain.names import joined
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.together import Together
from champion_gate.errors import (
    UnsafeTargetError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

LIMITS: Limits = (
    # lib/gitlab/ci/pipeline/chain/limit/: rate_limit.rb, active_jobs.rb; lib/gitlab/application_rate_limiter.rb.
    (400, "try again later"),
    (400, "retry later"),
    (403, "try again later"),
    (403, "retry later"),
)
A = TypeVar("A", bound=Answered)
T = TypeVar("T")

_PAGE = {"per_page": "100"}
_MOST_PAGES = 100  # a list that never ends must not hold a worker
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Tokens:
    """Our credentials, ready to be sent.

    Attributes:
        trigger: starts pipelines, and can do nothing else; None where `api` starts them.
        api: starts and cancels pipelines; None where nothing of ours may.
        read: reads everything that decides.
    """

    trigger: str | None = field(repr=False)
    api: Auth | None
    read: Auth

    @property
    def source(self) -> str:
        """What GitLab says of the pipelines that we start."""
        return "trigger" if self.trigger is not None else "api"


class ProjectApi:
    """Calls about one project. Errors are those of ApiClient.

    Attributes:
        together: makes calls at the same time that do not need each other.
    """

    def __init__(
        self,
        client: ApiClient,
        tokens: Tokens,
        spot: GitLabPlace,
        remembered: Callable[[Account, Callable[[], Person]], Person],
        together: Together,
    ) -> None:
        """Nothing is called yet; `remembered` makes sure that a username is still whose it was."""
        self.spot = spot
        self.tokens = tokens
        self.together = together
        self._client = client
        self._remembered = remembered
        self._project = ("projects", str(spot.project))

    # --- the place --------------------------------------------------------------------------------------------

    def project(self) -> Project:
        """`GET /projects/:id`."""
        return self._one(Project, "project", *self._project)

    def protected_branches(self) -> list[ProtectedBranch]:
        """All rules for protected branches, wildcards among them; takes the role Maintainer."""
        return self._all(ProtectedBranch, "protected_branches", *self._project, "protected_branches")

    def protected_environment(self) -> ProtectedEnvironment:
        """`GET …/protected_environments/:name`; takes the role Maintainer; 404 on Free."""
        path = (*self._project, "protected_environments", self.spot.environment)
        return self._one(ProtectedEnvironment, "protected environment", *path)

    def triggers(self) -> list[Trigger]:
        """All trigger tokens with their owners; takes the role Maintainer. Others' tokens are shortened."""
        return self._all(Trigger, "triggers", *self._project, "triggers")

    def hooks(self) -> list[models.Hook]:
        """`GET …/hooks`; takes the role Maintainer."""
        return self._all(models.Hook, "hooks", *self._project, "hooks")

    def hook_events(self, hook_id: str) -> list[models.HookEvent]:
        """The newest that were sent, `GET …/hooks/:hook_id/events`; since GitLab 17.3."""
        path = joined(*self._project, "hooks", hook_id, "events")
        answer = self._client.get(path, auth=self.tokens.read, params={"per_page": "10"})
        return sorted(
            gitlab.many(models.HookEvent, answer, "events"), key=lambda one: int(one.id), reverse=True
        )

    def file(self, path: str) -> models.File:
        """A file on our ref, `GET …/repository/files/:file_path`."""
        url = joined(*self._project, "repository", "files", path)
        answer = self._client.get(url, auth=self.tokens.read, params={"ref": self.spot.ref})
        return gitlab.one(models.File, answer, "file")

    # --- people -----------------------------------------------------------------------------------------------

    def opener(self) -> Person:
        """The account behind the api token."""
        return person(self._client.get(joined("user"), auth=self.tokens.api or self.tokens.read))

    def user(self, user_id: str) -> User:
        """`GET /users/:id`."""
        return self._one(User, "user", "users", user_id)

    def user_named(self, login: str) -> Person:
        """The account with exactly this username; VendorNotFoundError where there is none."""
        found = self._all(models.Account, "users", "users", params={"username": login})
        matching = [one for one in found if one.username.lower() == login.lower()]
        if len(matching) != 1:
            raise VendorNotFoundError("GitLab", f"nobody has the username {login}.")
        return Person(matching[0].id, matching[0].username)

    def account(self, named: Account) -> Person:
        """Whose a username in gates.yaml is; VendorNotFoundError where it is nobody's and never was.

        Raises:
            VendorRefusedError: it is another account than it was, or than is pinned.
        """
        try:
            return self._remembered(named, lambda: self.user_named(named.login))
        except UnsafeTargetError as another:
            raise VendorRefusedError("GitLab", another.message, hint=another.hint) from another

    def member(self, user_id: str) -> Member:
        """Somebody's highest membership of the project; VendorNotFoundError for who is no member."""
        return self._one(Member, "member", *self._project, "members", "all", user_id)

    def members(self) -> list[Member]:
        """Everybody's highest membership of the project, inherited and invited members included."""
        return self._all(Member, "members", *self._project, "members", "all")

    def group_members(self, group_id: str, *, inherited: bool) -> list[Member]:
        """Everybody's membership of a group; the highest, where inherited members are included."""
        return self._all(Member, "members", "groups", group_id, "members", *(["all"] if inherited else []))

    def group_member(self, group_id: str, user_id: str, *, inherited: bool) -> Member:
        """Somebody's membership of a group; VendorNotFoundError for who is no member."""
        path = ("groups", group_id, "members", *(["all"] if inherited else []), user_id)
        return self._one(Member, "member", *path)

    def check_group(self, group_id: str) -> None:
        """Raise unless the group's members can be read."""
        path = joined("groups", group_id, "members")
        gitlab.many(
            Answered, self._client.get(path, auth=self.tokens.read, params={"per_page": "1"}), "members"
        )

    # --- pipelines --------------------------------------------------------------------------------------------

    def start(self, inputs: Mapping[str, str]) -> Answer:
        """Start a pipeline with `spec:inputs`, once; a pipeline variable could be overridden, an input cannot."""
        if self.tokens.trigger is not None:
            body = {"token": self.tokens.trigger, "ref": self.spot.ref, "inputs": dict(inputs)}
            path = joined(*self._project, "trigger", "pipeline")
            return self._client.post(path, auth=NoAuth(), body=body)
        path = joined(*self._project, "pipeline")
        return self._client.post(
            path,
            auth=self.tokens.api or NoAuth(),
            body={"ref": self.spot.ref, "inputs": dict(inputs)},
        )

    def pipeline(self, pipeline_id: str) -> Pipeline:
        """`GET …/pipelines/:id`."""
        return self._one(Pipeline, "pipeline", *self._project, "pipelines", pipeline_id)

    def pipelines(
        self,
        bot: str,
        source: str,
        since: datetime,
        until: datetime | None,
        read: Callable[[object], Sequence[T]],
    ) -> list[T]:
        """The pipelines of our ref that this account started in this way, newest first.

        Args:
            bot: username.
            source: "trigger" or "api".
            since: created then or later, UTC.
            until: created then or earlier, UTC; None = until now.
            read: takes of a page's JSON what is kept of each, of which there may be thousands.

        Raises:
            VendorRefusedError: more than 10,000; none is passed over in silence.
        """
        params = {
            **self._started(bot, source),
            "created_after": f"{since:{_TIME}}",
            **({} if until is None else {"created_before": f"{until:{_TIME}}"}),
        }
        path = (*self._project, "pipelines")
        return self._every(read, "pipelines", *path, params=params, max_pages=_MOST_PAGES)

    def waiting_pipelines(self, bot: str, source: str) -> list[SeenRun]:
        """Those of them that wait for somebody to run the gated job, newest first.

        As many pages as hundreds of them wait, however many were ever started. One that leaves the list while it is
        paged may hide another. What is kept of a page is read again only where it has changed.
        """
        pages = self._client.get_kept_pages(
            joined(*self._project, "pipelines"),
            auth=self.tokens.read,
            read=read_seen,
            params={**self._started(bot, source), "status": "manual", **_PAGE},
            max_pages=_MOST_PAGES,
        )
        return [run for page in pages for run in page]

    def _started(self, bot: str, source: str) -> Mapping[str, str]:
        return {"ref": self.spot.ref, "source": source, "username": bot}

    def newest_pipelines(self, *, most: int) -> tuple[list[ListedPipeline], bool]:
        """The newest pipelines of our ref, whoever started them and in whatever way.

        Args:
            most: how many are read, 100 at most.

        Returns:
            The pipelines, and whether they are all.
        """
        answer = self._client.get(
            joined(*self._project, "pipelines"),
            auth=self.tokens.read,
            params={"ref": self.spot.ref, "per_page": str(most)},
        )
        listed = gitlab.many(ListedPipeline, answer, "pipelines")
        return listed, len(listed) < most

    def all_pipelines(self, since: datetime, until: datetime) -> list[Numbered]:
        """The project's pipelines, whoever started them, that were created between these times, UTC.

        Raises:
            VendorRefusedError: more than 1,000; none is passed over in silence.
        """
        params = {"created_after": f"{since:{_TIME}}", "created_before": f"{until:{_TIME}}"}
        return self._all(Numbered, "pipelines", *self._project, "pipelines", params=params)

    def jobs(self, pipeline_id: str) -> list[Job]:
        """All jobs of a pipeline, also those that a retry has replaced."""
        path = (*self._project, "pipelines", pipeline_id, "jobs")
        return self._all(Job, "jobs", *path, params={"include_retried": "true"})

    def deployments(self, since: datetime) -> list[ListedDeployment]:
        """Deployments to our environment that changed at `since` or later, newest first."""
        params = {
            "environment": self.spot.environment,
            "order_by": "updated_at",
            "sort": "desc",
            "updated_after": f"{since:{_TIME}}",
        }
        return self._all(ListedDeployment, "deployments", *self._project, "deployments", params=params)

    def deployment(self, deployment_id: str) -> Deployment:
        """One deployment with its approvals."""
        return self._one(Deployment, "deployment", *self._project, "deployments", deployment_id)

    def cancel(self, pipeline_id: str, auth: Auth) -> Answer:
        """`POST …/pipelines/:id/cancel`; 404 is an answer here."""
        path = joined(*self._project, "pipelines", pipeline_id, "cancel")
        return self._client.post(path, auth=auth, accept=(HTTPStatus.NOT_FOUND,), repeatable=True)

    def _one(self, model: type[A], what: str, *parts: str) -> A:
        return gitlab.one(model, self._client.get(joined(*parts), auth=self.tokens.read), what)

    def _all(
        self, model: type[A], what: str, *parts: str, params: Mapping[str, str] | None = None
    ) -> list[A]:
        return self._every(lambda page: gitlab.many(model, page, what), what, *parts, params=params)

    def _every(
        self,
        read: Callable[[object], Sequence[T]],
        what: str,
        *parts: str,
        params: Mapping[str, str] | None = None,
        max_pages: int = 10,
    ) -> list[T]:
        pages = self._client.get_pages(
            joined(*parts),
            auth=self.tokens.read,
            read=read,
            params={**(params or {}), **_PAGE},
            max_pages=max_pages,
        )
        items = [item for page in pages for item in page]
        # A list that shifted while it was paged may repeat an entry, and then lacks another.
        ids = [own for item in items if (own := getattr(item, "id", None)) is not None]
        if len(set(ids)) < len(ids):
            raise VendorUnavailableError("GitLab", f"the list of {what} changed while it was read.")
        return items


def read_listed(page: object) -> list[ListedPipeline]:
    """A page of pipelines."""
    return gitlab.many(ListedPipeline, page, "pipelines")


def read_seen(page: object) -> tuple[SeenRun, ...]:
    """What is kept of one between two looks."""
    return tuple(map(SeenRun.of, read_listed(page)))


def person(answer: object) -> Person:
    """The account of an answer that describes one."""
    found = gitlab.one(models.Account, answer, "user")
    return Person(found.id, found.username)
