"""The Databricks stand-in's SQL warehouse, which answers queries of `system.access.audit` and no others.

https://docs.databricks.com/api/workspace/statementexecution
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flask import Flask, Response, abort, jsonify, request

_PATH = "/api/2.0/sql/statements"
_MARKER = re.compile(r":([a-z]+)\b")
_WAITS = re.compile(r"0s|([5-9]|[1-4][0-9]|50)s")


@dataclass
class Audited:
    """A line of the audit log; `at` in milliseconds."""

    action: str
    who: str | None
    at: int
    parameters: dict[str, str]
    event_id: str


@dataclass
class Sql:
    """Statements, and what they find.

    Attributes:
        now: milliseconds.
        warehouses: the ids that there are.
        usable: whether we have CAN USE on them.
        selectable: whether we may read the audit log.
        late: so many milliseconds after it happened a line can be read.
        states: what the next looks at statements show before they go on, such as PENDING; empty: done at once.
        statements: id -> its result, or its error.
    """

    now: Callable[[], int]
    warehouses: set[str] = field(default_factory=set)
    usable: bool = True
    selectable: bool = True
    late: int = 0
    states: list[str] = field(default_factory=list)
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lines: list[Audited] = field(default_factory=list)

    def record(self, action: str, who: str | None, **parameters: str) -> None:
        """Somebody changes something now."""
        self._lines.append(Audited(action, who, self.now(), parameters, f"event-{len(self._lines)}"))

    def attach(self, app: Flask) -> None:
        """Add the routes."""
        app.post(_PATH)(self._execute_statement)
        app.get(f"{_PATH}/<statement_id>")(self._get_statement)

    def _execute_statement(self) -> Response:
        body = request.get_json()
        if body.get("warehouse_id") not in self.warehouses:
            abort(400, f"{body.get('warehouse_id')} is not a valid endpoint id.")
        if not self.usable:
            abort(403, "You do not have permission to use the SQL Warehouse.")
        if not _WAITS.fullmatch(body.get("wait_timeout", "10s")):
            abort(400, "wait_timeout must be 0s or from 5s to 50s.")
        given = {each["name"]: each for each in body.get("parameters", [])}
        if set(_MARKER.findall(body["statement"])) != set(given):
            abort(400, "[UNBOUND_SQL_PARAMETER] Found the unbound parameter.")
        statement_id = f"01f0-{len(self.statements)}"
        self.statements[statement_id] = self._result(body["statement"], given)
        return self._shown(statement_id)

    def _get_statement(self, statement_id: str) -> Response:
        if statement_id not in self.statements:
            abort(404, f"The statement {statement_id} was not found.")
        return self._shown(statement_id)

    def _shown(self, statement_id: str) -> Response:
        if self.states:
            return jsonify(statement_id=statement_id, status={"state": self.states.pop(0)})
        return jsonify(statement_id=statement_id, **self.statements[statement_id])

    def _result(self, statement: str, given: dict[str, dict[str, str]]) -> dict[str, Any]:
        if not self.selectable or "FROM system.access.audit" not in statement:
            message = "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: User does not have SELECT on Table 'system.access.audit'."
            return {"status": {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": message}}}
        rows = [_row(each) for each in reversed(self._lines) if self._is_found(each, statement, given)]
        result = {"row_count": len(rows), "data_array": rows} if rows else {"row_count": 0}
        return {"status": {"state": "SUCCEEDED"}, "result": result}

    def _is_found(self, line: Audited, statement: str, given: dict[str, dict[str, str]]) -> bool:
        if line.at + self.late > self.now() or not given:
            return False
        since, until = (_millis(given[name]) for name in ("since", "until"))
        named = given["name"]["value"] in json.dumps(line.parameters).lower()
        return since <= line.at <= until and named and f"'{line.action}'" in statement


def _row(line: Audited) -> list[str | None]:
    """Every value is a text, whatever its type (JSON_ARRAY)."""
    return [line.event_id, str(line.at), line.action, line.who, json.dumps(line.parameters)]


def _millis(parameter: dict[str, str]) -> int:
    if parameter["type"] != "TIMESTAMP":
        abort(400, "[DATATYPE_MISMATCH] TIMESTAMP was expected.")
    return int(datetime.fromisoformat(parameter["value"]).astimezone(UTC).timestamp() * 1000)
