"""What the API answers: an allow-list of fields, each model describing its answer and making it.

Ids are strings, times RFC 3339 in UTC; every field is always there. `--json` on the command line prints the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from champion_gate.domain.aliases import AliasChange, AliasKey, AliasState
from champion_gate.domain.approval import Verdict
from champion_gate.domain.canonical import utc_text
from champion_gate.domain.ledger.chain import LedgerKind, LedgerLine
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import AFTER_MOVES, Step, StepKind, StepPhase
from champion_gate.domain.versions import ModelVersion, VersionStatus


def rfc3339(at: datetime | None) -> str | None:
    """A time as in 2025-01-31T08:00:00.000Z; None stays None."""
    if at is None:
        return None
    return utc_text(at, "milliseconds")


_SHOWN_VERSIONS = 50  # the newest; a model may have thousands

Time = Annotated[
    datetime,
    PlainSerializer(rfc3339, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class Answer(BaseModel):
    """What a route answers, or part of it."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)
    etag_field: ClassVar[str | None] = None
    """Which of its fields is the `ETag` of the response, where it is not null."""

    @classmethod
    def reading(cls, *things: object, **own: object) -> Self:
        """Each field from the first thing that has an attribute of its name, unless it is given as its own."""
        found = {
            name: getattr(thing, name)
            for thing in reversed(things)
            for name in cls.model_fields
            if hasattr(thing, name)
        }
        return cls.model_validate({**found, **own})


class JobOfPromotion(Answer):
    """The Databricks job run behind a promotion."""

    id: str
    run_id: str
    url: str


class TrainerOfPromotion(Answer):
    """Somebody behind a model version."""

    role: str
    name: str | None = Field(description="null: Databricks should have said and did not.")


class Excluded(Answer):
    """Somebody who may not decide."""

    name: str
    login: str


class ApprovalRequestOfPromotion(Answer):
    """The question put to people in the CI/CD system."""

    provider: str
    external_id: str | None
    url: str | None
    seats: list[str] = Field(description="The approvals that are needed: environments, roles, or numbers.")
    opened_at: Time | None
    expires_at: Time


class DeciderOfPromotion(Answer):
    """Somebody who decided."""

    user_id: str
    login: str
    seat: str
    comment: str


class DecisionOfPromotion(Answer):
    """What the reviewers said."""

    verdict: Verdict
    reason: str
    source: str
    decided_at: Time
    deciders: list[DeciderOfPromotion]


class EndOrder(Answer):
    """An order to end the promotion that is still to be carried out, or was."""

    phase: Phase
    actor: str
    reason: str
    at: Time


class PromotionAnswer(Answer):
    """One model version asking for one alias."""

    id: str
    gate: str
    registry: str
    model: str = Field(description="Whose alias it asks for.")
    version: str
    source_model: str = Field(
        description="Whose version it is: another model where a copy is to get the alias."
    )
    copied_version: str | None = Field(description="The copy that gets the alias, once it is verified.")
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
    outstanding: list[str] = Field(description="Of the request's seats those in which people are waited for.")
    decision: DecisionOfPromotion | None
    end_request: EndOrder | None
    evidence_sha256: str | None
    requested_at: Time
    updated_at: Time
    ended_at: Time | None
    due_at: Time | None
    attempts: int
    failing_since: Time | None
    failed_from: Phase | None
    last_error: str | None
    failed_after: int = Field(
        description="How many of the steps that follow its move of the alias have failed."
    )

    @classmethod
    def of(cls, promotion: Promotion, failed_after: int = 0) -> Self:
        """Of a promotion."""
        return cls.reading(promotion, promotion.retry, **cls._of_promotion(promotion, failed_after))

    @staticmethod
    def _of_promotion(promotion: Promotion, failed_after: int) -> dict[str, object]:
        job = JobOfPromotion(id=promotion.job_id, run_id=promotion.job_run_id, url=promotion.job_url)
        copied = None if promotion.copied is None else promotion.copied.version
        return {
            "version": promotion.version.version,
            "copied_version": copied,
            "job": job,
            "outstanding": promotion.awaited_seats,
            "failed_after": failed_after,
        }


class PromotionList(Answer):
    """Part of the list, newest first."""

    promotions: list[PromotionAnswer]
    cursor: str | None = Field(description="Asks for the next part; null at the end.")


class DecisionAnswer(Answer):
    """How the promotion stands."""

    promotion: str
    phase: Phase
    reason: str
    model: str
    alias: str
    version: str
    updated_at: Time

    @classmethod
    def of(cls, promotion: Promotion) -> Self:
        """Of a promotion."""
        return cls.reading(promotion, promotion=promotion.id, version=promotion.target.version)


class HoldAnswer(Answer):
    """Keeps an alias where it is."""

    actor: str
    reason: str
    at: Time
    by_rollback: bool = Field(description="A rollback placed it.")


