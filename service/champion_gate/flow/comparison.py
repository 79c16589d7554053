"""The candidate beside the version that holds the alias, read from the registry before people are asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from champion_gate.domain.copies import MadeOf
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ledger.entries import SOURCE_MODEL, SOURCE_VERSION, SOURCE_VERSION_ID, VERSION_ID
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.validation import Validated
from champion_gate.domain.versions import ModelVersion, TaggedVersion, VersionDetails
from champion_gate.errors import VendorNotFoundError, VendorRefusedError
from champion_gate.flow.alias_writer import AliasWriter
from champion_gate.flow.apply_approval import Approvals
from champion_gate.flow.context import Context
from champion_gate.flow.validations import Validations

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compared:
    """The candidate beside Champion, as they are read now.

    Attributes:
        champion: None also where its version is gone.
        validated: what validations said of both; None where the candidate was not validated.
        made_of: the approved version of which Champion is a copy, as the ledger says; None where it is none of ours.
    """

    candidate: VersionDetails
    champion_version: str | None
    champion: VersionDetails | None
    validated: Validated | None
    made_of: MadeOf | None = None


class Comparison:
    """Reads both versions and what was measured of them; decides nothing."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._together = context.together
        self._approvals = Approvals(context)
        self._alias_writer = AliasWriter(context)
        self._validations = Validations(context)

    def read(self, taken: Promotion, keep: Callable[[], None]) -> Compared:
        """Both, read together, and what validations said of them.

        Raises:
            VendorError: the registry did not answer or refused.
        """
        candidate, (version, champion) = self._together.all(
            lambda: self._registry.get_details(taken.version), lambda: self._champion(taken, keep)
        )
        made_of = self._made_of(taken, champion)
        if champion is not None and made_of is not None:
            champion = self._with_numbers_of(champion, made_of)
        validated = self._validations.of(taken, champion, made_of)
        return Compared(candidate, version, champion, validated, made_of)

    def _with_numbers_of(self, copy: VersionDetails, made_of: MadeOf) -> VersionDetails:
        """A copy of ours with what was measured of the approved version: it has the same files, and no numbers of its own."""
        try:
            source = self._registry.get_version(made_of.model, made_of.version)
            details = self._registry.get_details(source)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return copy
        if source.version_id != made_of.version_id:
            return copy
        measured = replace(
            copy.version,
            source=source.source,
            run_id=source.run_id,
            logged_model_id=source.logged_model_id,
        )
        return replace(details, version=measured, tags=copy.tags)

    def _made_of(self, taken: Promotion, champion: VersionDetails | None) -> MadeOf | None:
        """What the Champion is a copy of, as its promotion's line says; a rollback or an order since says nothing of that."""
        if champion is None or not taken.is_copied:
            return None
        for line in self._store.ledger_lines(taken.alias_key, kind=LedgerKind.ALIAS_CHANGE, limit=None):
            facts = line.entry.facts
            told = [facts.get(name) for name in (SOURCE_MODEL, SOURCE_VERSION, SOURCE_VERSION_ID)]
            is_it = (facts.get("to"), facts.get(VERSION_ID)) == (
                champion.version.version,
                champion.version.version_id,
            )
            if is_it and all(isinstance(each, str) for each in told):
                return MadeOf(*map(str, told))
        return None

    def _champion(
        self, taken: Promotion, keep: Callable[[], None]
    ) -> tuple[str | None, VersionDetails | None]:
        """Where the alias stands, and the Champion to compare with; None also for a version that is gone.

        Its MLflow run may be long deleted, or in another workspace: then what that alone says is shown as
        missing, and the reviewer judges without it.
        """
        held = self._holder(taken)
        version = self._alias_writer.stands(taken.alias_key) if held is None else held.version.version
        if version is None:
            return None, None
        keep()
        try:
            champion = held.version if held else self._registry.get_version(taken.model, version)
        except VendorNotFoundError as error:
            self._approvals.check_gone(taken, taken.model, version, error)
            return version, None
        keep()
        return version, self._champion_details(champion, held.tags if held else None)

    def _holder(self, taken: Promotion) -> TaggedVersion | None:
        """The version that holds the alias, where that is the one that is known to; else it takes a closer look."""
        known = self._store.known_alias(taken.alias_key)
        is_known = known is not None and known.seen
        if known is not None and is_known and known.known_version is None:
            return None
        number = known.known_version if known is not None and is_known else None
        before = self._store.promotions_of_version(taken.alias_key, number) if number is not None else []
        held = self._registry.get_holder(taken.model, taken.alias, [each.version for each in before])
        if number is not None and held is not None and held.version.version != number:
            return None
        return held

    def _champion_details(self, champion: ModelVersion, tags: Mapping[str, str] | None) -> VersionDetails:
        try:
            return self._registry.get_details(champion, tags)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            _log.warning(
                "the MLflow run of Champion %s v%s cannot be read: %s",
                champion.model,
                champion.version,
                error,
            )
            return self._without_run(VersionDetails(champion, {}, None, unread_because=str(error)))

    def _without_run(self, details: VersionDetails) -> VersionDetails:
        """With the logged model, which may be there although the run is not."""
        if details.version.logged_model_id is None:
            return details
        try:
            model = self._registry.get_logged_model(details.version.logged_model_id)
        except VendorRefusedError as error:
            if error.concerns_all:
                raise
            return replace(details, unread_because=str(error))
        return replace(details, logged_model=model)

    def champion_since(self, taken: Promotion, champion_version: str | None) -> datetime | None:
        """Since when the alias stands on this version, as far as the ledger tells."""
        for line in self._store.ledger_lines(taken.alias_key, kind=LedgerKind.ALIAS_CHANGE, limit=1):
            if line.entry.facts.get("to") == champion_version:
                return line.entry.at
        return None
