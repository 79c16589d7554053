"""Whose ID tokens are taken: the issuer that follows from an address, and the one that is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from champion_gate.bootstrap.configuration import load_gates, load_settings
from champion_gate.domain.vendors import Server
from champion_gate.settings.gates import Gates
from settings_environ import environ, gitlab_environ
from settings_samples import GITLAB, SMALLEST, changed, problems_of, written

__all__ = ["environ", "gitlab_environ"]


def loaded(tmp_path: Path, file: object) -> Gates:
    return load_gates(written(tmp_path, file))


def issuers(servers: Mapping[str, Server]) -> dict[str, tuple[str, str, str | None, str]]:
    """Whose tokens are taken: provider key -> issuer, audience, certificate authorities, vendor."""
    return {key: (each.issuer, each.oidc.audience, each.ca_file, each.kind) for key, each in servers.items()}


def on_both(**top: Any) -> dict[str, Any]:
    """A gate in each system."""
    return SMALLEST | {"gates": [*SMALLEST["gates"], GITLAB["gates"][0] | {"name": "lab", "jobs": [2]}]} | top


@pytest.mark.parametrize(
    ("url", "issuer"),
    [
        ("https://api.github.com", "https://token.actions.githubusercontent.com"),
        ("https://API.GitHub.com:443/", "https://token.actions.githubusercontent.com"),
        ("https://api.octo.ghe.com", "https://token.actions.octo.ghe.com"),
        ("https://ghes.example.com/api/v3", "https://ghes.example.com/_services/token"),
        ("https://ghes.example.com:8443/api/v3", "https://ghes.example.com:8443/_services/token"),
        ("https://octo.ghe.com.evil.example.com", "https://octo.ghe.com.evil.example.com/_services/token"),
        (
            "https://api.github.com.evil.example.com",
            "https://api.github.com.evil.example.com/_services/token",
        ),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/_services/token"),
    ],
)
def test_the_issuer_of_a_github_follows_from_its_address(tmp_path: Path, url: str, issuer: str) -> None:
    gates = loaded(tmp_path, SMALLEST | {"github": {"url": url}})

    assert issuers(gates.servers) == {"github": (issuer, "champion-gate", None, "github")}


@pytest.mark.parametrize(
    ("url", "issuer"),
    [
        ("https://gitlab.com", "https://gitlab.com"),
        ("https://git.example.com/gitlab/", "https://git.example.com/gitlab"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
    ],
)
def test_the_issuer_of_a_gitlab_is_its_address(tmp_path: Path, url: str, issuer: str) -> None:
    gates = loaded(tmp_path, GITLAB | {"gitlab": {"url": url}})

    assert issuers(gates.servers) == {"gitlab": (issuer, "champion-gate", None, "gitlab")}


def test_an_issuer_that_is_given_is_kept_letter_by_letter(tmp_path: Path) -> None:
    gates = loaded(
        tmp_path,
        on_both(
            github={
                "ca_file": "/etc/hub.pem",
                "oidc": {"issuer": "https://token.actions.githubusercontent.com/Octo", "audience": "hub"},
            },
            gitlab={"ca_file": "/etc/lab.pem", "oidc": {"issuer": "https://Lab.example.com:443"}},
        ),
    )

    assert issuers(gates.servers) == {
        "github": ("https://token.actions.githubusercontent.com/Octo", "hub", "/etc/hub.pem", "github"),
        "gitlab": ("https://Lab.example.com:443", "champion-gate", "/etc/lab.pem", "gitlab"),
    }


def test_another_github_has_the_issuer_of_its_own_address_and_the_common_audience(tmp_path: Path) -> None:
    file = changed("gates 0 approval github url", "https://ghes.example.com/api/v3") | {
        "github": {"oidc": {"issuer": "https://token.actions.githubusercontent.com/octo", "audience": "ours"}}
    }

    gates = loaded(tmp_path, file)

    assert issuers(gates.servers) == {
        "github:ghes.example.com": ("https://ghes.example.com/_services/token", "ours", None, "github")
    }


@pytest.mark.parametrize("system", ["github", "gitlab"])
@pytest.mark.parametrize(
    ("oidc", "says"),
    [
        ({"issuer": "http://issuer.example.com"}, r"oidc\.issuer: .*https://"),
        ({"issuer": "issuer.example.com"}, r"oidc\.issuer: found 'issuer\.example\.com'"),
        ({"issuer": "https://a:geheim@x.de"}, r"oidc\.issuer: .*not shown"),
        ({"issuer": "https://x.de?y"}, r"oidc\.issuer"),
        ({"issuer": "https://x.de/"}, r"oidc\.issuer: .*which has no / at its end"),
        ({"issuer": ""}, r"oidc\.issuer"),
        ({"issuer": 5}, r"oidc\.issuer: found 5"),
        ({"issuer": ["https://x.de"]}, r"oidc\.issuer: found a list of 1"),
        ({"audience": ""}, r"oidc\.audience: found ''"),
        ({"audience": "two words"}, r"oidc\.audience: found 'two words'"),
        ({"audience": "a&b=c"}, r"oidc\.audience"),
        ({"audience": ["champion-gate"]}, r"oidc\.audience: found a list of 1"),
        ({"audience": None}, r"oidc\.audience: found nothing"),
        ({"audience": "x" * 256}, r"oidc\.audience"),
        ({"audiences": "x"}, r"oidc\.audiences: is no key .*; known are issuer, audience$"),
        (None, r"oidc: found nothing; expected keys"),
    ],
)
def test_each_wrong_value_is_named_with_its_path(
    tmp_path: Path, system: str, oidc: object, says: str
) -> None:
    problems = problems_of(tmp_path, on_both(**{system: {"oidc": oidc}}))

    assert len(problems) == 1, problems
    assert re.match(rf"{system}\.{says}", problems[0]), problems
    assert "geheim" not in problems[0]


def test_no_two_systems_may_share_an_issuer(tmp_path: Path) -> None:
    shared = on_both(github={"oidc": {"issuer": "https://GitLab.com:443"}})
    other = SMALLEST["gates"][0]["approval"]["github"] | {"url": "https://ghes.example.com/api/v3"}
    forged = SMALLEST | {
        "github": {"oidc": {"issuer": "https://ghes.example.com/_services/token"}},
        "gates": [
            *SMALLEST["gates"],
            SMALLEST["gates"][0] | {"name": "other", "jobs": [2], "approval": {"github": other}},
        ],
    }

    says = "https://gitlab.com would sign for github and for gitlab; expected an issuer of its own for each"
    assert problems_of(tmp_path, shared) == [f"gitlab.oidc.issuer: {says}"]
    assert len(problems_of(tmp_path, forged)) == 1
    # What no gate uses signs for nothing.
    assert loaded(tmp_path, GITLAB | {"github": {"oidc": {"issuer": "https://gitlab.com"}}}).servers


def test_the_issuers_reach_the_settings(gitlab_environ: dict[str, str]) -> None:
    settings = load_settings(gitlab_environ)

    assert issuers({key: host.server for key, host in settings.hosts.items()}) == {
        "gitlab": ("https://gitlab.com", "champion-gate", None, "gitlab")
    }
    with pytest.raises(TypeError):
        settings.hosts["github"] = settings.hosts["gitlab"]  # type: ignore[index]