class AliasOfModel(Answer):
    """An alias and where it stands."""

    alias: str
    version: str | None = Field(description="null: on none.")
    hold: HoldAnswer | None
    outside: str | None = Field(
        description="What is known of its latest move, where somebody outside the gate made it; else null."
    )

    @classmethod
    def of(cls, state: AliasState) -> Self:
        """Of where it stands."""
        return cls.reading(state, state.key)


class VersionOfModel(Answer):
    """A version as the registry has it."""

    version: str
    status: VersionStatus
    created_at: Time | None
    created_by: str | None
    run_id: str | None = Field(description="The MLflow run that made it.")


class ModelAnswer(Answer):
    """A model with the aliases that are managed here and its newest versions."""

    registry: str
    model: str
    aliases: list[AliasOfModel]
    versions: list[VersionOfModel] = Field(description="The newest 50, newest first.")
    note: str | None = Field(description="What an empty list may mean besides that there are none.")

    @classmethod
    def of(
        cls, key: AliasKey, states: Iterable[AliasState], versions: Sequence[ModelVersion], note: str
    ) -> Self:
        """Of a model: the key of one of its aliases, where they stand, and its versions, newest first."""
        aliases = [AliasOfModel.of(each) for each in states]
        return cls.reading(key, aliases=aliases, versions=versions[:_SHOWN_VERSIONS], note=note or None)


class AliasAnswer(AliasOfModel):
    """Where an alias stands in the registry now."""

    etag_field: ClassVar[str | None] = "version"

    registry: str
    model: str


class AliasChangeAnswer(AliasAnswer):
    """Where an alias stands after an order, and what the order did."""

    from_version: str | None = Field(description="Where it stood before; null: on none.")
    changed: bool = Field(description="false: it stood there already, and nothing was written.")

    @classmethod
    def of_change(cls, change: AliasChange) -> Self:
        """Of what an order came to."""
        return cls.reading(change, change.state, change.state.key)


class LedgerLineAnswer(Answer):
    """One line of the ledger."""

    number: int
    kind: LedgerKind
    at: Time
    registry: str
    model: str
    alias: str
    actor: str
    reason: str
    promotion: str | None
    facts: dict[str, Any] = Field(description="What is particular to the kind.")
    previous_hash: str
    hash: str

    @classmethod
    def of(cls, line: LedgerLine) -> Self:
        """Of a line."""
        return cls.reading(line, line.entry, promotion=line.entry.promotion_id)


class StepAnswer(Answer):
    """A piece of durable work around a promotion; it stays when it has ended."""

    id: str
    kind: StepKind
    phase: StepPhase
    reason: str = Field(description="Why it is where it is; empty while nothing has been tried.")
    external_id: str | None = Field(description="The vendor's id of what was started.")
    url: str | None = Field(description="The vendor's page of it.")
    starts: int = Field(description="How often the vendor was asked to begin.")
    result: dict[str, Any] | None = Field(description="What came of it.")
    result_sha256: str | None = Field(description="Of the result as canonical JSON.")
    planned_at: Time
    ended_at: Time | None
    due_at: Time | None = Field(description="When it is looked at next; null once it has ended.")
    attempts: int = Field(description="How many calls in a row have failed.")
    last_error: str | None = Field(description="Why the last one failed.")

    @classmethod
    def of(cls, step: Step) -> Self:
        """Of a step."""
        result = None if step.result_json is None else json.loads(step.result_json)
        return cls.reading(step, step.retry, result=result)


class StepList(Answer):
    """The steps of a promotion, or behind a move of an alias."""

    steps: list[StepAnswer] = Field(description="In their order; of more than 200 the last ones.")


class PromotionDetailAnswer(PromotionAnswer, StepList):
    """One model version asking for one alias, with its steps and what the ledger says of it."""

    ledger: list[LedgerLineAnswer] = Field(description="Its lines of the ledger, newest first.")

    @classmethod
    def of_all(
        cls, promotion: Promotion, steps: Sequence[Step] = (), ledger: Iterable[LedgerLine] = ()
    ) -> Self:
        """Of a promotion, with its steps and its lines of the ledger, newest first."""
        failed = [step for step in steps if step.kind in AFTER_MOVES and step.phase is StepPhase.FAILED]
        return cls.reading(
            promotion,
            promotion.retry,
            **cls._of_promotion(promotion, len(failed)),
            steps=[StepAnswer.of(step) for step in steps],
            ledger=[LedgerLineAnswer.of(line) for line in ledger],
        )


class History(Answer):
    """Part of an alias's ledger lines, newest first."""

    lines: list[LedgerLineAnswer]
    cursor: str | None = Field(description="Asks for the next part; null at the end.")
