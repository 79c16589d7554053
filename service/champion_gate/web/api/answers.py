"""What the API answers. Ids are strings, times RFC 3339 in UTC; every field is always there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from champion_gate.domain.approval import Verdict
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import FollowUpKind, Phase
from champion_gate.domain.versions import VersionStatus


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FieldProblem(_Answer):
    """What is wrong with one field or parameter."""

    name: str = Field(description="Of the field or parameter, with dots between the levels.")
    detail: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it; some kinds have further members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Always `about:blank`: `code` says which error it is.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in words.")
    code: str = Field(
        description="Which error, for programs; stable.", json_schema_extra={"example": "on_hold"}
    )
    hint: str = Field(description="What you can do about it; may be empty.")
    errors: list[FieldProblem] | SkipJsonSchema[None] = Field(
        None,
        description="What is wrong with which field or parameter, of a 422.",
        json_schema_extra=lambda schema: schema.pop("default", None),  # type: ignore[arg-type]
    )


class JobOfPromotion(_Answer):
    """The Databricks job run behind a promotion."""

    id: str
    run_id: str
    url: str


class TrainerOfPromotion(_Answer):
    """Somebody behind a model version."""

    role: str
    name: str | None = Field(description="null: Databricks should have said and did not.")


class Excluded(_Answer):
    """Somebody who may not decide."""

    name: str
    login: str


class ApprovalRequestOfPromotion(_Answer):
    """The question put to people in the CI/CD system."""

    provider: str
    external_id: str | None
    url: str | None
    opened_at: datetime | None
    expires_at: datetime


class DeciderOfPromotion(_Answer):
    """Somebody who decided."""

    user_id: str
    login: str
    seat: str
    comment: str


class DecisionOfPromotion(_Answer):
    """What the reviewers said."""

    verdict: Verdict
    reason: str
    source: str
    decided_at: datetime
    deciders: list[DeciderOfPromotion]


class EndOrder(_Answer):
    """An order to end the promotion that is still to be carried out, or was."""

    phase: Phase
    actor: str
    reason: str
    at: datetime


class PromotionAnswer(_Answer):
    """One model version asking for one alias."""

    id: str
    gate: str
    registry: str
    model: str
    version: str
    alias: str
    found_by: str = Field(description="In which way the version was found.")
    origin: list[str] = Field(description="What shows that the job run made it, in words.")
    champion_version: str | None = Field(
        description="Which version held the alias when approval was asked for."
    )
    phase: Phase
    reason: str = Field(description="Why it is where it is, in words.")
    job: JobOfPromotion
    trainers: list[TrainerOfPromotion]
    excluded: list[Excluded]
    request: ApprovalRequestOfPromotion | None
    decision: DecisionOfPromotion | None
    end_request: EndOrder | None
    evidence_sha256: str | None
    requested_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    due_at: datetime | None
    attempts: int
    failing_since: datetime | None
    failed_from: Phase | None
    last_error: str | None


class PromotionList(_Answer):
    """Part of the list, newest first."""

    promotions: list[PromotionAnswer]
    cursor: str | None = Field(description="Asks for the next part; null at the end.")


class DecisionAnswer(_Answer):
    """How the promotion stands."""

    promotion: str
    phase: Phase
    reason: str
    model: str
    alias: str
    version: str
    updated_at: datetime


class HoldAnswer(_Answer):
    """Keeps an alias where it is."""

    actor: str
    reason: str
    at: datetime
    by_rollback: bool = Field(description="A rollback placed it.")


class AliasOfModel(_Answer):
    """An alias and where it stands."""

    alias: str
    version: str | None = Field(description="null: on none.")
    hold: HoldAnswer | None


class VersionOfModel(_Answer):
    """A version as the registry has it."""

    version: str
    status: VersionStatus
    created_at: datetime | None
    created_by: str | None
    run_id: str | None = Field(description="The MLflow run that made it.")


class ModelAnswer(_Answer):
    """A model with the aliases that are managed here and its newest versions."""

    registry: str
    model: str
    aliases: list[AliasOfModel]
    versions: list[VersionOfModel] = Field(description="The newest 50, newest first.")
    note: str | None = Field(description="What an empty list may mean besides that there are none.")


class AliasAnswer(AliasOfModel):
    """Where an alias stands in the registry now."""

    registry: str
    model: str


class AliasChangeAnswer(AliasAnswer):
    """Where an alias stands after an order, and what the order did."""

    from_version: str | None = Field(description="Where it stood before; null: on none.")
    changed: bool = Field(description="false: it stood there already, and nothing was written.")


class LedgerLineAnswer(_Answer):
    """One line of the ledger."""

    number: int
    kind: LedgerKind
    at: datetime
    registry: str
    model: str
    alias: str
    actor: str
    reason: str
    promotion: str | None
    facts: dict[str, Any] = Field(description="What is particular to the kind.")
    previous_hash: str
    hash: str


class FollowUpAnswer(_Answer):
    """Work around a promotion that is not done yet."""

    kind: FollowUpKind
    due_at: datetime = Field(description="When it is tried next.")
    last_error: str | None = Field(description="Why it failed the last time; null: it has not been tried.")


class PromotionDetailAnswer(PromotionAnswer):
    """One model version asking for one alias, with what is left to be done and what the ledger says of it."""

    follow_ups: list[FollowUpAnswer] = Field(
        description="What is not done yet around it, also after its end."
    )
    ledger: list[LedgerLineAnswer] = Field(description="Its lines of the ledger, newest first.")


class History(_Answer):
    """Part of an alias's ledger lines, newest first."""

    lines: list[LedgerLineAnswer]
    cursor: str | None = Field(description="Asks for the next part; null at the end.")


class ResolutionAnswer(_Answer):
    """What a notification came to for one gate."""

    gate: str
    phase: NotificationPhase
    reason: str
    promotion: str | None


class NotificationAnswer(_Answer):
    """What Databricks told us of a job run, and what came of it."""

    id: str
    source: str
    phase: NotificationPhase
    reason: str
    event_type: str
    workspace_id: str
    job_id: str
    job_name: str
    job_run_id: str
    run_id: str
    task_key: str | None
    count: int = Field(description="How often it came.")
    attempts: int
    last_error: str | None
    first_received_at: datetime
    last_received_at: datetime
    due_at: datetime | None
    resolutions: list[ResolutionAnswer]


class NotificationList(_Answer):
    """Part of the list, newest first."""

    notifications: list[NotificationAnswer]
    cursor: str | None = Field(description="Asks for the next part; null at the end.")


class TrainerAccountAnswer(_Answer):
    """An account that is kept from deciding on what a trainer has made."""

    trainer: str = Field(description="Who that is to Databricks.")
    alias: str | None = Field(description="For which alias, as MODEL@ALIAS; null: for all.")
    user_id: str


class IdentityAnswer(_Answer):
    """Which account a login stands for."""

    provider: str = Field(description="`github`, `github:<host>` or `gitlab`.")
    login: str
    user_id: str = Field(description="The vendor's numeric id of the account.")
    first_resolved_at: datetime = Field(description="Since when it stands for this account.")
    last_resolved_at: datetime = Field(description="When the vendor last said so, to the hour.")
    other_id: str | None = Field(
        description="The account that has the login now, until it is accepted; requests wait for that."
    )
    accounts: list[TrainerAccountAnswer] = Field(
        description="Every account that the login was resolved to for a trainer; none of them may decide."
    )


class IdentityList(_Answer):
    """All logins that are remembered."""

    identities: list[IdentityAnswer]
