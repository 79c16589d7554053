"""A gate: which jobs, which model, which alias, and who approves where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, core_schema

from champion_gate.domain import values
from champion_gate.domain.after import GIVEN_PARAMETERS, After
from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.values import Account, Listed, Strict, repeated
from champion_gate.domain.vendors import Place, StoredPlace

__all__ = [
    "Account",
    "ApprovalTarget",
    "Direction",
    "Drift",
    "Gate",
    "MetricRule",
    "NewerVersion",
    "Rights",
    "Source",
    "VersionSource",
]

_UNSAFE_IDENTITY = re.compile(r"^\s|\s$|[^\S ]|[\x00-\x1f\x7f]")
_LONGEST_IDENTITY = 255
MODEL_PARAMETER, VERSION_PARAMETER, *_ = GIVEN_PARAMETERS
DESTINATION_PARAMETER = "destination"


class VersionSource(StrEnum):
    """Where the model version of a job run is looked up; AUTO tries the next three in this order.

    TRUSTED_TAG believes a version's tag as it stands; only for registries that record no creators.
    """

    AUTO = "auto"
    TASK_OUTPUT = "task_output"
    TAG = "tag"
    MLFLOW_RUN = "mlflow_run"
    TRUSTED_TAG = "trusted_tag"


class Source(StrEnum):
    """Which versions of its model a gate asks about: those of the jobs that it watches, or all others too."""

    JOBS = "jobs"
    REGISTRY = "registry"
    BOTH = "both"


class Direction(StrEnum):
    """Which way a metric is better."""

    HIGHER = "higher"
    LOWER = "lower"


class NewerVersion(StrEnum):
    """What happens to an open request when a newer version of the model asks for the same alias."""

    SUPERSEDE = "supersede"
    KEEP = "keep"


class Drift(StrEnum):
    """What is done where somebody outside the gate has moved the alias; it is always put on record."""

    REPORT = "report"
    REOPEN = "reopen"
    RESTORE = "restore"


class Rights(StrEnum):
    """What a write that the registry refused says of the next one."""

    CHECK = "check"
    ASSUME = "assume"


class Bounds(Strict):
    """How a candidate's metric is judged beside the Champion's. All numbers are absolute, in the metric's own unit."""

    better: Annotated[Direction, Field(strict=False)] = Field(
        description="higher or lower: which way the metric is better"
    )
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

    def problems(self) -> Iterator[str]:
        """See Strict."""
        if self.better is Direction.HIGHER and self.at_most is not None:
            yield f"at_most: found {self.at_most:g}; expected at_least, because higher is better"
        if self.source is not None and self.dataset is not None:
            yield f"dataset: found {self.dataset!r}; expected none, as a validation reports one number a metric"
        if self.better is Direction.LOWER and self.at_least is not None:
            yield f"at_least: found {self.at_least:g}; expected at_most, because lower is better"

    source: Literal["validation"] | None = Field(
        default=None,
        alias="from",
        description="validation: the number that the gate's validation job reports under this name, instead of training's",
    )


class MetricRule(Bounds):
    """The bounds of one metric."""

    name: str


