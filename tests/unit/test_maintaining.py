"""The commands of service/docs/maintaining.md do what the page says."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from champion_gate.bootstrap.configuration import known_variables, load_environment
from champion_gate.domain.vendors import PREFIX
from champion_gate.settings.credentials import hook_credentials

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "service" / "docs" / "maintaining.md").read_text()
ROTATING = PAGE.split("\n## Rotate a secret\n")[1].split("\n## ")[0]
TWINS = sorted(PREFIX + name.upper() for name in known_variables() if f"{name}_previous" in known_variables())


def commands() -> tuple[str, str]:
    """The lines before the vendor is told the new value, and those after."""
    begin, end = re.findall(r"^ *```sh\n(.*?)^ *```", ROTATING, re.DOTALL | re.MULTILINE)
    return dedent(begin), dedent(end)


def given(folder: Path) -> dict[str, str]:
    """Every secret that the service reads out of the folder."""
    environment = load_environment({"CHAMPION_GATE_SECRETS_DIR": str(folder)})
    secrets = [environment, *environment.vendors.values()]
    return {
        PREFIX + name.upper(): value.get_secret_value()
        for each in secrets
        for name, value in each
        if hasattr(value, "get_secret_value")
    }


@pytest.mark.needs("openssl")
def test_every_twin_is_rotated_by_the_commands_of_the_page(tmp_path: Path) -> None:
    begin, end = commands()
    for name in TWINS:
        (tmp_path / name).write_text(f"former value of {name.lower()}")
    for name in TWINS:
        run = ["sh", "-euc", f"NAME={name}\n{begin}"]
        subprocess.run(run, cwd=tmp_path, check=True)
    both = given(tmp_path)
    for name in TWINS:
        assert both[f"{name}_PREVIOUS"] == f"former value of {name.lower()}"
        assert re.fullmatch(r"[0-9a-f]{64}", both[name])
    environment = load_environment({"CHAMPION_GATE_SECRETS_DIR": str(tmp_path)})
    assert len(hook_credentials(environment)) == 2
    for name in TWINS:
        subprocess.run(["sh", "-euc", f"NAME={name}\n{end}"], cwd=tmp_path, check=True)
    after = given(tmp_path)
    assert {name: after[name] for name in TWINS} == {name: both[name] for name in TWINS}
    assert not any(name.endswith("_PREVIOUS") for name in after)


def test_every_secret_with_a_twin_has_its_line() -> None:
    told = set(re.findall(r"`NAME=(\w+)`", ROTATING))
    ids = {"CHAMPION_GATE_DATABRICKS_HOOK_USERNAME", "CHAMPION_GATE_GITHUB_APP_CLIENT_ID"}
    assert told == set(TWINS) - ids
