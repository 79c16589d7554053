"""What we say of a promotion, a notification or a ledger line: an allow-list of fields, as JSON-able dicts.

Ids are strings and times RFC 3339 in UTC. The API and `--json` on the command line answer the same.
"""

from __future__ import annotations

from datetime import UTC, datetime

from champion_gate.core.promotion import ApprovalRequest, Decision, LedgerLine, Promotion, StoredNotification


def promotion_view(promotion: Promotion) -> dict[str, object]:
    """A promotion as clients see it."""
    return {
        "id": promotion.id,
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "gate": promotion.gate,
        "registry": promotion.registry,
        "model": promotion.model,
        "alias": promotion.alias,
        "version": promotion.version.version,
        "champion_version": promotion.champion_version,
        "found_by": promotion.found_by,
        "job_id": promotion.job_id,
        "job_run_id": promotion.job_run_id,
        "job_url": promotion.job_url,
        "trainers": [{"role": trainer.role, "name": trainer.name} for trainer in promotion.trainers],
        "excluded": [
            {"name": person.name, "role": person.role, "login": person.login, "user_id": person.user_id}
            for person in promotion.excluded
        ],
        "request": _request_view(promotion.request),
        "decision": _decision_view(promotion.decision),
        "evidence_sha256": promotion.evidence_sha256,
        "attempts": promotion.attempts,
        "last_error": promotion.last_error,
        "requested_at": time_view(promotion.requested_at),
        "updated_at": time_view(promotion.updated_at),
        "due_at": time_view(promotion.due_at),
        "ended_at": time_view(promotion.ended_at),
    }


def notification_view(row: StoredNotification) -> dict[str, object]:
    """A notification as clients see it."""
    return {
        "id": row.id,
        "source": row.source,
        "phase": row.phase.value,
        "reason": row.reason,
        "event_type": row.notification.event_type,
        "workspace_id": row.notification.workspace_id,
        "job_id": row.notification.job_id,
        "job_name": row.notification.job_name,
        "job_run_id": row.notification.job_run_id,
        "run_id": row.notification.run_id,
        "task_key": row.notification.task_key,
        "count": row.count,
        "attempts": row.attempts,
        "last_error": row.last_error,
        "first_received_at": time_view(row.first_received_at),
        "last_received_at": time_view(row.last_received_at),
        "due_at": time_view(row.due_at),
        "resolutions": [
            {
                "gate": resolution.gate,
                "phase": resolution.phase.value,
                "reason": resolution.reason,
                "promotion": resolution.promotion_id,
            }
            for resolution in row.resolutions
        ],
    }


def ledger_view(line: LedgerLine) -> dict[str, object]:
    """A line of the ledger as clients see it."""
    entry = line.entry
    return {
        "number": line.number,
        "kind": entry.kind.value,
        "at": time_view(entry.at),
        "registry": entry.registry,
        "model": entry.model,
        "alias": entry.alias,
        "actor": entry.actor,
        "reason": entry.reason,
        "promotion": entry.promotion_id,
        "facts": dict(entry.facts),
        "previous_hash": line.previous_hash,
        "hash": line.hash,
    }


def time_view(time: datetime | None) -> str | None:
    """A time as RFC 3339 in UTC, with `Z`."""
    if time is None:
        return None
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _request_view(request: ApprovalRequest | None) -> dict[str, object] | None:
    if request is None:
        return None
    return {
        "provider": request.provider,
        "external_id": request.external_id,
        "url": request.url,
        "opened_at": time_view(request.opened_at),
        "expires_at": time_view(request.expires_at),
    }


def _decision_view(decision: Decision | None) -> dict[str, object] | None:
    if decision is None:
        return None
    return {
        "verdict": decision.verdict.value,
        "reason": decision.reason,
        "source": decision.source,
        "decided_at": time_view(decision.decided_at),
        "deciders": [
            {"login": d.login, "user_id": d.user_id, "seat": d.seat, "comment": d.comment}
            for d in decision.deciders
        ],
    }
