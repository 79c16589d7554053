"""What follows a registry's webhook: a look at what it tells about, and nothing on its own word."""

from __future__ import annotations

from collections.abc import Callable

from champion_gate.domain.json_body import Ignored
from champion_gate.domain.registry_news import AliasMoved, RegistryNews
from champion_gate.errors import GateError
from champion_gate.flow.context import Context
from champion_gate.flow.sweep import alias_look


class RegistryNewsDesk:
    """Has looks made at what webhooks tell about; one that gets lost is made up for by the next sweep."""

    def __init__(self, context: Context, look: Callable[[str], None]) -> None:
        """Set up.

        Args:
            context: with the aliases that gates name.
            look: has one of the sweep's looks made.
        """
        self._managed = context.managed
        self._look = look

    def heard(self, news: RegistryNews) -> Callable[[], None] | Ignored:
        """What is to be done once the sender has its answer, or why nothing is."""
        if isinstance(news, AliasMoved):
            try:
                key = self._managed.key(news.model, news.alias)
            except GateError as error:  # no gate names it, or it is no name
                return Ignored(error.message)
            return lambda: self._look(alias_look(key))
        return Ignored("no gate takes versions that the registry tells about")
