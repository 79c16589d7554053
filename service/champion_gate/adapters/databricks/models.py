"""What we take of Databricks' answers, as raw JSON has it.

Raw JSON, because the SDK turns enum values that it has not heard of into None, and its classes lack fields. What says how
something is (a state, a code, a type) is taken as it comes, whatever it is: what is not known is never taken for good.

Fields: https://docs.databricks.com/api/workspace/, and the SDK's databricks/sdk/service/{jobs,catalog,ml}.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AliasPath, BeforeValidator, ConfigDict, Field, model_validator

from champion_gate.adapters.databricks.errors import VENDOR
from champion_gate.adapters.http.models import Answered, Reader
from champion_gate.domain.names import vendor_id

T = TypeVar("T")

databricks = Reader(VENDOR)


def _digits(value: object) -> str:
    found = vendor_id(value)
    if found is None:
        raise ValueError("a number")
    return found


def _instant(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(_digits(value)) / 1000, UTC) if value else None
    except (OverflowError, OSError, ValueError):
        raise ValueError("a time") from None


def word(value: object) -> str | None:
    """A text that is not empty; None for everything else."""
    return value if isinstance(value, str) and value else None


def at(*path: str) -> Any:
    """A field that lies inside other objects; None where one of them, or it, is left out."""
    return Field(default=None, validation_alias=AliasPath(*path))


def list_at(*path: str) -> Any:
    """The same of a list."""
    return Field(default_factory=list, validation_alias=AliasPath(*path))


Digits = Annotated[str, BeforeValidator(_digits)]
"""An id or number, which comes as a JSON number or as digits, as digits."""

OptionalDigits = Annotated[str | None, BeforeValidator(lambda value: _digits(value) if value else None)]
"""The same, or None for 0 and what is left out."""

Count = Annotated[int, BeforeValidator(lambda value: int(_digits(value)) if value else 0)]
"""The same as a number; 0 for what is left out."""

Instant = Annotated[datetime | None, BeforeValidator(_instant)]
"""Epoch milliseconds as a time; None for 0 and what is left out, which mean that it has not happened."""

Word = Annotated[str | None, BeforeValidator(word)]
"""A text that is not empty; None for everything else."""

Listed = Annotated[list[T], BeforeValidator(lambda value: [] if value is None else value)]
"""A list, which is left out where it is empty."""


# Numbers by which a version is judged, and as whom a job runs: null there is not the same as nothing.
_NEVER_NULL = {"data", "settings"}


class Nested(Answered):
    """An answer of which fields are taken that lie inside other objects; whatever else stands in an object's place is unreadable."""

    @model_validator(mode="before")
    @classmethod
    def _check_objects(cls, value: object) -> object:
        for field in cls.model_fields.values():
            path = field.validation_alias.path[:-1] if isinstance(field.validation_alias, AliasPath) else []
            part = value
            for key in path:
                part = part.get(key, {} if key in _NEVER_NULL else None) if isinstance(part, dict) else None
                if not isinstance(part, dict) and (part is not None or key in _NEVER_NULL):
                    raise ValueError(f"an answer whose `{key}` is an object")
        return value


class Page(Answered):
    """A page of a list."""

    next_page_token: Word = None


# --- how something ended ----------------------------------------------------------------------------------


class Ending(Answered):
    """A run, task or repair, as far as it tells how it ended; in `state` it was told before there was a `status`."""

    status: object = None
    status_state: object = at("status", "state")
    code: object = at("status", "termination_details", "code")
    kind: object = at("status", "termination_details", "type")
    message: Word = at("status", "termination_details", "message")
    life_cycle_state: object = at("state", "life_cycle_state")
    result_state: object = at("state", "result_state")
    state_message: Word = at("state", "state_message")
    was_cancelled: object = at("state", "user_cancelled_or_timedout")
    start_time: Instant = None
    end_time: Instant = None


# --- runs -------------------------------------------------------------------------------------------------


class _Repair(Ending):
    id: OptionalDigits = None
    type: object = None
    task_run_ids: Annotated[list[Digits], BeforeValidator(lambda value: value or [])] = Field(
        default_factory=list
    )


class Task(Ending):
    """An attempt of a task, or an iteration."""

    run_id: OptionalDigits = None
    task_key: str | None = None
    attempt_number: Count = 0
    for_each_task: object = None
    run_job_task: object = None


class Parameter(Answered):
    """A job parameter: of a job, or of a run, which has a value of its own."""

    name: Word = None
    default: object = None
    value: object = None


