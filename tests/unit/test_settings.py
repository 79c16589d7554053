"""The environment: what it becomes, and every variable that can be wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from champion_gate.adapters.github.secrets import GitHubToken
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.settings.credentials import BasicCredentials
from settings_environ import (
    GITHUB_TOKEN,
    PASSWORD,
    WEBHOOK_SECRET,
    environ,
    loaded,
    problems_of,
)

__all__ = ["environ"]


def test_the_least_that_is_needed_gets_the_documented_defaults(environ: dict[str, str]) -> None:
    settings = load_settings(environ)

    assert settings.gates.registry == "databricks-uc"
    assert [gate.name for gate in settings.gates.gates] == ["churn"]
    assert settings.hook_credentials == (BasicCredentials("gate", SecretStr(PASSWORD)),)
    assert settings.environment.vendors["github"].texts("github_webhook_secret") == (WEBHOOK_SECRET,)
    host = settings.hosts["github"]
    assert host.server.url == "https://api.github.com"
    assert host.credentials == GitHubToken(GITHUB_TOKEN)
    assert host.previous is None
    assert settings.database_url == "sqlite:///champion-gate.db"
    assert settings.environment.public_url is None
    given = settings.environment
    assert (given.host, given.port, given.sweep_seconds) == ("127.0.0.1", 8080, 60.0)
    assert (given.proxy_hops, given.stop_seconds) == (0, 8)
    assert settings.environment.config == Path(environ["CHAMPION_GATE_CONFIG"])


def test_every_other_variable_is_read(environ: dict[str, str]) -> None:
    settings = loaded(
        environ,
        DATABASE_URL="postgresql+psycopg://gate:geheim@db/gate",
        PUBLIC_URL="https://Gate.example.com/base/",
        HOST="0.0.0.0",
        PORT="0",
        SWEEP_SECONDS="0.5",
        PROXY_HOPS="5",
        STOP_SECONDS="20",
    )

    assert settings.database_url == "postgresql+psycopg://gate:geheim@db/gate"
    assert settings.environment.public_url == "https://gate.example.com/base"
    given = settings.environment
    assert (given.host, given.port, given.sweep_seconds) == ("0.0.0.0", 0, 0.5)
    assert (given.proxy_hops, given.stop_seconds) == (5, 20)


def test_secrets_never_show(environ: dict[str, str]) -> None:
    settings = loaded(
        environ, DATABASE_URL="postgresql://gate:geheim@db/gate", GITHUB_WEBHOOK_SECRET_PREVIOUS="geheim" * 4
    )

    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings)


def test_settings_cannot_be_changed(environ: dict[str, str]) -> None:
    settings = load_settings(environ)

    with pytest.raises(AttributeError):
        settings.hosts = {}  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.hosts["github:x"] = settings.hosts["github"]  # type: ignore[index]


def test_an_empty_environment_names_everything_that_is_missing(tmp_path: Path) -> None:
    problems = problems_of({"CHAMPION_GATE_CONFIG": str(tmp_path / "none.yaml")})

    for name in (
        "DATABRICKS_HOOK_USERNAME",
        "DATABRICKS_HOOK_PASSWORD",
    ):
        assert any(line.startswith(f"CHAMPION_GATE_{name}: is missing") for line in problems)
    assert any("none.yaml: cannot be read" in line for line in problems)
    # What else is needed is up to the file, and nobody knows what that would say.
    assert len(problems) == 3


def test_problems_of_the_environment_and_of_gates_yaml_come_together(environ: dict[str, str]) -> None:
    Path(environ["CHAMPION_GATE_CONFIG"]).write_text("registry: uc:x\ngates: []\n")
    environ |= {"CHAMPION_GATE_PORT": "x", "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD": "short"}

    problems = "\n".join(problems_of(environ))

    for part in (
        "registry: found",
        "gates: found",
        "CHAMPION_GATE_PORT: found 'x'",
        "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD: ",
    ):
        assert part in problems


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "http", "PORT: found 'http'; expected a port number"),
        ("PORT", "65536", "PORT: found '65536'"),
        ("PORT", "-1", "PORT"),
        ("PORT", "tcp://10.0.0.1:80", "PORT: .*enableServiceLinks"),
        ("HOST", "a b", "HOST: found 'a b'"),
        ("STOP_SECONDS", "1", "STOP_SECONDS: found '1'; expected a whole number of seconds from 2 to 600"),
        ("STOP_SECONDS", "601", "STOP_SECONDS"),
        ("STOP_SECONDS", "7.5", "STOP_SECONDS"),
        ("SWEEP_SECONDS", "0", "SWEEP_SECONDS: found '0'"),
        ("SWEEP_SECONDS", "nan", "SWEEP_SECONDS"),
        ("SWEEP_SECONDS", "1m", "SWEEP_SECONDS"),
        ("SWEEP_SECONDS", "3601", "SWEEP_SECONDS"),
        ("PUBLIC_URL", "http://gate.example.com", "PUBLIC_URL: .*https://"),
        ("PUBLIC_URL", "https://a:geheim@gate.example.com", "PUBLIC_URL: .*not shown"),
        ("PUBLIC_URL", "gate.example.com", "PUBLIC_URL: found 'gate.example.com'"),
        ("PUBLIC_URL", "https://gate.example.com/?x=1", "PUBLIC_URL"),
        ("DATABASE_URL", "mysql://gate:geheim@db/gate", "DATABASE_URL: .*not shown.*sqlite:///"),
        ("DATABASE_URL", "sqlite://", "DATABASE_URL"),
        ("DATABASE_URL", "sqlite:///:memory:", "DATABASE_URL: .*forgets"),
        ("PROXY_HOPS", "6", "PROXY_HOPS: found '6'; expected .*X-Forwarded-For, from 0 to 5"),
        ("PROXY_HOPS", "-1", "PROXY_HOPS"),
        ("PROXY_HOPS", "1.0", "PROXY_HOPS"),
        ("PROXY_HOPS", "all", "PROXY_HOPS"),
        ("DATABRICKS_HOOK_PASSWORD", "fifteen-chars-x", "PASSWORD: found a text of 15 .*at least 16"),
        ("DATABRICKS_HOOK_PASSWORD", "", "HOOK_PASSWORD: is missing"),
        ("DATABRICKS_HOOK_USERNAME", "a:b", "HOOK_USERNAME: .*without `:`"),
        ("DATABRICKS_HOOK_PASSWORD", "short", "HOOK_PASSWORD: found a text of 5 characters"),
        ("DATABRICKS_HOOK_PASSWORD", "tab\tinside-the-password", "HOOK_PASSWORD: .*control characters"),
        ("DATABRICKS_HOOK_PASSWORD_PREVIOUS", "short", "HOOK_PASSWORD_PREVIOUS"),
        ("GITHUB_WEBHOOK_SECRET", "short", "GITHUB_WEBHOOK_SECRET: found a text of 5"),
        ("GITHUB_TOKEN", "two words", "GITHUB_TOKEN: .*without white space"),
        ("GITHUB_TOKEN", " ", "GITHUB_APP_CLIENT_ID and .*GITHUB_TOKEN.*are missing; api.github.com"),
        ("GITHUB_APP_CLIENT_ID", "Iv23", "GITHUB_TOKEN: is given beside .*; expected the App or the token"),
        ("GITHUB_HOST_TOKENS", "geheim", "GITHUB_HOST_TOKENS: found a text .*expected JSON"),
        ("GITHUB_HOST_TOKENS", '["geheim"]', "GITHUB_HOST_TOKENS: .*expected JSON"),
        ("GITHUB_HOST_TOKENS", '{"a.de": 5}', "GITHUB_HOST_TOKENS: a.de has no text"),
        ("GITHUB_HOST_TOKENS", '{"a.de": "x", "A.de": "y"}', "GITHUB_HOST_TOKENS: a.de is written twice"),
        ("GITHUB_HOST_TOKENS", '{"https://a.de/x": "x"}', "GITHUB_HOST_TOKENS: a key is no host name"),
        (
            "GITHUB_HOST_TOKENS",
            '{"api.github.com": "x"}',
            "has a token for api.github.com, which is github.url",
        ),
        (
            "GITHUB_TOKN",
            "geheim",
            "GITHUB_TOKN: is no variable that is known; did you mean CHAMPION_GATE_GITHUB_TOKEN",
        ),
        (
            "SECRETS_DIR",
            "/nowhere/at/all",
            "SECRETS_DIR: found '/nowhere/at/all'; expected a readable directory",
        ),
        ("CONFIG", "/nowhere/gates.yaml", "/nowhere/gates.yaml: cannot be read"),
    ],
)
def test_each_wrong_variable_is_named(environ: dict[str, str], name: str, value: str, says: str) -> None:
    problems = problems_of(environ | {f"CHAMPION_GATE_{name}": value})

    assert any(re.search(says, line) for line in problems), problems


def test_variables_that_kubernetes_makes_for_a_service_are_none_of_ours(environ: dict[str, str]) -> None:
    settings = loaded(
        environ,
        SERVICE_HOST="10.0.0.1",
        SERVICE_PORT="80",
        SERVICE_PORT_HTTP="80",
        PORT_80_TCP="tcp://10.0.0.1:80",
        PORT_80_TCP_ADDR="10.0.0.1",
        PORT="8080",
    )

    assert settings.environment.port == 8080
