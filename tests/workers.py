"""Workers that are forked once all tests are collected: each of pytest-xdist's imports and collects everything itself, ten
CPU seconds a worker, which is as much as a thousand tests take.

Whole files go to whichever worker is free, so that what the tests of a file share is made once.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the number of workers; without it the tests run in this process."""
    parser.addoption("--workers", type=int, default=0, help="run so many test files at a time")


def pytest_configure(config: pytest.Config) -> None:
    """Have workers run the tests, where it is asked for."""
    if count := config.getoption("workers"):
        config.pluginmanager.register(Workers(config, count), _NAME)


_NAME = "running workers"
_NUMBER = 2  # bytes: a pipe holds the numbers of all files


@dataclass
class Worker:
    """A worker as who forked it sees it.

    Attributes:
        told: before each test the item's number, then its reports, and None once nothing is left to do.
        at: the number of the item that it is at; None before the first one.
    """

    pid: int
    told: Connection
    at: int | None = None


@dataclass
class Workers:
    """The plugin: has the tests run by `count` workers, and tells pytest what they report."""

    config: pytest.Config
    count: int
    running: list[Worker] = field(default_factory=list)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run what was collected; leaves to pytest itself what needs no workers."""
        if session.testsfailed or session.config.option.collectonly:
            return None
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.showfspath = False  # of several files at a time
        numbered = list(enumerate(session.items))
        files = [[number for number, _ in of_file] for _, of_file in groupby(numbered, lambda it: it[1].path)]
        queue = _queue(len(files))
        try:
            self.running = [self._fork(session, files, queue) for _ in range(min(self.count, len(files)))]
            self._hear(session, queue)
        except BaseException:
            for worker in self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGINT)
            raise
        finally:
            os.close(queue)
            for worker in self.running:
                os.waitpid(worker.pid, 0)
        return True

    def _fork(self, session: pytest.Session, files: list[list[int]], queue: int) -> Worker:
        told, tells = Pipe(duplex=False)
        pid = os.fork()
        if pid:
            tells.close()
            return Worker(pid, told)
        code = 1
        try:
            atexit._clear()  # noqa: SLF001 - what is to be done at the end of the process that was copied
            self._set_up(tells)
            _run(session, _items(files, queue), tells)
            code = 0
        finally:
            atexit._run_exitfuncs()  # noqa: SLF001 - as every process does
            os._exit(code)

    def _set_up(self, tells: Connection) -> None:
        """Here in the worker: another place for what is printed, and another receiver of reports."""
        capturing = self.config.pluginmanager.getplugin("capturemanager")
        capturing.stop_global_capturing()
        capturing.start_global_capturing()
        capturing.suspend_global_capture()
        for name in ("terminalreporter", _NAME):
            self.config.pluginmanager.unregister(name=name)
        self.config.pluginmanager.register(_Reports(self.config, tells))

    def _hear(self, session: pytest.Session, queue: int) -> None:
        open_ones = {worker.told: worker for worker in self.running}
        while open_ones:
            for told in wait(list(open_ones)):
                worker = open_ones[told]  # type: ignore[index]
                if not self._hear_once(session, worker):
                    del open_ones[told]  # type: ignore[arg-type]
            if session.shouldfail or session.shouldstop:
                while os.read(queue, _NUMBER):
                    pass  # they end with the files that they are at
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)

    def _hear_once(self, session: pytest.Session, worker: Worker) -> bool:
        """Pass on what a worker tells next; returns whether more may come."""
        try:
            said = worker.told.recv()
        except EOFError:
            self._report_death(session, worker)
            return False
        if isinstance(said, int):
            worker.at = said
        elif said is not None:
            report = self.config.hook.pytest_report_from_serializable(config=self.config, data=said)
            self.config.hook.pytest_runtest_logreport(report=report)
        return said is not None

    def _report_death(self, session: pytest.Session, worker: Worker) -> None:
        item = session.items[worker.at or 0]
        words = "The worker died here." if worker.at is not None else "A worker died before its first test."
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "call")
        self.config.hook.pytest_runtest_logreport(report=report)


@dataclass
class _Reports:
    """In a worker: sends what pytest reports to where it came from."""

    config: pytest.Config
    tells: Connection

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tells.send(self.config.hook.pytest_report_to_serializable(config=self.config, report=report))


def _queue(length: int) -> int:
    """A pipe out of which each worker reads the number of its next file."""
    queue, filled = os.pipe()
    os.write(filled, b"".join(number.to_bytes(_NUMBER) for number in range(length)))
    os.close(filled)
    return queue


def _items(files: list[list[int]], queue: int) -> Iterator[int]:
    while read := os.read(queue, _NUMBER):
        yield from files[int.from_bytes(read)]


def _run(session: pytest.Session, numbers: Iterator[int], tells: Connection) -> None:
    """In a worker: run items, each with the next one at hand, for which it keeps what both share."""
    try:
        number = next(numbers, None)
        while number is not None and not (session.shouldfail or session.shouldstop):
            following = next(numbers, None)
            tells.send(number)
            item, nextitem = session.items[number], None if following is None else session.items[following]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            number = following
    finally:
        session._setupstate.teardown_exact(None)  # noqa: SLF001 - as pytest does at the end of a session
    tells.send(None)
