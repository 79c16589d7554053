"""gates.yaml: what it becomes, and every value that is refused."""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from champion_gate.adapters.github.settings import GitHubPlace, GitHubServer, gated_job
from champion_gate.bootstrap.configuration import gates_json_schema, load_gates, read_gates
from champion_gate.domain.gates import (
    Account,
    ApprovalTarget,
    Direction,
    MetricRule,
    NewerVersion,
    VersionSource,
)
from champion_gate.settings.explaining import explain
from secret_samples import SECRETS, telling
from settings_samples import FULL, SMALLEST, changed, problems_of, written


def test_a_small_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    gates = load_gates(written(tmp_path, SMALLEST))

    gate = gates.gates[0]
    assert gates.registry == "databricks-uc"
    assert (gate.name, gate.model, gate.alias) == ("churn", "main.ml.churn", "Champion")
    assert gate.job_ids == frozenset({"1234567890"})
    assert gate.job_names == frozenset()
    assert gate.version is VersionSource.AUTO
    assert gate.newer_version is NewerVersion.SUPERSEDE
    assert gate.expires_after == timedelta(days=14)
    assert gate.apply_within == timedelta(days=7)
    assert not gate.allow_trainer_approval
    assert not gate.accept_success_with_failures
    assert gate.approval.provider == "github"
    assert gate.approval.seats == ("champion",)
    assert gate.approval.words() == {
        "repository": "example/ml-deploy",
        "workflow": "champion-gate.yml",
        "ref": "main",
    }
    assert gates.servers["github"].url == "https://api.github.com"
    assert gates.servers["github"] == GitHubServer()


def test_a_login_may_be_pinned_to_its_account(tmp_path: Path) -> None:
    pinned = {"login": "one", "id": 9007199254740993}
    file = changed("gates 0 identities", {"a@example.com": pinned, "b@example.com": ["two", pinned]})
    gates = load_gates(written(tmp_path, file))

    one = Account("one", "9007199254740993")
    assert dict(gates.gates[0].identities) == {
        "a@example.com": (one,),
        "b@example.com": (Account("two"), one),
    }
    said = " ".join(explain(gates).split())
    assert "a@example.com is one (account 9007199254740993); b@example.com is two or one (account" in said
    Draft202012Validator(gates_json_schema()).validate(file)


def test_a_validation_job_and_its_metrics(tmp_path: Path) -> None:
    rules = {"f1": {"better": "higher", "from": "validation"}, "auc": {"better": "higher"}}
    file = changed("gates 0 validation", {"job": 987, "timeout": "90m", "parameters": {"sample": "full"}})
    file["gates"][0]["metrics"] = rules
    (gate,) = load_gates(written(tmp_path, file)).gates
    assert gate.validation is not None
    assert gate.validation.frozen() == {
        "job": "987",
        "timeout_seconds": 5400,
        "parameters": {"sample": "full"},
    }
    assert [rule.source for rule in gate.metrics] == ["validation", None]
    said = " ".join(explain(load_gates(written(tmp_path, file))).split())
    assert "job 987 looks at the version (job parameters model_name, model_version, sample=full)" in said
    assert "takes longer than 90 minutes is cancelled" in said
    assert "f1 of the validation (higher is better)" in said
    Draft202012Validator(gates_json_schema()).validate(file)


def test_every_key_reaches_the_gate(tmp_path: Path) -> None:
    gates = load_gates(written(tmp_path, FULL))

    gate, other = gates.gates
    assert gate.job_ids == frozenset({"9007199254740993"})
    assert gate.job_names == frozenset({"train-churn"})
    assert gate.model == "main.ml.churn"
    assert gate.version is VersionSource.TAG
    assert gate.accept_success_with_failures
    assert gate.allow_trainer_approval
    assert gate.expires_after == timedelta(hours=12)
    assert gate.apply_within == timedelta(days=3)
    assert gate.newer_version is NewerVersion.KEEP
    assert gate.approval.seats == ("champion", "second-eyes")
    assert gate.approval.words() == {
        "repository": "example/ml-deploy",
        "workflow": "gate.yml",
        "ref": "release/1",
        "repository_id": "42",
        "owner_id": "7",
        "environment_id:champion": "99",
    }
    assert dict(gate.identities) == {
        "first.last@example.com": (Account("octo-login"),),
        "two@example.com": (Account("one"), Account("two")),
        "0a1b2c3d-1111-2222-3333-444455556666": (),
    }
    assert gate.metrics == (
        MetricRule(name="f1", better=Direction.HIGHER, max_worse=0.01, at_least=0.8),
        MetricRule(name="loss", better=Direction.LOWER, at_most=1.0),
    )
    assert gates.servers["github"] == GitHubServer(api_version="2026-03-10")
    assert other.approval.provider == "github:ghes.example.com:8443"
    assert gates.servers[other.approval.provider].url == "https://ghes.example.com:8443/api/v3"