class Run(Page, Ending):
    """A page of a job run or a task run."""

    run_id: Digits
    job_run_id: OptionalDigits = None
    job_id: OptionalDigits = None
    run_name: Word = None
    creator_user_name: Word = None
    run_page_url: Word = None
    job_parameters: Listed[Parameter] = Field(default_factory=list)
    started_by: OptionalDigits = at("trigger_info", "run_id")
    repair_history: Listed[_Repair] = Field(default_factory=list)
    tasks: Listed[Task] = Field(default_factory=list)
    iterations: Listed[Task] = Field(default_factory=list)


class RunList(Page):
    """A page of a job's runs."""

    runs: Listed[Run] = Field(default_factory=list)


class Output(Nested):
    """What a task run left: what a notebook said when it ended, or which job run was started."""

    result: Word = at("notebook_output", "result")
    truncated: object = at("notebook_output", "truncated")
    error: Word = None
    child_run_id: OptionalDigits = at("run_job_output", "run_id")


# --- jobs -------------------------------------------------------------------------------------------------


class RunNow(Answered):
    """A run that was started."""

    run_id: Digits


class RunAs(Answered):
    """As whom a job is set to run, by one of these or by a key that we do not know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    user_name: Word = None
    service_principal_name: Word = None
    group_name: Word = None


class Job(Nested):
    """A job."""

    job_id: OptionalDigits = None
    name: Word = at("settings", "name")
    run_as: Annotated[RunAs | None, BeforeValidator(lambda value: value or None)] = at("settings", "run_as")
    run_as_user_name: Word = None
    parameters: Listed[Parameter] = list_at("settings", "parameters")
    queue: object = at("settings", "queue", "enabled")


class JobList(Page):
    """A page of the jobs of a name."""

    jobs: Listed[Job] = Field(default_factory=list)


# --- principals -------------------------------------------------------------------------------------------


class _Group(Answered):
    display: Word = None


class Me(Answered):
    """Who we are; a service principal's name is its application id."""

    name: Word = Field(default=None, alias="userName")
    groups: Listed[_Group] = Field(default_factory=list)


# --- serving ----------------------------------------------------------------------------------------------


class ServedConfig(Answered):
    """What an endpoint serves; it is kept as raw JSON, of which every key goes back."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    config_version: OptionalDigits = None
    served_entities: Listed[dict[str, Any]] = Field(default_factory=list)
    traffic_config: dict[str, Any] | None = None


class ShownEndpoint(Nested):
    """A serving endpoint; the SDK calls the field `config_update`, the documentation's sample `update_state`."""

    name: str
    creator: Word = None
    ready: object = at("state", "ready")
    config_update: object = at("state", "config_update")
    update_state: object = at("state", "update_state")
    config: ServedConfig | None = None
    pending_config: ServedConfig | None = None


class Statement(Nested):
    """A statement that a SQL warehouse carries out, with the first chunk of its rows."""

    statement_id: str
    state: object = at("status", "state")
    error: Word = at("status", "error", "message")
    rows: list[list[Any]] = list_at("result", "data_array")


# --- Unity Catalog ----------------------------------------------------------------------------------------


class Pair(Answered):
    """A tag or parameter."""

    key: object = None
    value: object = None


def pairs(listed: Iterable[Pair]) -> dict[str, str]:
    """Tags or parameters as a dictionary."""
    return {str(pair.key): str(pair.value or "") for pair in listed}


class Version(Answered):
    """A model version. What may have to tell it from another is taken as it comes."""

    version: Digits
    id: Word = None
    run_id: object = None
    source: object = None
    created_at: object = None
    created: Instant = Field(default=None, alias="created_at")
    created_by: Word = None
    status: object = None
    run_workspace_id: OptionalDigits = None
    model_id: object = None


class VersionList(Page):
    """A page of a model's versions."""

    model_versions: Listed[Version] = Field(default_factory=list)


class MlflowVersion(Nested):
    """A model version as MLflow's side of Unity Catalog shows it: with tags, and without an id.

    Fields: mlflow/protos/databricks_uc_registry_messages.proto, ModelVersion.
    """

    version: Digits = Field(validation_alias=AliasPath("model_version", "version"))
    name: Word = at("model_version", "name")
    run_id: Word = at("model_version", "run_id")
    source: Word = at("model_version", "source")
    status: Word = at("model_version", "status")
    created_at: Instant = at("model_version", "creation_timestamp")
    tags: Listed[Pair] = list_at("model_version", "tags")
    model_id: object = at("model_version", "model_id")


class _Alias(Answered):
    alias_name: Word = None
    version_num: OptionalDigits = None


class RegisteredModel(Answered):
    """A model with its aliases."""

    full_name: Word = None
    aliases: Listed[_Alias] = Field(default_factory=list)
