"""Models' aliases: where each stands, and an alias's history as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Response, request, url_for

from champion_gate.domain.aliases import AliasKey, ChangeSource, ManagedAliases
from champion_gate.domain.drift import is_contested
from champion_gate.domain.ledger.chain import LedgerEntry, LedgerKind
from champion_gate.domain.ledger.entries import FIRST_SEEN, named
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.rows import read_cursor, write_cursor
from champion_gate.flow.after import steps_of_alias
from champion_gate.store import Store
from champion_gate.web.api.aliases import line_number
from champion_gate.web.pages.site import Page, Site

_MOVES = 30
_DRIFT_LINES = 5
_LEAST_WIDTH = 0.6  # of 100: what was Champion for a minute is to be seen too

_ENDED = {
    ChangeSource.PROMOTION.value: ("replaced", "replaced by {}, approved"),
    ChangeSource.ROLLBACK.value: ("rolled-back", "rolled back to {}"),
    ChangeSource.MANUAL.value: ("by-hand", "{} was set by hand"),
    ChangeSource.RESTORE.value: ("outside", "put back to {}"),
    ChangeSource.CHALLENGER.value: ("replaced", "replaced by {}"),
    "outside": ("outside", "somebody outside put it on {}"),
    "late": ("outside", "a late write put it on {}"),
}


@dataclass(frozen=True)
class Reign:
    """A version on which an alias stood.

    Attributes:
        until: None while it stands there.
        kind: how it ended, for colours; "standing" while it has not.
        how: the same in words.
        left, width: its place in the picture, of 100.
    """

    version: str
    since: datetime
    until: datetime | None
    kind: str
    how: str
    actor: str
    reason: str
    promotion_id: str | None
    left: float
    width: float


class ModelPages:
    """The views behind `/models`."""

    def __init__(self, site: Site, store: Store, managed: ManagedAliases, clock: Clock) -> None:
        self._site = site
        self._store = store
        self._managed = managed
        self._clock = clock

    @Page("/models", "aliases")
    def aliases(self) -> Response:
        """Every alias that is managed here, and where it was seen last."""
        known = self._store.known_aliases()
        found = [(key, known.get(key)) for key in self._managed.all()]
        return self._site.render("aliases.html", title="Models", found=found)

    @Page("/models/<model>/aliases/<alias>", "alias")
    def alias(self, model: str, alias: str) -> Response:
        """One alias."""
        with self._store.at_once():
            return self._shown(self._managed.key(model, alias))

    def _shown(self, key: AliasKey) -> Response:
        cursor = request.args.get("cursor")
        before = None if not cursor else read_cursor(cursor, line_number)
        lines = self._store.ledger_lines(key, kind=LedgerKind.ALIAS_CHANGE, before=before, limit=_MOVES + 1)
        # On a later page the move that ended its first reign is the last one of the page before.
        ending = [] if before is None else self._store.ledger_lines(key, after=before - 1, before=before + 1)
        moves = [line.entry for line in lines[:_MOVES]]
        older = write_cursor(lines[_MOVES - 1].number) if len(lines) > _MOVES else None
        begun = lines[0].entry.at if before is None and lines else None
        return self._site.render(
            "alias.html",
            title=f"{key.model}@{key.alias}",
            key=key,
            known=self._store.known_alias(key),
            begun=begun,
            contested=before is None and is_contested(lines, self._clock.now()),
            reigns=list(reigns(moves, ending[0].entry if ending else None, self._clock.now())),
            older=older and url_for("alias", model=key.model, alias=key.alias, cursor=older),
            steps=steps_of_alias(self._store, key),
            drift=[
                each.entry
                for each in self._store.ledger_lines(key, kind=LedgerKind.DRIFT, limit=_DRIFT_LINES)
            ],
        )


def reigns(moves: Sequence[LedgerEntry], following: LedgerEntry | None, now: datetime) -> Iterator[Reign]:
    """Which version the alias stood on from when to when, newest first.

    Args:
        moves: the alias's moves, newest first.
        following: the one after them; None where there is none yet.
        now: until when the one lasts that has not ended.
    """
    if not moves:
        return
    first, end = min(each.at for each in moves), now if following is None else following.at
    whole = max((end - first).total_seconds(), 1.0)
    for move in moves:
        version = move.facts.get("to")
        if isinstance(version, str):
            until = None if following is None else following.at
            left = (move.at - first).total_seconds() / whole * 100
            width = max(((until or now) - move.at).total_seconds() / whole * 100, _LEAST_WIDTH)
            kind, how = _end_of(following)
            yield Reign(
                version=version,
                since=move.at,
                until=until,
                kind=kind,
                how=how,
                actor=move.actor,
                reason=move.reason,
                promotion_id=move.promotion_id,
                left=round(min(left, 100 - _LEAST_WIDTH), 2),
                width=round(min(width, 100 - min(left, 100 - _LEAST_WIDTH)), 2),
            )
        following = move


def _end_of(following: LedgerEntry | None) -> tuple[str, str]:
    if following is None:
        return "standing", "it stands there"
    to, source = following.facts.get("to"), following.facts.get("source")
    if not isinstance(to, str):
        return "removed", f"taken away by {following.actor}"
    if source == FIRST_SEEN:
        return "outside", f"{named(to)} was seen there"
    kind, words = _ENDED.get(str(source), ("outside", "moved to {}"))
    return kind, words.format(named(to))
