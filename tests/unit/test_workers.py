"""Workers that run tests: no result gets lost, whatever becomes of a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.part("rest")

TESTS = Path(__file__).parents[1]


def pytest_with_workers(folder: Path, *arguments: str, **files: str) -> tuple[int, str]:
    """Run these test files by two workers; the exit code, and what is printed."""
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "workers", "--workers=2", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_each_test_runs_once_and_what_fails_is_shown_with_what_it_printed(tmp_path: Path) -> None:
    code, said = pytest_with_workers(
        tmp_path,
        good="def test_a(): print('of a')\ndef test_b(): pass",
        bad="def test_c(): print('of c'); assert 1 == 2",
    )
    assert (code, "1 failed, 2 passed" in said) == (1, True), said
    assert "of c" in said
    assert "of a" not in said


def test_the_death_of_a_worker_is_a_failure_and_the_other_goes_on(tmp_path: Path) -> None:
    dies = "import os\ndef test_a(): pass\ndef test_b(): os._exit(0)\ndef test_c(): pass"
    code, said = pytest_with_workers(
        tmp_path, dies=dies, stays="def test_d(): pass", too="def test_e(): pass"
    )
    assert (code, "1 failed, 3 passed" in said) == (1, True), said
    assert "test_dies.py::test_b" in said


def test_after_as_many_failures_as_are_allowed_no_file_is_begun(tmp_path: Path) -> None:
    files = {f"f{number}": "def test_it(): assert False" for number in range(9)}
    code, said = pytest_with_workers(tmp_path, "--maxfail=1", **files)
    assert (code, "9 failed" in said) == (1, False), said


def test_a_file_that_cannot_be_imported_stops_all(tmp_path: Path) -> None:
    code, said = pytest_with_workers(
        tmp_path, broken="import nothing_of_this_name", good="def test_a(): pass"
    )
    assert (code, "passed" in said) == (2, False), said


def test_what_a_file_has_set_up_is_taken_down_in_its_worker(tmp_path: Path) -> None:
    text = (
        "import atexit, os, pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def it():\n    yield\n    open(f'down-{os.getpid()}', 'w').close()\n"
        "def test_a(it): atexit.register(lambda: open('ended', 'w').close())\n"
    )
    code, said = pytest_with_workers(tmp_path, one=text, two=text)
    assert code == 0, said
    assert len(list(tmp_path.glob("down-*"))) in {1, 2}
    assert (tmp_path / "ended").exists()
