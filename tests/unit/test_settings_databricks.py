"""DATABRICKS_HOST as people copy it: taken apart, or refused by its name when the service starts."""

from __future__ import annotations

import pytest

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.errors import ConfigurationError
from settings_environ import environ

__all__ = ["environ"]

AZURE = "https://adb-1234567890123456.7.azuredatabricks.net"
AWS = "https://dbc-a1b2c3d4-e5f6.cloud.databricks.com"


def problems_of(environ: dict[str, str], **variables: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**environ, **variables})
    return caught.value.problems


def read(environ: dict[str, str], **variables: str) -> dict[str, str]:
    return dict(load_settings({**environ, **variables}).databricks)


@pytest.mark.parametrize(
    ("given", "host", "workspace_id"),
    [
        (AZURE, AZURE, None),
        (f"{AZURE}/", AZURE, None),
        (AZURE.removeprefix("https://"), AZURE, None),
        (AZURE.upper().replace("HTTPS", "https"), AZURE, None),
        (f"{AZURE}:443", AZURE, None),
        (f"{AZURE}/?o=1", AZURE, "1"),
        (f"{AZURE.removeprefix('https://')}/?o=1234567890123456", AZURE, "1234567890123456"),
        (f"{AZURE}/?o=12#job/4/run/5", AZURE, "12"),
        (f"{AZURE}/#job/4?o=12", AZURE, "12"),
        (f"{AZURE}/jobs/4/runs/5?o=12", AZURE, "12"),
        (f"{AZURE}/explore/data/models/main/ml/churn?o=12&x=y", AZURE, "12"),
        (f"{AZURE}/?o=", AZURE, None),
        (f"{AZURE}/?o=abc", AZURE, None),
        (f"{AZURE}/?o=1&o=2", AZURE, None),
        (f"{AZURE}/browse#workspace", AZURE, None),
        (f"{AWS}/login.html?next_url=%2F", AWS, None),
        ("https://1.8.gcp.databricks.com/ml/experiments", "https://1.8.gcp.databricks.com", None),
        ("https://adb-1.2.databricks.azure.us/x", "https://adb-1.2.databricks.azure.us", None),
        ("https://proxy.example.com/databricks", "https://proxy.example.com/databricks", None),
        ("https://proxy.example.com/?o=3", "https://proxy.example.com", "3"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080", None),
    ],
)
def test_an_address_from_the_browser_is_taken_apart(
    environ: dict[str, str], given: str, host: str, workspace_id: str | None
) -> None:
    read_as = read(environ, DATABRICKS_HOST=given)
    assert (read_as["host"], read_as.get("workspace_id")) == (host, workspace_id)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://accounts.azuredatabricks.net", "the account console"),
        ("https://accounts.cloud.databricks.com/login?account_id=1", "the account console"),
        ("accounts.gcp.databricks.com", "the account console"),
        (f"https://{AZURE}", "expected the workspace's address"),
        (f"http://{AZURE}", "expected the workspace's address"),
        ("http://adb-1.2.azuredatabricks.net", "expected the workspace's address"),
        ("ftp://adb-1.2.azuredatabricks.net", "expected the workspace's address"),
        ("https://", "expected the workspace's address"),
        ("https://adb 1.azuredatabricks.net", "expected the workspace's address"),
        ("'https://adb-1.2.azuredatabricks.net'", "found quotes around it"),
        ("https://proxy.example.com/a/b?o=3", "without anything behind it"),
    ],
)
def test_what_is_no_workspaces_address_is_refused_by_name(
    environ: dict[str, str], given: str, words: str
) -> None:
    (problem,) = problems_of(environ, DATABRICKS_HOST=given)
    assert problem.startswith("DATABRICKS_HOST: found ")
    assert words in problem


@pytest.mark.parametrize(
    "given", ["https://me:s3cr3t@adb-1.2.azuredatabricks.net", "me:s3cr3t@adb-1.2.azuredatabricks.net"]
)
def test_a_password_in_the_address_is_never_shown(environ: dict[str, str], given: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({**environ, "DATABRICKS_HOST": given})
    assert "DATABRICKS_HOST" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_the_workspaces_id_may_be_given_by_itself(environ: dict[str, str]) -> None:
    del environ["DATABRICKS_HOST"]
    assert read(environ, DATABRICKS_WORKSPACE_ID="12") == {"workspace_id": "12"}
    both = read(environ, DATABRICKS_HOST=f"{AZURE}/?o=12", DATABRICKS_WORKSPACE_ID="12")
    assert both == {"host": AZURE, "workspace_id": "12"}
    assert read(environ) == {}
    assert read(environ, DATABRICKS_HOST=" ", DATABRICKS_WORKSPACE_ID="") == {}


def test_two_ids_that_contradict_each_other_are_refused(environ: dict[str, str]) -> None:
    (problem,) = problems_of(environ, DATABRICKS_HOST=f"{AZURE}/?o=12", DATABRICKS_WORKSPACE_ID="13")
    assert problem.startswith("DATABRICKS_HOST: names workspace 12 behind ?o=, and DATABRICKS_WORKSPACE_ID")


@pytest.mark.parametrize("given", ["abc", "-1", "0", "?o=12", "12 13"])
def test_an_id_that_is_no_number_is_refused(environ: dict[str, str], given: str) -> None:
    (problem,) = problems_of(environ, DATABRICKS_WORKSPACE_ID=given)
    assert problem.startswith("DATABRICKS_WORKSPACE_ID: found ")


def test_it_is_named_beside_all_other_problems(environ: dict[str, str]) -> None:
    del environ["CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"]
    found = problems_of(environ, DATABRICKS_HOST=f"https://{AZURE}")
    assert len(found) == 2
