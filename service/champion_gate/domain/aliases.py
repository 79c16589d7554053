"""An alias: the row that its one writer holds, the hold that keeps it in place, and what operators order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from champion_gate.domain.after import After
from champion_gate.domain.callers import Caller
from champion_gate.domain.gates import Drift, Gate
from champion_gate.domain.names import check_alias, check_model
from champion_gate.domain.text import is_visible
from champion_gate.domain.values import ALIAS, MODEL, Listed, Strict
from champion_gate.errors import InvalidInputError, NotFoundError


@dataclass(frozen=True)
class AliasKey:
    """Which alias: the name of the one-writer row."""

    registry: str
    model: str
    alias: str


class ChangeSource(StrEnum):
    """On whose word an alias is changed by us."""

    PROMOTION = "promotion"
    MANUAL = "manual"
    ROLLBACK = "rollback"
    CHALLENGER = "challenger"
    RESTORE = "restore"


@dataclass(frozen=True)
class Hold:
    """Keeps an alias where it is: promotions wait, manual changes need `override_hold`.

    Attributes:
        by_rollback: a rollback placed it; another rollback needs no override.
    """

    actor: str
    reason: str
    at: datetime
    by_rollback: bool = False

    def __str__(self) -> str:
        return f"on hold by {self.actor} because {self.reason}"


ARRIVES_WITHIN = timedelta(minutes=2)
"""A write that was sent arrives by then or never: twice its total deadline."""


@dataclass(frozen=True)
class AliasIntent:
    """A write to an alias that was about to happen: committed before the registry is called.

    Attributes:
        from_version, to_version: None stands for "no alias".
        fence: the writer's number; a later writer has a higher one.
        at: when it was first about to happen.
        facts: what else the ledger is to say of it.
        sent_at: when it was last about to be sent; None in rows of earlier releases.
    """

    from_version: str | None
    to_version: str | None
    fence: int
    actor: str
    reason: str
    promotion_id: str | None
    at: datetime
    source: ChangeSource = ChangeSource.PROMOTION
    facts: Mapping[str, str | None] = field(default_factory=dict)
    sent_at: datetime | None = None

    def is_still_at_start(self, current: str | None) -> bool:
        """Whether an alias that stands there does not show the write, nor anybody else's."""
        return current == self.from_version != self.to_version

    @property
    def arrives_before(self) -> datetime:
        """From when on it is certain that the write, if it has not arrived, never will."""
        return (self.sent_at or self.at) + ARRIVES_WITHIN


@dataclass(frozen=True)
class AliasLock:
    """The leased, fenced row that every writer of an alias holds.

    Attributes:
        known_version: where the alias stood when the gate last looked or wrote; None = no alias.
        seen: whether the gate has ever looked; `known_version` means nothing before.
        intent: a write that somebody began and nobody finished yet.
        hold: None where there is none.
        dropped: writes that were given up and may arrive all the same, oldest first.
        refused: why the registry let us not move it; None since it did, or where that was never tried.
    """

    key: AliasKey
    fence: int
    lease: str
    seen: bool
    known_version: str | None
    intent: AliasIntent | None
    hold: Hold | None = None
    dropped: tuple[AliasIntent, ...] = ()
    refused: str | None = None

    def is_settled_at(self, current: str | None) -> bool:
        """Whether an alias that stands there leaves nothing to record, and no write to wait for."""
        return self.intent is None and not self.dropped and self.seen and self.known_version == current

    def sent_for(self, promotion_id: str) -> AliasIntent | None:
        """The promotion's latest write of which nobody knows yet what came; None if there is none."""
        unsettled = (*self.dropped, *(() if self.intent is None else (self.intent,)))
        return next((each for each in reversed(unsettled) if each.promotion_id == promotion_id), None)


