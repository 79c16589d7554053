"""Rows as tests need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from champion_gate.domain.aliases import AliasIntent, AliasKey, AliasLock, Hold
from champion_gate.domain.approval import ApprovalRequest
from champion_gate.domain.callers import ApiToken, Role
from champion_gate.domain.job_runs import JobRun, RunResult, TaskRun, Trainer
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.notifications import JobNotification
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.rows import RepeatableRequest
from champion_gate.domain.steps import Step, StepKind
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.store import Store
from champion_gate.store.ledger import Ledger, append_lines

T0 = datetime(2025, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
KEY = AliasKey("databricks-uc", "main.ml.churn", "Champion")
LEASE = 60.0


def after(seconds: float) -> datetime:
    """So many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def notification(**changes: Any) -> JobNotification:
    return replace(
        JobNotification(
            event_type="jobs.on_success", workspace_id="10", job_id="20", run_id="30", job_name="train"
        ),
        **changes,
    )


def job_run(**changes: Any) -> JobRun:
    return replace(
        JobRun(
            run_id="30",
            job_id="20",
            job_name="train",
            workspace_id="10",
            result=RunResult.SUCCEEDED,
            result_detail="SUCCESS",
            tasks=(TaskRun(run_id="31", job_id="20", task_key="fit", attempt=0),),
            earlier_task_run_ids=frozenset({"29", "28"}),
            trainers=(Trainer("job run creator", "ann@example.com"), Trainer("job run-as", None)),
            start=T0,
            end=after(100),
            latest_repair=None,
            url="https://databricks.example.com/run/30",
        ),
        **changes,
    )


def version(number: int = 2, **changes: Any) -> ModelVersion:
    return replace(
        ModelVersion(
            model=KEY.model,
            version=str(number),
            version_id=f"id-{number}",
            run_id="r1",
            source=None,
            status=VersionStatus.READY,
            created_at=T0,
            created_by="ann@example.com",
        ),
        **changes,
    )


def promotion(promotion_id: str = "p-1", number: int = 2, **changes: Any) -> Promotion:
    return replace(
        Promotion(
            id=promotion_id,
            gate="churn",
            registry=KEY.registry,
            model=KEY.model,
            alias=KEY.alias,
            version=version(number),
            job_id="20",
            job_run_id="30",
            job_url="https://databricks.example.com/run/30",
            trainers=(Trainer("job run creator", "ann@example.com"),),
            phase=Phase.REQUESTED,
            reason="A job run made it.",
            requested_at=T0,
            updated_at=T0,
            due_at=T0,
        ),
        **changes,
    )


def request(**changes: Any) -> ApprovalRequest:
    return replace(
        ApprovalRequest(
            provider="github",
            intent_at=T0,
            expires_at=after(1000),
            pins={"repository": "1"},
            external_id="77",
            url="https://github.example.com/77",
            opened_at=after(1),
        ),
        **changes,
    )


def taken_promotion(store: Store, promotion_id: str = "p-1", number: int = 2, **changes: Any) -> Promotion:
    """A promotion that is stored and taken at T0."""
    assert store.create_promotion(promotion(promotion_id, number, **changes)) is not None
    taken = store.take_promotion(promotion_id, T0, LEASE)
    assert taken is not None
    return taken


def brought_to(store: Store, taken: Promotion, phase: Phase, **changes: Any) -> Promotion:
    """A taken promotion led to a phase on the shortest legal way."""
    ways = {
        Phase.PENDING_APPROVAL: [Phase.PENDING_APPROVAL],
        Phase.APPROVED: [Phase.PENDING_APPROVAL, Phase.APPROVED],
        Phase.FAILED: [Phase.FAILED],
    }
    for step in ways[phase]:
        taken = store.save_promotion(replace(taken, phase=step, **changes), T0)
    return taken


def entry(reason: str = "because", **changes: Any) -> LedgerEntry:
    return replace(
        LedgerEntry(
            kind=LedgerKind.ALIAS_CHANGE,
            registry=KEY.registry,
            model=KEY.model,
            alias=KEY.alias,
            actor="ann",
            reason=reason,
            at=T0,
            facts={"from": "1", "to": "2"},
        ),
        **changes,
    )


def append_ledger(store: Ledger, entries: Sequence[LedgerEntry]) -> None:
    """Append lines that belong to no other change, as no order of the service's does."""
    with store._write() as connection:  # noqa: SLF001
        append_lines(connection, entries)


def step(step_id: str = "f-1", **changes: Any) -> Step:
    return replace(
        Step(
            id=step_id,
            promotion_id="p-1",
            kind=StepKind.CANCEL_REQUEST,
            config={"external_id": "77"},
            planned_at=T0,
            due_at=T0,
        ),
        **changes,
    )


def intent(lock: AliasLock, to_version: str = "2", **changes: Any) -> AliasIntent:
    return replace(
        AliasIntent(
            from_version="1",
            to_version=to_version,
            fence=lock.fence,
            actor="ann",
            reason="approved",
            promotion_id="p-1",
            at=T0,
        ),
        **changes,
    )


def hold(**changes: Any) -> Hold:
    return replace(Hold(actor="ann", reason="the new data are wrong", at=T0), **changes)


def api_token(token_id: str = "t1", name: str = "nightly report", **changes: Any) -> ApiToken:
    return replace(
        ApiToken(
            id=token_id,
            name=name,
            role=Role.VIEWER,
            secret_sha256="a" * 64,
            created_at=T0,
            created_by="root",
        ),
        **changes,
    )


def repeatable(key: str = "ann /path k-1", **changes: Any) -> RepeatableRequest:
    return replace(RepeatableRequest(key=key, fingerprint="f" * 64), **changes)
