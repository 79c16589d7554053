"""Whether Databricks could be called at all is told without a call."""

from __future__ import annotations

from pathlib import Path

import pytest

from champion_gate.settings.databricks import credential_problems

ADDRESS = "https://adb-1.2.azuredatabricks.net"
PRINCIPAL = {"DATABRICKS_CLIENT_ID": "an-id", "DATABRICKS_CLIENT_SECRET": "dose-geheim"}


def told(tmp_path: Path, profiles: str = "", **variables: str) -> list[str]:
    file = tmp_path / "databrickscfg"
    if profiles:
        file.write_text(profiles)
    problems = credential_problems({"DATABRICKS_CONFIG_FILE": str(file), **variables})
    assert "geheim" not in str(problems)
    return problems


@pytest.mark.parametrize(
    "variables",
    [
        PRINCIPAL,
        {"DATABRICKS_TOKEN": "dapi-geheim"},
        {"DATABRICKS_USERNAME": "u", "DATABRICKS_PASSWORD": "geheim"},
        {"ARM_CLIENT_ID": "x", "ARM_CLIENT_SECRET": "geheim", "ARM_TENANT_ID": "t"},
        {"DATABRICKS_CLIENT_ID": "x", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://x"},
        {"DATABRICKS_METADATA_SERVICE_URL": "http://127.0.0.1:1"},
        {"DATABRICKS_AUTH_TYPE": "azure-cli"},
        {**PRINCIPAL, "DATABRICKS_TOKEN": "dapi-geheim", "DATABRICKS_AUTH_TYPE": "pat"},
    ],
)
def test_what_the_sdk_can_use_is_taken(tmp_path: Path, variables: dict[str, str]) -> None:
    assert told(tmp_path, DATABRICKS_HOST=ADDRESS, **variables) == []


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "DATABRICKS_*: no credentials are found; expected DATABRICKS_CLIENT_ID and"),
        ({"DATABRICKS_CLIENT_ID": "x"}, "DATABRICKS_CLIENT_SECRET: is missing"),
        ({"DATABRICKS_CLIENT_SECRET": "geheim"}, "DATABRICKS_CLIENT_ID: is missing"),
        ({"DATABRICKS_USERNAME": "x"}, "DATABRICKS_PASSWORD: is missing"),
        ({**PRINCIPAL, "DATABRICKS_TOKEN": "geheim"}, "DATABRICKS_*: found more than one way to sign in"),
        ({**PRINCIPAL, "DATABRICKS_HOST": ""}, "DATABRICKS_HOST: is missing"),
        ({"DATABRICKS_CONFIG_PROFILE": "gate"}, "DATABRICKS_CONFIG_PROFILE: there is no file"),
    ],
)
def test_what_it_cannot_use_is_named(tmp_path: Path, variables: dict[str, str], says: str) -> None:
    (problem,) = told(tmp_path, **{"DATABRICKS_HOST": ADDRESS, **variables})
    assert problem.startswith(says)


@pytest.mark.parametrize("section", ["DEFAULT", "gate"])
def test_a_profile_is_as_good(tmp_path: Path, section: str) -> None:
    chosen = {} if section == "DEFAULT" else {"DATABRICKS_CONFIG_PROFILE": section}
    assert told(tmp_path, f"[{section}]\nhost = {ADDRESS}\ntoken = geheim%1\n", **chosen) == []


@pytest.mark.parametrize(
    ("host", "says"),
    [
        (f"{ADDRESS}/?o=12", f"has more behind the address, as in a browser; keep only {ADDRESS}"),
        (f"{ADDRESS}/#job/4", "has more behind the address"),
        ("https://accounts.azuredatabricks.net", "the account console"),
        ("http://adb-1.2.azuredatabricks.net", "expected the workspace's address"),
        ("not an address", "expected the workspace's address"),
    ],
)
def test_a_profiles_address_is_looked_at_too(tmp_path: Path, host: str, says: str) -> None:
    (problem,) = told(tmp_path, f"[gate]\nhost = {host}\ntoken = geheim\n", DATABRICKS_CONFIG_PROFILE="gate")
    assert problem.startswith("the host of profile gate in ")
    assert says in problem


@pytest.mark.parametrize(
    ("profiles", "says"),
    [("[other]\nhost = x\n", "has no profile 'gate'"), ("no section\n", "is no file of profiles")],
)
def test_a_profile_that_is_not_there_is_named(tmp_path: Path, profiles: str, says: str) -> None:
    problems = told(tmp_path, profiles, DATABRICKS_CONFIG_PROFILE="gate")
    assert says in problems[0]
