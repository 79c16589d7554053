"""What follows a move of an alias that went through the gate: a Databricks job, or a serving endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from champion_gate.domain import values
from champion_gate.domain.values import Listed, Strict

GIVEN_PARAMETERS = ("model_name", "model_version", "alias", "promotion_id")
"""The job parameters that the gate gives values to; Databricks' own deployment jobs use the first two names."""


class MoveKind(StrEnum):
    """How an alias came to move: people approved, an operator rolled back, or an operator set it."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    SET = "set"


class After(Strict):
    """One entry of `after`: either a job, or a serving endpoint."""

    job: Annotated[int, values.JOB_ID] | None = Field(
        default=None,
        description="a Databricks job that is run with the parameters model_name, model_version, alias and promotion_id",
    )
    parameters: dict[Annotated[str, values.JOB_PARAMETER], Annotated[str, values.JOB_PARAMETER_VALUE]] = (
        Field(default_factory=dict, description="further job parameters, name -> text")
    )
    serving_endpoint: Annotated[str, values.ENDPOINT] | None = Field(
        default=None,
        description="a model serving endpoint, whose entities of this model are moved to the version (Unity Catalog only)",
    )
    timeout: Annotated[timedelta, values.DURATION] = Field(
        default=timedelta(hours=1), description="how long it is waited for, e.g. 45m, 2h"
    )
    on: Annotated[tuple[Annotated[MoveKind, Field(strict=False)], ...], Listed(1, len(MoveKind))] = Field(
        default=tuple(MoveKind), description="after which moves: promoted, rolled_back, set"
    )

    def problems(self) -> Iterator[str]:
        """See Strict."""
        if (self.job is None) == (self.serving_endpoint is None):
            found = "both" if self.job is not None else "neither"
            yield f": found {found} of job and serving_endpoint; expected one of them (for two write two entries)"
        if self.job is None and self.parameters:
            yield "parameters: found with serving_endpoint; expected only with job"
        for name in GIVEN_PARAMETERS:
            if name in self.parameters:
                yield f"parameters.{name}: found; expected no value, as the gate gives it one"
        for index, kind in enumerate(self.on):
            if kind in self.on[:index]:
                yield f"on[{index}]: found {kind.value!r} a second time; keep one"
