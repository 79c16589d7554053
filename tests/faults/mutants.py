"""The service with one of its defences taken away: `make faults ARGS=--mutants` sees whether the checks here find it.

Each is a patch in a copy of the tree, against which the checks run until one fails. Run it before a release, and after
a change of what a mutant touches; `test_mutants.py` says when one does not fit any more.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parents[2]
CHECKS = ("tests/faults/test_worst_moments.py", "tests/faults/test_storms.py")
"""In the order in which they run; what is short in them."""
_COPIED = ("service", "tests", "deploy", "pyproject.toml", "requirements.lock", "Makefile", "README.md")


@dataclass(frozen=True)
class Change:
    """Text that stands exactly once in a file below `service/champion_gate`, and what stands there instead."""

    file: str
    old: str
    new: str

    def apply(self, tree: Path) -> None:
        """Change the file in a tree.

        Raises:
            ValueError: the text does not stand there exactly once.
        """
        path = tree / "service" / "champion_gate" / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has {text.count(self.old)} times: {self.old}")
        path.write_text(text.replace(self.old, self.new))


_STORED = "lambda: self._store.record_notification("

MUTANTS: dict[str, Sequence[Change]] = {
    "202 before the commit": [
        Change(
            "web/hooks.py",
            f"""        notification_id = _stored(
            {_STORED}"hook", parsed, self._clock.now(), ignored=unwatched)
        )
""",
            f"""        threading.Thread(
            target={_STORED}"hook", parsed, self._clock.now(), ignored=unwatched)
        ).start()
        notification_id = ""
""",
        )
    ],
    "no sweep": [
        Change("bootstrap/__init__.py", "lambda: _send_looks(core, wake_ups)", "lambda: None"),
    ],
    "no fence check": [
        Change(
            "store/aliases.py",
            "    return and_(_holder(held), aliases.c.lease_until > at)\n",
            "    return _of(held.key)\n",
        )
    ],
    "result row before read-back": [
        Change(
            "flow/alias_writer.py",
            "            stands = self._read_back(lock.key, intent)\n",
            "            stands = intent.to_version\n",
        )
    ],
    "a step's token made anew at each try": [
        Change("flow/validation_runs.py", "parameters, begun.token)", "parameters, self._chance.token())"),
        Change("flow/copy_runs.py", "parameters, begun.token)", "parameters, self._chance.token())"),
        Change(
            "flow/after.py", "taken.known[_GIVEN], taken.token)", "taken.known[_GIVEN], self._chance.token())"
        ),
    ],
    "expiry without re-read": [
        Change(
            "flow/promoter.py",
            """        stale = self._rules.settings_changed(taken)
        if stale is not None:
            self._lease.end(taken, Phase.STALE, stale)
            return
        try:
            taken, judgement""",
            """        if self._clock.now() > request.expires_at:
            self._lease.end(taken, Phase.EXPIRED, expired_reason(request))
            return
        try:
            taken, judgement""",
        )
    ],
    "a lease that never runs out": [
        Change(
            "store/leases.py",
            """            and_(table.c.lease != "", _has_run_out(table, at, beyond)),
""",
            "",
        )
    ],
    "evidence hash not compared": [
        Change(
            "domain/promotion.py",
            '    return f"[{promotion.correlation_id}]" in title\n',
            '    return f"[{promotion.id}" in title\n',
        )
    ],
}
"""By what is wrong."""


def main(names: Sequence[str]) -> int:
    """Print which check has caught which mutant, of these or of all.

    Returns:
        1 where one was not caught; 2 where a check fails anyhow.
    """
    width, missed = max(map(len, MUTANTS)), 0
    by, seconds = _caught([])
    if by:
        sys.stdout.write(f"Without any change this fails, so nothing can be said: {by}\n")
        return 2
    sys.stdout.write(f"{'none'.ljust(width)}  {seconds:4.0f} s  all checks pass\n")
    for name in names or MUTANTS:
        by, seconds = _caught(MUTANTS[name])
        missed += not by
        sys.stdout.write(f"{name.ljust(width)}  {seconds:4.0f} s  {by or 'NOT CAUGHT'}\n")
        sys.stdout.flush()
    return 1 if missed else 0


def _caught(changes: Sequence[Change]) -> tuple[str, float]:
    """By which check, with what that said, which tells a finding from a machine that was too busy."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        _copy(tree)
        for change in changes:
            change.apply(tree)
        for check in CHECKS:
            done = _run(tree, check)
            if done.returncode == 1:  # tests failed; anything else says nothing of the mutant
                found = re.search(r"^FAILED (.*)", done.stdout, re.MULTILINE)
                assert found, done.stdout
                return found[1].removeprefix("tests/faults/"), time.monotonic() - begun
            if done.returncode:
                raise RuntimeError(done.stdout + done.stderr)
    return "", time.monotonic() - begun


def _copy(tree: Path) -> None:
    tree.mkdir()
    for name in _COPIED:
        here = HERE / name
        if here.is_dir():
            shutil.copytree(here, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*_cache"))
        else:
            shutil.copy2(here, tree / name)


def _run(tree: Path, check: str) -> subprocess.CompletedProcess[str]:
    # Before the place where the service is installed, so that the copy is what is imported.
    environ = {
        **os.environ,
        "COLUMNS": "300",
        "PYTHONPATH": f"{tree / 'service'}{os.pathsep}{tree / 'tests'}",
    }
    command = [sys.executable, "-m", "pytest", check, "--part", "rest", "-x", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
