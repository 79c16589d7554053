"""What clients send: path, query, headers and bodies. What is not named here is refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from champion_gate.domain.aliases import LONGEST_REASON
from champion_gate.domain.names import ROW_ID, is_row_id
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.domain.text import is_visible, storable
from champion_gate.errors import NotFoundError

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_ETAG = r'(W/)?"[!#-~]*"'
_IF_MATCH = rf"^(\*|{_ETAG}([ \t]*,[ \t]*{_ETAG})*)$"
LONGEST_NAME = 1000


def _optional(schema: dict[str, Any]) -> None:
    """Describe a parameter that may be absent: there is no null in a URL or a header."""
    schema.pop("default", None)
    given, _null = schema.pop("anyOf")
    schema.update(given)


def _digits(given: object) -> object:
    # int() and pydantic also take "1_0", " 5" and "5.0".
    if isinstance(given, str) and not re.fullmatch(r"[0-9]{1,3}", given):
        raise ValueError(f"use a number from 1 to {MAX_LIMIT}")
    return given


def _true_or_false(given: object) -> object:
    # pydantic also takes "on", "y" and "1"; an override must not be a slip of the finger.
    if isinstance(given, str) and given not in {"true", "false"}:
        raise ValueError("use true or false")
    return given


def _reason(text: str) -> str:
    if not is_visible(text):
        raise ValueError("use at least one visible character")
    return storable(text, len(text))


Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_REASON, pattern=r"\S"),
    AfterValidator(_reason),
    Field(
        description=f"Why, in your own words; kept in the ledger. 1 to {LONGEST_REASON} characters, one visible.",
        json_schema_extra={"example": "incident 4711"},
    ),
]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Limit = Annotated[
    int,
    Field(ge=1, le=MAX_LIMIT, description="How many at the most.", json_schema_extra={"example": 20}),
    BeforeValidator(_digits),
]
Cursor = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)] | None,
    Field(description="The `cursor` of the part before, as it was given.", json_schema_extra=_optional),
]
OverrideHold = Annotated[bool, Field(description="Carry it out although the alias is on hold.")]


def checked_id(given: str, kind: str) -> str:
    """The id of a row; raises NotFoundError for one that no row of the kind can have."""
    if not is_row_id(given):
        raise NotFoundError(f"There is no such {kind}.")
    return given


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Body(BaseModel):
    """A JSON object; `may_be_absent` says whether sending nothing stands for an empty one."""

    model_config = ConfigDict(extra="forbid", strict=True)
    may_be_absent: ClassVar[bool] = False


class PromotionPath(BaseModel):
    """Which promotion."""

    promotion_id: str = Field(
        description="The promotion's id.",
        json_schema_extra={"pattern": f"^{ROW_ID}$", "example": "p-0123456789abcdef"},
    )


class StepPath(BaseModel):
    """Which step."""

    step_id: str = Field(
        description="The step's id.",
        json_schema_extra={"pattern": f"^{ROW_ID}$", "example": "p-0123456789abcdef-tag-version"},
    )


class NotificationPath(BaseModel):
    """Which notification."""

    notification_id: str = Field(
        description="The notification's id.",
        json_schema_extra={"pattern": f"^{ROW_ID}$", "example": "0123456789abcdef0123456789abcdef"},
    )


class ModelPath(BaseModel):
    """Which model."""

    model: str = Field(
        description="The model's name; `catalog.schema.model` on Unity Catalog.",
        json_schema_extra={"example": "main.ml.churn"},
    )


class AliasPath(ModelPath):
    """Which alias of which model."""

    alias: str = Field(
        description="The alias.",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]{1,255}$", "example": "Champion"},
    )


class IdentityPath(BaseModel):
    """Which login."""

    provider: str = Field(
        description="Where: `github`, `github:<host>` or `gitlab`.", json_schema_extra={"example": "github"}
    )
    login: str = Field(description="In any case.", json_schema_extra={"example": "octo-trainer"})


class PromotionsQuery(_Query):
    """Narrows the list of promotions."""

    model: Name | None = Field(None, description="Only this model's.", json_schema_extra=_optional)
    phase: Phase | None = Field(None, description="Only those in this phase.", json_schema_extra=_optional)
    cursor: Cursor = None
    limit: Limit = DEFAULT_LIMIT


class NotificationsQuery(_Query):
    """Narrows the list of notifications."""

    phase: NotificationPhase | None = Field(
        None, description="Only those in this phase.", json_schema_extra=_optional
    )
    cursor: Cursor = None
    limit: Limit = DEFAULT_LIMIT


class HistoryQuery(_Query):
    """Which part of the history."""

    cursor: Cursor = None
    limit: Limit = DEFAULT_LIMIT


class ReasonQuery(_Query):
    """Why, of a request without a body."""

    reason: Reason


class RemovalQuery(ReasonQuery):
    """Why, and whether a hold is overridden."""

    override_hold: Annotated[OverrideHold, BeforeValidator(_true_or_false)] = False


class IfMatch(BaseModel):
    """The condition of an order."""

    if_match: Annotated[str, StringConstraints(max_length=LONGEST_NAME, pattern=_IF_MATCH)] | None = Field(
        None,
        alias="If-Match",
        description='Only if the alias is still on this version: `"11"`, a list of such, or `*` for any. Else 412.',
        json_schema_extra=_optional,
    )


class Repeating(BaseModel):
    """How a request that may be sent twice is known again."""

    idempotency_key: Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")] | None = Field(
        None,
        alias="Idempotency-Key",
        description="Your own name for this request, 1 to 200 visible ASCII characters: sent again within a "
        "day, it gets the same answer and does nothing.",
        json_schema_extra=_optional,
    )


class AskBody(_Body):
    """Ask people whether a version may have the gate's alias."""

    gate: Name = Field(description="The gate's name in gates.yaml.", json_schema_extra={"example": "churn"})
    version: Name = Field(description="The model version, as text.", json_schema_extra={"example": "12"})
    job_run_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")] | None = Field(
        None,
        description="The Databricks job run that made it, as text; needed unless the version has asked before.",
        json_schema_extra={"example": "415798621364821"},
    )
    reason: Reason


class ReasonBody(_Body):
    """Why."""

    reason: Reason


class AcceptBody(ReasonBody):
    """Why, and which account."""

    user_id: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,18}$")] | None = Field(
        None,
        description="Only if it is this account, by the vendor's numeric id as text.",
        json_schema_extra={"example": "583231"},
    )


class RetryBody(_Body):
    """Why, if you care to say."""

    may_be_absent: ClassVar[bool] = True

    reason: Reason | None = Field(None, description="Why, in your own words; shown with what is retried.")


class AliasBody(_Body):
    """Put the alias on a version."""

    version: Name = Field(description="The model version, as text.", json_schema_extra={"example": "12"})
    reason: Reason
    override_hold: OverrideHold = False


class RollbackBody(_Body):
    """Put the alias back."""

    reason: Reason
    override_hold: OverrideHold = False
