"""Processes that begin as copies of one that has imported everything: what they run is the real thing, only sooner.

A start of the service takes seconds of a processor, nearly all of it for imports. A copy is a process of its own in
every other respect: session, directory, environment, output, signals, exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import resource
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import NoReturn

import gunicorn.config

_TESTS = str(Path(__file__).parents[1])
_LONGEST_ORDER = 128 * 1024
_BESIDE_OURS = (
    *("alembic.command", "gunicorn.app.wsgiapp", "psycopg", "requests"),
    *("sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite"),
)
"""What the service imports only as it is needed, beside what `import_sdk` and `import_mlflow` do."""


class Forked:
    """A running copy, with what tests use of `subprocess.Popen`.

    Attributes:
        pid: of the process, which leads a session of its own.
        returncode: its exit code, or minus the signal that ended it; None while it runs, or nobody has looked.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path) -> None:
        """Begin.

        Args:
            command: `[python, "-m", module, …]`.
            cwd: where it runs.
            env: all of its environment.
            output: the file to which both its outputs are written, from its beginning.
        """
        self.returncode: int | None = None
        self._ends, told = os.pipe()
        order = {"command": list(command), "cwd": str(cwd), "env": dict(env)}
        with output.open("wb") as file:
            self.pid = _source(env.get("PYTHONPATH", "")).fork(order, file.fileno(), told)
        os.close(told)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        if self.returncode is None and select.select([self._ends], [], [], 0)[0]:
            said = os.read(self._ends, 16)
            os.close(self._ends)
            assert said, "the process from which copies are made has died"
            self.returncode = int(said)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; `subprocess.TimeoutExpired` after so many seconds."""
        if self.returncode is None and not select.select([self._ends], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(signal.SIGKILL)


class _Source:
    """This side of the process from which copies are made; it ends, and every copy with it, when this process does.

    Args:
        path: its PYTHONPATH, by which it may be of another release.
    """

    def __init__(self, path: str) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (here, there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _LONGEST_ORDER)
        path = os.pathsep.join(filter(None, (path, _TESTS, os.environ.get("PYTHONPATH"))))
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "integration.forked", str(there.fileno())],
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._here = here
        self._one_at_a_time = threading.Lock()
        atexit.register(self._end)

    def fork(self, order: Mapping[str, object], output: int, told: int) -> int:
        """Make a copy, and return its process id.

        Args:
            order: what it is to become.
            output: the file of its output.
            told: where its exit code is written once it has ended.
        """
        with self._one_at_a_time:
            socket.send_fds(self._here, [json.dumps(order).encode()], [output, told])
            said = self._here.recv(16)
        assert said, "the process from which copies are made has died"
        return int(said)

    def _end(self) -> None:
        self._here.close()
        self._process.wait(10)


@cache
def _source(path: str) -> _Source:
    return _Source(path)


# --- in the process from which copies are made ---


class _Order:
    """What a copy is to become."""

    def __init__(self, sent: bytes, output: int) -> None:
        self._sent = json.loads(sent)
        self._output = output

    def prepare(self) -> None:
        """Take over session, directory, environment and outputs; nothing else that was open stays so."""
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for standard in (1, 2):
            os.dup2(self._output, standard)
        os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os.chdir(self._sent["cwd"])
        gunicorn.config.Chdir.default = self._sent["cwd"]  # where it was when gunicorn was imported, else
        os.environ.clear()
        os.environ.update(self._sent["env"])
        time.tzset()
        sys.path.insert(0, self._sent["cwd"])

    def carry_out(self) -> None:
        """Run the command; the interpreter ends as it does after any module."""
        command = self._sent["command"]
        if command[2:4] == ["champion_gate", "serve"]:
            command = _checked(command)
        _run(command)


def _run(command: Sequence[str]) -> None:
    _, dash_m, module, *arguments = command
    assert dash_m == "-m", command
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _checked(command: Sequence[str]) -> list[str]:
    """What `serve` becomes once it has checked everything; where it refuses to, this process ends as it does.

    It checks in a process of its own: what that imports and opens is gone where one program takes another's place.
    """
    reading, writing = os.pipe()
    if not (pid := os.fork()):

        def execv(_path: str, arguments: Sequence[str]) -> NoReturn:
            os.write(writing, json.dumps([list(arguments), dict(os.environ)]).encode())
            os._exit(0)

        os.execv = execv  # type: ignore[assignment] # in this process alone, which ends with it
        _run(command)
        raise SystemExit(0)
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123 - a pipe
        told = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not told:
        if code < 0:
            os.kill(os.getpid(), -code)
        raise SystemExit(code)
    arguments, environ = json.loads(told)
    os.environ.update(environ)
    return list(arguments)


def _import_everything() -> None:
    import champion_gate  # noqa: PLC0415 - only here

    os.environ.update(champion_gate.SILENT_MLFLOW)
    for module in walk_packages(champion_gate.__path__, "champion_gate."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            import_module(module.name)
    for name in _BESIDE_OURS:
        import_module(name)
    from champion_gate.adapters.databricks.connection import import_sdk  # noqa: PLC0415 - only here
    from champion_gate.adapters.mlflow.client import import_mlflow  # noqa: PLC0415 - only here

    import_sdk()
    import_mlflow(with_database=True)
    assert threading.active_count() == 1, threading.enumerate()  # a copy has but one thread
    gc.collect()
    gc.freeze()


def _next_copy(control: socket.socket) -> _Order | None:
    """Make copies; returns in each of them with what it is to become, and here with None at the end."""
    running: dict[int, int] = {}
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    with selectors.DefaultSelector() as selector:
        for each in (control, woken):
            selector.register(each, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                _tell_ends(running)
            if control not in ready:
                continue
            sent, given, _, _ = socket.recv_fds(control, _LONGEST_ORDER, 2)
            if not sent:
                break
            output, told = given
            pid = os.fork()
            if not pid:
                return _Order(sent, output)
            running[pid] = told
            os.close(output)
            with contextlib.suppress(OSError):  # who has ordered it may have ended; then it ends below
                control.send(str(pid).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    return None


def _tell_ends(running: dict[int, int]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            told = running.pop(pid)
            with contextlib.suppress(BrokenPipeError):
                os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(told)


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    _import_everything()
    order = _next_copy(control)
    if order is not None:
        control.detach()
        order.prepare()
        order.carry_out()


if __name__ == "__main__":
    _main()
