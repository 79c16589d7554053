"""What follows a registry's webhook: a look at what it tells about, and nothing on its own word."""

from __future__ import annotations

from collections.abc import Callable

from champion_gate.domain.json_body import Ignored, shown
from champion_gate.domain.names import check_model, check_version
from champion_gate.domain.registry_news import AliasMoved, RegistryNews
from champion_gate.errors import GateError, InvalidInputError
from champion_gate.flow.context import Context
from champion_gate.flow.made_elsewhere import Elsewhere
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
        self._elsewhere = Elsewhere(context)
        self._wake_ups = context.wake_ups
        self._look = look

    def heard(self, news: RegistryNews) -> Callable[[], None] | Ignored:
        """What is to be done once the sender has its answer, or why nothing is; a version is on record then."""
        if isinstance(news, AliasMoved):
            try:
                key = self._managed.key(news.model, news.alias)
            except GateError as error:  # no gate names it, or it is no name
                return Ignored(error.message)
            return lambda: self._look(alias_look(key))
        try:
            told = self._elsewhere.told(
                check_model(news.model, three_level=False), check_version(news.version)
            )
        except InvalidInputError as error:
            return Ignored(error.message)
        if told is None:
            return Ignored(f"no gate asks about versions of {shown(news.model)} that no watched job made")
        return lambda: self._wake_ups.notification(told)
