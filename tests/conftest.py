"""What holds for every test: a clean environment, a hypothesis profile, and no silent skips in CI."""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
ALLOWED_SKIP = "../shared is absent"
"""The one reason for which a test may be skipped in CI; say it with `pytest.skip(ALLOWED_SKIP)`."""

_FOREIGN_VARIABLES = ("CHAMPION_GATE_", "DATABRICKS_", "MLFLOW_", "ARM_")

# Slow machines are no failure; in CI the same examples run every time.
_SLOW = [HealthCheck.too_slow]
settings.register_profile("local", deadline=None, suppress_health_check=_SLOW)
settings.register_profile("ci", deadline=None, suppress_health_check=_SLOW, derandomize=True, print_blob=True)
settings.load_profile("ci" if IN_CI else "local")


def pytest_configure() -> None:
    """Take away what a developer's shell says about Databricks and MLflow, before anything is imported."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN_VARIABLES):
            del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # Stand-ins listen on loopback; a proxy in the environment must not stand between.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


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
    from champion_gate import log  # noqa: PLC0415 - after `pytest_configure`

    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    stream = io.StringIO()
    log.configure(stream=stream)
    yield stream
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
