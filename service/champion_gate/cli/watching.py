"""`promotions watch`: looks at the promotions again and again, and tells what has changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import NoReturn, TypeVar

import click

from champion_gate.cli.client import PART, Client, Json
from champion_gate.cli.output import (
    alias_told,
    field,
    print_json_line,
    print_line,
    rows_of,
    step_told,
    time_of,
    told,
    version_told,
)
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import AFTER_MOVES
from champion_gate.errors import GateError

_OPEN = tuple(phase.value for phase in Phase if phase.is_open)

_AFTER_MOVES = tuple(kind.value for kind in AFTER_MOVES)

T = TypeVar("T")


class Watch:
    """Tells of each promotion that appears, changes its phase or its reason; one line each."""

    def __init__(
        self,
        opens: Callable[[], AbstractContextManager[Client]],
        *,
        as_json: bool,
        pause: Callable[[], None],
    ) -> None:
        """Nothing is looked at yet.

        Args:
            opens: called for every look, so that nothing outlives a service or database that went away.
            as_json: print JSON objects: the promotion as it is, and its phase and reason `before`.
            pause: rests between two looks; whatever it raises ends the watching.
        """
        self._opens = opens
        self._as_json = as_json
        self._pause = pause
        self._has_looked = False

    def all(self) -> NoReturn:
        """Tell of the open promotions, and then of every change.

        Raises:
            GateError: the first look failed, or a later one in a way that time alone does not mend.
        """
        seen = self._steadily(lambda client: _look(client, {}))
        is_open = [row for row in seen.values() if _is_open(row)]
        self._tell({}, is_open)
        self._say_it_waits(f"Open promotions: {len(is_open)}. Waiting for what appears or changes")
        while True:
            self._pause()
            known = seen
            seen = self._steadily(lambda client, known=known: _look(client, known))  # type: ignore[misc]
            self._tell(known, seen.values())

    def one(self, promotion_id: str) -> str:
        """Tell how one promotion stands, and then of every change, until it and what follows it have ended.

        Returns:
            The phase in which it ended; `after_failed` where something that follows its move of the alias failed.

        Raises:
            NotFoundError: there is no such promotion.
            GateError: as for `all`.
        """
        known: dict[str, Json] = {}
        while True:
            row = self._steadily(lambda client: client.promotion(promotion_id))
            self._tell_steps(known, row)
            self._tell(known, [row])  # last, so that where nothing follows its end is the last line
            if not _is_open(row) and not _goes_on(row):
                return field(row, "phase") if field(row, "failed_after") == "0" else "after_failed"
            if not known:
                self._say_it_waits("Waiting for its end")
            known = {field(row, "id"): row}
            self._pause()

    def _say_it_waits(self, what: str) -> None:
        """For people at a terminal, who else see nothing happen."""
        if sys.stderr.isatty() and not self._as_json:
            click.echo(f"{what}; Ctrl-C ends the watching.", err=True)

    def _steadily(self, look: Callable[[Client], T]) -> T:
        """What a look finds, waited for while the service or the database is away; said once."""
        away = False
        while True:
            try:
                with self._opens() as client:
                    found = look(client)
            except GateError as error:
                if not (self._has_looked and error.retryable):
                    raise
                if not away:
                    click.echo(f"champion-gate: {told(error)} Trying again until it answers.", err=True)
                away = True
                self._pause()
            else:
                if away:
                    click.echo("champion-gate: it answers again.", err=True)
                self._has_looked = True
                return found

    def _tell(self, known: Mapping[str, Json], rows: Iterable[Json]) -> None:
        for row in sorted(rows, key=lambda row: field(row, "updated_at")):
            before = known.get(field(row, "id"))
            if before is None or _standing(before) != _standing(row):
                self._print(before, row)

    def _tell_steps(self, known: Mapping[str, Json], row: Json) -> None:
        """A line for each step that appears, or stands elsewhere than before."""
        before = {field(step, "id"): step for step in rows_of(known.get(field(row, "id")), "steps")}
        for step in rows_of(row, "steps"):
            was = before.get(field(step, "id"))
            if was is None or _standing(was) != _standing(step):
                if self._as_json:
                    print_json_line({"before": _was(was), "step": step})
                else:
                    print_line(f"{field(row, 'id')} step {field(step, 'id')}: {step_told(step)}")

    def _print(self, before: Json | None, row: Json) -> None:
        if self._as_json:
            print_json_line({"before": _was(before), "promotion": row})
            return
        phase = field(row, "phase")
        if before is not None and field(before, "phase") != phase:
            phase = f"{field(before, 'phase')} -> {phase}"
        what = f"{version_told(row)} for {alias_told(row)}"
        print_line(f"{time_of(row, 'updated_at')} {field(row, 'id')} {what}: {phase}: {field(row, 'reason')}")


def _look(client: Client, known: Mapping[str, Json]) -> dict[str, Json]:
    """The newest promotions back to those that are known, all open ones, and those that were open before.

    What is read later replaces what was read earlier, so that no change is told backwards.
    """
    found: dict[str, Json] = {}
    for phase in _OPEN:
        found |= {field(row, "id"): row for row in client.promotions(phase=phase)}
    found |= _newest(client, known)
    for promotion_id, row in known.items():
        if _is_open(row) and promotion_id not in found:
            found[promotion_id] = client.promotion(promotion_id)
    return found


def _newest(client: Client, known: Mapping[str, Json]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for row in client.promotions():
        found[field(row, "id")] = row
        if len(found) >= PART and (not known or found.keys() & known.keys()):
            break
    return found


def _is_open(row: Json) -> bool:
    return field(row, "phase") in _OPEN


def _goes_on(row: Json) -> bool:
    """Whether something that follows its move of the alias has not ended."""
    return any(
        field(step, "kind") in _AFTER_MOVES and field(step, "ended_at") == ""
        for step in rows_of(row, "steps")
    )


def _was(before: object) -> Json | None:
    return None if before is None else dict(zip(("phase", "reason"), _standing(before), strict=True))


def _standing(row: object) -> tuple[str, str]:
    return field(row, "phase"), field(row, "reason")
