"""The one proof that the service may move an alias: set another one on the same model, and delete it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Gate, Rights
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.versions import VersionStatus
from champion_gate.errors import ForbiddenError, VendorError
from champion_gate.log import get_logger
from champion_gate.store import Store

log = get_logger(__name__)

ALIAS = "champion-gate-doctor"
CHECK = Check(
    "registry.write",
    f"the alias {ALIAS} can be set on the gate's model, and deleted (with --write-probe)",
    "Nothing else proves the right to move the gate's own alias; without it the refusal comes after people have approved.",
)
REFUSED = Check(
    "registry.refused",
    "the registry has not refused to let the service move the gate's alias",
    "Nobody is asked for approval since, as it would be refused again (`rights: check` of the gate).",
    cheap=True,
)
CHECKS = (REFUSED, CHECK)


def refusal(store: Store, key: AliasKey, gate: Gate) -> Iterator[Finding]:
    """Whether a refusal is on record."""
    known = store.known_alias(key)
    told = f"{key.alias} of {key.model}"
    if known is None or known.refused is None:
        yield REFUSED.ok(f"no refusal to move {told} is on record")
    elif gate.rights is Rights.ASSUME:
        yield REFUSED.warning(
            f"{told}: {known.refused}", "People are asked all the same, by rights: assume of the gate."
        )
    else:
        remedy = f"When it is mended: champion-gate doctor --write-probe --gate {gate.name}"
        yield REFUSED.fail(f"{told}: {known.refused}", remedy)


class WriteProbe:
    """Sets and deletes one alias, which nobody else may have, and notes what the registry said of it."""

    def __init__(
        self, registry: ModelRegistry, key: AliasKey, store: Store | None, taken_names: Iterable[str]
    ) -> None:
        """Nothing is called yet.

        Args:
            registry: where the model is.
            key: the alias whose moving depends on the same right.
            store: keeps a refusal, so that nobody is asked; None where there is no database.
            taken_names: aliases that gates.yaml names.
        """
        self._registry = registry
        self._key = key
        self._store = store
        self._taken_names = {each.casefold() for each in taken_names}
        self._lock = threading.Lock()  # held from before the alias is set until it is deleted
        self._may_be_set = False
        self._is_over = False

    def checkup(self, gate: str) -> Checkup:
        """The check of a gate."""
        return Checkup(CHECK, self.run, gate, self.clean_up)

    def run(self) -> Iterator[Finding]:
        """Set it, delete it, and say what came of it."""
        model, by_hand = self._key.model, f"Delete the alias {ALIAS} of {self._key.model}, if it is there."
        if ALIAS in self._taken_names:
            yield CHECK.fail(f"gates.yaml names the alias {ALIAS}", "Choose another name there.")
            return
        ready = [
            each.version for each in self._registry.list_versions(model) if each.status is VersionStatus.READY
        ]
        if not ready:
            yield CHECK.not_known(f"{model} has no ready version that we see", self._registry.listing_needs)
            return
        try:
            was_set = self._set_and_delete(ready[0])
        except VendorError as error:
            remedy = f"{error.hint} {by_hand if self._may_be_set else ''}".strip()
            if isinstance(error, ForbiddenError):
                self._note(str(error))
                yield CHECK.fail(error.message, remedy)
            else:
                yield CHECK.not_known(error.message, remedy)
        else:
            if was_set:
                self._note(None)
                yield CHECK.ok(f"the alias {ALIAS} was set on {model} v{ready[0]}, and deleted")

    def _set_and_delete(self, version: str) -> bool:
        """Whether both were done; not where the doctor has been stopped meanwhile."""
        with self._lock:
            if self._is_over:
                return False
            self._may_be_set = True
            try:
                self._registry.set_alias(self._key.model, ALIAS, version)
            except ForbiddenError:
                self._may_be_set = False
                raise
            self._delete()
            return True

    def clean_up(self) -> None:
        """Delete it, if it may still be there; nothing is set from then on."""
        self._is_over = True
        with self._lock:
            if not self._may_be_set:
                return
            try:
                self._delete()
            except VendorError as error:
                log.warning(
                    "the probe's alias may be left", alias=ALIAS, model=self._key.model, error=error.message
                )

    def _delete(self) -> None:
        self._registry.delete_alias(self._key.model, ALIAS)
        self._may_be_set = False

    def _note(self, refused: str | None) -> None:
        if self._store is not None:
            self._store.note_refusal(self._key, refused)
