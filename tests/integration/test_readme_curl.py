"""Every command line that the pages print for a running service works as printed, with the real curl."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests

from champion_gate.domain.ledger.chain import LedgerKind, LedgerLine
from champion_gate.domain.promotion import Phase
from champion_gate.store import Store, open_store
from integration.commands import clean_environ, command_line
from integration.process_world import PATIENCE, refuses, until

DOCS = Path(__file__).resolve().parents[2] / "service" / "docs"
PORT = 8765
URL = f"http://127.0.0.1:{PORT}"
CURL_RC = 'silent\nwrite-out = "%{stderr}\\n%{method} %{url_effective} %{http_code}\\n"\n'
"""What curl's own settings file adds, so that the lines need not: it tells what was asked and answered."""


@dataclass(frozen=True)
class Printed:
    """A command as a page prints it.

    Attributes:
        status: the number above it: of the HTTP answer; None where there is none.
    """

    text: str
    status: int | None


@dataclass(frozen=True)
class Done:
    """A command that was run; method, path and status are those that curl saw, if it was run."""

    printed: Printed
    exit_code: int
    output: str
    method: str = ""
    path: str = ""
    status: int | None = None


def printed(page: str, section: str) -> list[Printed]:
    """The commands in the `sh` blocks of a page's section, in their order; a trailing backslash goes on."""
    text = (DOCS / page).read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        status = None
        for line in re.findall(r"^(?:.*\\\n)*.+$", block, flags=re.MULTILINE):
            if line.startswith("#"):
                said = re.match(r"# (\d{3}): ", line)
                status = int(said[1]) if said else None
            else:
                found.append(Printed(line, status))
                status = None
    return found


class Terminal:
    """A person's terminal beside the demo: what a command sets is there for the next one."""

    def __init__(self, folder: Path, exports: dict[str, str]) -> None:
        self._folder = folder
        (folder / ".curlrc").write_text(CURL_RC)
        self._state = folder / "exports.sh"
        self._state.write_text("".join(f"export {name}={value}\n" for name, value in exports.items()))
        places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        self._environ = clean_environ({"CURL_HOME": str(folder), "PATH": os.pathsep.join(places)})

    def run(self, command: Printed) -> Done:
        """Run it, unchanged, in bash."""
        script = f"set -ae\n. ./{self._state.name}\n{command.text}\nexport -p > {self._state.name}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        output = done.stdout + done.stderr
        told = re.search(rf"^([A-Z]+) {re.escape(URL)}(/[^? ]*)\S* (\d{{3}})$", done.stderr, re.MULTILINE)
        if told is None:
            return Done(command, done.returncode, output)
        return Done(command, done.returncode, output, told[1], told[2], int(told[3]))


@contextmanager
def the_port() -> Iterator[None]:
    """The one port that the pages print, for one test run of this machine at a time."""
    everybodys = os.open(tempfile.gettempdir(), os.O_RDONLY)
    try:
        fcntl.flock(everybodys, fcntl.LOCK_EX)
        if not refuses(PORT):
            pytest.skip(f"NOT TESTED: something else listens on port {PORT}")
        yield
    finally:
        os.close(everybodys)


