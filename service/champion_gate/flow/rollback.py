"""Rollback: to which version an alias goes back, and when one has already been carried out."""

from __future__ import annotations

from collections.abc import Sequence

from champion_gate.domain.aliases import AliasIntent, AliasLock, Order
from champion_gate.domain.ledger.chain import LedgerLine
from champion_gate.domain.ledger.entries import named, version_before, version_id_of
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.versions import ModelVersion, VersionStatus
from champion_gate.errors import ConflictError, PreconditionFailedError, VendorNotFoundError


def target(registry: ModelRegistry, lock: AliasLock, lines: Sequence[LedgerLine]) -> ModelVersion:
    """The version on which the alias stood before, as the registry has it now.

    Args:
        registry: where it is looked up.
        lock: of the alias, settled.
        lines: all of the alias's lines of the ledger.

    Raises:
        ConflictError: none is on record, or it is gone, not ready, or another one under the same number.
        VendorError: the registry did not answer or refused.
    """
    version = version_before(lines, lock.known_version)
    if version is None:
        raise ConflictError(
            f"No version before {named(lock.known_version)} is on record for {lock.key.model}@{lock.key.alias}; "
            "nothing was changed.",
            hint="Set the version that you want.",
        )
    try:
        found = registry.get_version(lock.key.model, version)
    except VendorNotFoundError as error:
        raise ConflictError(
            f"The version before was v{version}, and it is gone from the registry, or hidden from us; "
            "nothing was changed.",
            hint="Set the version that you want.",
        ) from error
    if found.version_id != version_id_of(lines, version):
        raise ConflictError(
            f"The version before was v{version}, and what bears this number now is another one, or cannot be "
            "told from it; nothing was changed.",
            hint="Set the version that you want.",
        )
    if found.status is not VersionStatus.READY:
        raise ConflictError(
            f"The version before was v{version}, and it is {found.status.value}; nothing was changed."
        )
    return found


def check_finished(lock: AliasLock, finished: AliasIntent, order: Order) -> None:
    """Whether a rollback that was cut off, and is found carried out just now, is the one that is ordered.

    Args:
        lock: of the alias, settled.
        finished: the write that was found carried out.
        order: which is not carried out once more.

    Raises:
        ConflictError: somebody else had ordered it.
        PreconditionFailedError: the alias stood elsewhere before it.
    """
    if finished.actor != order.caller.actor:
        raise ConflictError(
            f"A rollback by {finished.actor} was under way and is finished now: {lock.key.alias} stands on "
            f"{named(lock.known_version)}. Nothing more was changed."
        )
    if order.only_if is not None and not order.only_if.allows(finished.from_version):
        raise PreconditionFailedError(
            f"{lock.key.alias} of {lock.key.model} stood on {named(finished.from_version)} before."
        )
