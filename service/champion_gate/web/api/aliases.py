"""The API's view of models and their aliases: show, set, remove, roll back, hold, release."""

from __future__ import annotations

import re
from typing import Any

from champion_gate.domain.aliases import OnlyIf, Order
from champion_gate.domain.rows import read_cursor, write_cursor
from champion_gate.flow.after import steps_of_alias
from champion_gate.flow.candidates import why_nothing_is_listed
from champion_gate.flow.operator_aliases import AliasNotSetError
from champion_gate.web.api.answers import (
    AliasAnswer,
    AliasChangeAnswer,
    History,
    LedgerLineAnswer,
    ModelAnswer,
    StepAnswer,
    StepList,
)
from champion_gate.web.api.requests import (
    AliasBody,
    AliasPath,
    HistoryQuery,
    IfMatch,
    ModelPath,
    ReasonBody,
    ReasonQuery,
    RemovalQuery,
    RollbackBody,
)
from champion_gate.web.api.routes import DELETE, GET, OPERATOR, POST, PUT, VIEWER, Answered, Operations, Route
from champion_gate.web.auth import caller
from champion_gate.web.problems import problem

_ETAG = re.compile(r'(W/)?"([!#-~]*)"')
_MODEL = "/models/<model>"
_ALIAS = f"{_MODEL}/aliases/<alias>"
_ORDER = (404, 409, 412, 502, 503)
_BY_HAND = (
    "Recorded in the ledger with who, from where and why. Refused with 409 `on_hold` while a hold stands, unless "
    "`override_hold` is true. An alias that neither a gate nor `aliases` in gates.yaml names is 404 `not_managed`."
)


class AliasViews:
    """The views behind `/api/v1/models`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._orders = operations.alias_orders

    @Route(GET, _MODEL, "getModel", ModelAnswer, role=VIEWER, errors=(404, 502, 503))
    def model(self, path: ModelPath) -> Answered:
        """Show a model, its aliases that are managed here, and its newest versions."""
        keys = self._operations.managed.of_model(path.model)
        states = [self._orders.state(key.model, key.alias) for key in keys]
        registry = self._operations.registry
        versions = registry.list_versions(keys[0].model)
        note = "" if versions else why_nothing_is_listed(registry, keys[0].model, keys[0].alias)
        return ModelAnswer.of(keys[0], states, versions, note)

    @Route(GET, _ALIAS, "getAlias", AliasAnswer, role=VIEWER, errors=(404, 502, 503))
    def alias(self, path: AliasPath) -> Answered:
        """Show on which version an alias stands in the registry now, and its hold.

        404 `alias_not_set` where it is on no version; the problem then has the members of a state.
        """
        state = self._orders.state(path.model, path.alias)
        if state.version is None:
            return problem(
                AliasNotSetError.status,
                code=AliasNotSetError.code,
                detail=f"{state.key.model} has no alias {state.key.alias}.",
                hint="Put it on a version.",
                **AliasAnswer.of(state).model_dump(mode="json"),
            )
        return AliasAnswer.of(state)

    @Route(PUT, _ALIAS, "setAlias", AliasChangeAnswer, role=OPERATOR, errors=_ORDER, about=_BY_HAND)
    def put(self, path: AliasPath, header: IfMatch, body: AliasBody) -> Answered:
        """Put an alias on a version."""
        order = _order(body.reason, override_hold=body.override_hold, header=header)
        return AliasChangeAnswer.of_change(self._orders.put(path.model, path.alias, body.version, order))

    @Route(DELETE, _ALIAS, "deleteAlias", AliasChangeAnswer, role=OPERATOR, errors=_ORDER, about=_BY_HAND)
    def delete(self, path: AliasPath, header: IfMatch, query: RemovalQuery) -> Answered:
        """Take an alias away."""
        order = _order(query.reason, override_hold=query.override_hold, header=header)
        return AliasChangeAnswer.of_change(self._orders.delete(path.model, path.alias, order))

    @Route(
        POST,
        f"{_ALIAS}/rollback",
        "rollBackAlias",
        AliasChangeAnswer,
        role=OPERATOR,
        errors=_ORDER,
        about=_BY_HAND,
    )
    def roll_back(self, path: AliasPath, header: IfMatch, body: RollbackBody) -> Answered:
        """Put an alias back on the version before, and hold it there.

        To the version before in the ledger, never to one that was itself rolled back; 409 where there is none
        or it is gone. It places a hold; under it, another rollback must say with `If-Match` from which
        version it goes, or override.
        """
        order = _order(body.reason, override_hold=body.override_hold, header=header)
        return AliasChangeAnswer.of_change(self._orders.roll_back(path.model, path.alias, order))

    @Route(PUT, f"{_ALIAS}/hold", "holdAlias", AliasAnswer, role=OPERATOR, errors=(404, 409, 503))
    def hold(self, path: AliasPath, body: ReasonBody) -> Answered:
        """Keep an alias where it is: promotions wait, and manual changes must override the hold."""
        return AliasAnswer.of(self._orders.hold(path.model, path.alias, caller=caller(), reason=body.reason))

    @Route(DELETE, f"{_ALIAS}/hold", "releaseAlias", AliasAnswer, role=OPERATOR, errors=(404, 409, 503))
    def release(self, path: AliasPath, query: ReasonQuery) -> Answered:
        """Take the hold away; promotions that waited go on."""
        return AliasAnswer.of(
            self._orders.release(path.model, path.alias, caller=caller(), reason=query.reason)
        )

    @Route(GET, f"{_ALIAS}/steps", "listAliasSteps", StepList, role=VIEWER, errors=(404,))
    def steps(self, path: AliasPath) -> Answered:
        """List what follows the latest move of an alias, in order: jobs that are run, endpoints that are moved; then what failed before."""
        key = self._operations.managed.key(path.model, path.alias)
        return StepList(steps=[*map(StepAnswer.of, steps_of_alias(self._operations.store, key))])

    @Route(GET, f"{_ALIAS}/history", "getAliasHistory", History, role=VIEWER, errors=(404,))
    def history(self, path: AliasPath, query: HistoryQuery) -> Answered:
        """List an alias's lines of the ledger, newest first."""
        key = self._operations.managed.key(path.model, path.alias)
        before = None if query.cursor is None else read_cursor(query.cursor, line_number)
        found = self._operations.store.ledger_lines(key, before=before, limit=query.limit + 1)
        lines, more = found[: query.limit], len(found) > query.limit
        return History(
            lines=[*map(LedgerLineAnswer.of, lines)],
            cursor=write_cursor(lines[-1].number) if more else None,
        )


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


def line_number(found: Any) -> int:
    """A line's number out of a cursor; raises as `read_cursor` wants it."""
    if type(found) is not int or not 0 <= found < 10**18:
        raise ValueError("this is no line's number")
    return found