_places = st.fixed_dictionaries(
    {
        "repository": st.one_of(
            st.just("a/b"), st.from_regex(r"[a-c._-]{1,3}/[a-c._-]{1,3}", fullmatch=True)
        ),
        "environments": st.lists(st.text(max_size=95), min_size=1, max_size=3),
    },
    optional={
        "workflow": st.from_regex(r"[a-c._-]{1,4}\.ya?ml", fullmatch=True),
        "ref": st.from_regex(r"[a-c._/-]{1,5}|b{199,202}", fullmatch=True),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=_places)
def test_whatever_is_taken_here_is_read_back_where_it_was_stored(
    tmp_path: Path, place: dict[str, Any]
) -> None:
    file = copy.deepcopy(SMALLEST)
    file["gates"][0]["approval"]["github"] = place
    reading = read_gates(written(tmp_path, file))
    if reading.gates is None:
        assert all(line.startswith("gates[0].approval.github") for line in reading.problems)
        return

    target = reading.gates.gates[0].approval
    stored = ApprovalTarget.stored(target.provider, target.words(), target.seats)

    assert GitHubPlace.of(stored.place) == target.place
    assert all(len(gated_job(seat).encode("utf-16-le")) <= 200 for seat in target.seats)


@pytest.mark.parametrize("environment", ["x" * 90, "é" * 90, "💚" * 45, "a b/c"])
def test_an_environment_whose_job_github_names_whole_is_taken(tmp_path: Path, environment: str) -> None:
    file = json.dumps(changed("gates 0 approval github environments", [environment]), ensure_ascii=False)
    assert (
        gated_job(load_gates(written(tmp_path, file)).gates[0].approval.seats[0])
        == f"approve ({environment})"
    )


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("registry", ..., "registry: is missing; expected databricks-uc"),
        ("registry", "uc:http://localhost:8080", "registry: found .*open-source Unity Catalog .* no aliases"),
        ("registry", "postgresql://db/mlflow", "registry: found"),
        ("registry", "sqlite://", "registry: found"),
        ("registry", "sqlite:///:memory:", "registry: found"),
        ("registry", "databricks", "registry: found"),
        ("registry", "http://mlflow.example.com", "registry: .*https://"),
        ("registry", "https://me:geheim@mlflow.example.com", "registry: .*without a user name"),
        ("registry", 5, "registry: found 5"),
        (
            "registri",
            "x",
            "registri: is no key that is known here; known are registry, github, gitlab, gates",
        ),
        ("gates", [], "gates: found a list of 0; expected at least 1"),
        ("gates", {}, "gates: found no keys; expected a list"),
        ("gates", ..., "gates: is missing"),
        ("gates 0", 7, r"gates\[0\]: found 7; expected keys"),
        ("gates 0 name", ..., r"gates\[0\]\.name: is missing; expected the gate's own name"),
        ("gates 0 name", "a/b", r"gates\[0\]\.name: found 'a/b'"),
        ("gates 0 name", "a?b", r"gates\[0\]\.name"),
        ("gates 0 name", "a#b", r"gates\[0\]\.name"),
        ("gates 0 name", "a%2fb", r"gates\[0\]\.name"),
        ("gates 0 name", "a b", r"gates\[0\]\.name"),
        ("gates 0 name", "", r"gates\[0\]\.name"),
        ("gates 0 nmae", "x", r"gates\[0\]\.nmae: is no key that is known here; known are name, jobs, "),
        ("gates 0 jobs", [], r"gates\[0\]\.jobs: found a list of 0; expected at least 1"),
        ("gates 0 jobs", 5, r"gates\[0\]\.jobs: found 5; expected a list"),
        ("gates 0 jobs", [True], r"gates\[0\]\.jobs\[0\]: found true"),
        ("gates 0 jobs", [1, ""], r"gates\[0\]\.jobs\[1\]: found ''"),
        ("gates 0 jobs", ["  "], r"gates\[0\]\.jobs\[0\]"),
        ("gates 0 jobs", ["x" * 4097], r"gates\[0\]\.jobs\[0\]: found 'x{79}… \(4099 characters\)"),
        ("gates 0 jobs", [0], r"gates\[0\]\.jobs\[0\]: found 0"),
        ("gates 0 jobs", [-3], r"gates\[0\]\.jobs\[0\]: found -3"),
        ("gates 0 jobs", [2**63], r"gates\[0\]\.jobs\[0\]"),
        ("gates 0 jobs", [1.5], r"gates\[0\]\.jobs\[0\]: found 1.5"),
        ("gates 0 jobs", [None], r"gates\[0\]\.jobs\[0\]: found nothing"),
        ("gates 0 jobs", ["123"], r"gates\[0\]\.jobs\[0\]: found '123'; expected a job id as a bare number"),
        ("gates 0 jobs", [5, 5], r"gates\[0\]\.jobs\[1\]: found 5 a second time"),
        ("gates 0 model", "churn", r"gates\[0\]\.model: 'churn' is no Unity Catalog model"),
        ("gates 0 model", "a.b.c.d", r"gates\[0\]\.model"),
        ("gates 0 model", "a..c", r"gates\[0\]\.model"),
        ("gates 0 model", "a.b.c/../../x", r"gates\[0\]\.model"),
        ("gates 0 model", "a.b.c?x=1", r"gates\[0\]\.model"),
        ("gates 0 model", "a.b.c#", r"gates\[0\]\.model"),
        ("gates 0 model", "a.b.c%2e", r"gates\[0\]\.model"),
        ("gates 0 model", "a.b.c d", r"gates\[0\]\.model"),
        ("gates 0 model", 5, r"gates\[0\]\.model: found 5"),
        ("gates 0 alias", "latest", r"gates\[0\]\.alias: found 'latest'"),
        ("gates 0 alias", "v12", r"gates\[0\]\.alias: found 'v12'"),
        ("gates 0 alias", "a/b", r"gates\[0\]\.alias"),
        ("gates 0 alias", None, r"gates\[0\]\.alias: found nothing"),
        ("gates 0 version", "newest", r"gates\[0\]\.version: found 'newest'; expected 'auto', 'task_output'"),
        ("gates 0 accept_success_with_failures", "true", r"found 'true'; expected true or false"),
        (
            "gates 0 allow_trainer_approval",
            1,
            r"gates\[0\]\.allow_trainer_approval: found 1; expected true or false",
        ),
        (
            "gates 0 newer_version",
            "drop",
            r"gates\[0\]\.newer_version: found 'drop'; expected 'supersede' or 'keep'",
        ),
        ("gates 0 expires_after", "31d", r"gates\[0\]\.expires_after: found '31d'.*30 days"),
        ("gates 0 expires_after", "721h", r"gates\[0\]\.expires_after"),
        ("gates 0 expires_after", "0d", r"gates\[0\]\.expires_after"),
        ("gates 0 expires_after", "14", r"gates\[0\]\.expires_after"),
        ("gates 0 expires_after", 14, r"gates\[0\]\.expires_after: found 14"),
        ("gates 0 expires_after", "1w", r"gates\[0\]\.expires_after"),
        ("gates 0 expires_after", "1d12h", r"gates\[0\]\.expires_after"),
        ("gates 0 apply_within", "0d", r"gates\[0\]\.apply_within"),
        ("gates 0 apply_within", "7", r"gates\[0\]\.apply_within"),
        ("gates 0 apply_within", 7, r"gates\[0\]\.apply_within: found 7"),
        ("gates 0 approval", ..., r"gates\[0\]\.approval: is missing"),
        (
            "gates 0 approval",
            {},
            r"gates\[0\]\.approval: found no keys; expected one key, github or github_review or gitlab",
        ),
        (
            "gates 0 approval",
            {"jenkins": {}},
            r"gates\[0\]\.approval\.jenkins: is no key that is known here; known are github, github_review, gitlab",
        ),
        ("gates 0 approval", {"github": None}, r"gates\[0\]\.approval\.github: found nothing; expected keys"),
        ("gates 0 approval gitlab", {"project": 42}, r"gates\[0\]\.approval: found github and gitlab"),
        ("gates 0 approval gitlab", None, r"gates\[0\]\.approval\.gitlab: found nothing; expected keys"),
        (
            "gates 0 approval jenkins",
            {},
            r"gates\[0\]\.approval\.jenkins: is no key .*; known are github, github_review, gitlab",
        ),
        ("gates 0 approval github repository", ..., r"gates\[0\]\.approval\.github\.repository: is missing"),
        (
            "gates 0 approval github repository",
            "ml",
            r"repository: found 'ml'; expected a repository as OWNER/NAME",
        ),
        ("gates 0 approval github repository", "a/..", r"repository"),
        ("gates 0 approval github repository", "a/b/c", r"repository"),
        ("gates 0 approval github repository", "a/b\n", r"repository"),
        ("gates 0 approval github repository", "a/b?x", r"repository"),
        ("gates 0 approval github workflow", "../x.yml", r"workflow: found '\.\./x\.yml'"),
        ("gates 0 approval github workflow", "x.txt", r"workflow"),
        ("gates 0 approval github ref", "refs/heads/main", r"ref: .*without refs/heads/"),
        ("gates 0 approval github ref", "a..b", r"ref"),
        ("gates 0 approval github ref", "-x", r"ref"),
        ("gates 0 approval github ref", "a b", r"ref"),
        ("gates 0 approval github environments", [], r"environments: found a list of 0; expected at least 1"),
        (
            "gates 0 approval github environments",
            "champion",
            r"environments: found 'champion'; expected a list",
        ),
        ("gates 0 approval github environments", [""], r"environments\[0\]: found ''"),
        (
            "gates 0 approval github environments",
            ["x" * 91],
            r"environments\[0\]: .*of 1 to 90 characters \(GitHub cuts the name of its job, `approve \(…\)`, at 100\)",
        ),
        ("gates 0 approval github environments", ["x" * 256], r"environments\[0\]"),
        ("gates 0 approval github environments", ["💚" * 46], r"environments\[0\]: .*1 to 90 characters"),
        ("gates 0 approval github environments", ["."], r"environments\[0\]: .*neither \. nor \.\.,"),
        ("gates 0 approval github environments", [".."], r"environments\[0\]"),
        ("gates 0 approval github environments", ["a\u200bb"], r"environments\[0\]: .*invisible"),
        ("gates 0 approval github environments", ["a\u00a0b"], r"environments\[0\]: .*invisible"),
        ("gates 0 approval github ref", "b" * 201, r"ref: .*at most 200 characters"),
        ("gates 0 approval github workflow", "-x.yml", r"workflow: found '-x.yml'"),
        ("gates 0 approval github repository", "o" * 100 + "/x", r"repository: found"),
        ("gates 0 approval github environments", [" x"], r"environments\[0\]"),
        (
            "gates 0 approval github environments",
            ["Prod", "prod"],
            r"environments\[1\]: found 'prod' a second time",
        ),
        (
            "gates 0 approval github repository_id",
            "42",
            r"repository_id: found '42'; expected a whole number",
        ),
        ("gates 0 approval github repository_id", 0, r"repository_id: found 0; expected a number from 1"),
        ("gates 0 approval github owner_id", True, r"owner_id: found true"),
        (
            "gates 0 approval github environment_ids",
            {"prod": 1},
            r"environment_ids\.prod: is none of the environments",
        ),
        ("gates 0 approval github token", "ghp_geheim", r"github\.token: is no key"),
        ("gates 0 approval github url", "http://ghes.example.com", r"github\.url: .*https://"),
        ("gates 0 approval github url", "https://github.com", r"github\.url: .*https://api\.github\.com"),
        ("gates 0 approval github url", "https://a@ghes.example.com", r"github\.url: .*not shown"),
        ("gates 0 approval github url", "https://ghes.example.com/?x", r"github\.url"),
        (
            "gates 0 approval github url",
            "https://api.github.com/v3",
            r"url: .*expected https://api\.github\.com",
        ),
        ("gates 0 approval github ca_file", "/etc/ca.pem", r"ca_file: stands without url"),
        ("github", {"url": "ftp://x"}, r"github\.url: found 'ftp://x'"),
        (
            "github",
            {"oicd": {}},
            r"github\.oicd: is no key that is known here; known are url, ca_file, oidc, api_version",
        ),
        ("github", {"api_version": "2021"}, r"github\.api_version: found '2021'"),
        ("gates 0 identities", {"a@example.com": []}, r"identities\.a@example\.com: found nobody"),
        (
            "gates 0 identities",
            {"a@example.com": "bot[bot]"},
            r"identities\.a@example\.com: .*a bot is no person",
        ),
        ("gates 0 identities", {"a@example.com": [5]}, r"identities\.a@example\.com: found a list of 1"),
        ("gates 0 identities", {"a@example.com": "b c"}, r"identities\.a@example\.com"),
        *(
            (
                "gates 0 identities",
                {"a@example.com": wrong},
                r"identities\.a@example\.com: found .*{login: octo",
            )
            for wrong in (
                {"login": "ann"},
                {"id": 5},
                {"login": "ann", "id": "5"},
                {"login": "ann", "id": 0},
                {"login": "ann", "id": True},
                {"login": "ann", "id": 5, "name": "Ann"},
                [{"login": "bot[bot]", "id": 5}],
                ["ann", {"login": "bob"}],
            )
        ),
        (
            "gates 0 identities",
            {"a@example.com": ["octo", "jane.doe"]},
            r"identities\.a@example\.com: found 'jane\.doe'; expected a person's GitHub login",
        ),
        ("gates 0 identities", {"": "x"}, r"identities: found ''"),
        (
            "gates 0 identities",
            {"A@x.de": "x", "a@x.de": "y"},
            r"identities\.a@x\.de: is the same as A@x\.de",
        ),
        ("gates 0 identities", ["a"], r"identities: found a list of 1; expected keys"),
        ("gates 0 metrics", {"f1": {}}, r"metrics\.f1\.better: is missing; expected higher or lower"),
        (
            "gates 0 metrics",
            {"f1": {"better": "up"}},
            r"metrics\.f1\.better: found 'up'; expected 'higher' or 'lower'",
        ),
        (
            "gates 0 metrics",
            {"f1": {"better": "higher", "at_most": 1}},
            r"f1\.at_most: found 1; expected at_least",
        ),
        (
            "gates 0 metrics",
            {"f1": {"better": "lower", "at_least": 1}},
            r"f1\.at_least: found 1; expected at_most",
        ),
        ("gates 0 metrics", {"f1": {"better": "higher", "max_worse": -0.1}}, r"f1\.max_worse: found -0\.1"),
        ("gates 0 metrics", {"f1": {"better": "higher", "at_least": "0.8"}}, r"f1\.at_least: found '0\.8'"),
        (
            "gates 0 metrics",
            {"f1": {"better": "higher", "dataset": 5}},
            r"f1\.dataset: found 5; expected the name",
        ),
        ("gates 0 metrics", {"f1": {"better": "higher", "dataset": "a\nb"}}, r"f1\.dataset: found 'a"),
        ("gates 0 metrics", {"f1": {"better": "higher", "at_least": True}}, r"f1\.at_least: found true"),
        (
            "gates 0 metrics",
            {"f1": {"better": "higher", "best": 1}},
            r"f1\.best: is no key .*better, max_worse",
        ),
        ("gates 0 metrics", {"": {"better": "higher"}}, r"metrics"),
        (
            "gates 0 metrics",
            {"f1": {"better": "higher", "from": "validation"}},
            r"metrics\.f1\.from: found validation, and the gate has none",
        ),
        ("gates 0 metrics", {"f1": {"better": "higher", "from": "training"}}, r"f1\.from: found 'training'"),
        (
            "gates 0 metrics",
            {"f1": {"better": "higher", "from": "validation", "dataset": "eval"}},
            r"f1\.dataset: found 'eval'; expected none",
        ),
        ("gates 0 validation", None, r"validation: .*keys with values below"),
        ("gates 0 validation", {}, r"validation\.job: is missing"),
        ("gates 0 validation", {"job": "validate"}, r"validation\.job: .*a job's id"),
        (
            "gates 0 validation",
            {"job": 1234567890},
            r"validation\.job: found 1234567890, which the gate watches",
        ),
        ("gates 0 validation", {"job": 1, "timeout": "2x"}, r"validation\.timeout: found '2x'"),
        (
            "gates 0 validation",
            {"job": 1, "parameters": {"model_name": "x"}},
            r"validation\.parameters\.model_name: found; expected no value",
        ),
        ("gates 0 validation", {"job": 1, "parameters": {"n": 5}}, r"validation\.parameters\.n: found 5"),
        (
            "gates 0 validation",
            {"job": 1, "parameters": {"day": "of {{job.start_time.iso_date}}"}},
            r"validation\.parameters\.day: .*without \{\{: Databricks replaces references",
        ),
        (
            "gates 0 after",
            [{"job": 1, "parameters": {"run": "{{job.run_id}}"}}],
            r"after\[0\]\.parameters\.run: .*without \{\{",
        ),
    ],
)
def test_each_wrong_value_is_named_with_its_path(tmp_path: Path, path: str, value: object, says: str) -> None:
    problems = problems_of(tmp_path, changed(path, value))

    assert len([line for line in problems if re.search(says, line)]) == 1, problems
    assert "geheim" not in "\n".join(problems)


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_not_shown(tmp_path: Path, secret: str) -> None:
    (problem,) = problems_of(tmp_path, changed("gates 0 approval github repository", f"x {secret}"))
    assert telling(secret) not in problem
    assert "not shown" in problem
