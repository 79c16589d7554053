"""Secrets: their rotation, their hosts, and the files that hold them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from pydantic import SecretStr

from champion_gate.adapters.github.secrets import GitHubApp, GitHubToken
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.settings.credentials import BasicCredentials
from settings_environ import (
    PASSWORD,
    WEBHOOK_SECRET,
    environ,
    gates_file,
    loaded,
    problems_of,
)

__all__ = ["environ"]


def rsa_key(encryption: KeySerializationEncryption | None = None) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, encryption or NoEncryption()
    ).decode()


def test_during_a_rotation_both_secrets_are_taken_the_current_one_first(environ: dict[str, str]) -> None:
    settings = loaded(
        environ,
        GITHUB_WEBHOOK_SECRET_PREVIOUS="x" * 16,
        DATABRICKS_HOOK_PASSWORD_PREVIOUS="y" * 16,
        GITHUB_TOKEN_PREVIOUS="older",
    )

    assert settings.environment.vendors["github"].texts("github_webhook_secret") == (WEBHOOK_SECRET, "x" * 16)
    assert settings.hook_credentials == (
        BasicCredentials("gate", SecretStr(PASSWORD)),
        BasicCredentials("gate", SecretStr("y" * 16)),
    )
    assert settings.hosts["github"].previous == GitHubToken("older")


def test_a_previous_pair_is_never_mixed_with_the_current_one(environ: dict[str, str]) -> None:
    settings = loaded(
        environ,
        DATABRICKS_HOOK_USERNAME_PREVIOUS="old",
        DATABRICKS_HOOK_PASSWORD_PREVIOUS="y" * 16,
    )

    assert [each.username for each in settings.hook_credentials] == ["gate", "old"]
    assert settings.hook_credentials[1] == BasicCredentials("old", SecretStr("y" * 16))


def test_a_previous_secret_alone_is_not_enough(environ: dict[str, str]) -> None:
    name = "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET"
    environ[f"{name}_PREVIOUS"] = environ.pop(name)

    assert any(line.startswith(f"{name}: is missing") for line in problems_of(environ))


def test_the_same_previous_secret_counts_once(environ: dict[str, str]) -> None:
    settings = loaded(environ, GITHUB_WEBHOOK_SECRET_PREVIOUS=WEBHOOK_SECRET)

    assert settings.environment.vendors["github"].texts("github_webhook_secret") == (WEBHOOK_SECRET,)


@pytest.mark.parametrize("name", ["API_TOKEN", "API_TOKEN_PREVIOUS"])
def test_the_one_token_of_former_times_is_refused_and_never_taken_for_anothers(
    environ: dict[str, str], name: str
) -> None:
    (problem,) = problems_of(environ | {f"CHAMPION_GATE_{name}": "geheim" * 4})

    assert problem == (
        f"CHAMPION_GATE_{name}: is no variable that is known; "
        "`champion-gate tokens create` makes the tokens of the API"
    )


def test_a_github_app_is_its_id_and_its_key(environ: dict[str, str]) -> None:
    key, new_key = rsa_key(), rsa_key()
    del environ["CHAMPION_GATE_GITHUB_TOKEN"]

    plain = loaded(environ, GITHUB_APP_CLIENT_ID="Iv23liABC", GITHUB_APP_PRIVATE_KEY=key)
    in_one_line = loaded(
        environ,
        GITHUB_APP_CLIENT_ID="Iv23liABC",
        GITHUB_APP_PRIVATE_KEY=new_key.replace("\n", "\\n"),
        GITHUB_APP_PRIVATE_KEY_PREVIOUS=key,
    )

    in_base64 = loaded(
        environ,
        GITHUB_APP_CLIENT_ID="Iv23liABC",
        GITHUB_APP_PRIVATE_KEY=base64.b64encode(key.encode()).decode(),
    )

    assert plain.hosts["github"].credentials == GitHubApp("Iv23liABC", key)
    assert in_base64.hosts["github"].credentials == GitHubApp("Iv23liABC", key)
    host = in_one_line.hosts["github"]
    assert host.credentials == GitHubApp("Iv23liABC", new_key)
    assert host.previous == GitHubApp("Iv23liABC", key)


@pytest.mark.parametrize("before", ["", "Bag Attributes\n    friendlyName: gate\n"])
def test_a_key_ends_with_a_lines_end_whatever_a_tool_wrote_before_it(
    environ: dict[str, str], before: str
) -> None:
    del environ["CHAMPION_GATE_GITHUB_TOKEN"]
    given = f"{before}{rsa_key()}"
    assert given.endswith("-----\n")
    app = loaded(environ, GITHUB_APP_CLIENT_ID="Iv23liABC", GITHUB_APP_PRIVATE_KEY=given)
    assert app.hosts["github"].credentials == GitHubApp("Iv23liABC", given)


def test_half_an_app_or_a_key_that_cannot_sign_is_refused(environ: dict[str, str]) -> None:
    del environ["CHAMPION_GATE_GITHUB_TOKEN"]
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )

    only_id = problems_of(environ | {"CHAMPION_GATE_GITHUB_APP_CLIENT_ID": "Iv23"})
    assert only_id == [
        "CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY: is missing; a GitHub App needs its id and its key"
    ]
    only_key = problems_of(environ | {"CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY": rsa_key()})
    assert only_key == [
        "CHAMPION_GATE_GITHUB_APP_CLIENT_ID: is missing; a GitHub App needs its id and its key"
    ]
    for key in ("geheim", elliptic.decode(), rsa_key(BestAvailableEncryption(b"x")), rsa_key()[:-100]):
        problems = problems_of(
            environ
            | {"CHAMPION_GATE_GITHUB_APP_CLIENT_ID": "Iv23", "CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY": key}
        )
        assert len(problems) == 1
        assert problems[0].startswith("CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY: found a text (not shown)")


def test_each_github_host_gets_its_own_token_and_no_other(environ: dict[str, str], tmp_path: Path) -> None:
    environ["CHAMPION_GATE_CONFIG"] = gates_file(tmp_path, url="https://ghes.example.com/api/v3")

    without = problems_of(environ)
    wrong_port = problems_of(environ | {"CHAMPION_GATE_GITHUB_HOST_TOKENS": '{"ghes.example.com:8443": "x"}'})
    settings = loaded(
        environ,
        GITHUB_HOST_TOKENS='{"GHES.example.com": "theirs", "other.example.com": "unused"}',
        GITHUB_HOST_TOKENS_PREVIOUS='{"ghes.example.com": "theirs-before"}',
    )

    missing = (
        "CHAMPION_GATE_GITHUB_HOST_TOKENS: has no token for ghes.example.com, where a gate asks for approval"
    )
    assert without == wrong_port == [missing]
    assert list(settings.hosts) == ["github:ghes.example.com"]
    host = settings.hosts["github:ghes.example.com"]
    assert host.server.url == "https://ghes.example.com/api/v3"
    assert host.credentials == GitHubToken("theirs")
    assert host.previous == GitHubToken("theirs-before")


def test_no_credentials_are_asked_for_a_github_that_no_gate_uses(
    environ: dict[str, str], tmp_path: Path
) -> None:
    environ["CHAMPION_GATE_CONFIG"] = gates_file(tmp_path, url="https://ghes.example.com/api/v3")
    del environ["CHAMPION_GATE_GITHUB_TOKEN"]

    settings = loaded(environ, GITHUB_HOST_TOKENS='{"ghes.example.com": "theirs"}')

    assert list(settings.hosts) == ["github:ghes.example.com"]


def test_certificates_must_be_readable(environ: dict[str, str], tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    environ["CHAMPION_GATE_CONFIG"] = gates_file(
        tmp_path, url="https://ghes.example.com", ca_file=str(authorities)
    )
    environ["CHAMPION_GATE_GITHUB_HOST_TOKENS"] = '{"ghes.example.com": "theirs"}'

    absent = problems_of(environ)
    authorities.write_text("no certificate")
    empty = problems_of(environ)
    authorities.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    assert "cannot be read" in absent[0]
    assert "expected certificates as PEM" in empty[0]
    assert load_settings(environ).hosts["github:ghes.example.com"].server.ca_file == str(authorities)


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_secrets_may_stand_in_files(environ: dict[str, str], tmp_path: Path, case: object) -> None:
    assert callable(case)
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in list(environ):
        if name.startswith("CHAMPION_GATE_") and name != "CHAMPION_GATE_CONFIG":
            (folder / case(name)).write_text(environ.pop(name) + "\n")
    (folder / case("CHAMPION_GATE_GITHUB_WEBHOOK_SECRET_PREVIOUS")).write_text("x" * 20)
    (folder / case("CHAMPION_GATE_DATABASE_URL")).write_text("postgresql://gate:geheim@db/gate\r\n")
    (folder / "somebody-elses-secret").write_bytes(b"\xff")
    (folder / "..data").mkdir()  # as Kubernetes mounts them

    settings = loaded(environ, SECRETS_DIR=str(folder))

    assert settings.environment.vendors["github"].texts("github_webhook_secret") == (WEBHOOK_SECRET, "x" * 20)
    assert settings.hook_credentials == (BasicCredentials("gate", SecretStr(PASSWORD)),)
    assert settings.database_url == "postgresql://gate:geheim@db/gate"


def test_a_secret_given_twice_must_be_the_same(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    environ["CHAMPION_GATE_SECRETS_DIR"] = str(folder)
    (folder / "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET").write_text(WEBHOOK_SECRET)
    assert load_settings(environ).environment.vendors["github"].texts("github_webhook_secret") == (
        WEBHOOK_SECRET,
    )

    (folder / "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET").write_text("another-geheim-token")
    assert problems_of(environ)[0].startswith("CHAMPION_GATE_GITHUB_WEBHOOK_SECRET: is given twice")

    (folder / "champion_gate_github_webhook_secret").write_text(WEBHOOK_SECRET)
    assert any("is the same secret as" in line for line in problems_of(environ))


def test_secret_files_that_cannot_be_read_are_named(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    environ["CHAMPION_GATE_SECRETS_DIR"] = str(folder)
    (folder / "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD_PREVIOUS").write_bytes(b"\xff" * 20)
    (folder / "CHAMPION_GATE_GITHUB_TOKEN_PREVIOUS").mkdir()
    (folder / "CHAMPION_GATE_GITHUB_WEBHOOK_SECRET_PREVIOUS").write_text("x" * 65537)

    problems = "\n".join(problems_of(environ))

    assert "HOOK_PASSWORD_PREVIOUS: is no UTF-8 text" in problems
    assert "GITHUB_TOKEN_PREVIOUS: cannot be read" in problems
    assert "SECRET_PREVIOUS: is larger than 64 KiB" in problems


def test_settings_that_are_no_secret_are_not_taken_from_files(
    environ: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "CHAMPION_GATE_PORT").write_text("1")

    assert loaded(environ, SECRETS_DIR=str(folder)).environment.port == 8080
