"""What holds for every test: a clean environment, which part it belongs to, and no silent skips in CI."""

from __future__ import annotations

import gc
import io
import os
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ("workers",)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
ALLOWED_SKIP = "../shared is absent"
"""The one reason for which a test may be skipped in CI; say it with `pytest.skip(ALLOWED_SKIP)`."""

_FOREIGN_VARIABLES = ("CHAMPION_GATE_", "DATABRICKS_", "MLFLOW_", "ARM_")

_EXAMPLES, _MORE_EXAMPLES = {"quick": 20, "rest": 60}, 100
"""How many examples a property test takes: in `make test`, in what follows it, and otherwise."""
_MEMORY, _ROOM = Path("/dev/shm"), 2**30


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of what `make test` runs, what `make test-all` runs after it, and what neither of them does."""
    parser.addoption(
        "--part", choices=["quick", "rest", "full"], help="run a part of the tests, not all (tests/README.md)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Take away what a developer's shell says about Databricks and MLflow, before anything is imported."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell's background has it so, and every command that a test starts would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile(
        "gate",
        max_examples=_EXAMPLES.get(config.getoption("part"), _MORE_EXAMPLES),
        # Slow machines are no failure; in CI the same examples run every time.
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=IN_CI,
        print_blob=IN_CI,
    )
    settings.load_profile("gate")
    # Databases of tests need not outlive a power cut, and a disk makes each commit wait for it.
    if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and _has_room_for_programs(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
    for name in list(os.environ):
        if name.startswith(_FOREIGN_VARIABLES):
            del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # Stand-ins listen on loopback; a proxy in the environment must not stand between.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    if not hasattr(config, "workerinput"):
        shared = tempfile.TemporaryDirectory()
        config.add_cleanup(shared.cleanup)
        os.environ["TESTS_SHARED_FOLDER"] = shared.name  # workers inherit it
    _log_plainly()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the storms of `faults/` have come to."""
    from faults.figures import told  # noqa: PLC0415 - after `pytest_configure`

    if lines := told():
        terminalreporter.section("storms")
        for line in lines:
            terminalreporter.write_line(line)


def _log_plainly() -> None:
    """Log one JSON object a line; structlog's default paints tracebacks, which takes longer than most tests."""
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep what has been imported out of every later look for garbage, which took an eighth of the time."""
    if session.config.getoption("workers"):
        _import_what_most_need()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _import_what_most_need() -> None:
    """Once, and not in each worker."""
    from champion_gate.adapters.databricks.connection import import_sdk  # noqa: PLC0415 - after `pytest_configure`
    from champion_gate.adapters.mlflow.client import import_mlflow  # noqa: PLC0415

    import_sdk()
    import_mlflow(with_database=True)


def _has_room_for_programs(folder: Path) -> bool:
    found = os.statvfs(folder)
    may_run = not found.f_flag & getattr(os, "ST_NOEXEC", 0)  # some tests write scripts and run them
    return may_run and found.f_bavail * found.f_frsize > _ROOM


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not belong to the part that is run; without `--part` everything that is named is run."""
    part = config.getoption("part")
    if part is None:
        return
    spread = _spread(items)
    chosen = {item for item in items if _belongs(item, part, "full" if item in spread else _own_part(item))}
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = [item for item in items if item in chosen]


def _own_part(item: pytest.Item) -> str:
    # MLflow's server takes as long to start, in each worker, as two hundred tests.
    usual = "rest" if "running_mlflow" in getattr(item, "fixturenames", ()) else "quick"
    marks = (mark.args for mark in item.iter_markers("part"))
    return next((name for name, *variants in marks if _is_meant(item, variants)), usual)


def _spread(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """What a part leaves out of each table of variants of which it is to run a few."""
    tables: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("spread") is not None:
            tables[item.nodeid.partition("[")[0], _own_part(item)].append(item)
    left_out: set[pytest.Item] = set()
    for variants in tables.values():
        (most,) = variants[0].get_closest_marker("spread").args  # type: ignore[union-attr] # it has one
        left_out.update(variants)
        left_out.difference_update(variants[n * len(variants) // most] for n in range(most))
    return left_out


def _belongs(item: pytest.Item, part: str, own: str) -> bool:
    again_with_more_examples = own == "quick" and hasattr(getattr(item, "obj", None), "hypothesis")
    return own == part or (part == "rest" and again_with_more_examples)


def _is_meant(item: pytest.Item, variants: list[str]) -> bool:
    """Whether a mark is for this item: for every one, or for those of a parameter that is named so."""
    return not variants or any(each in item.name.partition("[")[2] for each in variants)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose tool (`@pytest.mark.needs("chromium")`) is not on this machine."""
    beside_python = str(Path(sys.executable).parent)
    places = os.pathsep.join([beside_python, os.environ.get("PATH", os.defpath)])
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool, path=places) is None:
                pytest.skip(f"NOT TESTED: {tool} is not installed on this machine")


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = str(report.longrepr)
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and ALLOWED_SKIP not in reason:
        report.outcome = "failed"
        report.longrepr = f"Skipped, and a skip is a failure in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one in CI."""
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that is skipped while it is imported."""
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged, in the form that it has when the service runs."""
    from captured_log import captured_log  # noqa: PLC0415 - after `pytest_configure`

    with captured_log() as stream:
        yield stream
