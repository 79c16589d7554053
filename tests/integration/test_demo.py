"""`champion-gate demo` as people run it: in a pipe, at a terminal, and interrupted."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from champion_gate.bootstrap.starting import PortInUseError, listening
from champion_gate.store import open_store
from integration.commands import clean_environ, command_line
from integration.process_world import PATIENCE, free_port, port_of, refuses, until


class Demo:
    """A running demo, and what it has printed so far."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool = False) -> None:
        self.folder = folder
        self.output_file = folder / "output"
        self._terminal: int | None = None
        environ = clean_environ({"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"})
        with self.output_file.open("wb") as output:
            stdin: int = subprocess.DEVNULL
            if terminal:
                self._terminal, stdin = pty.openpty()
            self.process = subprocess.Popen(
                command_line("demo", *arguments),
                cwd=folder,
                env=environ,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if terminal:
                os.close(stdin)
        self._children: dict[int, psutil.Process] = {}

    def output(self) -> str:
        return self.output_file.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        def said() -> re.Match[str] | None:
            self.children()
            found = re.search(pattern, self.output())
            assert found or self.process.poll() is None, self.output()
            return found

        found: re.Match[str] = until(said, self.output)
        return found

    def children(self) -> list[psutil.Process]:
        try:
            for each in psutil.Process(self.process.pid).children(recursive=True):
                self._children[each.pid] = each
        except psutil.NoSuchProcess:
            pass
        return list(self._children.values())

    def type(self, text: str) -> None:
        assert self._terminal is not None
        os.write(self._terminal, text.encode())

    def interrupt(self, by: signal.Signals = signal.SIGINT) -> int:
        self.children()
        self.process.send_signal(by)
        return self.process.wait(PATIENCE)

    def assert_nothing_is_left(self) -> None:
        assert self.process.poll() is not None
        assert [each for each in self.children() if each.is_running()] == []
        for url in set(re.findall(r"http://127\.0\.0\.1:\d+", self.output())):
            # Another test of this machine may have been given the port meanwhile; ours run in the folder.
            assert refuses(port_of(url)) or self.folder not in listeners_folders(port_of(url))
        assert list(self.folder.iterdir()) == [self.output_file]

    def close(self) -> None:
        if self._terminal is not None:
            os.close(self._terminal)
        for each in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.kill()
        self.process.wait()


def listeners_folders(port: int) -> set[Path]:
    """The working directories of the processes that listen on a port."""
    found = set()
    for each in psutil.net_connections("tcp"):
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port:
            assert each.pid, "a listener whose process cannot be told may be ours"
            with contextlib.suppress(psutil.NoSuchProcess):
                found.add(Path(psutil.Process(each.pid).cwd()))
    return found


@contextlib.contextmanager
def demo(*arguments: str, terminal: bool = False) -> Iterator[Demo]:
    with tempfile.TemporaryDirectory() as folder:
        running = Demo(Path(folder), *arguments, terminal=terminal)
        try:
            yield running
        finally:
            running.close()


def test_the_port_that_is_chosen_is_nobody_elses_from_then_on() -> None:
    with listening("127.0.0.1", 0) as chosen:
        port = chosen.getsockname()[1]
        with pytest.raises(PortInUseError), listening("127.0.0.1", port):
            pass
    with listening("127.0.0.1", port):
        pass


@pytest.mark.part("rest")
@pytest.mark.part("full", "GitHub")
@pytest.mark.parametrize(
    ("more", "ended"),
    [
        pytest.param((), "The CI job in GitHub ended: success", id="GitHub"),
        pytest.param(("--gitlab",), "The CI job in GitLab ended: success", id="GitLab"),
        pytest.param(("--review",), "The pull request in GitHub ended: merged", id="review"),
    ],
)
def test_without_a_terminal_it_approves_by_itself_and_tells_the_story(
    more: tuple[str, ...], ended: str
) -> None:
    with demo("--yes", *more) as running:
        assert running.process.wait(90) == 0
        story = running.output()
        running.assert_nothing_is_left()
    words = " ".join(story.split())
    for part in (
        r"Databricks said that a run of 'train-churn' succeeded",
        r"found churn v2, made by trainer@example.com",
        r"v2 → `Champion` of `churn`: 2 of 2 rules met; `f1` 0.894, \+0.023",
        r"\| `f1` \| yes \| 0.871 → 0.894 \| \+0.023 \|",
        r"evidence sha256 [0-9a-f]{64}",
        r"approved by reviewer-1 \(user \d+\)",
        r"Who trained the model may not decide: trainer@example.com = octo-trainer",
        r"promoted: Champion of churn moved from v1 to v2",
        r"The registry says: Champion -> v2",
        ended,
        r"The ledger \(\d lines, chain verified\)",
        r"alias_change by reviewer-1: [^.]*\. [0-9a-f]{64}",
        r"Nothing is left running. This goes on serving .* /\S+/champion-gate demo --keep\Z",
    ):
        assert re.search(part, words), (part, story)
    assert max(map(len, story.splitlines())) <= 80
    # Nobody would answer.
    assert not re.search(r"curl|TOKEN", story)
    assert not re.search(r"INFO|WARNING|ERROR|Traceback|mlflow\.store", story)


@pytest.mark.part("rest")
def test_the_full_one_goes_from_validation_to_an_endpoint_and_back() -> None:
    with demo("--yes", "--full") as running:
        assert running.process.wait(90) == 0
        story = running.output()
        running.assert_nothing_is_left()
    begun, words = 0, " ".join(story.split())
    for part in (
        "Databricks has sent its notification",
        "validation job: The validation passed",
        "reviewer-1 has approved in GitHub",
        "copying job: Copied to prod.ml.churn v2",
        "promoted: Champion of prod.ml.churn moved from v1 to v2, a copy of staging.ml.churn v2",
        "batch job: The job succeeded",
        "serving endpoint: The endpoint serves v2",
        "an operator rolls back",
        "Champion stands on v1 again",
        "serving endpoint: The endpoint serves v1",
        "chain verified",
        "Nothing is left running",
    ):
        found = words.find(part, begun)
        assert found > 0, (part, story)
        begun = found
    lines = story.partition("The ledger")[0].strip().splitlines()
    assert all(re.match(r"\[ *\d+\.\d s\] |         ", line) for line in lines), story


def curl(line: str, token: str) -> requests.Response:
    """Do what a printed curl line does, without curl."""
    words = shlex.split(line.replace("$TOKEN", token))
    assert words[:2] == ["curl", "-s"]
    headers = dict(words[i + 1].split(": ") for i, word in enumerate(words) if word == "-H")
    return requests.get(words[-1], headers=headers, timeout=30)


def review(running: Demo, verdict: str) -> None:
    """Do on the printed page what a reviewer does, once the demo has waited for it."""
    page = running.wait_for(r"Decide there.*\s+(http://\S+)").group(1)
    assert "reviewer-1" in requests.get(page, timeout=10).text
    time.sleep(0.5)
    assert "What happened" not in running.output()
    form = {"verdict": verdict, "environment": "champion", "login": "reviewer-1", "comment": "as I see it"}
    assert requests.post(page, data=form, timeout=10).ok


@pytest.mark.part("rest")
def test_approved_on_the_page_and_kept_it_serves_until_ctrl_c() -> None:
    with demo("--keep", "--port", str(free_port()), terminal=True) as running:
        review(running, "approve")
        running.wait_for("Serving at .* until Ctrl-C")
        assert "promoted: Champion of churn moved from v1 to v2" in running.output()
        lines = [line.strip() for line in running.output().splitlines() if line.strip().startswith("curl")]
        exports = dict(re.findall(r"export (\w+)=(\S+)", running.output()))
        answers = [curl(line, exports["TOKEN"]) for line in lines]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert answers[1].json()["phase"] == "promoted"
        assert answers[1].json()["decision"]["deciders"][0]["comment"] == "as I see it"
        assert "| v1 → v2 |" in answers[2].text
        assert answers[1].json()["id"] == exports["PROMOTION"]
        with open_store(exports["CHAMPION_GATE_DATABASE_URL"]) as store:
            assert [each.id for each in store.list_notifications().items] == [exports["NOTIFICATION"]]
            assert [each.role.value for each in store.list_api_tokens()] == ["operator"]
        assert exports["CHAMPION_GATE_TOKEN"] == '"$TOKEN"'  # which a shell fills in
        exports["CHAMPION_GATE_TOKEN"] = exports["TOKEN"]
        listing = running.wait_for(r"\n  (/.* promotions list)\n")
        listed = subprocess.run(
            [*shlex.split(listing.group(1)), "--json"],
            env=clean_environ({k: v for k, v in exports.items() if k.startswith("CHAMPION_GATE_")}),
            check=True,
            capture_output=True,
            text=True,
        )
        assert '"phase": "promoted"' in listed.stdout
        assert "\nMore such lines: service/docs/api.md, Operating by curl.\n" in running.output()
        assert running.interrupt() == 0
        assert "nothing is left running" in running.output()
        running.assert_nothing_is_left()


@pytest.mark.part("rest")
@pytest.mark.part("full", "page", "review")
@pytest.mark.parametrize("where", ["page", "terminal", "review"])
def test_rejected_the_champion_stays(where: str) -> None:
    with demo(*(["--review"] if where == "review" else []), terminal=True) as running:
        if where == "page":
            review(running, "reject")
        else:
            running.wait_for("type a to approve or r to reject")
            running.type("x\n")
            running.wait_for("Type a to approve")
            running.type("r\n")
        assert running.process.wait(PATIENCE) == 0
        assert "rejected by reviewer-1" in running.output()
        assert "The registry says: Champion -> v1" in running.output()
        ended = (
            "pull request in GitHub ended: closed" if where == "review" else "CI job in GitHub ended: failure"
        )
        assert ended in running.output()
        running.assert_nothing_is_left()


@pytest.mark.part("rest")
@pytest.mark.part("full", "notification")
@pytest.mark.parametrize(
    ("moment", "by"),
    [("stand-in at", signal.SIGINT), ("has sent its notification", signal.SIGTERM)],
)
def test_interrupted_twice_at_any_moment_it_leaves_nothing(moment: str, by: signal.Signals) -> None:
    with demo("--yes") as running:
        running.wait_for(moment)
        running.process.send_signal(by)
        # A shell calls all of these an interrupt; Python chooses among them while it ends itself.
        assert running.interrupt(by) in {130, -signal.SIGINT, -signal.SIGTERM}
        assert "Traceback" not in running.output()
        running.assert_nothing_is_left()


@pytest.mark.part("rest")
def test_interrupted_before_it_has_begun_it_says_little() -> None:
    with demo("--yes") as running:
        until(lambda: psutil.Process(running.process.pid).cpu_times().user > 0.05, "it does not begin")
        # On a busy machine it may have begun by now, and then ends as whoever presses Ctrl-C wants it to.
        assert running.interrupt() != 0 or running.output()
        running.assert_nothing_is_left()


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        demo("--yes", "--port", str(taken.getsockname()[1])) as running,
    ):
        assert running.process.wait(PATIENCE) == 4
        assert re.fullmatch(
            r"champion-gate: Port \d+ of 127.0.0.1 is in use\. .*--port.*\n", running.output()
        )
        assert "Traceback" not in running.output()
        assert not any(each.is_running() for each in running.children())
