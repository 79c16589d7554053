"""The map of the code leads to what is there."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = (ROOT / "service" / "README.md").read_text()
PACKAGE = ROOT / "service" / "champion_gate"
PATHS = {
    path
    for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/|(?:[\w.-]+/)*[\w-]+\.(?:py|md|toml))`", MAP)
    if "NAME" not in path
}
A_VENDORS = {"models.py", "webhook.py", "id_token.py", "settings.py", "secrets.py", "vendor.py"}
STEPS = [
    (file, name)
    for file, words in re.findall(r"^\| \d+ \| `(.+?)` \| (.*) \|$", MAP, re.MULTILINE)
    for name in re.findall(r"(?:^`(?=[a-z])|`(?=[A-Z]))([\w.]+)`", words)
]
"""What a step happens in, and the functions that are named of it."""


@pytest.mark.parametrize("path", sorted(PATHS - A_VENDORS))
def test_every_path_exists(path: str) -> None:
    assert any((start / path).exists() for start in (PACKAGE, ROOT))


@pytest.mark.parametrize(("file", "name"), STEPS)
def test_every_step_is_in_its_file(file: str, name: str) -> None:
    assert set(name.split(".")) <= names(PACKAGE / file)


def test_every_folder_has_its_line_in_the_order_of_the_imports() -> None:
    table = MAP.split("\n## The layout\n")[1].split("\n## ")[0]
    told = [
        path.removesuffix("/").removesuffix(".py")
        for path in re.findall(r"^\| `(\S+?)`", table, re.MULTILINE)
    ]
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert set(told) == folders | {"log", "meters", "errors"}
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    level = {name.strip(): at for at, names in enumerate(layers) for name in names.split("|")}
    assert told == sorted(told, key=lambda name: level[name])


@pytest.mark.parametrize("file", sorted(A_VENDORS))
@pytest.mark.parametrize("vendor", ["github", "gitlab"])
def test_a_provider_has_the_files_that_the_map_names(vendor: str, file: str) -> None:
    assert file in PATHS
    assert (PACKAGE / "adapters" / vendor / file).is_file()


def test_it_is_one_page_that_tells_the_whole_way() -> None:
    assert len(STEPS) > 10
    assert len(MAP.splitlines()) <= 120


def names(file: Path) -> set[str]:
    """The classes and functions that a file defines."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {each.name for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, kinds)}


def test_the_domain_imports_the_standard_library_pydantic_and_errors_alone() -> None:
    allowed = {*sys.stdlib_module_names, "pydantic", "pydantic_core"}
    for file in (PACKAGE / "domain").rglob("*.py"):
        for module in imported(file):
            ours = module.startswith(("champion_gate.domain", "champion_gate.errors"))
            assert ours or module.split(".")[0] in allowed, f"{file.name}: {module}"


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return found
