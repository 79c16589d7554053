"""`make bench`: runs the benchmarks, prints their table and keeps it in .bench/.

    make bench                                  all of them
    make bench ARGS="acks growth"               some; the others' last numbers are kept
    make bench ARGS="burst --scale 0.02"        a quick look, kept beside the others in quick*.json
    make bench ARGS=--write                     measures nothing; puts the last tables into deploy/SCALING.md
    make bench ARGS="burst --write"             only that one's; the page's others stay as they are

Each benchmark is a module with `measure(report)`, which returns its part of latest.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import machine, moment
from bench.report import HEAD, Report, Row, say
from integration.process_world import Served

NAMES = ("acks", "latency", "calls", "burst", "memory", "gates", "growth", "pages")
ROUNDS = 5
PATIENCE_SECONDS = 300.0
"""How long a service may take to start: a slow start must not lose what has been measured."""
ROOT = Path(__file__).parents[2]
FOLDER, PAGE = ROOT / ".bench", ROOT / "deploy" / "SCALING.md"
NUMBERS, QUICK_NUMBERS = FOLDER / "latest.json", FOLDER / "quick.json"
TABLES, QUICK_TABLES = FOLDER / "latest-tables.json", FOLDER / "quick-tables.json"
SECTIONS = re.compile(r"^(?=### )", re.MULTILINE)
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1 for a quick look")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each number is measured")
    parser.add_argument("--write", action="store_true", help=f"put the last tables into {PAGE.name}")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    names = asked.names or list(NAMES)
    if asked.write:
        write(names)
        return
    say(machine())
    Served.patience = PATIENCE_SECONDS
    failed = []
    for name in names:
        try:
            run(name, Report(asked.rounds, asked.scale))
        except Exception:  # noqa: BLE001 - hours of others must not be lost with it
            failed.append(name)
            traceback.print_exc()
    if failed:
        raise SystemExit(f"Not measured: {', '.join(failed)}")


def run(name: str, report: Report) -> None:
    """Measure, and put it beside what the other benchmarks measured last."""
    module = importlib.import_module(f"bench.{name}")
    title = title_of(name)
    begun = time.monotonic()
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {moment()}"
    report.begin(title, when)
    measured = module.measure(report)
    took = f"took {(time.monotonic() - begun) / 60:.1f} minutes"
    say(f"  {took}")
    whole = report.scale >= 1 and report.rounds >= ROUNDS
    keep(NUMBERS if whole else QUICK_NUMBERS, name, measured)
    said = f"{when}, {took}, medians of {report.rounds}; {machine()}"
    keep(TABLES if whole else QUICK_TABLES, name, {"title": title, "when": said, "rows": report.kept()})


def kept(file: Path) -> dict[str, Any]:
    """What is in a file of .bench/."""
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def keep(file: Path, name: str, part: dict[str, Any]) -> None:
    """Put one benchmark's part into a file, in the order of `NAMES`."""
    parts = {**kept(file), name: part}
    file.parent.mkdir(exist_ok=True)
    ordered = {each: parts[each] for each in NAMES if each in parts}
    file.write_text(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")


def write(names: Sequence[str]) -> None:
    """Put these benchmarks' last tables between the page's markers, at full size where there is one of that."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    there, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has lost its markers: {BEGIN.strip()} and {END}")
    measured = {**kept(QUICK_TABLES), **kept(TABLES)}
    there_now = (each.strip() for each in SECTIONS.split(there) if each.startswith("### "))
    sections = {each.splitlines()[0].removeprefix("### "): each for each in there_now}
    for name in names:
        if name in measured:
            sections[measured[name]["title"]] = table(measured[name])
    titles = [title_of(name) for name in NAMES]
    text = "\n\n".join(sections[title] for title in titles if title in sections)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")
    say(f"The last tables are in {PAGE}.")


def title_of(name: str) -> str:
    """How a benchmark's table is called."""
    return str(importlib.import_module(f"bench.{name}").__doc__).splitlines()[0].rstrip(".")


def table(part: dict[str, Any]) -> str:
    """One benchmark's part of the page."""
    rows = [HEAD, ("---", "--:", "---", "---"), *(Row(**row).cells() for row in part["rows"])]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"### {part['title']}", "", f"{part['when']}.", "", *lines])


if __name__ == "__main__":
    main()
