"""What we take of GitLab's answers.

Fields, and which may be null or absent: lib/api/entities/ of gitlab-org/gitlab, ee/lib/api/entities/ for what takes
GitLab Premium, which other instances leave out.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from champion_gate.adapters import starts
from champion_gate.adapters.http.models import Answered, NumberId, Reader, Time

gitlab = Reader("GitLab")


class Numbered(Answered):
    """Something of which the id is all that we need."""

    id: NumberId


# --- people ------------------------------------------------------------------------------------------------


class Account(Numbered):
    """An account."""

    username: str


class User(Account):
    """An account, with what it may do; `state` is `active`, or says why it may do nothing."""

    state: str
    bot: bool | None = None
    name: str = ""


class Member(Account):
    """A member of a project or group; `access_level` is the role: Developer 30, Maintainer 40, Owner 50."""

    state: str
    access_level: int


# --- what protects -----------------------------------------------------------------------------------------


class Project(Numbered):
    """A project."""

    namespace: Numbered
    path_with_namespace: str
    web_url: str
    archived: bool | None = None
    ci_config_path: str | None = None
    ci_pipeline_variables_minimum_override_role: str | None = None
    allow_pipeline_trigger_approve_deployment: bool | None = None


class AccessLevel(Answered):
    """An entry of deploy_access_levels, approval_rules, push_, merge_ or unprotect_access_levels.

    Whatever it lets in beside a role, it names by a field that ends with `_id`; also by one that we do not know.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    access_level: int | None = None
    user_id: int | None = None
    group_id: int | None = None
    deploy_key_id: int | None = None
    member_role_id: int | None = None
    group_inheritance_type: int | None = None
    required_approvals: int = 0


class ProtectedBranch(Answered):
    """A rule for protected branches. Free tiers do not tell who may unprotect."""

    id: NumberId | None = None
    name: str
    push_access_levels: list[AccessLevel]
    merge_access_levels: list[AccessLevel]
    unprotect_access_levels: list[AccessLevel] | None = None


class ProtectedEnvironment(Answered):
    """A protected environment."""

    name: str
    deploy_access_levels: list[AccessLevel]
    approval_rules: list[AccessLevel] | None = None
    required_approval_count: int | None = None


class AccessToken(Answered):
    """An access token as it sees itself; `expires_at` is a day, after whose beginning in UTC it is worth nothing."""

    scopes: list[str]
    expires_at: str | None = None


class Hook(Numbered):
    """A webhook of a project; `alert_status` is `executable`, or says that GitLab has stopped it."""

    url: str
    job_events: bool | None = None
    pipeline_events: bool | None = None
    deployment_events: bool | None = None
    enable_ssl_verification: bool | None = None
    alert_status: str | None = None


class HookEvent(Numbered):
    """A webhook that was sent; `internal error` stands where nothing answered (app/services/web_hook_service.rb)."""

    response_status: str | int


class File(Answered):
    """A file of a project, as base64."""

    content: str
    encoding: str


class Trigger(Answered):
    """A trigger token; others' are shortened."""

    id: NumberId | None = None
    token: str = Field(repr=False)
    owner: Account | None = None
    expires_at: Time | None = None


# --- pipelines ---------------------------------------------------------------------------------------------


class StartedPipeline(Numbered):
    """What is told of a pipeline that was just started."""

    web_url: str


class ListedPipeline(starts.ListedRun):
    """A pipeline in a list. Older versions do not list names, and of a pipeline without one it is null."""

    title: Annotated[str, BeforeValidator(lambda name: "" if name is None else name)] = Field(
        "", alias="name"
    )
    url: str = Field(alias="web_url")
    status: str


class Pipeline(ListedPipeline):
    """A pipeline."""

    project_id: NumberId
    ref: str
    sha: str
    source: str
    tag: bool
    user: Numbered | None = None


class _JobPipeline(Numbered):
    sha: str


class Job(Numbered):
    """A job. Its user is who started its pipeline, and then who played it."""

    name: str
    status: str
    pipeline: _JobPipeline
    allow_failure: bool
    user: Account | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    failure_reason: str | None = None
    archived: bool | None = None
    web_url: str | None = None


class ListedDeployment(Numbered):
    """A deployment in a list; of one that no job made `deployable` is null."""

    deployable: Numbered | None


class _DeploymentEnvironment(Answered):
    name: str


class _DeploymentApproval(Answered):
    status: str
    user: Account | None = None
    comment: str | None = None


class Deployment(ListedDeployment):
    """A deployment. Its votes are told where the environment asks for some."""

    environment: _DeploymentEnvironment
    sha: str
    pending_approval_count: int | None = None
    approvals: list[_DeploymentApproval] | None = None
