"""What the storms have come to: one row of figures each, which the run prints at its end."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from faults.heard import Heard

_FILE = "storms.jsonl"


@dataclass
class Figures:
    """Of one storm.

    Attributes:
        name: which one.
        kills: how often the service was killed.
        places: at how many calls, on which side of them, that was meant to be, and where no such call came.
        injected: (vendor, fault) -> how often.
        found: what the judge has found.
    """

    name: str
    kills: int = 0
    places: Counter[str] = field(default_factory=Counter)
    injected: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def judged(self, heard: Heard, found: list[str]) -> None:
        """Note what was judged, and how."""
        self.found = found
        self.counts = Counter(
            {
                "notified": len({line["run"] for line in heard.of("notified") if line["status"] == 202}),
                "trained": len(heard.of("trained")),
                "promotions": len(heard.promotions),
                "moves": sum(line["alias"] == "Champion" for line in heard.of("alias")),
            }
        ) + Counter(row["phase"] for row in heard.promotions)

    def end(self) -> None:
        """Keep them for the run's end."""
        folder = os.environ.get("TESTS_SHARED_FOLDER")
        if folder is None:
            return
        row = {
            "storm": self.name,
            "kills": self.kills,
            "places": dict(self.places),
            "faults": sum(self.injected.values()),
            "injected": [[*key, count] for key, count in sorted(self.injected.items())],
            "counts": dict(self.counts),
            "found": self.found,
            "seconds": round(time.monotonic() - self.begun),
        }
        with (Path(folder) / _FILE).open("a") as file:
            file.write(json.dumps(row) + "\n")


_COLUMNS = ("kills", "faults", "notified", "trained", "promotions", "moves", "found", "seconds")


def told() -> list[str]:
    """The table of this run, as lines; empty where there was no storm."""
    file = Path(os.environ["TESTS_SHARED_FOLDER"]) / _FILE
    if not file.exists():
        return []
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    names = list(dict.fromkeys(row["storm"] for row in rows))
    told_rows = [
        [name, *(sum(_figure(row, each) for row in rows if row["storm"] == name) for each in _COLUMNS)]
        for name in names
    ]
    total = ["together", *(sum(row[at] for row in told_rows) for at in range(1, len(_COLUMNS) + 1))]
    lines = _table([["storm", *_COLUMNS], *told_rows, total])
    by_fault: Counter[str] = Counter()
    by_vendor: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for row in rows:
        places.update(row["places"])
        for vendor, fault, count in row["injected"]:
            by_fault[fault] += count
            by_vendor[vendor] += count
        ends = ("promoted", "rejected", "superseded", "stale", "failed", "ineligible", "expired", "cancelled")
        phases.update({each: row["counts"].get(each, 0) for each in ends})
    return [
        *lines,
        f"places: {_listed(places)}",
        f"faults: {_listed(by_fault)}",
        f"met by: {_listed(by_vendor)}",
        f"promotions ended: {_listed(phases)}",
        *(finding for row in rows for finding in row["found"]),
    ]


def _figure(row: dict[str, object], name: str) -> int:
    if name == "found":
        return len(row["found"])  # type: ignore[arg-type]
    counts: dict[str, int] = row["counts"]  # type: ignore[assignment]
    value = row[name] if name in row else counts.get(name, 0)
    assert isinstance(value, int)
    return value


def _table(rows: list[list[object]]) -> list[str]:
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            str(cell).ljust(width) if not at else str(cell).rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _listed(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counted.most_common() if count)
