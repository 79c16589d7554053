"""Which words of enums the first release reads: one that is newer is declared with the release that brings it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from typing import Any, get_args, get_type_hints

from champion_gate.domain.aliases import AliasLock
from champion_gate.domain.callers import ApiToken
from champion_gate.domain.ledger.chain import LedgerEntry
from champion_gate.domain.notifications import StoredNotification
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.steps import Step
from champion_gate.store.releases import WORDS

STORED = (Promotion, Step, StoredNotification, AliasLock, LedgerEntry, ApiToken)
OF_THE_FIRST_RELEASE = {
    "ChangeSource": "promotion manual rollback challenger restore",
    "LedgerKind": "decision alias_change hold release identity step drift",
    "NotificationPhase": "received waiting resolved unresolved ignored failed",
    "Phase": "requested validating pending_approval approved copying promoted ineligible rejected expired superseded "
    "cancelled stale failed",
    "Role": "viewer operator",
    "RunResult": "running succeeded succeeded_with_failures unsuccessful unknown",
    "StepKind": "cancel_request cancel_doubles tag_version validate job endpoint challenger challenger_removal copy status "
    "comment merge drift_lookup reopen restore notice",
    "StepPhase": "planned running succeeded failed skipped overtaken",
    "Verdict": "approved rejected",
    "VersionStatus": "ready pending failed unknown",
}
"""Enum -> its words. As long as that release has not come out, a new word is added here."""


def enums(kind: Any, seen: set[Any]) -> Iterator[type[Enum]]:
    """The enums that a type holds, however deep."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        yield kind
    parts = get_type_hints(kind).values() if is_dataclass(kind) else get_args(kind)
    for part in parts:
        if part not in seen:
            seen.add(part)
            yield from enums(part, seen)


def test_a_word_that_the_first_release_does_not_read_is_declared() -> None:
    declared = {(type(word), word.value) for words in WORDS.values() for word in words}
    kinds = {each for stored in STORED for each in enums(stored, set())}
    found = {
        kind.__name__: {word.value for word in kind if (kind, word.value) not in declared} for kind in kinds
    }
    assert found == {name: set(words.split()) for name, words in OF_THE_FIRST_RELEASE.items()}, (
        "Declare it in store/releases.py, under the release that brings it."
    )
