"""What a setup command is about to change: told first, then done one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from champion_gate.errors import ConflictError, VendorRefusedError


@dataclass(frozen=True)
class Change:
    """One thing that is to be otherwise.

    Attributes:
        what: the thing, in words.
        difference: lines that begin with `- ` (what goes) and `+ ` (what comes); never a secret.
        make: brings it about. It reads again what it writes over, so that nothing is lost that changed meanwhile.
        stops: what somebody would lose by it, such as a request that waits, a sentence each.
    """

    what: str
    difference: tuple[str, ...]
    make: Callable[[], object]
    stops: tuple[str, ...] = ()


@dataclass
class Plan:
    """What is to be changed, in this order, and what the person has to know or to do."""

    changes: list[Change] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def carry_out(
    plan: Plan, *, dry_run: bool, agreed: Callable[[str], bool], say: Callable[[str], None]
) -> None:
    """Tell what would change and, unless that is all that is wanted, change it.

    Raises:
        ConflictError: somebody would lose something, and the person did not agree.
        GateError: what a change met; those before it stay, and another run goes on from there.
    """
    for change in plan.changes:
        say(f"{change.what}:")
        for line in change.difference:
            say(f"  {line}")
        for line in change.stops:
            say(f"  ! {line}")
    for remark in plan.remarks:
        say(f"note: {remark}")
    if not plan.changes:
        say("Nothing has to change.")
        return
    if dry_run:
        say("Nothing was changed (--dry-run).")
        return
    if any(change.stops for change in plan.changes) and not agreed(
        "Go on, with what the lines marked ! say?"
    ):
        raise ConflictError(
            "Nothing was changed: nobody has agreed to what the lines marked ! say.",
            hint="Give --yes to go on.",
        )
    for change in plan.changes:
        change.make()
        say(f"done: {change.what}")


@contextmanager
def needing(right: str) -> Iterator[None]:
    """Say of a refusal what the person lacks; the adapter's own words are for the service."""
    try:
        yield
    except VendorRefusedError as refused:
        if not refused.concerns_all:
            refused.hint = right
        raise
