"""What was kept with a value is refused by the variable's name, and the value never shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from champion_gate.bootstrap.configuration import load_api_access
from champion_gate.errors import ConfigurationError
from settings_environ import GITHUB_TOKEN, PASSWORD, environ, loaded, problems_of

__all__ = ["environ"]
DEPLOYING = Path(__file__).resolve().parents[2] / "service" / "docs" / "deploying.md"
STRAYS = [
    ("{} # random", "a comment behind it"),
    ("{}        # random", "a comment behind it"),
    ('"{}"', "quotes around it"),
    ("'{}'", "quotes around it"),
    ('{}"', "quotes around it"),
    (" {}", "blanks at its ends"),
    ("{}\t", "blanks at its ends"),
]
PLACEHOLDERS = [
    "…",
    "Iv23…",
    "<token>",
    "changeme",
    "change-me",
    "xxxxxxxx",
    "your-token-here",
    "${TOKEN}",
    "...",
]
BARE = {
    "CHAMPION_GATE_GITHUB_TOKEN": GITHUB_TOKEN,
    "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": PASSWORD,
    "CHAMPION_GATE_DATABRICKS_HOOK_USERNAME": "gate",
    "CHAMPION_GATE_PUBLIC_URL": "https://geheim.example.com",
    "CHAMPION_GATE_DATABASE_URL": "postgresql://geheim@db/gate",
    "DATABRICKS_HOST": "https://geheim.cloud.databricks.com",
    "DATABRICKS_CLIENT_ID": "geheim-1",
    "DATABRICKS_CLIENT_SECRET": "dose-geheim",
    "DATABRICKS_TOKEN": "dapi-geheim",
    "DATABRICKS_WORKSPACE_ID": "123",
    "MLFLOW_TRACKING_USERNAME": "gate",
    "MLFLOW_TRACKING_PASSWORD": "geheim-2",
    "MLFLOW_TRACKING_TOKEN": "geheim-3",
    "HTTPS_PROXY": "http://gate:geheim@proxy:3128",
    "https_proxy": "http://gate:geheim@proxy:3128",
    "NO_PROXY": "localhost,.example.com",
    "REQUESTS_CA_BUNDLE": "/etc/ssl/geheim.pem",
}


@pytest.mark.parametrize("variable", BARE)
@pytest.mark.parametrize(("form", "says"), STRAYS)
def test_comments_quotes_and_blanks_are_refused_once(
    environ: dict[str, str], variable: str, form: str, says: str
) -> None:
    (problem,) = problems_of({**environ, variable: form.format(BARE[variable])})
    assert problem.startswith(f"{variable}: found {says}")


@pytest.mark.parametrize("variable", BARE)
@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_placeholders_are_refused(environ: dict[str, str], variable: str, text: str) -> None:
    problems = problems_of({**environ, variable: text})
    assert [each for each in problems if each.startswith(f"{variable}: found a placeholder")], problems


@pytest.mark.parametrize("form", ["{} # mine", '"{}"', " {}"])
def test_files_of_secrets_likewise(environ: dict[str, str], tmp_path: Path, form: str) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    del environ["CHAMPION_GATE_GITHUB_TOKEN"]
    (folder / "champion_gate_github_token").write_text(f"{form.format(GITHUB_TOKEN)}\n")
    (problem,) = problems_of({**environ, "CHAMPION_GATE_SECRETS_DIR": str(folder)})
    assert problem.startswith("CHAMPION_GATE_GITHUB_TOKEN: found ")


def test_the_token_of_the_command_line_likewise() -> None:
    environ = {"CHAMPION_GATE_API_URL": "https://gate.example.com", "CHAMPION_GATE_TOKEN": '"cgate_geheim"'}
    with pytest.raises(ConfigurationError) as caught:
        load_api_access(environ, None)
    assert "CHAMPION_GATE_TOKEN: found quotes around it" in str(caught.value)


@pytest.mark.parametrize("text", ["geheim-#1-geheim-geheim", "it's-geheim-geheim", "geheim geheim geheim"])
def test_what_may_stand_in_a_password_may(environ: dict[str, str], text: str) -> None:
    settings = loaded(environ, DATABRICKS_HOOK_PASSWORD=text)
    assert settings.hook_credentials[0].password.get_secret_value() == text


def test_the_block_of_deploying_has_no_comment_behind_a_value() -> None:
    lines = re.findall(r"^ *[A-Z_]+=.*$", DEPLOYING.read_text(), re.MULTILINE)
    assert len(lines) > 8
    assert [line for line in lines if " #" in line] == []
