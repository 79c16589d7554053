"""Every mutant still fits the tree, and is code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from faults.mutants import HERE, MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_changes_what_it_is_to_change(tmp_path: Path, name: str) -> None:
    for change in MUTANTS[name]:
        copy = tmp_path / "service" / "champion_gate" / change.file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "service" / "champion_gate" / change.file, copy)
        change.apply(tmp_path)
        compile(copy.read_text(), change.file, "exec")
