"""Which aliases operators may change here: those that a gate or the list of further aliases names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.gates import Gate
from champion_gate.domain.names import check_alias, check_model
from champion_gate.domain.values import ALIAS, MODEL, Strict
from champion_gate.errors import NotFoundError


class FurtherAlias(Strict):
    """An entry of `aliases` in gates.yaml: no gate asks for it, and operators may change it."""

    model: Annotated[str, MODEL] = Field(description="the registered model, catalog.schema.model")
    alias: Annotated[str, ALIAS] = Field(description="the alias, such as Champion")


class NotManagedError(NotFoundError):
    """Neither a gate nor the list of further aliases names it."""

    code = "not_managed"


class ManagedAliases:
    """Finds the key of an alias by the names that a caller gives."""

    def __init__(
        self, gates: Iterable[Gate], further: Iterable[FurtherAlias], *, registry: str, folds_case: bool
    ) -> None:
        self._folds_case = folds_case
        keys = [AliasKey(registry, gate.model, gate.alias) for gate in gates]
        keys += [AliasKey(registry, each.model, each.alias) for each in further]
        self._keys = {self._folded(key.model, key.alias): key for key in reversed(keys)}

    def all(self) -> tuple[AliasKey, ...]:
        """All of them, by model and alias."""
        return tuple(sorted(self._keys.values(), key=lambda key: (key.model, key.alias)))

    def key(self, model: str, alias: str) -> AliasKey:
        """The alias with these names, spelt as gates.yaml spells them.

        Raises:
            InvalidNameError: one of them is no name.
            NotManagedError: it is none of ours.
        """
        checked = check_model(model, three_level=self._folds_case)
        key = self._keys.get(self._folded(checked, check_alias(alias)))
        if key is None:
            raise NotManagedError(
                f"No gate names {checked}@{alias}.",
                hint=self._other_spelling(f"{checked}@{alias}", (f"{k.model}@{k.alias}" for k in self.all()))
                or "Add a gate, or an entry under `aliases`, to gates.yaml.",
            )
        return key

    def of_model(self, model: str) -> tuple[AliasKey, ...]:
        """The aliases of one model.

        Raises:
            InvalidNameError: it is no name.
            NotManagedError: no gate names it.
        """
        checked = check_model(model, three_level=self._folds_case)
        found = tuple(key for key in self.all() if key.model == checked)
        if not found:
            raise NotManagedError(
                f"No gate names the model {checked}.",
                hint=self._other_spelling(checked, (key.model for key in self.all())),
            )
        return found

    @staticmethod
    def _other_spelling(name: str, managed: Iterable[str]) -> str:
        """Name what is managed and differs in upper and lower case only; nothing is ever taken for it."""
        found = dict.fromkeys(each for each in managed if each.casefold() == name.casefold())
        return f"Upper and lower case differ here: gates.yaml names {', '.join(found)}." if found else ""

    def _folded(self, model: str, alias: str) -> tuple[str, str]:
        return (model.casefold(), alias.casefold()) if self._folds_case else (model, alias)
