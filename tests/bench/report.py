"""A small table of what was measured, beside the limits."""

from __future__ import annotations

import sys
from collections.abc import Callable


class Report:
    """Lines as they are measured; the script fails when a limit is missed."""

    def __init__(self, title: str) -> None:
        self.missed = False
        _say(f"\n{title}\n")
        _say(f"  {'':58} {'measured':>12} {'limit':>10}")

    def line(self, what: str, value: float, unit: str, limit: float | None = None, digits: int = 1) -> None:
        """Print one measurement; limits are exclusive."""
        missed = limit is not None and value >= limit
        self.missed |= missed
        shown = f"< {limit:g} {unit}" if limit is not None else ""
        _say(f"  {what:58} {value:>{9}.{digits}f} {unit:<4} {shown:>10}{'  MISSED' if missed else ''}")

    def end(self) -> None:
        """Exit with 1 when a limit was missed."""
        sys.exit(1 if self.missed else 0)


def least(times: int, measure: Callable[[], float]) -> float:
    """The least of several runs: what the machine's other work adds is not ours."""
    return min(measure() for _ in range(times))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