class _ByName:
    """Annotation of the metric rules, which are written as metric -> bounds."""

    form = Bounds

    def __get_pydantic_core_schema__(self, _source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let each rule know its name."""
        name = Annotated[str, Field(min_length=1, max_length=250)]
        written = handler.generate_schema(dict[name, Bounds])
        return core_schema.no_info_wrap_validator_function(self._named, written)

    @staticmethod
    def _named(value: Any, check: ValidatorFunctionWrapHandler) -> tuple[MetricRule, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(
            MetricRule(name=name, **bounds.model_dump(by_alias=True)) for name, bounds in check(value).items()
        )


@dataclass(frozen=True)
class ApprovalTarget:
    """Where people approve.

    Attributes:
        provider: key of the ApprovalProvider: a kind, or a kind and a host.
    """

    provider: str
    place: Place

    @classmethod
    def stored(cls, provider: str, words: Mapping[str, str], seats: Sequence[str]) -> ApprovalTarget:
        """One out of a request's row."""
        return cls(provider, StoredPlace(stored=dict(words), names=tuple(seats)))

    @property
    def seats(self) -> tuple[str, ...]:
        """The approvals that are needed, each by a different person."""
        return self.place.seats

    def words(self) -> dict[str, str]:
        """The place as a request stores it."""
        return self.place.words()


class Validation(Strict):
    """A job that is started for each version, with the job parameters `model_name` and `model_version`."""

    job: Annotated[int, values.JOB_ID] = Field(
        description="the job's id; it runs in the Databricks workspace"
    )
    timeout: Annotated[timedelta, values.DURATION] = Field(
        default=timedelta(hours=2),
        description="how long a run may take, from its start to its end, e.g. 2h, 90m; it is cancelled then",
    )
    parameters: dict[Annotated[str, values.JOB_PARAMETER], Annotated[str, values.JOB_PARAMETER_VALUE]] = (
        Field(
            default_factory=dict,
            description="further job parameters, name -> text; the job has to define them",
        )
    )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        for name in sorted({MODEL_PARAMETER, VERSION_PARAMETER} & self.parameters.keys()):
            yield f"parameters.{name}: found; expected no value, as the gate gives it one"

    @property
    def job_id(self) -> str:
        """As a decimal string."""
        return str(self.job)

    def frozen(self) -> dict[str, Any]:
        """As a step keeps it; JSON-able."""
        return {
            "job": self.job_id,
            "timeout_seconds": int(self.timeout.total_seconds()),
            "parameters": dict(self.parameters),
        }

    def is_that_of(self, config: Mapping[str, Any]) -> bool:
        """Whether it asks for the same run as settings that were frozen; how long that may take is no matter."""
        return (self.job_id, self.parameters) == (config.get("job"), config.get("parameters"))


class PromoteTo(Strict):
    """Another model, in which a copy of the version gets the alias once people have approved."""

    model: Annotated[str, values.MODEL] = Field(
        description="the registered model whose alias is set, on a copy of the approved version"
    )
    job: Annotated[int, values.JOB_ID, values.NEVER_NULL] | None = Field(
        default=None,
        description="id of the Databricks job that copies; required on Unity Catalog, and none elsewhere: there the service copies",
        json_schema_extra=values.never_null_in_schema,
    )
    timeout: Annotated[timedelta, values.DURATION] = Field(
        default=timedelta(hours=2),
        description="how long a copy may take, from its start to its end, e.g. 2h, 90m; it is cancelled then",
    )

    @property
    def job_id(self) -> str | None:
        """As a decimal string."""
        return None if self.job is None else str(self.job)


class Gate(Strict):
    """Which jobs, which model, which alias, who approves where: one entry of gates.yaml."""

    name: Annotated[str, values.GATE_NAME] = Field(description="the gate's own name, unique in this file")
    jobs: Annotated[tuple[Annotated[int | str, values.JOB], ...], Listed(1, 100)] = Field(
        default=(),
        description="the Databricks jobs to watch: ids, or names. With source: registry, jobs whose runs only tell that there is "
        "a new version (model update triggers); they may be left out there",
    )
    source: Annotated[Source, Field(strict=False)] = Field(
        default=Source.JOBS,
        description="jobs: ask about versions that runs of the jobs register; registry: about versions that appear in the registry and "
        "that no job of a gate to this alias made; both: about both",
    )
    model: Annotated[str, values.MODEL] = Field(description="the registered model, catalog.schema.model")
    alias: Annotated[str, values.ALIAS] = Field(default="Champion", description="the alias to be set")
    version: Annotated[VersionSource, Field(strict=False)] = Field(
        default=VersionSource.AUTO,
        description="where a run's model version is looked up; auto tries task_output, tag and mlflow_run in "
        "this order; trusted_tag (not on Unity Catalog) takes a version's tag for its word, and needs trainers",
    )
    accept_success_with_failures: bool = Field(
        default=False, description="also take runs that ended in 'succeeded with failures'"
    )
    # settings tells how the vendors write it.
    approval: ApprovalTarget = Field(description="who approves where; has one key, one CI/CD system")
    identities: dict[str, Annotated[tuple[Account, ...], values.ACCOUNTS]] = Field(
        default_factory=dict,
        description="Databricks user or service principal -> GitHub login or GitLab username, or several; "
        "they may not approve. {login, id} pins a login to the account's numeric id",
    )
    trainers: Annotated[tuple[Annotated[Account, values.TRAINER], ...], Listed(at_most=100)] = Field(
        default=(),
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
    newer_version: Annotated[NewerVersion, Field(strict=False)] = Field(
        default=NewerVersion.SUPERSEDE,
        description="what happens to an open request when a newer version asks",
    )
    rights: Annotated[Rights, Field(strict=False)] = Field(
        default=Rights.CHECK,
        description="assume: people are asked also after the registry refused to let the service move the alias; check: nobody is, "
        "until a write is carried out",
    )
    drift: Annotated[Drift, Field(strict=False)] = Field(
        default=Drift.REPORT,
        description="what follows where somebody outside the gate moves the alias. report: a line of the ledger; reopen: people "
        "are asked again who had been asked while it stood elsewhere; restore: it is put back, twice a day at most",
    )
    metrics: Annotated[tuple[MetricRule, ...], _ByName()] = Field(
        default=(), description="MLflow metric -> how it is judged", json_schema_extra={"default": {}}
    )

    after: Annotated[tuple[After, ...], Listed(at_most=20)] = Field(
        default=(), description="what follows when the gate has moved the alias, in this order"
    )
    validation: Annotated[Validation | None, values.NEVER_NULL] = Field(
        default=None,
        description="a Databricks job that looks at the version before people are asked; nobody is asked where it says no",
        json_schema_extra=values.never_null_in_schema,
    )
    challenger: Annotated[str, values.ALIAS, values.NEVER_NULL] | None = Field(
        default=None,
        description="an alias that stands on the version while people decide, e.g. Challenger; no gate may ask for it",
        json_schema_extra=values.never_null_in_schema,
    )

    promote_to: Annotated[PromoteTo, values.NEVER_NULL] | None = Field(
        default=None,
        description="another model, such as that of production: what people approve is copied there, and the copy gets the alias",
        json_schema_extra=values.never_null_in_schema,
    )

    @property
    def destination(self) -> str:
        """The model whose alias is set: the gate's own, or that of `promote_to`."""
        return self.model if self.promote_to is None else self.promote_to.model

    @property
    def job_ids(self) -> frozenset[str]:
        """Databricks job ids as decimal strings."""
        return frozenset(str(job) for job in self.jobs if isinstance(job, int))

    @property
    def job_names(self) -> frozenset[str]:
        """Names of jobs; a name that several jobs bear is refused when it is met."""
        return frozenset(job for job in self.jobs if isinstance(job, str))

    @property
    def watches_jobs(self) -> bool:
        """Whether it asks about the versions of job runs."""
        return self.source is not Source.REGISTRY

    @property
    def watches_registry(self) -> bool:
        """Whether it asks about versions that no watched job made."""
        return self.source is not Source.JOBS

    def problems(self) -> Iterator[str]:
        """See Strict."""
        if self.watches_jobs and not self.jobs:
            yield "jobs: is missing; expected the Databricks jobs to watch: ids, or names"
        for index, job in enumerate(self.jobs):
            if job in self.jobs[:index]:
                yield f"jobs[{index}]: found {job!r} a second time; keep one"
        yield from self._identity_problems()
        for rule in self.metrics:
            if rule.source is not None and self.validation is None:
                yield f"metrics.{rule.name}.from: found validation, and the gate has none; add validation: {{job: <id>}}"
        if self.validation is not None and self.validation.job in self.jobs:
            yield f"validation.job: found {self.validation.job}, which the gate watches; expected another job"
        place = self.approval.place
        for index, login in repeated([each.login for each in self.trainers]):
            yield f"trainers[{index}]: found {login!r} a second time ({place.title} ignores case); keep one"
        named = [(f"identities.{name}", one) for name, known in self.identities.items() for one in known]
        for path, one in [*named, *(("trainers", one) for one in self.trainers)]:
            if wanted := place.refused(one.login):
                yield f"{path}: found {one.login!r}; expected {wanted}"

    def _identity_problems(self) -> Iterator[str]:
        seen: dict[str, str] = {}
        for name, accounts in self.identities.items():
            first = seen.setdefault(name.casefold(), name)
            if first != name:
                yield f"identities.{name}: is the same as {first} but for upper and lower case; keep one"
            if not name or _UNSAFE_IDENTITY.search(name) or len(name) > _LONGEST_IDENTITY:
                yield f"identities: found {name[:80]!r}; expected a Databricks user, service principal or group"
            elif "@" in name and not accounts:
                yield f"identities.{name}: found nobody; expected the login of this person ([] is for service principals)"

    def approval_sha256(self, accounts: Mapping[str, Sequence[str]] | None = None) -> str:
        """Hash of all settings that say who may approve; an approval counts only while they stay.

        Args:
            accounts: trainer -> the ids of the accounts that stand for them; None hashes `identities` as they
                are written, as releases did that remembered no accounts.
        """
        settings: dict[str, object] = {
            "provider": self.approval.provider,
            "place": self.approval.words(),
            "seats": list(self.approval.seats),
            "identities": self._written_identities() if accounts is None else {"accounts": {**accounts}},
            "allow_trainer_approval": self.allow_trainer_approval,
            "expires_after": self.expires_after.total_seconds(),
        }
        if self.trainers and accounts is None:
            settings["trainers"] = sorted(map(str, self.trainers))
        return sha256_of(canonical(settings, spaced=True))

    def _written_identities(self) -> dict[str, list[object]]:
        return {
            name: [one.login if one.user_id is None else [one.login, one.user_id] for one in named]
            for name, named in self.identities.items()
        }
