"""gates.yaml about the API: further aliases, and whose tokens admit people."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import trustme
from jsonschema import Draft202012Validator

from champion_gate.bootstrap.configuration import gates_json_schema, load_gates, load_settings
from champion_gate.bootstrap.vendors import caller_verifier, issuer_sign_in
from champion_gate.domain.aliases import FurtherAlias
from champion_gate.errors import ConfigurationError
from champion_gate.settings.explaining import explain
from champion_gate.settings.gates import ApiOidc, Gates
from integration.github_world import MovableClock
from settings_environ import environ
from settings_samples import GITLAB, SMALLEST, changed, problems_of, written

__all__ = ["environ"]

OIDC = {
    "issuer": "https://login.example.com/tenant",
    "audience": "champion-gate",
    "role_claim": "groups",
    "operator": ["ml-platform"],
}
FRAUD = {"model": "main.ml.fraud", "alias": "Champion"}
GIVEN = SMALLEST | {"aliases": [FRAUD], "api": {"oidc": OIDC}}


def loaded(tmp_path: Path, file: object) -> Gates:
    return load_gates(written(tmp_path, file))


def with_aliases(*aliases: object, **top: Any) -> dict[str, Any]:
    return SMALLEST | {"aliases": list(aliases)} | top


def with_oidc(sample: dict[str, Any] = SMALLEST, **keys: object) -> dict[str, Any]:
    return sample | {"api": {"oidc": OIDC | keys}}


# --- what they become -------------------------------------------------------------------------------------


def test_without_them_there_are_no_further_aliases_and_no_issuer(tmp_path: Path) -> None:
    gates = loaded(tmp_path, SMALLEST)

    assert gates.aliases == ()
    assert gates.api.oidc is None
    assert loaded(tmp_path, SMALLEST | {"api": {}, "aliases": []}).api.oidc is None


def test_a_small_issuer_gets_the_documented_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, GIVEN).api.oidc == ApiOidc(
        issuer="https://login.example.com/tenant",
        audience="champion-gate",
        name_claim="sub",
        role_claim="groups",
        operator=("ml-platform",),
        viewer=(),
        ca_file=None,
    )


def test_every_key_reaches_the_settings(environ: dict[str, str], tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    given = with_oidc(
        issuer="https://Login.example.com:443/Tenant/",
        audience="api://0a1b2c3d-1111",
        name_claim="preferred_username",
        role_claim="https://example.com/roles",
        operator=["ML Platform", "/on-call"],
        viewer=["0a1b2c3d-1111-2222-3333-444455556666", "größe"],
        ca_file=str(ca_file),
    )
    written(tmp_path, given | {"aliases": [FRAUD, FRAUD | {"model": "Main.ML.Churn", "alias": "shadow"}]})

    settings = load_settings(environ)

    assert settings.gates.api.oidc == ApiOidc(
        issuer="https://Login.example.com:443/Tenant/",
        audience="api://0a1b2c3d-1111",
        name_claim="preferred_username",
        role_claim="https://example.com/roles",
        operator=(
            "ML Platform",
            "/on-call",
        ),
        viewer=(
            "0a1b2c3d-1111-2222-3333-444455556666",
            "größe",
        ),
        ca_file=str(ca_file),
    )
    assert settings.gates.aliases == (
        FurtherAlias(model="main.ml.fraud", alias="Champion"),
        FurtherAlias(model="main.ml.churn", alias="shadow"),
    )
    verifier = caller_verifier(settings, MovableClock())
    assert verifier is not None


def test_without_an_issuer_nobody_verifies_tokens(environ: dict[str, str]) -> None:
    settings = load_settings(environ)

    assert settings.gates.api.oidc is None
    assert settings.gates.aliases == ()
    assert caller_verifier(settings, MovableClock()) is None


def test_people_sign_in_where_the_issuer_knows_the_dashboard(environ: dict[str, str], tmp_path: Path) -> None:
    written(tmp_path, with_oidc(client_id="dashboard"))
    with pytest.raises(
        ConfigurationError, match=r"PUBLIC_URL: is missing; the issuer sends people back to it"
    ):
        load_settings(environ)
    environ["CHAMPION_GATE_PUBLIC_URL"] = "https://gate.example.com"
    settings = load_settings(environ)
    assert issuer_sign_in(settings, MovableClock()) is not None
    assert "the dashboard there, as users of the client dashboard." in " ".join(
        explain(settings.gates).split()
    )
    written(tmp_path, with_oidc())
    assert issuer_sign_in(load_settings(environ), MovableClock()) is None


def test_the_dashboard_is_there_unless_it_is_switched_off(tmp_path: Path) -> None:
    assert loaded(tmp_path, SMALLEST).dashboard
    assert not loaded(tmp_path, SMALLEST | {"dashboard": False}).dashboard
    assert problems_of(tmp_path, SMALLEST | {"dashboard": "no"})
    assert problems_of(tmp_path, with_oidc(scopes=["profile"])) == [
        "api.oidc.scopes: openid is missing; without it the issuer tells nobody's name"
    ]


def test_a_ca_file_that_is_none_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    written(tmp_path, with_oidc(ca_file=str(tmp_path / "gates.yaml")))
    with pytest.raises(ConfigurationError, match=r"ca_file of api\.oidc: .*expected certificates as PEM"):
        load_settings(environ)
    written(tmp_path, with_oidc(ca_file=str(tmp_path / "nowhere.pem")))
    with pytest.raises(ConfigurationError, match=r"ca_file of api\.oidc: .*cannot be read"):
        load_settings(environ)


def test_an_mlflow_registry_keeps_the_case_of_further_aliases(tmp_path: Path) -> None:
    plain = changed("gates 0 model", "Churn") | {"registry": "sqlite:///m.db"}
    several = [
        {"model": "churn", "alias": "Champion"},
        {"model": "Churn", "alias": "champion"},
        {"model": "Fraud.v2", "alias": "Champion"},
    ]

    assert loaded(tmp_path, plain | {"aliases": several}).aliases == (
        FurtherAlias(model="churn", alias="Champion"),
        FurtherAlias(model="Churn", alias="champion"),
        FurtherAlias(model="Fraud.v2", alias="Champion"),
    )


def test_only_viewers_may_come_in_by_tokens(tmp_path: Path) -> None:
    oidc = loaded(tmp_path, with_oidc(operator=[], viewer=["ml-readers"])).api.oidc

    assert oidc is not None
    assert (oidc.operator, oidc.viewer) == ((), ("ml-readers",))


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("aliases", None, r"aliases: found nothing; expected a list"),
        ("aliases", {}, r"aliases: found no keys; expected a list"),
        ("aliases", ["main.ml.fraud"], r"aliases\[0\]: found 'main\.ml\.fraud'; expected keys"),
        ("aliases 0 model", ..., r"aliases\[0\]\.model: is missing; expected the registered model"),
        ("aliases 0 alias", ..., r"aliases\[0\]\.alias: is missing; expected the alias"),
        ("aliases 0 model", "", r"aliases\[0\]\.model: found ''"),
        ("aliases 0 model", "fraud", r"aliases\[0\]\.model: 'fraud' is no Unity Catalog model"),
        ("aliases 0 model", "main.ml.fr/aud", r"aliases\[0\]\.model: .*is no Unity Catalog model"),
        ("aliases 0 model", 5, r"aliases\[0\]\.model: found 5"),
        ("aliases 0 alias", "latest", r"aliases\[0\]\.alias: found 'latest'; expected an alias"),
        ("aliases 0 alias", "v12", r"aliases\[0\]\.alias: found 'v12'"),
        ("aliases 0 alias", "Champion?", r"aliases\[0\]\.alias: found 'Champion\?'"),
        ("aliases 0 alias", None, r"aliases\[0\]\.alias: found nothing"),
        ("aliases 0 version", "1", r"aliases\[0\]\.version: is no key .*; known are model, alias, after$"),
        ("api", None, r"api: found nothing; expected keys"),
        ("api", "oidc", r"api: found 'oidc'; expected keys"),
        ("api token", "geheim", r"api\.token: is no key .*; known are oidc$"),
        ("api oidc", None, r"api\.oidc: found nothing; expected keys"),
        ("api oidc", [], r"api\.oidc: found a list of 0; expected keys"),
        ("api oidc issuer", ..., r"api\.oidc\.issuer: is missing; expected the tokens' claim iss"),
        ("api oidc issuer", "http://login.example.com", r"api\.oidc\.issuer: .*https://"),
        ("api oidc issuer", "login.example.com", r"api\.oidc\.issuer: found"),
        ("api oidc issuer", "https://a:geheim@login.example.com", r"api\.oidc\.issuer: .*not shown"),
        ("api oidc issuer", "https://login.example.com//", r"api\.oidc\.issuer: .*at most one / at its end"),
        ("api oidc issuer", "https://login.example.com?x", r"api\.oidc\.issuer"),
        ("api oidc issuer", None, r"api\.oidc\.issuer: found nothing"),
        ("api oidc audience", ..., r"api\.oidc\.audience: is missing; expected the tokens' claim aud"),
        ("api oidc audience", "two words", r"api\.oidc\.audience: found 'two words'"),
        ("api oidc audience", ["champion-gate"], r"api\.oidc\.audience: found a list of 1"),
        ("api oidc name_claim", "", r"api\.oidc\.name_claim: found ''; expected the name of a claim"),
        ("api oidc name_claim", "iss", r"api\.oidc\.name_claim: found 'iss'; .*tells people apart"),
        ("api oidc name_claim", None, r"api\.oidc\.name_claim: found nothing"),
        ("api oidc role_claim", ..., r"api\.oidc\.role_claim: is missing; expected the claim that makes"),
        ("api oidc role_claim", "aud", r"api\.oidc\.role_claim: found 'aud'"),
        ("api oidc role_claim", "my groups", r"api\.oidc\.role_claim: found 'my groups'"),
        ("api oidc role_claim", ["groups"], r"api\.oidc\.role_claim: found a list of 1"),
        ("api oidc operator", ..., r"api\.oidc\.operator: is missing; expected values of role_claim"),
        ("api oidc operator", "ml-platform", r"api\.oidc\.operator: found 'ml-platform'; expected a list"),
        ("api oidc operator", None, r"api\.oidc\.operator: found nothing; expected a list"),
        ("api oidc operator", [], r"api\.oidc\.operator: found a list of 0; expected at least 1 value here"),
        ("api oidc operator", [""], r"api\.oidc\.operator\[0\]: found ''"),
        ("api oidc operator", [" x"], r"api\.oidc\.operator\[0\]: found ' x'"),
        ("api oidc operator", ["a\nb"], r"api\.oidc\.operator\[0\]: found 'a\\nb'"),
        ("api oidc operator", [5], r"api\.oidc\.operator\[0\]: found 5"),
        ("api oidc operator", ["x" * 256], r"api\.oidc\.operator\[0\]"),
        ("api oidc operator", ["a", "b", "a"], r"api\.oidc\.operator\[2\]: found 'a' a second time"),
        ("api oidc viewer", ["a", "a"], r"api\.oidc\.viewer\[1\]: found 'a' a second time"),
        (
            "api oidc viewer",
            ["a", "ml-platform"],
            r"api\.oidc\.viewer\[1\]: found 'ml-platform', as under operator; keep one",
        ),
        ("api oidc viewer", "a", r"api\.oidc\.viewer: found 'a'; expected a list"),
        ("api oidc ca_file", "", r"api\.oidc\.ca_file: found ''; expected the path of a file"),
        (
            "api oidc client_secret",
            "geheim",
            r"api\.oidc\.client_secret: is no key .*; known are issuer, audience, name_claim, role_claim, op.*",
        ),
    ],
)
def test_each_wrong_value_is_named_with_its_path(tmp_path: Path, path: str, value: object, says: str) -> None:
    problems = problems_of(tmp_path, changed(path, value, GIVEN))

    assert len(problems) == 1, problems
    assert re.match(says, problems[0]), problems
    assert "geheim" not in problems[0]


@pytest.mark.parametrize(
    ("aliases", "says"),
    [
        ([{"model": "main.ml.churn", "alias": "Champion"}], "aliases[0]: .* gates[0] names already"),
        ([{"model": "Main.ML.Churn", "alias": "champion"}], "aliases[0]: .* gates[0] names already"),
        ([FRAUD, FRAUD], "aliases[1]: found main.ml.fraud@Champion, which aliases[0] names already"),
        ([FRAUD, FRAUD | {"alias": "CHAMPION"}], "aliases[1]: .* aliases[0] names already"),
    ],
)
def test_an_alias_is_named_once(tmp_path: Path, aliases: list[object], says: str) -> None:
    (problem,) = problems_of(tmp_path, with_aliases(*aliases))

    assert re.match(re.escape(says).replace(r"\.\*", ".*").replace(r"\ ", " "), problem), problem


def test_what_is_wrong_between_the_parts_is_named_once_they_are_right_by_themselves(tmp_path: Path) -> None:
    file = changed("gates 0 jobs", [0]) | {
        "aliases": [FRAUD, FRAUD, FRAUD | {"alias": "v1"}, FRAUD | {"model": "fraud"}],
        "api": {"oidc": OIDC | {"operator": [], "issuer": "https://gitlab.com/"}},
    }

    def named() -> list[str]:
        return sorted(problem.split(": ")[0] for problem in problems_of(tmp_path, file))

    assert named() == ["aliases[2].alias", "api.oidc.operator", "gates[0].jobs[0]"]
    file["gates"][0]["jobs"], file["aliases"][2]["alias"] = [1], "Other"
    file["api"]["oidc"]["operator"] = ["ops"]
    assert named() == ["aliases[1]", "aliases[3].model", "api.oidc.issuer"]


# --- no CI job becomes an operator ------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [SMALLEST, GITLAB])
@pytest.mark.parametrize(
    ("issuer", "system"),
    [
        ("https://token.actions.githubusercontent.com", "GitHub"),
        ("https://token.actions.githubusercontent.com/", "GitHub"),
        ("https://Token.Actions.GitHubUserContent.com:443", "GitHub"),
        ("https://gitlab.com", "GitLab"),
        ("https://gitlab.com/", "GitLab"),
    ],
)
def test_an_issuer_of_ci_jobs_does_not_admit_people(
    tmp_path: Path, sample: dict[str, Any], issuer: str, system: str
) -> None:
    (problem,) = problems_of(tmp_path, with_oidc(sample, issuer=issuer))

    assert problem.startswith(f"api.oidc.issuer: found {issuer}, which signs for the CI jobs of {system};")
    assert problem.endswith("else a CI job could become an operator")


@pytest.mark.parametrize(
    ("issuer", "system"),
    [
        ("https://token.actions.githubusercontent.com", "GitHub"),
        ("https://token.actions.githubusercontent.com/acme", "GitHub"),
        ("https://token.actions.githubusercontent.com/acme/", "GitHub"),
        ("https://token.actions.acme.ghe.com", "GitHub"),
        ("https://gitlab.com", "GitLab"),
        ("https://gitlab.com/acme", "GitLab"),
        ("https://ghes.example.com", "GitHub"),
        ("https://GHES.example.com:443/_services/other", "GitHub"),
    ],
)
def test_an_issuer_of_ci_jobs_is_known_also_where_the_gates_use_others(
    tmp_path: Path, issuer: str, system: str
) -> None:
    elsewhere = {
        "github": {"url": "https://ghes.example.com/api/v3"},
        "gitlab": {"url": "https://git.example.com/gitlab"},
    }
    (problem,) = problems_of(tmp_path, with_oidc(SMALLEST | elsewhere, issuer=issuer))

    assert problem.startswith(f"api.oidc.issuer: found {issuer}, which signs for the CI jobs of {system};")
    assert problem.endswith("else a CI job could become an operator")


@pytest.mark.parametrize(
    "issuer",
    [
        "https://git.example.com/auth/realms/people",
        "https://people.ghe.com",
        "https://login.gitlab.com.example",
    ],
)
def test_an_issuer_of_people_may_be_a_neighbour_of_one_of_ci_jobs(tmp_path: Path, issuer: str) -> None:
    lab = SMALLEST | {"gitlab": {"url": "https://git.example.com/gitlab"}}

    assert loaded(tmp_path, with_oidc(lab, issuer=issuer)).api.oidc is not None


def test_nor_does_an_issuer_that_follows_from_an_address_or_is_given(tmp_path: Path) -> None:
    elsewhere = changed("gates 0 approval github url", "https://ghes.example.com/api/v3")
    given = SMALLEST | {"github": {"oidc": {"issuer": "https://login.example.com/Tenant"}}}
    lab = SMALLEST | {"gitlab": {"url": "https://git.example.com/gitlab/"}}

    for file in (
        with_oidc(elsewhere, issuer="https://ghes.example.com/_services/token/"),
        with_oidc(given),
        with_oidc(lab, issuer="https://git.example.com/gitlab"),
    ):
        (problem,) = problems_of(tmp_path, file)
        assert "a CI job could become an operator" in problem


# --- what people are told ---------------------------------------------------------------------------------


def test_the_explanation_says_who_may_call_and_what_may_be_changed(tmp_path: Path) -> None:
    file = with_oidc(viewer=["ml-readers", "auditors"], name_claim="email") | {
        "aliases": [FRAUD, FRAUD | {"alias": "shadow"}]
    }

    text = " ".join(explain(loaded(tmp_path, file)).split())

    assert (
        "aliases: operators may change main.ml.fraud@Champion, main.ml.fraud@shadow by hand, besides the gates' "
        "own aliases. No gate asks for them, so nobody is asked for approval there."
    ) in text
    assert (
        "api: besides API tokens, tokens that https://login.example.com/tenant signed for the audience "
        "champion-gate are taken, and the ledger names people by the claim email. Whose claim groups is or holds "
        "ml-platform is an operator. Whose claim groups is or holds auditors or ml-readers is a viewer. "
        "Everybody else whom it signs for may do nothing here."
    ) in text


def test_the_explanation_says_that_nobody_is_an_operator_by_a_token(tmp_path: Path) -> None:
    text = " ".join(explain(loaded(tmp_path, with_oidc(operator=[], viewer=["x"]))).split())

    assert "Nobody is an operator by such a token." in text
    assert "aliases:" not in text


def test_the_explanation_of_a_file_without_them_does_not_speak_of_them(tmp_path: Path) -> None:
    text = explain(loaded(tmp_path, SMALLEST))

    assert "api:" not in text
    assert "aliases:" not in text


def test_the_schema_for_editors_takes_what_is_right_and_describes_every_key() -> None:
    schema = gates_json_schema()
    validator = Draft202012Validator(schema)

    assert not list(validator.iter_errors(json.loads(json.dumps(GIVEN))))
    for path, value in (
        ("aliases 0 alias", ...),
        ("aliases 0 version", "1"),
        ("api oidc", None),
        ("api oidc issuer", "login.example.com"),
        ("api oidc role_claim", "iss"),
        ("api oidc operator", ...),
        ("api oidc operator", [" "]),
        ("api oidc secret", "x"),
    ):
        assert list(validator.iter_errors(changed(path, value, GIVEN))), path
    for form in ("FurtherAlias", "ApiOidc", "Api"):
        for key, described in schema["$defs"][form]["properties"].items():
            assert described.get("description"), f"{form}.{key}"
