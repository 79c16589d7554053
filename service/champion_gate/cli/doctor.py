"""`champion-gate doctor`: look at everything that the service needs around it, and say what to mend."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Self

import click

from champion_gate.cli.output import clean, json_option, print_json, print_line
from champion_gate.domain.findings import Checkup, Finding, Verdict

_WIDTH = max(len(verdict) for verdict in Verdict)
_INDENT = " " * (_WIDTH + 2)


@click.command(name="doctor")
@click.option("--gate", metavar="NAME", help="Look at one gate, and at what all gates share.")
@click.option(
    "--write-probe",
    is_flag=True,
    help="Also set and delete the alias champion-gate-doctor on each gate's model: nothing else proves the right to "
    "move its alias.",
)
@json_option
def command(gate: str | None, *, write_probe: bool, as_json: bool) -> None:
    """Look at everything that the service needs around it, and say what to mend.

    It needs the service's settings and no running service. Exits with 0 where nothing failed, also with warnings or
    where something is not known, with 1 where something failed, and with 2 where the settings cannot be used.
    """
    from champion_gate.bootstrap.doctor import local_checkups
    from champion_gate.domain.together import Together
    from champion_gate.flow.doctor import examine

    together = Together()
    checkups = local_checkups(gate, write_probe=write_probe, together=together)
    with _ended_by_sigterm_as_by_ctrl_c(), _Progress(checkups) as progress:
        findings = examine(checkups, together, told=progress.made)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], "counts": _counts(findings)})
    else:
        _print(findings)
    sys.exit(1 if any(finding.verdict is Verdict.FAIL for finding in findings) else 0)


def print_findings(findings: Sequence[Finding]) -> None:
    """A line for each, and below it why it matters and what to do."""
    for finding in findings:
        where = f"{finding.check} ({finding.gate})" if finding.gate else finding.check
        print_line(f"{finding.verdict.ljust(_WIDTH)}  {where}: {finding.found}")
        for heading, text in (("why", finding.why), ("do", finding.remedy)):
            for at, line in enumerate(text.splitlines()):
                begin = f"{heading}: "
                click.echo(f"{_INDENT}{begin if at == 0 else ' ' * len(begin)}{clean(line)}")


def _print(findings: Sequence[Finding]) -> None:
    print_findings(findings)
    told = [f"{count} {verdict}" for verdict, count in _counts(findings).items() if count]
    doubtful = [
        finding.check for finding in findings if finding.verdict in {Verdict.WARNING, Verdict.NOT_KNOWN}
    ]
    look = f" Look at: {', '.join(dict.fromkeys(doubtful))}." if doubtful else ""
    click.echo(f"\n{', '.join(told)}.{look}")


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    counted = Counter(finding.verdict for finding in findings)
    return {verdict.value: counted[verdict] for verdict in Verdict}


@contextmanager
def _ended_by_sigterm_as_by_ctrl_c() -> Iterator[None]:
    """What was set is taken back before the process ends."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Progress:
    """Says on a terminal's stderr how many checks have been made; one line, which is gone in the end."""

    def __init__(self, checkups: Sequence[Checkup]) -> None:
        self._total = len(checkups)
        self._made = 0
        self._shown = sys.stderr.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._say(f"looking at {self._total} things …")
        return self

    def __exit__(self, *_: object) -> None:
        self._say("")

    def made(self, checkup: Checkup) -> None:
        """One more has been made."""
        with self._lock:
            self._made += 1
            self._say(f"{self._made} of {self._total}: {checkup.check.title}")

    def _say(self, text: str) -> None:
        if self._shown:
            click.echo(f"\r\033[K{text}", err=True, nl=False)
