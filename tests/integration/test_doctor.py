"""`champion-gate doctor`: green where all is right, and for each single thing put wrong exactly the right check fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate_standins.databricks.server import Fault
from integration.commands import run_command
from integration.doctor_world import DoctorWorld, Wrong, doctor_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DoctorWorld]:
    with doctor_world(tmp_path) as made:
        yield made


def test_is_green_where_all_is_right(world: DoctorWorld) -> None:
    findings = world.doctor()
    assert [each for each in findings if each["verdict"] != "ok"] == []


WRONG = {
    "token": Wrong(
        lambda world: world.environ.update(DATABRICKS_TOKEN="another-token"),
        "databricks.identity",
        "Check DATABRICKS_HOST",
    ),
    "away": Wrong(
        lambda world: world.databricks.faults.add(Fault("scim", drop=True)),
        "databricks.identity",
        "",
        "not known",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_says_what_is_wrong_and_what_to_do(world: DoctorWorld, name: str) -> None:
    wrong = WRONG[name]
    wrong.put(world)
    bad = [each for each in world.doctor(code=None) if each["verdict"] != "ok"]
    assert [(each["check"], each["verdict"]) for each in bad] == [(wrong.check, wrong.verdict)]
    assert wrong.remedy in bad[0]["remedy"]
    assert bad[0]["why"]


def test_prints_for_people_and_exits_by_what_it_found(world: DoctorWorld) -> None:
    def told() -> tuple[int, str, str]:
        done = run_command("doctor", environ=world.environ, folder=world.folder)
        return done.returncode, done.stdout, done.stderr

    code, text, errors = told()
    assert (code, errors) == (0, "")
    assert "ok         databricks.identity: we are champion-gate@example.com at http" in text
    world.environ["DATABRICKS_TOKEN"] = "another-token"
    code, text, _ = told()
    assert code == 1
    assert "FAIL       databricks.identity: " in text
    assert "           do: The token is wrong, has expired or was revoked." in text


def test_settings_that_cannot_be_used_exit_with_2(world: DoctorWorld) -> None:
    done = run_command("doctor", "--gate", "nobody", environ=world.environ, folder=world.folder)
    assert done.returncode == 2
    assert "found 'nobody'; expected one of churn" in done.stderr
