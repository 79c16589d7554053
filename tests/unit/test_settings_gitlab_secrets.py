"""GitLab's secrets: which are required when, what they may be, and their rotation."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from champion_gate.adapters.gitlab.secrets import GitLabSecrets, GitLabTokens
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.settings.loading import Settings
from settings_environ import (
    READ_TOKEN,
    SIGNING_TOKEN,
    TRIGGER_TOKEN,
    environ,
    gitlab_environ,
    loaded,
    problems_of,
    use_gitlab,
)

__all__ = ["environ", "gitlab_environ"]


def signing_token(size: int) -> str:
    return f"whsec_{base64.b64encode(bytes(range(size))).decode()}"


def of_webhooks(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    secrets = settings.environment.vendors["gitlab"]
    assert isinstance(secrets, GitLabSecrets)
    return secrets.of_webhooks()


def without(environ: dict[str, str], *names: str) -> dict[str, str]:
    return {
        name: value for name, value in environ.items() if name.removeprefix("CHAMPION_GATE_") not in names
    }


def test_gitlab_alone_needs_no_secret_of_github(gitlab_environ: dict[str, str]) -> None:
    settings = load_settings(gitlab_environ)

    assert list(settings.hosts) == ["gitlab"]
    assert settings.environment.vendors["github"].texts("github_webhook_secret") == ()
    host = settings.hosts["gitlab"]
    assert (host.server.url, host.server.ca_file) == ("https://gitlab.com", None)
    assert settings.environment.public_url == "https://gate.example.com"
    assert host.credentials == GitLabTokens(read_token=READ_TOKEN, trigger_token=TRIGGER_TOKEN)
    assert host.previous is None
    assert of_webhooks(settings) == ((SIGNING_TOKEN,), ())


def test_github_alone_needs_no_secret_of_gitlab(environ: dict[str, str]) -> None:
    settings = load_settings(environ)

    assert of_webhooks(settings) == ((), ())
    assert list(settings.hosts) == ["github"]


def test_both_together_need_the_secrets_of_both(gitlab_environ: dict[str, str], tmp_path: Path) -> None:
    file = json.loads((tmp_path / "gates.yaml").read_text())
    github = {"repository": "example/ml-deploy", "environments": ["champion"]}
    file["gates"].append(file["gates"][0] | {"name": "hub", "jobs": [9], "approval": {"github": github}})
    (tmp_path / "gates.yaml").write_text(json.dumps(file))

    problems = problems_of(without(gitlab_environ, "GITLAB_READ_TOKEN"))
    settings = loaded(gitlab_environ, GITHUB_TOKEN="theirs", GITHUB_WEBHOOK_SECRET="x" * 16)

    assert len(problems) == 3
    for name in ("GITHUB_WEBHOOK_SECRET", "GITLAB_READ_TOKEN", "GITHUB_APP_CLIENT_ID and "):
        assert any(line.startswith(f"CHAMPION_GATE_{name}") for line in problems), problems
    assert sorted(settings.hosts) == ["github", "gitlab"]


def test_everything_that_gitlab_lacks_is_named_at_once(gitlab_environ: dict[str, str]) -> None:
    bare = without(
        gitlab_environ,
        "PUBLIC_URL",
        "GITLAB_READ_TOKEN",
        "GITLAB_TRIGGER_TOKEN",
        "GITLAB_SIGNING_TOKEN",
    )

    problems = problems_of(bare)

    for says in (
        "CHAMPION_GATE_GITLAB_READ_TOKEN: is missing; expected an access token with scope read_api",
        "CHAMPION_GATE_GITLAB_TRIGGER_TOKEN (or instead, CHAMPION_GATE_GITLAB_API_TOKEN): is missing",
        "CHAMPION_GATE_GITLAB_SIGNING_TOKEN (or, for a GitLab without signing tokens, CHAMPION_GATE_GITLAB_WEB",
        "CHAMPION_GATE_PUBLIC_URL: is missing; expected the https:// address where GitLab's jobs reach",
    ):
        assert len([line for line in problems if line.startswith(says)]) == 1, (says, problems)
    assert len(problems) == 4


def test_a_file_that_is_wrong_elsewhere_still_tells_which_secrets_are_missing(
    gitlab_environ: dict[str, str], tmp_path: Path
) -> None:
    use_gitlab(tmp_path, {"project": "x"})

    problems = problems_of(without(gitlab_environ, "GITLAB_READ_TOKEN"))

    assert any("GITLAB_READ_TOKEN: is missing" in line for line in problems)
    assert any("approval.gitlab.project: found 'x'" in line for line in problems)
    assert not any("GITHUB" in line for line in problems)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("GITLAB_READ_TOKEN", "two geheim words", "GITLAB_READ_TOKEN: .*without white space"),
        ("GITLAB_READ_TOKEN", "gehéim", "GITLAB_READ_TOKEN: .*without white space"),
        (
            "GITLAB_READ_TOKEN",
            "glptt-geheim",
            "GITLAB_READ_TOKEN: found a pipeline trigger token .*access tok",
        ),
        (
            "GITLAB_READ_TOKEN_PREVIOUS",
            "glptt-geheim",
            "GITLAB_READ_TOKEN_PREVIOUS: found a pipeline trigger",
        ),
        ("GITLAB_API_TOKEN", "glptt-geheim", "GITLAB_API_TOKEN: found a pipeline trigger token"),
        ("GITLAB_API_TOKEN", "geheim\tx", "GITLAB_API_TOKEN: .*without white space"),
        ("GITLAB_API_TOKEN_PREVIOUS", "glpat-geheim", "GITLAB_API_TOKEN_PREVIOUS: stands without"),
        (
            "GITLAB_TRIGGER_TOKEN",
            "glpat-geheim",
            "GITLAB_TRIGGER_TOKEN: found an access token .*GITLAB_API_TOK",
        ),
        ("GITLAB_TRIGGER_TOKEN", "geheim x", "GITLAB_TRIGGER_TOKEN: .*without white space"),
        (
            "GITLAB_TRIGGER_TOKEN_PREVIOUS",
            "geheim",
            "GITLAB_TRIGGER_TOKEN_PREVIOUS: is no variable that is kn",
        ),
        ("GITLAB_TRIGGER_TOKEN", " ", r"GITLAB_TRIGGER_TOKEN \(or instead, .*: is missing"),
        ("GITLAB_SIGNING_TOKEN", "geheim" * 4, "GITLAB_SIGNING_TOKEN: found a text .*whsec_ and base64"),
        ("GITLAB_SIGNING_TOKEN", "whsec_", "GITLAB_SIGNING_TOKEN: "),
        ("GITLAB_SIGNING_TOKEN", "whsec_geheim!", "GITLAB_SIGNING_TOKEN: "),
        ("GITLAB_SIGNING_TOKEN", "whsec_gehéim", "GITLAB_SIGNING_TOKEN: "),
        ("GITLAB_SIGNING_TOKEN", signing_token(32)[:-1], "GITLAB_SIGNING_TOKEN: "),
        ("GITLAB_SIGNING_TOKEN", f"{signing_token(32)} ", "GITLAB_SIGNING_TOKEN: "),
        ("GITLAB_SIGNING_TOKEN", signing_token(23), "GITLAB_SIGNING_TOKEN: .*24 to 64 bytes"),
        ("GITLAB_SIGNING_TOKEN", signing_token(65), "GITLAB_SIGNING_TOKEN: .*24 to 64 bytes"),
        ("GITLAB_SIGNING_TOKEN_PREVIOUS", "whsec_x", "GITLAB_SIGNING_TOKEN_PREVIOUS: found a text"),
        ("GITLAB_WEBHOOK_TOKEN", "fifteen-chars-x", "GITLAB_WEBHOOK_TOKEN: found a text of 15 .*at least 16"),
        ("GITLAB_WEBHOOK_TOKEN", "sixteen geheim xx", "GITLAB_WEBHOOK_TOKEN: .*without white space"),
        ("GITLAB_WEBHOOK_TOKEN", "gehéim-gehéim-gehéim", "GITLAB_WEBHOOK_TOKEN: .*what a header can hold"),
        ("GITLAB_WEBHOOK_TOKEN_PREVIOUS", "x" * 16, "GITLAB_WEBHOOK_TOKEN_PREVIOUS: stands without"),
        ("GITLAB_READ_TOKN", "geheim", "did you mean CHAMPION_GATE_GITLAB_READ_TOKEN"),
        (
            "PUBLIC_URL",
            "https://[::1]:8443",
            "PUBLIC_URL: found 'https://\\[::1\\]:8443'; .*GitLab's jobs reach",
        ),
        ("PUBLIC_URL", "http://localhost:8080", "PUBLIC_URL: found 'http://localhost:8080'"),
        ("PUBLIC_URL", "https://gate.example.com/a;b", "PUBLIC_URL: found"),
        ("PUBLIC_URL", "https://gate.example.com/$(x)", "PUBLIC_URL: found"),
    ],
)
def test_each_wrong_variable_is_named(
    gitlab_environ: dict[str, str], name: str, value: str, says: str
) -> None:
    problems = problems_of(gitlab_environ | {f"CHAMPION_GATE_{name}": value})

    assert len([line for line in problems if re.search(says, line)]) == 1, problems
    assert len(problems) == 1, problems


@pytest.mark.parametrize(
    "url", ["https://gate.example.com/base", "https://gate:8443", "http://127.0.0.1:8081"]
)
def test_an_address_that_jobs_can_be_told_is_taken(gitlab_environ: dict[str, str], url: str) -> None:
    assert loaded(gitlab_environ, PUBLIC_URL=f"{url}/").environment.public_url == url


@pytest.mark.parametrize("size", [24, 32, 64])
def test_signing_tokens_of_every_length_that_the_standard_knows_are_taken(
    gitlab_environ: dict[str, str], size: int
) -> None:
    token = signing_token(size)

    settings = loaded(gitlab_environ, GITLAB_SIGNING_TOKEN=token)

    assert of_webhooks(settings) == ((token,), ())
    Webhook(token)  # an independent implementation takes it too


def test_an_api_token_may_stand_instead_of_the_trigger_token_or_beside_it(
    gitlab_environ: dict[str, str],
) -> None:
    beside = loaded(gitlab_environ, GITLAB_API_TOKEN="glpat-geheim-api")
    instead = loaded(without(gitlab_environ, "GITLAB_TRIGGER_TOKEN"), GITLAB_API_TOKEN="glpat-geheim-api")

    api = "glpat-geheim-api"
    assert beside.hosts["gitlab"].credentials == GitLabTokens(
        read_token=READ_TOKEN, trigger_token=TRIGGER_TOKEN, api_token=api
    )
    assert instead.hosts["gitlab"].credentials == GitLabTokens(read_token=READ_TOKEN, api_token=api)


def test_a_trigger_token_is_not_taken_for_several_projects(
    gitlab_environ: dict[str, str], tmp_path: Path
) -> None:
    use_gitlab(tmp_path, {"project": 43}, {"project": 7}, {"project": 43})

    problems = problems_of(gitlab_environ)
    settings = loaded(without(gitlab_environ, "GITLAB_TRIGGER_TOKEN"), GITLAB_API_TOKEN="glpat-geheim")

    says = (
        "GITLAB_TRIGGER_TOKEN: starts pipelines of one project, and gates name 7, 43; expected CHAMPION_GATE_"
    )
    assert problems == [f"CHAMPION_GATE_{says}GITLAB_API_TOKEN instead of it"]
    assert len(settings.gates.gates) == 3


def test_during_a_rotation_both_access_tokens_are_tried_the_current_one_first(
    gitlab_environ: dict[str, str],
) -> None:
    both = loaded(
        gitlab_environ,
        GITLAB_READ_TOKEN_PREVIOUS="older-read",
        GITLAB_API_TOKEN="api",
        GITLAB_API_TOKEN_PREVIOUS="older-api",
    )
    api_only = loaded(gitlab_environ, GITLAB_API_TOKEN="api", GITLAB_API_TOKEN_PREVIOUS="older-api")

    assert both.hosts["gitlab"].previous == GitLabTokens(read_token="older-read", api_token="older-api")
    assert api_only.hosts["gitlab"].previous == GitLabTokens(read_token=READ_TOKEN, api_token="older-api")


def test_during_a_rotation_both_webhook_secrets_are_taken_the_current_one_first(
    gitlab_environ: dict[str, str],
) -> None:
    signed = loaded(gitlab_environ, GITLAB_SIGNING_TOKEN_PREVIOUS=signing_token(24))
    plain = loaded(
        without(gitlab_environ, "GITLAB_SIGNING_TOKEN"),
        GITLAB_WEBHOOK_TOKEN="x" * 16,
        GITLAB_WEBHOOK_TOKEN_PREVIOUS="y" * 16,
    )

    assert of_webhooks(signed) == ((SIGNING_TOKEN, signing_token(24)), ())
    assert of_webhooks(plain) == ((), ("x" * 16, "y" * 16))


def test_a_plain_webhook_token_is_never_taken_beside_a_signing_token(gitlab_environ: dict[str, str]) -> None:
    settings = loaded(gitlab_environ, GITLAB_WEBHOOK_TOKEN="x" * 16, GITLAB_WEBHOOK_TOKEN_PREVIOUS="y" * 16)

    assert of_webhooks(settings) == ((SIGNING_TOKEN,), ())


def test_secrets_never_show(gitlab_environ: dict[str, str]) -> None:
    settings = loaded(
        gitlab_environ,
        GITLAB_API_TOKEN="glpat-geheim-api",
        GITLAB_READ_TOKEN_PREVIOUS="glpat-geheim-older",
        GITLAB_SIGNING_TOKEN_PREVIOUS=signing_token(40),
    )

    shown = repr(settings) + str(settings.hosts)
    assert "geheim" not in shown
    assert "whsec_" not in shown
    assert "glp" not in shown


def test_secrets_may_stand_in_files(gitlab_environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in list(gitlab_environ):
        if name.startswith("CHAMPION_GATE_GITLAB_"):
            (folder / name).write_text(gitlab_environ.pop(name) + "\n")

    settings = loaded(gitlab_environ, SECRETS_DIR=str(folder))

    assert of_webhooks(settings) == ((SIGNING_TOKEN,), ())
    assert settings.hosts["gitlab"].credentials.read_token == READ_TOKEN


def test_certificates_must_be_readable(gitlab_environ: dict[str, str], tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    use_gitlab(
        tmp_path,
        {"project": 42},
        gitlab={"url": "https://git.example.com/gitlab", "ca_file": str(authorities)},
    )

    absent = problems_of(gitlab_environ)
    authorities.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    settings = load_settings(gitlab_environ)

    assert len(absent) == 1
    assert absent[0].startswith("ca_file of gitlab: found")
    host = settings.hosts["gitlab"]
    assert (host.server.url, host.server.ca_file) == ("https://git.example.com/gitlab", str(authorities))
