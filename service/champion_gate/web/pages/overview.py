"""The first page: what waits for whom, how long it has, and what a person has to look at."""

from __future__ import annotations

from flask import Response, g

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.callers import Role
from champion_gate.domain.notifications import NotificationPhase, StoredNotification
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step
from champion_gate.flow.after import alias_of, failed_of_latest_moves
from champion_gate.store import Store
from champion_gate.web.pages.site import Page, Site

_MOST, _FEW = 50, 10
_OURS = (Phase.REQUESTED, Phase.VALIDATING, Phase.APPROVED, Phase.COPYING)


class Overview:
    """The view behind `/`."""

    def __init__(self, site: Site, store: Store) -> None:
        self._site = site
        self._store = store

    @Page("/", "overview")
    def overview(self) -> Response:
        """Everything that is not at rest."""
        with self._store.at_once():
            return self._shown()

    def _shown(self) -> Response:
        waiting = self._store.pending_promotions(_MOST + 1)
        found = {phase: self._of(phase) for phase in (*_OURS, Phase.FAILED)}
        return self._site.render(
            "overview.html",
            title="What is waiting",
            waiting=waiting[:_MOST],
            more_wait=len(waiting) > _MOST,
            under_way=[each for phase in _OURS for each in found[phase][:_FEW]],
            failed=found[Phase.FAILED][:_FEW],
            more=[phase for phase, those in found.items() if len(those) > _FEW],
            steps=self._failed_steps(),
            lost=self._lost() if g.caller.role is Role.OPERATOR else [],
            holds=self._store.holds(),
            newest=self._store.list_promotions(limit=_FEW).items,
        )

    def _of(self, phase: Phase) -> tuple[Promotion, ...]:
        return self._store.list_promotions(phase=phase, limit=_FEW + 1).items

    def _failed_steps(self) -> list[tuple[AliasKey | None, Step]]:
        """Those that the warnings count, and whatever else stands on no promotion's page; messages follow no alias."""
        moves = {
            step.id: (alias_of(step), step)
            for steps in (failed_of_latest_moves(self._store), self._store.failed_of_aliases())
            for step in steps[:_FEW]
        }
        return [*moves.values(), *((None, step) for step in self._store.failed_notices()[:_FEW])]

    def _lost(self) -> list[StoredNotification]:
        """What operators alone may read, as over the API."""
        phases = (NotificationPhase.FAILED, NotificationPhase.UNRESOLVED)
        return [
            each for phase in phases for each in self._store.list_notifications(phase=phase, limit=3).items
        ]
