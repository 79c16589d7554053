"""What was measured: each number beside its reference and its goal.

Machines differ and are busy with other things. So what counts is a ratio to a reference that the same run measures,
in turn with ours, several times; medians are reported.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEAD = ("", "measured", "beside", "goal")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        value: its median.
        unit: of the value; none for a ratio or a count.
        beside: the reference, in words, as measured in the same run.
        at_least: the goal, where more is better.
        at_most: the goal, where less is better.
        digits: after the point.
        scale: below 1 where it was measured with less than the page says.
    """

    what: str
    value: float
    unit: str = ""
    beside: str = ""
    at_least: float | None = None
    at_most: float | None = None
    digits: int = 2
    scale: float = 1.0

    @property
    def missed(self) -> bool:
        """Whether there is a goal, and it was not reached."""
        return (self.at_least is not None and self.value < self.at_least) or (
            self.at_most is not None and self.value > self.at_most
        )

    def cells(self) -> tuple[str, str, str, str]:
        """As the table shows it."""
        goal = f"≥ {self.at_least:g}" if self.at_least is not None else ""
        goal = f"≤ {self.at_most:g}" if self.at_most is not None else goal
        measured = f"{self.value:,.{self.digits}f} {self.unit}".rstrip()
        what = self.what if self.scale >= 1 else f"{self.what} (at {self.scale:g} of the size)"
        return what, measured, self.beside, f"{goal}, missed" if self.missed else goal


@dataclass
class Report:
    """Takes the rows of one benchmark, and shows each as it comes.

    Attributes:
        rounds: how often each number is measured.
        scale: below 1 for a quick look: fewer notifications, fewer promotions, less time.
    """

    rounds: int = 5
    scale: float = 1.0
    rows: list[Row] = field(default_factory=list)

    def begin(self, title: str, when: str) -> None:
        """Say what comes."""
        say(f"\n{title} ({when})\n{line(HEAD)}")

    def row(self, what: str, value: float, unit: str = "", *, sized: bool = False, **more: Any) -> None:
        """Add a line; see `Row` for what more there is. A quick look measures less of what is sized."""
        self.rows.append(Row(what, value, unit, scale=self.scale if sized else 1.0, **more))
        say(line(self.rows[-1].cells()))

    def scaled(self, number: int, least: int = 1) -> int:
        """This many, or less for a quick look."""
        return max(round(number * self.scale), least)

    def in_turn(self, measures: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
        """Measure each as often as there are rounds, one after the other in every round, so that noise meets all."""
        taken: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(self.rounds):
            for name, measure in measures.items():
                taken[name].append(measure())
        return taken

    def kept(self) -> list[dict[str, object]]:
        """The rows as they are written to a file."""
        return [asdict(row) for row in self.rows]


def ratio(measured: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the rounds' ratios: each is of two numbers of the same minute."""
    return statistics.median(ours / theirs for ours, theirs in zip(measured, reference, strict=True))


def percentile(taken: Sequence[float], percent: float) -> float:
    """The nearest rank."""
    ordered = sorted(taken)
    return ordered[max(math.ceil(percent / 100 * len(ordered)), 1) - 1]


def line(cells: tuple[str, str, str, str]) -> str:
    """A line of the table on a terminal."""
    what, measured, beside, goal = cells
    return f"  {what:60} {measured:>14}   {beside:42} {goal}".rstrip()


def say(text: str) -> None:
    """Print it at once, also into a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