@contextmanager
def kept_demo(folder: Path) -> Iterator[dict[str, str]]:
    """`make demo ARGS="--yes --keep"`, and what it says to export."""
    log = folder / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_line("demo", "--yes", "--keep"),
            cwd=folder,
            env=clean_environ({"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def serves() -> bool:
        assert process.poll() is None, log.read_text()
        return "champion-gate promotions list" in log.read_text()

    try:
        until(serves, log.read_text)
        assert f"Serving at {URL}" in log.read_text()
        yield dict(re.findall(r"^ *export (\w+)=(\S+)$", log.read_text(), flags=re.MULTILINE))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


def is_quiet(store: Store) -> bool:
    """Whether nothing is due: what an order set off is done, or waits."""
    due = store.due(datetime.now(UTC))
    open_now = [each for each in store.list_promotions().items if each.phase.is_open]
    return not (due.notifications or due.promotions or any(each.end_request for each in open_now))


def described_operations() -> set[tuple[str, str]]:
    """(method, path) of all that the running service describes, but for what only CI jobs may."""
    paths = requests.get(f"{URL}/openapi.json", timeout=10).json()["paths"]
    return {
        (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        if operation["operationId"] != "postDecision"
    }


def operation_of(done: Done, operations: set[tuple[str, str]]) -> tuple[str, str]:
    """Which operation a line has called."""
    found = [
        (method, path)
        for method, path in operations
        if method == done.method and re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), done.path)
    ]
    assert len(found) == 1, done
    return found[0]


def moves(lines: list[LedgerLine]) -> list[tuple[Any, Any]]:
    """(from, to) of each alias change, oldest first."""
    return [
        (line.entry.facts["from"], line.entry.facts["to"])
        for line in reversed(lines)
        if line.entry.kind is LedgerKind.ALIAS_CHANGE
    ]


@pytest.mark.part("rest")
@pytest.mark.needs("curl", "bash", "python3")
@pytest.mark.timeout(400)
def test_every_line_works_as_printed_and_every_operation_has_one(tmp_path: Path) -> None:
    with the_port(), kept_demo(tmp_path) as exports:
        folder = tmp_path / "terminal"
        folder.mkdir()
        terminal = Terminal(folder, exports)
        with open_store(exports["CHAMPION_GATE_DATABASE_URL"]) as store:
            called = [call(terminal, line, store) for line in printed("api.md", "Operating by curl")]
            operations = described_operations()
            assert {operation_of(done, operations) for done in called} == operations
            for line in (
                *printed("api.md", "API tokens and roles"),
                *printed("ledger.md", "Export and verify"),
            ):
                done = terminal.run(line)
                assert done.exit_code == 0, done
            assert recomputed_heads(folder / "ledger.jsonl")[-1] == store.ledger_head().hash
            the_story_is_told_alike(store, exports)


def call(terminal: Terminal, line: Printed, store: Store) -> Done:
    """Run a line with curl, and wait for what it has set off, as the page says of 202."""
    assert line.status is not None, f"no status is printed above: {line.text}"
    done = terminal.run(line)
    assert (done.exit_code, done.status) == (0, line.status), done
    if done.status == HTTPStatus.ACCEPTED:
        until(lambda: is_quiet(store), lambda: f"what it set off is never done: {done}")
    return done


def recomputed_heads(export: Path) -> list[str]:
    """The hash of each line of an export, by the recipe for those who do without our tools."""
    hashes = ["0" * 64]
    for line in map(json.loads, export.read_text().splitlines()):
        claimed, previous_hash = line.pop("hash"), line.pop("previous_hash")
        text = json.dumps(line, sort_keys=True, separators=(",", ":"))
        assert previous_hash == hashes[-1]
        assert claimed == hashlib.sha256((previous_hash + "\n" + text).encode()).hexdigest()
        hashes.append(claimed)
    return hashes


def the_story_is_told_alike(store: Store, exports: dict[str, str]) -> None:
    """The registry, the API, the ledger and the promotions agree on what the lines have done."""
    from mlflow import MlflowClient  # noqa: PLC0415 - slow, and the lines come first

    assert store.verify_ledger() > 0
    assert moves(list(store.ledger_lines(limit=None))) == [
        (None, "1"),
        ("1", "2"),
        ("2", "1"),
        ("1", "2"),
        ("2", None),
        (None, "2"),
    ]
    head = {"Authorization": f"Bearer {exports['TOKEN']}"}
    told = requests.get(f"{URL}/api/v1/models/churn/aliases/Champion", headers=head, timeout=30).json()
    assert told["version"] == "2"
    assert told["hold"]["reason"] == "no changes while the auditors are here"
    client = MlflowClient(tracking_uri=told["registry"], registry_uri=told["registry"])
    assert str(client.get_model_version_by_alias("churn", "Champion").version) == "2"
    until(lambda: all(not p.phase.is_open for p in store.list_promotions().items), "a promotion stays open")
    ends = {promotion.id: promotion.phase for promotion in store.list_promotions().items}
    assert ends.pop(exports["PROMOTION"]) is Phase.PROMOTED
    # The one that asked afresh meets the change by hand before or after people were asked.
    assert sorted(ends.values()) in (
        [Phase.CANCELLED, Phase.STALE],
        [Phase.CANCELLED, Phase.INELIGIBLE],
    )