@dataclass(frozen=True)
class OnlyIf:
    """What an operator says of the alias as it stands (`If-Match`); the order is refused if it is not so.

    Attributes:
        versions: one of these holds the alias.
        any_version: some version holds it, whichever (`If-Match: *`).
    """

    versions: frozenset[str] = frozenset()
    any_version: bool = False

    def allows(self, current: str | None) -> bool:
        """Whether the alias stands as was said."""
        return current is not None and (self.any_version or current in self.versions)


LONGEST_REASON = 2000


def check_reason(reason: str) -> str:
    """Return the reason as it is, or raise InvalidInputError: 1 to 2000 characters, one of them visible."""
    if not is_visible(reason) or len(reason) > LONGEST_REASON:
        raise InvalidInputError(
            "A change needs a reason.", hint=f"Say why, in at most {LONGEST_REASON} characters."
        )
    return reason


@dataclass(frozen=True)
class Order:
    """Who orders a change of an alias, why, and under which conditions.

    Attributes:
        reason: in the operator's words; 1 to 2000 characters, one of them visible.
        override_hold: carry it out although the alias is on hold.

    Raises:
        InvalidInputError: the reason is none.
    """

    caller: Caller
    reason: str
    override_hold: bool = False
    only_if: OnlyIf | None = None

    def __post_init__(self) -> None:
        check_reason(self.reason)


@dataclass(frozen=True)
class AliasState:
    """Where an alias stands in the registry now; `version` None: on none.

    Attributes:
        outside: what is known of its latest move, where that was made outside the gate.
    """

    key: AliasKey
    version: str | None
    hold: Hold | None
    outside: str | None = None


@dataclass(frozen=True)
class AliasChange:
    """What an order came to.

    Attributes:
        from_version: where the alias stood before.
        changed: False where it stood there already, and nothing was written.
    """

    state: AliasState
    from_version: str | None
    changed: bool


class FurtherAlias(Strict):
    """An entry of `aliases` in gates.yaml: operators may change it, and no gate asks for it but for the sake of `after`."""

    model: Annotated[str, MODEL] = Field(description="the registered model, catalog.schema.model")
    alias: Annotated[str, ALIAS] = Field(description="the alias, such as Champion")
    after: Annotated[tuple[After, ...], Listed(at_most=20)] = Field(
        default=(),
        description="what follows when the gate has moved the alias, in this order; with it, gates may name the alias too",
    )

    @property
    def destination(self) -> str:
        """The model whose alias it is, as of a gate."""
        return self.model


class NotManagedError(NotFoundError):
    """Neither a gate nor the list of further aliases names it."""

    code = "not_managed"


class ManagedAliases:
    """Finds the key of an alias by the names that a caller gives."""

    def __init__(
        self, gates: Iterable[Gate], further: Iterable[FurtherAlias], *, registry: str, folds_case: bool
    ) -> None:
        self._folds_case = folds_case
        entries: list[Gate | FurtherAlias] = [*gates, *further]
        keys = [AliasKey(registry, each.destination, each.alias) for each in entries]
        self._keys = {self._folded(key.model, key.alias): key for key in reversed(keys)}
        self._after = {
            self._folded(each.destination, each.alias): each.after for each in entries if each.after
        }
        self._drift = {
            self._folded(each.destination, each.alias): each.drift
            for each in entries
            if isinstance(each, Gate)
        }

    def names(self, model: str, alias: str) -> bool:
        """Whether it is one of them."""
        return self._folded(model, alias) in self._keys

    def all(self) -> tuple[AliasKey, ...]:
        """All of them, by model and alias."""
        return tuple(sorted(self._keys.values(), key=lambda key: (key.model, key.alias)))

    def after(self, key: AliasKey) -> tuple[After, ...]:
        """What follows a move of it."""
        return self._after.get(self._folded(key.model, key.alias), ())

    def drift(self, key: AliasKey) -> Drift:
        """What is done where somebody else has moved it."""
        return self._drift.get(self._folded(key.model, key.alias), Drift.REPORT)

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
