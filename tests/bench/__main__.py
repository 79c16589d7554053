"""`make bench`: runs the benchmarks, prints their table and keeps it in .bench/latest.json.

    make bench                                  all of them
    make bench ARGS="acks growth"               some; the others' last numbers from this machine are kept
    make bench ARGS="burst --scale 0.02"        a quick look, kept in .bench/quick.json instead
    make bench ARGS=--write                     measures nothing; puts the last table into deploy/SCALING.md

Each benchmark is a module with `measure(report)`, which returns its part of the file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import machine, moment
from bench.report import HEAD, Report, Row, say

NAMES = ("acks", "latency", "calls", "burst", "memory", "growth")
ROUNDS = 5
ROOT = Path(__file__).parents[2]
FOLDER, PAGE = ROOT / ".bench", ROOT / "deploy" / "SCALING.md"
BEGIN, END = "<!-- bench -->\n", "<!-- /bench -->"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench", description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--scale", type=float, default=1.0, help="below 1 for a quick look")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each number is measured")
    parser.add_argument("--write", action="store_true", help=f"put the last table into {PAGE.name}")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    file = FOLDER / ("latest.json" if asked.scale == 1 and asked.rounds >= ROUNDS else "quick.json")
    if asked.write:
        write(json.loads((FOLDER / "latest.json").read_text()))
        return
    say(machine())
    failed = []
    for name in asked.names or NAMES:
        try:
            run(name, Report(asked.rounds, asked.scale), file)
        except Exception:  # noqa: BLE001 - hours of others must not be lost with it
            failed.append(name)
            traceback.print_exc()
    if failed:
        raise SystemExit(f"Not measured: {', '.join(failed)}")


def run(name: str, report: Report, file: Path) -> None:
    """Measure, and put it beside what the other benchmarks measured last, if that was on this machine."""
    module = importlib.import_module(f"bench.{name}")
    title = str(module.__doc__).splitlines()[0].rstrip(".")
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {moment()}"
    report.begin(title, when)
    measured = module.measure(report)
    file.parent.mkdir(exist_ok=True)
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("machine") != machine():
        kept = {"machine": machine(), "tables": {}}
    kept[name] = measured
    kept["tables"][name] = {"title": title, "when": when, "rows": report.kept()}
    file.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def write(kept: dict[str, Any]) -> None:
    """Put the table between the page's markers."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE} has lost its markers: {BEGIN.strip()} and {END}")
    tables = [table(kept["tables"][name]) for name in NAMES if name in kept["tables"]]
    text = "\n\n".join([f"On {kept['machine']}.", *tables])
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n\n{END}{after}")
    say(f"The last table is in {PAGE}.")


def table(kept: dict[str, Any]) -> str:
    """One benchmark's part of the page."""
    rows = [HEAD, ("---", "--:", "---", "---"), *(Row(**row).cells() for row in kept["rows"])]
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"### {kept['title']}", "", f"{kept['when']}.", "", *lines])


if __name__ == "__main__":
    main()
