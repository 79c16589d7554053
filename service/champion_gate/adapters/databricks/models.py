"""What we take of Databricks' answers, as raw JSON has it.

Raw JSON, because the SDK turns enum values that it has not heard of into None, and its classes lack fields. What says how
something is (a state, a code, a type) is taken as it comes, whatever it is: what is not known is never taken for good.

Fields: https://docs.databricks.com/api/workspace/, and the SDK's databricks/sdk/service/{jobs,catalog,ml}.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field

from champion_gate.adapters.databricks.errors import VENDOR
from champion_gate.adapters.http.models import Answered, Reader

T = TypeVar("T")

databricks = Reader(VENDOR)

_ID = re.compile(r"[0-9]{1,19}")


def _digits(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return str(value)
    if isinstance(value, str) and _ID.fullmatch(value):
        return str(int(value))
    raise ValueError("a number")


def _instant(value: object) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(_digits(value)) / 1000, UTC) if value else None
    except (OverflowError, OSError, ValueError):
        raise ValueError("a time") from None


def word(value: object) -> str | None:
    """A text that is not empty; None for everything else."""
    return value if isinstance(value, str) and value else None


def _object_or_none(value: object) -> object:
    return value if isinstance(value, dict) else None


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


class Page(Answered):
    """A page of a list."""

    next_page_token: Word = None


# --- how something ended ----------------------------------------------------------------------------------


class _TerminationDetails(Answered):
    code: object = None
    type: object = None
    message: Word = None


class _Status(Answered):
    state: object = None
    termination_details: Annotated[_TerminationDetails | None, BeforeValidator(_object_or_none)] = None


class StateBefore(Answered):
    """How something is, as it was told before there was a `status`."""

    life_cycle_state: object = None
    result_state: object = None
    state_message: Word = None


class Ending(Answered):
    """A run, task or repair, as far as it tells how it ended. A status of another form is one that tells nothing."""

    status: Annotated[
        _Status | None, BeforeValidator(lambda value: None if value is None else _object_or_none(value) or {})
    ] = None
    state: Annotated[StateBefore | None, BeforeValidator(_object_or_none)] = None
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


class Run(Page, Ending):
    """A page of a job run or a task run."""

    run_id: Digits
    job_run_id: OptionalDigits = None
    job_id: OptionalDigits = None
    run_name: Word = None
    creator_user_name: Word = None
    run_page_url: Word = None
    repair_history: Listed[_Repair] = Field(default_factory=list)
    tasks: Listed[Task] = Field(default_factory=list)
    iterations: Listed[Task] = Field(default_factory=list)


class RunList(Page):
    """A page of a job's runs."""

    runs: Listed[Run] = Field(default_factory=list)


class _NotebookOutput(Answered):
    result: Word = None
    truncated: object = None


class _RunJobOutput(Answered):
    run_id: OptionalDigits = None


class Output(Answered):
    """What a task run left."""

    notebook_output: Annotated[_NotebookOutput | None, BeforeValidator(_object_or_none)] = None
    run_job_output: Annotated[_RunJobOutput | None, BeforeValidator(lambda value: value or None)] = None


# --- jobs -------------------------------------------------------------------------------------------------


class RunAs(Answered):
    """As whom a job is set to run, by one of these or by a key that we do not know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    user_name: Word = None
    service_principal_name: Word = None
    group_name: Word = None


class _JobSettings(Answered):
    name: Word = None
    run_as: Annotated[RunAs | None, BeforeValidator(lambda value: value or None)] = None


class Job(Answered):
    """A job."""

    job_id: OptionalDigits = None
    settings: _JobSettings = Field(default_factory=_JobSettings)
    run_as_user_name: Word = None


class JobList(Page):
    """A page of the jobs of a name."""

    jobs: Listed[Job] = Field(default_factory=list)


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


class TaggedVersion(Answered):
    """A model version as MLflow's side of Unity Catalog shows it."""

    version: Digits
    tags: Listed[Pair] = Field(default_factory=list)
    model_id: object = None


class TaggedVersionAnswer(Answered):
    """The answer about one."""

    model_version: TaggedVersion


class _Alias(Answered):
    alias_name: Word = None
    version_num: OptionalDigits = None


class RegisteredModel(Answered):
    """A model with its aliases."""

    full_name: Word = None
    aliases: Listed[_Alias] = Field(default_factory=list)
