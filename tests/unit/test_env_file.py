from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from champion_gate.errors import ConfigurationError, ConflictError
from champion_gate.settings.env_file import create_env_file, read_env_file, rotate_variable, set_variables

TEXT = "# Who Databricks is.\nA=one\n\nB=two/three:4+5==\n"


def test_its_owner_alone_reads_it_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "gate.env"
    before = os.umask(0)
    try:
        create_env_file(path, TEXT)
        set_variables(path, {"A": "1"})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_env_file(path) == {"A": "1", "B": "two/three:4+5=="}


def test_one_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "gate.env", tmp_path / "elsewhere"
    path.symlink_to(elsewhere)
    with pytest.raises(ConflictError, match="is there already"):
        create_env_file(path, TEXT)
    assert not elsewhere.exists()
    elsewhere.write_text("A=mine\n")
    with pytest.raises(ConflictError):
        create_env_file(path, TEXT)
    assert elsewhere.read_text() == "A=mine\n"


def test_comments_order_and_the_link_stay_and_the_last_of_two_lines_is_not_left(tmp_path: Path) -> None:
    real, path = tmp_path / "real.env", tmp_path / "gate.env"
    real.write_text(f"{TEXT}A=later\n")
    path.symlink_to(real)
    rotate_variable(path, "A", "new")
    assert path.is_symlink()
    assert real.read_text() == "# Who Databricks is.\nA=new\n\nB=two/three:4+5==\nA_PREVIOUS=later\n"


@pytest.mark.parametrize("value", ["a b", "a#b", "$HOME", '"a"', "a\\nb", "~", "a\nB=c"])
def test_a_value_that_readers_read_differently_is_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "gate.env"
    create_env_file(path, TEXT)
    with pytest.raises(ConfigurationError, match="not shown"):
        set_variables(path, {"A": value})
    assert path.read_text() == TEXT
    assert [each.name for each in tmp_path.iterdir()] == ["gate.env"]


def test_a_shell_reads_what_we_read(tmp_path: Path) -> None:
    path = tmp_path / "gate.env"
    create_env_file(path, TEXT)
    told = subprocess.run(
        ["sh", "-c", f'. {shlex.quote(str(path))}; printf %s "$B"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == read_env_file(path)["B"]


def test_a_line_that_is_no_variable_is_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "gate.env"
    path.write_text("A=1\nexport B=s3cret\n")
    with pytest.raises(ConfigurationError, match=r"line 2 \(not shown\)") as caught:
        read_env_file(path)
    assert "s3cret" not in str(caught.value)
