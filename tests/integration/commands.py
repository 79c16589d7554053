"""Commands of `champion-gate`, run in this process: a process of their own costs one to five CPU seconds each.

What only a process has (signals, pipes, exit codes, arguments that are no UTF-8) is tested with `command_line`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from click.testing import CliRunner

from captured_log import logging_kept
from champion_gate.cli import main

LIBRARY_VARIABLES = ("CHAMPION_GATE_", "DATABRICKS_", "MLFLOW_")


def command_line(*arguments: str) -> list[str]:
    """`champion-gate …` with this interpreter, for a process of its own."""
    return [sys.executable, "-m", "champion_gate", *arguments]


def clean_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What a process of ours is started with: nothing from the developer's shell that concerns us."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith(LIBRARY_VARIABLES)}, **environ}


def run_command(
    *arguments: str, environ: Mapping[str, str], folder: Path, sent: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process; what it prints, and its exit code, are those that a shell would see.

    Args:
        arguments: what follows `champion-gate`.
        environ: the variables that concern us; it sees no others of ours, and leaves none behind.
        folder: where it runs.
        sent: what it reads from standard input.
    """
    environ = clean_environ(environ)
    gone = dict.fromkeys(set(os.environ) - set(environ))
    with (
        contextlib.chdir(folder),
        _environ_kept(),
        _called(["champion-gate", *arguments]),
        logging_kept(),
        CliRunner().isolation(input=sent, env=gone | environ) as (output, errors, _),
    ):
        code = _exit_code()
        sys.stdout.flush()
        return subprocess.CompletedProcess(
            arguments, code, output.getvalue().decode(), errors.getvalue().decode()
        )


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        raise
    return 0


@contextlib.contextmanager
def _environ_kept() -> Iterator[None]:
    """Take back what a command sets itself, such as the variables of `--env-file`."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _called(arguments: Sequence[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, list(arguments)
    try:
        yield
    finally:
        sys.argv = before
