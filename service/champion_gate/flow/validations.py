"""The validation of a version before people are asked about it: begun, waited for, and put beside the Champion's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.copies import MadeOf
from champion_gate.domain.gates import Gate, Validation
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.retry import Retry
from champion_gate.domain.steps import Step, StepKind, StepPhase, planned
from champion_gate.domain.validation import Reported, Validated
from champion_gate.domain.versions import ModelVersion, VersionDetails
from champion_gate.flow.context import Context
from champion_gate.flow.lease import Lease


class Validations:
    """Decides by the rows and the ledger; `ValidationRuns` calls Databricks."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._wake_ups = context.wake_ups
        self._clock = context.clock
        self._waits = context.waits
        self._lease = Lease(context)

    def begin(self, taken: Promotion, validation: Validation) -> None:
        """Have the version validated before people are asked; the turn is over."""
        now = self._clock.now()
        step = planned(taken.id, StepKind.VALIDATE, {**taken.asked, **validation.frozen()}, now)
        validating = replace(
            taken,
            phase=Phase.VALIDATING,
            reason=_under_way(step),
            due_at=now + self._waits.recheck_seldom,
            retry=Retry(),
        )
        self._lease.save(validating, release=True, steps=[step])
        self._wake_ups.step(step.id)

    def has_passed(self, taken: Promotion, gate: Gate) -> bool:
        """Whether the validation has said yes; else the turn is over: it waits, or has ended."""
        step = self._step(taken)
        if gate.validation is None or not gate.validation.is_that_of(step.config):
            why = f"The validation of gate {gate.name} is another one than was begun. To ask afresh: champion-gate promotions retry {taken.id}"
            self._lease.end(taken, Phase.STALE, why)
        elif (said := _result(step)) is None:
            self._lease.wait(taken, _waiting(step), self._waits.recheck_seldom)
        elif said["passed"] is not True:
            self._lease.end(taken, Phase.INELIGIBLE, step.reason)
        else:
            return True
        return False

    def of(
        self, taken: Promotion, champion: VersionDetails | None, made_of: MadeOf | None = None
    ) -> Validated | None:
        """What the validation said that has passed; None of a promotion that was not validated."""
        if taken.phase is not Phase.VALIDATING:
            return None
        step = self._step(taken)
        result = _result(step)
        if result is None or step.result_sha256 is None:
            return None
        theirs = (
            None
            if champion is None
            else self._metrics_of(taken.alias_key, made_of or champion.version, result["job"]["id"])
        )
        reported = Reported(_numbers(result), theirs, result["run"]["id"])
        return Validated(result, step.result_sha256, reported)

    def _metrics_of(
        self, key: AliasKey, champion: ModelVersion | MadeOf, job_id: str
    ) -> Mapping[str, float] | None:
        """What this job reported of a version when that asked for the alias; None where the ledger does not say."""
        for promotion in self._store.promotions_of_version(key, champion.version, champion.model):
            if promotion.version.version_id != champion.version_id:
                continue
            for line in self._store.ledger_lines(promotion_id=promotion.id):
                result = line.entry.facts.get("result")
                if line.entry.kind is not LedgerKind.STEP or not isinstance(result, dict):
                    continue
                if result.get("passed") is True and result["job"]["id"] == job_id:
                    return _numbers(result)
        return None

    def _step(self, promotion: Promotion) -> Step:
        return self._store.get_step(f"{promotion.id}-{StepKind.VALIDATE.value}")


def _result(step: Step) -> Mapping[str, Any] | None:
    """What its run said of the version; None where it has said nothing."""
    if step.phase is not StepPhase.SUCCEEDED or step.result_json is None:
        return None
    found: Mapping[str, Any] = json.loads(step.result_json)
    return found


def _numbers(result: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(number) for name, number in result["metrics"].items()}


def _waiting(step: Step) -> str:
    if step.phase.is_open:
        return _under_way(step)
    return (
        f"{step.reason} To have it validated again: champion-gate steps retry {step.id}; or: champion-gate promotions "
        f"cancel {step.promotion_id}"
    )


def _under_way(step: Step) -> str:
    words = [step.reason or f"Job {step.config['job']} is to validate it before people are asked."]
    if step.retry.last_error:
        words.append(f"It is tried again: {step.retry.last_error}")
    return " ".join([*words, *([step.url] if step.url else [])])
