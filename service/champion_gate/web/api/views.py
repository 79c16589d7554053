"""What we say of a promotion, a notification or a ledger line: an allow-list of fields, as JSON-able dicts.

Ids are strings and times RFC 3339 in UTC. The API and `--json` on the command line answer the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from champion_gate.domain.aliases import AliasChange, AliasState, Hold
from champion_gate.domain.approval import ApprovalRequest, Decision
from champion_gate.domain.ledger.chain import LedgerLine
from champion_gate.domain.notifications import StoredNotification
from champion_gate.domain.promotion import EndRequest, FollowUp, Promotion
from champion_gate.domain.rows import RememberedLogin
from champion_gate.domain.versions import ModelVersion


def promotion_view(promotion: Promotion) -> dict[str, object]:
    """A promotion as clients see it: these fields and no others, ids as strings, times in UTC."""
    return {
        "id": promotion.id,
        "gate": promotion.gate,
        "registry": promotion.registry,
        "model": promotion.model,
        "version": promotion.version.version,
        "alias": promotion.alias,
        "found_by": promotion.found_by,
        "origin": list(promotion.origin),
        "champion_version": promotion.champion_version,
        "phase": promotion.phase.value,
        "reason": promotion.reason,
        "job": {"id": promotion.job_id, "run_id": promotion.job_run_id, "url": promotion.job_url},
        "trainers": [{"role": each.role, "name": each.name} for each in promotion.trainers],
        "excluded": [{"name": each.name, "login": each.login} for each in promotion.excluded],
        "request": _request_view(promotion.request),
        "decision": _decision_view(promotion.decision),
        "end_request": _end_request_view(promotion.end_request),
        "evidence_sha256": promotion.evidence_sha256,
        "requested_at": rfc3339(promotion.requested_at),
        "updated_at": rfc3339(promotion.updated_at),
        "ended_at": rfc3339(promotion.ended_at),
        "due_at": rfc3339(promotion.due_at),
        "attempts": promotion.attempts,
        "failing_since": rfc3339(promotion.failing_since),
        "failed_from": promotion.failed_from.value if promotion.failed_from else None,
        "last_error": promotion.last_error,
    }


def promotion_detail_view(
    promotion: Promotion, follow_ups: Iterable[FollowUp], ledger: Iterable[LedgerLine]
) -> dict[str, object]:
    """A promotion with what is left to be done around it and its lines of the ledger, newest first."""
    left = [
        {"kind": each.kind.value, "due_at": rfc3339(each.due_at), "last_error": each.last_error}
        for each in follow_ups
    ]
    return {
        **promotion_view(promotion),
        "follow_ups": left,
        "ledger": [ledger_view(line) for line in ledger],
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
        "first_received_at": rfc3339(row.first_received_at),
        "last_received_at": rfc3339(row.last_received_at),
        "due_at": rfc3339(row.due_at),
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
        "at": rfc3339(entry.at),
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


def alias_view(state: AliasState) -> dict[str, object]:
    """Where an alias stands, as clients see it."""
    return {
        "registry": state.key.registry,
        "model": state.key.model,
        "alias": state.key.alias,
        "version": state.version,
        "hold": hold_view(state.hold),
    }


def alias_change_view(change: AliasChange) -> dict[str, object]:
    """What an order came to, as clients see it."""
    return {**alias_view(change.state), "from_version": change.from_version, "changed": change.changed}


def hold_view(hold: Hold | None) -> dict[str, object] | None:
    """A hold as clients see it; None where there is none."""
    if hold is None:
        return None
    return {
        "actor": hold.actor,
        "reason": hold.reason,
        "at": rfc3339(hold.at),
        "by_rollback": hold.by_rollback,
    }


def identity_view(login: RememberedLogin) -> dict[str, object]:
    """A login and its accounts, as clients see them."""
    return {
        "provider": login.provider,
        "login": login.login,
        "user_id": login.user_id,
        "first_resolved_at": rfc3339(login.first_resolved_at),
        "last_resolved_at": rfc3339(login.last_resolved_at),
        "other_id": login.other_id,
        "accounts": [
            {"trainer": each.trainer, "alias": each.alias or None, "user_id": each.user_id}
            for each in login.accounts
        ],
    }


def version_view(version: ModelVersion) -> dict[str, object]:
    """A model version as clients see it."""
    return {
        "version": version.version,
        "status": version.status.value,
        "created_at": rfc3339(version.created_at),
        "created_by": version.created_by,
        "run_id": version.run_id,
    }


def rfc3339(at: datetime | None) -> str | None:
    """A time as in 2025-01-31T08:00:00.000Z; None stays None."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_view(opened: ApprovalRequest | None) -> dict[str, object] | None:
    if opened is None:
        return None
    return {
        "provider": opened.provider,
        "external_id": opened.external_id,
        "url": opened.url,
        "opened_at": rfc3339(opened.opened_at),
        "expires_at": rfc3339(opened.expires_at),
    }


def _decision_view(decision: Decision | None) -> dict[str, object] | None:
    if decision is None:
        return None
    return {
        "verdict": decision.verdict.value,
        "reason": decision.reason,
        "source": decision.source,
        "decided_at": rfc3339(decision.decided_at),
        "deciders": [
            {"user_id": each.user_id, "login": each.login, "seat": each.seat, "comment": each.comment}
            for each in decision.deciders
        ],
    }


def _end_request_view(end: EndRequest | None) -> dict[str, object] | None:
    if end is None:
        return None
    return {"phase": end.phase.value, "actor": end.actor, "reason": end.reason, "at": rfc3339(end.at)}
