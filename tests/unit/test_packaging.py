"""What is shipped around the code: lock files, image, folders, and nothing of the machine that made them."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import champion_gate
from champion_gate.adapters.shipped import shipped

ROOT = Path(__file__).resolve().parents[2]
RUNTIME_LOCK = ROOT / "requirements.lock"
TESTS_LOCK = ROOT / "tests" / "requirements.lock"
NOTEBOOKS_LOCK = ROOT / "tests" / "notebooks.lock"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def read_pins(lock: Path) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in _PIN.findall(lock.read_text())}


def read_group(name: str) -> list[str]:
    """One dependency group of pyproject.toml, the groups that it includes among it."""
    lines = []
    for entry in PROJECT["dependency-groups"][name]:
        lines += [entry] if isinstance(entry, str) else read_group(entry["include-group"])
    return lines


def committed_files() -> list[Path]:
    """Every file that is in git or would be added to it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


WANTED = {
    RUNTIME_LOCK: PROJECT["project"]["dependencies"] + read_group("build"),
    TESTS_LOCK: PROJECT["project"]["dependencies"] + read_group("tests"),
    NOTEBOOKS_LOCK: read_group("notebooks"),
    **{ROOT / "tests" / f"{name}.lock": read_group(name) for name in ("deploy", "schemas", "release")},
}


@pytest.mark.parametrize("lock", WANTED, ids=lambda lock: str(lock.relative_to(ROOT)))
class TestLock:
    def test_pins_every_dependency_of_pyproject_within_its_range(self, lock: Path) -> None:
        pins = read_pins(lock)
        for requirement in map(Requirement, WANTED[lock]):
            name = canonicalize_name(requirement.name)
            assert name in pins, f"{name} is missing: run `make lock`"
            assert requirement.specifier.contains(pins[name]), f"{requirement}: run `make lock`"

    def test_has_a_hash_for_every_pin_and_nothing_unpinned(self, lock: Path) -> None:
        entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text().strip())
        for entry in entries:
            assert _PIN.match(entry), entry
            assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry

    def test_names_no_host(self, lock: Path) -> None:
        text = lock.read_text()
        assert not re.search(r"https?:|://|--(extra-)?index-url|--find-links|file:", text)


@pytest.mark.parametrize("lock", [RUNTIME_LOCK, TESTS_LOCK], ids=lambda lock: str(lock.relative_to(ROOT)))
def test_locks_pin_what_the_dependencies_depend_on(lock: Path) -> None:
    pins = read_pins(lock)
    for requirement in closure(WANTED[lock]):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement} is missing"
        assert requirement.specifier.contains(pins[name], prereleases=True), str(requirement)


def closure(lines: list[str]) -> Iterator[Requirement]:
    """What the installed packages ask for in turn, for the Python that runs this test."""
    waiting = [Requirement(line) for line in lines]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        yield requirement
        extras = requirement.extras or {""}
        for line in importlib.metadata.requires(requirement.name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)


def test_tests_run_with_the_very_versions_that_are_shipped() -> None:
    shipped, tested = read_pins(RUNTIME_LOCK), read_pins(TESTS_LOCK)
    assert {name: tested.get(name) for name in shipped} == shipped


def test_notebooks_run_beside_the_same_versions_and_what_they_need_is_seen_by_no_other_test() -> None:
    tested, notebooks = read_pins(TESTS_LOCK), read_pins(NOTEBOOKS_LOCK)
    assert {name: tested[name] for name in tested.keys() & notebooks} == {
        name: notebooks[name] for name in tested.keys() & notebooks
    }
    assert not {"numpy", "pandas", "scikit-learn"} & tested.keys()


def test_test_tools_are_not_shipped() -> None:
    tools = {canonicalize_name(Requirement(line).name) for line in read_group("tests")} - {
        canonicalize_name(Requirement(line).name) for line in read_group("build")
    }
    assert not tools & read_pins(RUNTIME_LOCK).keys()


def test_the_package_says_the_version_of_pyproject() -> None:
    assert champion_gate.__version__ == PROJECT["project"]["version"]


def test_top_level_folders_are_these_and_no_others() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in committed_files() if path.parent != ROOT}
    assert folders <= {"service", "deploy", "tests", ".ci", ".github"}


# Written in two halves, so that this file does not hold what it looks for.
FORBIDDEN = [
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry.npm" + "js",
    "deb.debian" + ".org",
    "/work" + "/",
    "/root" + "/",
    "/opt/" + "pypi",
    "/opt/" + "wheels",
]


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    found = []
    for path in committed_files():
        text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert found == []


def test_no_file_is_left_empty_by_accident() -> None:
    may_be_empty = {"__init__.py", "py.typed"}
    empty = [path for path in committed_files() if path.stat().st_size == 0 and path.name not in may_be_empty]
    assert empty == []


def test_dockerfile_is_clean_under_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def last_stage() -> str:
    return re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[-1]


def test_image_runs_as_a_numeric_user_other_than_root() -> None:
    users = re.findall(r"^USER (\S+)$", last_stage(), flags=re.MULTILINE)
    assert users
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", users[-1])


def test_image_checks_its_health_on_the_port_that_is_configured() -> None:
    check = re.search(r"^HEALTHCHECK (?:.*\\\n)?.*$", last_stage(), flags=re.MULTILINE)
    assert check
    assert check[0].endswith('CMD ["champion-gate", "healthcheck"]')


def test_image_holds_no_stand_ins() -> None:
    assert "service/champion_gate_standins" in (ROOT / ".dockerignore").read_text().splitlines()


def test_nobody_is_told_to_install_from_a_registry_that_does_not_have_it() -> None:
    words = re.compile(r"pip install[^\n]*champion[-_]gate\b")
    found = [
        str(path.relative_to(ROOT))
        for path in committed_files()
        if words.search(path.read_bytes().decode(errors="replace"))
    ]
    assert found == []


def test_image_installs_nothing_in_its_last_stage() -> None:
    assert not re.search(r"apt-get|pip install|pip wheel", last_stage())


def test_the_wheel_carries_the_files_that_setup_and_doctor_need_and_the_image_can_build_it(
    tmp_path: Path,
) -> None:
    carried = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    with contextlib.chdir(ROOT):
        wheel = build_wheel(str(tmp_path))
    with zipfile.ZipFile(tmp_path / wheel) as inside:
        for source, target in carried.items():
            assert (
                inside.read(target) == (ROOT / source).read_bytes() == shipped(source.removeprefix("deploy/"))
            )
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = (ROOT / ".dockerignore").read_text().splitlines()
    for source in carried:
        assert any(source in line.split() for line in copied), source
        assert f"!{source}" in let_in, source


def test_image_is_built_only_from_what_the_lock_names() -> None:
    installs = re.findall(
        r"pip (?:--python \S+ )?(?:install|wheel)[^\n\\&]*", (ROOT / "Dockerfile").read_text()
    )
    assert installs
    for line in installs:
        assert "--require-hashes" in line or "--no-index" in line, line


def test_ci_script_can_be_run_as_it_is_and_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)


def test_make_without_a_target_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    assert {"help", "demo", "test", "lint", "bench"} <= listed


def test_licence_is_the_whole_apache_licence() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert text.rstrip().endswith("limitations under the License.")
