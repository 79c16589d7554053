"""What `champion-gate doctor` looks at, and what it found: no call is made here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

AWAY = (
    "Run it again. If it stays so: can this machine reach the address, through its DNS, proxy and firewall?"
)
"""What to do where nothing answers."""


class Verdict(StrEnum):
    """What came of a check. NOT_KNOWN is no OK: what would tell could not be read."""

    OK = "ok"
    FAIL = "FAIL"
    WARNING = "warning"
    NOT_KNOWN = "not known"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: the key of the check, such as `databricks.identity`.
        found: what there is, in a sentence; holds no secret.
        why: why it matters; empty where all is well.
        remedy: what exactly to do: a statement, a settings page's path, a command; empty where all is well.
        gate: the name of the gate that it is about; empty for what concerns all.
    """

    check: str
    verdict: Verdict
    found: str
    why: str = ""
    remedy: str = ""
    gate: str = ""


@dataclass(frozen=True)
class Check:
    """A kind of check: a row of the table in service/docs/doctor.md.

    Attributes:
        key: stable: a part of the world and what is looked at there, such as `databricks.identity`.
        cheap: whether it costs a call or two, so that the service itself runs it in the background.
    """

    key: str
    title: str
    why: str
    cheap: bool = False

    def ok(self, found: str) -> Finding:
        """All is well."""
        return Finding(self.key, Verdict.OK, found)

    def fail(self, found: str, remedy: str) -> Finding:
        """It will not work, or is not safe."""
        return Finding(self.key, Verdict.FAIL, found, self.why, remedy)

    def warning(self, found: str, remedy: str) -> Finding:
        """It works, and a person should look at it."""
        return Finding(self.key, Verdict.WARNING, found, self.why, remedy)

    def warnings(self, problems: Iterable[tuple[str, str]], otherwise: str) -> Iterable[Finding]:
        """One for each problem and its remedy; where there is none, all is well."""
        return [self.warning(*each) for each in problems] or [self.ok(otherwise)]

    def not_known(self, found: str, remedy: str) -> Finding:
        """It could not be looked at."""
        return Finding(self.key, Verdict.NOT_KNOWN, found, self.why, remedy)


@dataclass(frozen=True)
class Checkup:
    """One check to be made, of one gate or of what all share.

    Attributes:
        run: makes it; yields one finding or several, and may raise GateError instead of the next.
        gate: the gate's name; empty where it concerns all.
        clean_up: takes back what it may have left; called at the end in any case, also where it was given up.
    """

    check: Check
    run: Callable[[], Iterable[Finding]]
    gate: str = ""
    clean_up: Callable[[], None] = lambda: None
