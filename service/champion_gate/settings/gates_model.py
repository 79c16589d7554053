"""The form of gates.yaml: every key with its type, its default and the words that explain it to editors."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from champion_gate.domain.gates import Account
from champion_gate.settings import gates_values as values

ApiVersion = Literal["2022-11-28", "2026-03-10"]
VendorId = Annotated[int, Field(ge=1, le=values.MAX_JOB_ID)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GitHubOidcEntry(_Strict):
    """`github.oidc:` whose ID tokens of gated jobs are taken."""

    issuer: Annotated[str, values.ISSUER] | None = Field(
        default=None,
        description="their claim iss; for GitHub's own addresses and for Enterprise Server it is known",
    )
    audience: Annotated[str, values.AUDIENCE] = Field(
        default="champion-gate", description="their claim aud, as the workflow file asks for it"
    )


class GitLabOidcEntry(_Strict):
    """`gitlab.oidc:` whose ID tokens of gated jobs are taken."""

    issuer: Annotated[str, values.ISSUER] | None = Field(
        default=None, description="their claim iss; gitlab.url where it is not given"
    )
    audience: Annotated[str, values.AUDIENCE] = Field(
        default="champion-gate", description="their claim aud, as the CI/CD file asks for it"
    )


class GitHubEntry(_Strict):
    """`github:` at the top: the GitHub of all gates that name no other."""

    url: Annotated[str, values.GITHUB_ADDRESS] = Field(
        default="https://api.github.com",
        description="address of GitHub's API; on GitHub Enterprise Server https://HOST/api/v3",
    )
    ca_file: Annotated[str, values.FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities to trust, where they are private"
    )
    api_version: ApiVersion = Field(
        default="2022-11-28", description="the version of GitHub's REST API to speak"
    )
    oidc: GitHubOidcEntry = Field(
        default_factory=GitHubOidcEntry, description="the ID tokens of GitHub's jobs"
    )


class GitLabEntry(_Strict):
    """`gitlab:` at the top: the one GitLab of all gates that ask there."""

    url: Annotated[str, values.GITLAB_ADDRESS] = Field(
        default="https://gitlab.com",
        description="address of GitLab, with its sub-path if it has one: https://HOST/gitlab",
    )
    ca_file: Annotated[str, values.FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities to trust, where they are private"
    )
    oidc: GitLabOidcEntry = Field(
        default_factory=GitLabOidcEntry, description="the ID tokens of GitLab's jobs"
    )


class GitHubApprovalEntry(_Strict):
    """Where in GitHub people approve, and what must not change about it."""

    repository: Annotated[str, values.REPOSITORY] = Field(description="the repository, as OWNER/NAME")
    workflow: Annotated[str, values.WORKFLOW] = Field(
        default="champion-gate.yml", description="file name of the workflow in .github/workflows"
    )
    ref: Annotated[str, values.BRANCH] = Field(
        default="main", description="the branch whose workflow file is run"
    )
    environments: list[Annotated[str, values.ENVIRONMENT]] = Field(
        min_length=1,
        max_length=10,
        description="environments with required reviewers; each needs a review by a different person",
    )
    repository_id: VendorId | None = Field(default=None, description="pins the repository's numeric id")
    owner_id: VendorId | None = Field(default=None, description="pins the owner's numeric id")
    environment_ids: dict[str, VendorId] = Field(
        default_factory=dict, description="pins environments: name -> numeric id"
    )
    url: Annotated[str, values.GITHUB_ADDRESS] | None = Field(
        default=None, description="API address of another GitHub than the one at the top"
    )
    ca_file: Annotated[str, values.FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities of that other GitHub"
    )


class GitLabApprovalEntry(_Strict):
    """Where in GitLab people approve, and what must not change about it."""

    project: Annotated[int, values.PROJECT] = Field(description="the project's number (Settings, General)")
    ref: Annotated[str, values.BRANCH] = Field(
        default="main", description="the protected branch whose pipelines are started"
    )
    job: Annotated[str, values.CI_JOB] = Field(default="approve", description="name of the gated manual job")
    environment: Annotated[str, values.GITLAB_ENVIRONMENT] = Field(
        default="champion", description="the environment that the gated job names"
    )
    protection: Literal["environment", "branch"] = Field(
        default="environment",
        description="what keeps people from starting the job: environment (a protected environment, GitLab "
        "Premium), or branch (a protected branch of Maintainers, every tier)",
    )
    approvers: list[Annotated[Account, values.APPROVER]] = Field(
        default_factory=list,
        max_length=100,
        description="usernames of the only people who may approve; everybody whom the protection admits if empty. "
        "{login, id} pins a username to the account's number",
    )
    approvals: int = Field(
        default=1,
        ge=1,
        le=10,
        description="how many different people must approve; several take approval rules on the environment",
    )
    namespace_id: VendorId | None = Field(
        default=None, description="pins the numeric id of the group that the project is in"
    )
    bot: Annotated[str, values.USERNAME] | None = Field(
        default=None, description="username of the trigger token's owner, where GitLab does not show it"
    )


def _never_null(schema: dict[str, Any]) -> None:
    """Tell editors that the key, where it is written, has a value."""
    schema.update(schema.pop("anyOf")[0])
    schema.pop("default", None)


class ApprovalEntry(_Strict):
    """Who approves where: one key of the two."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["github"]}, {"required": ["gitlab"]}]}
    )

    # One written as null, both, or none are refused by gates_places, which sees the file as it is written.
    github: GitHubApprovalEntry | None = Field(
        default=None,
        description="the place in GitHub Actions where people approve",
        json_schema_extra=_never_null,
    )
    gitlab: GitLabApprovalEntry | None = Field(
        default=None,
        description="the place in GitLab CI/CD where people approve",
        json_schema_extra=_never_null,
    )


