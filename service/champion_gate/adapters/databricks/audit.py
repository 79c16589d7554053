"""Who changed a model's aliases: `system.access.audit`, read through a SQL warehouse (port `AuditLog`).

https://docs.databricks.com/api/workspace/statementexecution, https://docs.databricks.com/aws/en/admin/system-tables/audit-logs.
It needs CAN USE on the warehouse, and USE CATALOG, USE SCHEMA and SELECT down to system.access.audit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from champion_gate.adapters.databricks.connection import DatabricksConnection
from champion_gate.adapters.databricks.errors import VENDOR, unreadable
from champion_gate.adapters.databricks.models import Statement
from champion_gate.domain.drift import AuditAnswer, AuditedChange
from champion_gate.domain.names import joined
from champion_gate.domain.secrets import cut_words
from champion_gate.errors import VendorRefusedError

STATEMENTS = "/api/2.0/sql/statements"
_PENDING = frozenset({"PENDING", "RUNNING"})
_WAIT = "10s"  # within the time that an answer may take; what takes longer is read later
_MOST_ROWS = 500
_LATER = timedelta(minutes=5)  # clocks differ
# The parameters' names are not documented, so their values are looked at.
_QUERY = """
SELECT event_id, unix_millis(event_time), action_name, user_identity.email, to_json(request_params)
FROM system.access.audit
WHERE service_name = 'unityCatalog'
AND action_name IN ('setRegisteredModelAlias', 'deleteRegisteredModelAlias', 'deleteModelVersion')
AND event_date >= :day AND event_time >= :since AND event_time <= :until
AND coalesce(response.status_code, 200) = 200 AND contains(lower(to_json(request_params)), :name)
ORDER BY event_time DESC
"""
_PROBE = "SELECT event_id FROM system.access.audit LIMIT 1"


class DatabricksAudit:
    """The audit log of the account, as far as this workspace's region has it."""

    def __init__(self, connection: DatabricksConnection, warehouse: str) -> None:
        """No call is made."""
        self._connection = connection
        self._warehouse = warehouse

    def ask(self, model: str, since: datetime, until: datetime) -> AuditAnswer:
        """See AuditLog; `model` is a checked three-level name."""
        parameters = [
            {"name": "day", "value": f"{since.astimezone(UTC):%Y-%m-%d}", "type": "DATE"},
            {"name": "since", "value": _instant(since), "type": "TIMESTAMP"},
            {"name": "until", "value": _instant(until + _LATER), "type": "TIMESTAMP"},
            {"name": "name", "value": model.casefold().rpartition(".")[2], "type": "STRING"},
        ]
        return self._answer(self._begun(_QUERY.strip(), parameters))

    def read(self, statement_id: str) -> AuditAnswer:
        """See AuditLog."""
        path = f"{STATEMENTS}{joined(statement_id)}"
        return self._answer(self._connection.begin().get(Statement, path))

    def probe(self) -> bool:
        """Read one line, to see whether we may; false while the warehouse is only starting.

        Raises:
            VendorError: we may not, there is no such warehouse, or Databricks did not answer.
        """
        return _is_done(self._begun(_PROBE, []))

    def _begun(self, statement: str, parameters: list[dict[str, str]]) -> Statement:
        body = {
            "warehouse_id": self._warehouse,
            "statement": statement,
            "parameters": parameters,
            "wait_timeout": _WAIT,
            "on_wait_timeout": "CONTINUE",
            "row_limit": _MOST_ROWS,
            "disposition": "INLINE",
            "format": "JSON_ARRAY",
        }
        return self._connection.begin().post(Statement, STATEMENTS, body)

    @staticmethod
    def _answer(statement: Statement) -> AuditAnswer:
        done = _is_done(statement)
        return AuditAnswer(statement.statement_id, tuple(_changes(statement.rows)) if done else None)


def _is_done(statement: Statement) -> bool:
    if statement.state in _PENDING:
        return False
    if statement.state != "SUCCEEDED":
        words = cut_words(f"{statement.state}: {statement.error or 'Databricks says no more'}", 500)
        raise VendorRefusedError(
            VENDOR,
            f"the query of system.access.audit ended as {words}",
            hint="Grant USE CATALOG on system, USE SCHEMA on system.access and SELECT on system.access.audit.",
        )
    return True


def _changes(rows: list[list[Any]]) -> Iterator[AuditedChange]:
    for row in rows:
        try:
            event_id, millis, action, who, parameters = row
            said = json.loads(parameters or "{}")
            yield AuditedChange(
                id=str(event_id),
                at=datetime.fromtimestamp(int(millis) / 1000, UTC),
                action=str(action),
                who=cut_words(str(who), 255) if who else "somebody whom the audit log does not name",
                said=frozenset(str(each).casefold() for each in said.values()),
            )
        except (ValueError, TypeError, AttributeError, OverflowError, OSError):
            raise unreadable("system.access.audit") from None


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
