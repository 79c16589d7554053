"""The API's view of models and their aliases: show, set, remove, roll back, hold, release."""

from __future__ import annotations

import base64
import binascii
import re

from flask import Response, jsonify

from champion_gate.domain.aliases import AliasChange, AliasState, OnlyIf, Order
from champion_gate.domain.callers import Role
from champion_gate.errors import InvalidInputError
from champion_gate.flow.candidates import why_nothing_is_listed
from champion_gate.flow.operator_aliases import AliasNotSetError
from champion_gate.web.api.json_bodies import BODY_CAP
from champion_gate.web.api.operations import Operations
from champion_gate.web.api.requests import (
    AliasBody,
    AliasPath,
    HistoryQuery,
    IfMatch,
    ModelPath,
    ReasonBody,
    ReasonQuery,
    RemovalQuery,
    RepeatingIfMatch,
    RollbackBody,
)
from champion_gate.web.api.views import alias_change_view, alias_view, hold_view, ledger_view, version_view
from champion_gate.web.auth import Auth, caller, guarded
from champion_gate.web.problems import problem

_SHOWN_VERSIONS = 50
_ETAG = re.compile(r'(W/)?"([!#-~]*)"')
_LINE_NUMBER = re.compile(r"[0-9]{1,18}")


class AliasReads:
    """The views that only look."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._orders = operations.alias_orders

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def model(self, path: ModelPath) -> Response:
        """Show a model, its aliases that are managed here, and its newest versions."""
        keys = self._operations.managed.of_model(path.model)
        states = [self._orders.state(key.model, key.alias) for key in keys]
        registry = self._operations.registry
        versions = registry.list_versions(keys[0].model)
        note = "" if versions else why_nothing_is_listed(registry, keys[0].model, keys[0].alias)
        return jsonify(
            {
                "registry": keys[0].registry,
                "model": keys[0].model,
                "aliases": [
                    {"alias": state.key.alias, "version": state.version, "hold": hold_view(state.hold)}
                    for state in states
                ],
                "versions": [version_view(each) for each in versions[:_SHOWN_VERSIONS]],
                "note": note or None,
            }
        )

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def alias(self, path: AliasPath) -> Response:
        """Show on which version an alias stands in the registry now, and its hold."""
        state = self._orders.state(path.model, path.alias)
        if state.version is None:
            return problem(
                AliasNotSetError.status,
                code=AliasNotSetError.code,
                detail=f"{state.key.model} has no alias {state.key.alias}.",
                hint="PUT it on a version.",
                **alias_view(state),
            )
        return _state_answer(state)

    @guarded(Auth.BEARER, role=Role.VIEWER)
    def history(self, path: AliasPath, query: HistoryQuery) -> Response:
        """List an alias's lines of the ledger, newest first."""
        key = self._operations.managed.key(path.model, path.alias)
        before = None if query.cursor is None else _read_cursor(query.cursor)
        found = self._operations.store.ledger_lines(key, before=before, limit=query.limit + 1)
        lines, more = found[: query.limit], len(found) > query.limit
        return jsonify(
            {
                "lines": [ledger_view(line) for line in lines],
                "cursor": _write_cursor(lines[-1].number) if more else None,
            }
        )


class AliasChanges:
    """The views through which operators change aliases."""

    def __init__(self, operations: Operations) -> None:
        self._orders = operations.alias_orders

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def put(self, path: AliasPath, header: IfMatch, body: AliasBody) -> Response:
        """Put an alias on a version."""
        order = _order(body.reason, override_hold=body.override_hold, header=header)
        return _change_answer(self._orders.put(path.model, path.alias, body.version, order))

    @guarded(Auth.BEARER, role=Role.OPERATOR)
    def delete(self, path: AliasPath, header: IfMatch, query: RemovalQuery) -> Response:
        """Take an alias away."""
        order = _order(query.reason, override_hold=query.override_hold, header=header)
        return _change_answer(self._orders.delete(path.model, path.alias, order))

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def roll_back(self, path: AliasPath, header: RepeatingIfMatch, body: RollbackBody) -> Response:
        """Put an alias back on the version before, and hold it there."""
        order = _order(body.reason, override_hold=body.override_hold, header=header)
        return _change_answer(self._orders.roll_back(path.model, path.alias, order))

    @guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=BODY_CAP)
    def hold(self, path: AliasPath, body: ReasonBody) -> Response:
        """Keep an alias where it is: promotions wait, and manual changes must override the hold."""
        state = self._orders.hold(path.model, path.alias, caller=caller(), reason=body.reason)
        return _state_answer(state)

    @guarded(Auth.BEARER, role=Role.OPERATOR)
    def release(self, path: AliasPath, query: ReasonQuery) -> Response:
        """Take the hold away; promotions that waited go on."""
        state = self._orders.release(path.model, path.alias, caller=caller(), reason=query.reason)
        return _state_answer(state)


def only_if(given: str | None) -> OnlyIf | None:
    """What an `If-Match` says (RFC 9110, section 13.1.1); a weak tag matches nothing there.

    Args:
        given: the header's value, checked for its form; None where it is absent.
    """
    if given is None:
        return None
    if given == "*":
        return OnlyIf(any_version=True)
    return OnlyIf(versions=frozenset(tag for weak, tag in _ETAG.findall(given) if not weak))


def _order(reason: str, *, override_hold: bool, header: IfMatch) -> Order:
    return Order(
        caller=caller(), reason=reason, override_hold=override_hold, only_if=only_if(header.if_match)
    )


def _state_answer(state: AliasState) -> Response:
    return _with_etag(jsonify(alias_view(state)), state)


def _change_answer(change: AliasChange) -> Response:
    return _with_etag(jsonify(alias_change_view(change)), change.state)


def _with_etag(response: Response, state: AliasState) -> Response:
    if state.version is not None:
        response.set_etag(state.version)
    return response


def _write_cursor(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode()


def _read_cursor(cursor: str) -> int:
    try:
        number = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, ValueError):
        number = ""
    if not _LINE_NUMBER.fullmatch(number):
        raise InvalidInputError(
            "The cursor cannot be read.", hint="Take it as it was given, or start without one."
        )
    return int(number)