class MetricEntry(_Strict):
    """How a candidate's metric is judged beside the Champion's; absolute numbers."""

    better: Literal["higher", "lower"] = Field(description="higher or lower: which way the metric is better")
    max_worse: Annotated[float, values.AT_LEAST_ZERO] | None = Field(
        default=None, description="how much worse than the Champion's value the candidate's may be"
    )
    at_least: Annotated[float, values.NUMBER] | None = Field(
        default=None, description="the lowest value that is good enough (better: higher)"
    )
    at_most: Annotated[float, values.NUMBER] | None = Field(
        default=None, description="the highest value that is good enough (better: lower)"
    )
    dataset: Annotated[str, values.DATASET] | None = Field(
        default=None,
        description='the dataset whose number counts, where a logged model has several; "" for that of none',
    )


class GateEntry(_Strict):
    """Which jobs, which model, which alias, who approves where."""

    name: Annotated[str, values.GATE_NAME] = Field(description="the gate's own name, unique in this file")
    jobs: list[Annotated[int | str, values.JOB]] = Field(
        min_length=1, max_length=100, description="the Databricks jobs to watch: ids, or names"
    )
    model: Annotated[str, values.MODEL] = Field(description="the registered model, catalog.schema.model")
    alias: Annotated[str, values.ALIAS] = Field(default="Champion", description="the alias to be set")
    version: Literal["auto", "task_output", "tag", "mlflow_run", "trusted_tag"] = Field(
        default="auto",
        description="where a run's model version is looked up; auto tries task_output, tag and mlflow_run in "
        "this order; trusted_tag (not on Unity Catalog) takes a version's tag for its word, and needs trainers",
    )
    accept_success_with_failures: bool = Field(
        default=False, description="also take runs that ended in 'succeeded with failures'"
    )
    approval: ApprovalEntry = Field(description="who approves where; has one key, github or gitlab")
    identities: dict[str, Annotated[tuple[Account, ...], values.ACCOUNTS]] = Field(
        default_factory=dict,
        description="Databricks user or service principal -> GitHub login or GitLab username, or several; "
        "they may not approve. {login, id} pins a login to the account's numeric id",
    )
    trainers: list[Annotated[Account, values.TRAINER]] = Field(
        default_factory=list,
        max_length=100,
        description="GitHub logins or GitLab usernames of people who train; none of them may ever approve. "
        "{login, id} pins a login to the account's number",
    )
    allow_trainer_approval: bool = Field(
        default=False, description="let the people who trained a version approve it"
    )
    expires_after: Annotated[timedelta, values.DURATION] = Field(
        default=timedelta(days=14), description="how long people may decide, e.g. 14d, 12h, 90m"
    )
    apply_within: Annotated[timedelta, values.DURATION] = Field(
        default=timedelta(days=7),
        description="how long an approval may wait to be applied, from when it was read or from the release of the "
        "last hold, e.g. 7d, 12h, 90m",
    )
    newer_version: Literal["supersede", "keep"] = Field(
        default="supersede", description="what happens to an open request when a newer version asks"
    )
    metrics: dict[Annotated[str, Field(min_length=1, max_length=250)], MetricEntry] = Field(
        default_factory=dict, description="MLflow metric -> how it is judged"
    )


