"""The map of the code leads to what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = (ROOT / "service" / "README.md").read_text()
PACKAGE = ROOT / "service" / "champion_gate"
PATHS = sorted(
    {
        path
        for path in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/|(?:[\w.-]+/)*[\w-]+\.(?:py|md|toml))`", MAP)
        if "NAME" not in path and path not in {"webhook.py", "id_token.py"}
    }
)
STEPS = re.findall(r"^\| \d+ \| `(.+?)` \| `(.+?)` \|", MAP, re.MULTILINE)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_exists(path: str) -> None:
    assert any((start / path).exists() for start in (PACKAGE, ROOT))


@pytest.mark.parametrize(("file", "name"), STEPS)
def test_every_step_is_in_its_file(file: str, name: str) -> None:
    assert set(name.split(".")) <= names(PACKAGE / file)


def test_every_folder_has_its_line_in_the_order_of_the_imports() -> None:
    table = MAP.split("\n## The layout\n")[1].split("\n## ")[0]
    told = [path for row in re.findall(r"^\| `(\S+?)`", table, re.MULTILINE) for path in [row.rstrip("/")]]
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert set(told) == folders | {"log.py", "errors.py"}


def test_a_provider_has_the_files_that_the_map_names() -> None:
    for vendor in ("github", "gitlab"):
        for file in ("webhook.py", "id_token.py"):
            assert (PACKAGE / "adapters" / vendor / file).is_file()


def test_it_is_one_page_that_tells_the_whole_way() -> None:
    assert len(STEPS) > 10
    assert len(MAP.splitlines()) <= 120


def names(file: Path) -> set[str]:
    """The classes and functions that a file defines."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    return {each.name for each in ast.walk(ast.parse(file.read_text())) if isinstance(each, kinds)}