class FurtherAliasEntry(_Strict):
    """A further alias that operators may change by hand, although no gate asks for it."""

    model: Annotated[str, values.MODEL] = Field(description="the registered model, catalog.schema.model")
    alias: Annotated[str, values.ALIAS] = Field(description="the alias, such as Champion")


class ApiOidcEntry(_Strict):
    """`api.oidc:` whose tokens admit people to the API, and as what."""

    issuer: Annotated[str, values.API_ISSUER] = Field(
        description="the tokens' claim iss, letter by letter; an issuer that signs for people, not for CI jobs"
    )
    audience: Annotated[str, values.AUDIENCE] = Field(
        description="the tokens' claim aud: the name under which the issuer knows this service"
    )
    name_claim: Annotated[str, values.CLAIM] = Field(
        default="sub",
        description="the claim that is the person's name in the ledger, e.g. email or preferred_username",
    )
    role_claim: Annotated[str, values.CLAIM] = Field(
        description="the claim that makes the role, e.g. groups: a text, or a list of texts"
    )
    operator: list[Annotated[str, values.CLAIM_VALUE]] = Field(
        max_length=100,
        description="values of role_claim that make an operator; may be an empty list if viewer is none",
    )
    viewer: list[Annotated[str, values.CLAIM_VALUE]] = Field(
        default_factory=list, max_length=100, description="values of role_claim that make a viewer"
    )
    ca_file: Annotated[str, values.FILE] | None = Field(
        default=None, description="PEM file with the certificate authorities to trust, where they are private"
    )


class ApiEntry(_Strict):
    """`api:` who may call the API besides the holders of API tokens."""

    oidc: Annotated[ApiOidcEntry | None, values.NEVER_NULL] = Field(
        default=None,
        description="people call the API with tokens of this issuer",
        json_schema_extra=_never_null,
    )


class GatesEntry(_Strict):
    """gates.yaml of champion-gate."""

    registry: Annotated[str, values.REGISTRY] = Field(
        description="databricks-uc, the https:// address of an MLflow server, or sqlite:///path/to/mlflow.db"
    )
    github: GitHubEntry = Field(default_factory=GitHubEntry, description="GitHub")
    gitlab: GitLabEntry = Field(default_factory=GitLabEntry, description="GitLab")
    gates: list[GateEntry] = Field(min_length=1, max_length=1000, description="the gates")
    aliases: list[FurtherAliasEntry] = Field(
        default_factory=list,
        max_length=1000,
        description="further aliases that operators may change by hand; no gate asks for them",
    )
    api: ApiEntry = Field(default_factory=ApiEntry, description="who may call the API besides API tokens")
