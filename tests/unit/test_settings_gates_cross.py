"""gates.yaml: rules between several keys, the schema for editors, and the explanation."""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from champion_gate.bootstrap.configuration import gates_json_schema, load_gates
from champion_gate.domain.gates import VersionSource
from champion_gate.settings.explaining import explain
from settings_samples import FULL, SMALLEST, changed, problems_of, written


@pytest.mark.parametrize(
    "number", [".nan", ".inf", "-.inf", "1e999", "1.7976931348623157e+308", "-1.797e+308", "1" + 400 * "0"]
)
def test_numbers_without_a_value_are_refused(tmp_path: Path, number: str) -> None:
    text = yaml.safe_dump(changed("gates 0 metrics", {"f1": {"better": "higher", "at_least": "NUMBER"}}))

    assert "expected a finite number" in problems_of(tmp_path, text.replace("NUMBER", number))[0]


@pytest.mark.parametrize(
    "registry",
    ["https://mlflow.example.com/", "http://127.0.0.1:5000", "http://localhost:5000", "sqlite:///m.db"],
)
def test_mlflow_registries_take_plain_names_and_keep_their_case(tmp_path: Path, registry: str) -> None:
    file = changed("gates 0 model", "Churn.v2") | {"registry": registry}

    gates = load_gates(written(tmp_path, file))

    assert gates.registry == registry.rstrip("/")
    assert gates.gates[0].model == "Churn.v2"
    assert not gates.on_unity_catalog


def test_a_trusted_tag_needs_trainers_and_an_mlflow_registry(tmp_path: Path) -> None:
    bare = changed("gates 0 version", "trusted_tag")
    on_catalog, nobody = problems_of(tmp_path, bare)
    assert "gates[0].version: found 'trusted_tag', which is for MLflow registries" in on_catalog
    assert "gates[0].trainers: is missing" in nobody
    on_mlflow = bare | {"registry": "https://mlflow.example.com"}
    (nobody,) = problems_of(tmp_path, on_mlflow)
    assert "gates[0].trainers: is missing" in nobody
    on_mlflow["gates"][0]["trainers"] = ["octo-trainer"]
    assert load_gates(written(tmp_path, on_mlflow)).gates[0].version is VersionSource.TRUSTED_TAG


def test_who_made_a_version_elsewhere_is_not_known_on_mlflow(tmp_path: Path) -> None:
    file = changed("gates 0 source", "registry") | {"registry": "https://mlflow.example.com"}
    del file["gates"][0]["jobs"]
    (nobody,) = problems_of(tmp_path, file)
    assert (
        "gates[0].trainers: is missing; with source: registry nothing in an MLflow registry tells" in nobody
    )
    for listed in ({"trainers": ["octo-trainer"]}, {"allow_trainer_approval": True}):
        gates = load_gates(written(tmp_path, file | {"gates": [{**file["gates"][0], **listed}]}))
        assert not gates.needs_databricks
        assert "when a version of main.ml.churn appears that no watched job made" in explain(gates)
    on_catalog = load_gates(written(tmp_path, file | {"registry": "databricks-uc"}))
    assert on_catalog.needs_databricks
    validated = {**file["gates"][0], "trainers": ["octo-trainer"], "validation": {"job": 5}}
    assert load_gates(written(tmp_path, file | {"gates": [validated]})).needs_databricks


@pytest.mark.parametrize("source", [None, "jobs", "both"])
def test_only_a_gate_on_the_registry_alone_needs_no_jobs(tmp_path: Path, source: str | None) -> None:
    file = changed("gates 0 source", source or "jobs")
    del file["gates"][0]["jobs"]
    (missing,) = problems_of(tmp_path, file)
    assert missing == "gates[0].jobs: is missing; expected the Databricks jobs to watch: ids, or names"


def test_what_appears_in_a_model_has_one_gate_for_an_alias(tmp_path: Path) -> None:
    file = changed("gates 0 source", "both")
    file["gates"].append({**file["gates"][0], "name": "second", "jobs": [5], "source": "registry"})
    (twice,) = problems_of(tmp_path, file)
    assert "gates[1].source: found 'registry', and gates[0] asks for the same alias" in twice
    file["gates"][1]["source"] = "jobs"
    assert len(load_gates(written(tmp_path, file)).gates) == 2


@pytest.mark.parametrize(("duration", "minutes"), [("1m", 1), ("90m", 90), ("720h", 43200), ("30d", 43200)])
def test_durations_reach_from_a_minute_to_thirty_days(tmp_path: Path, duration: str, minutes: int) -> None:
    gates = load_gates(written(tmp_path, changed("gates 0 expires_after", duration)))

    assert gates.gates[0].expires_after == timedelta(minutes=minutes)


def two_gates(registry: str = "databricks-uc", **second: object) -> dict[str, Any]:
    file = copy.deepcopy(SMALLEST) | {"registry": registry}
    file["gates"].append(copy.deepcopy(file["gates"][0]) | {"name": "second"} | second)
    return file


def test_one_alias_has_one_spelling_on_unity_catalog(tmp_path: Path) -> None:
    other = two_gates(jobs=[7], alias="champion")
    (problem,) = problems_of(tmp_path, other)
    assert "gates[1].alias: found 'champion', and 'Champion' in gates[0]" in problem
    assert load_gates(written(tmp_path, two_gates("sqlite:///m.db", jobs=[7], alias="champion"))).gates


def test_two_gates_may_not_claim_the_same_job_model_and_alias(tmp_path: Path) -> None:
    for second in ({}, {"model": "MAIN.ml.Churn"}, {"alias": "champion"}, {"jobs": [7, 1234567890]}):
        problems = problems_of(tmp_path, two_gates(**second))
        assert len(problems) == 1
        assert "gates[1]: job 1234567890, model" in problems[0]
        assert "gates[0]" in problems[0]


def test_gates_that_differ_in_job_model_or_alias_live_together(tmp_path: Path) -> None:
    for second in ({"jobs": [7]}, {"model": "main.ml.other"}, {"alias": "Challenger"}):
        assert len(load_gates(written(tmp_path, two_gates(**second))).gates) == 2
    # An MLflow registry tells upper from lower case.
    file = two_gates("sqlite:///m.db", model="MAIN.ml.churn")
    assert len(load_gates(written(tmp_path, file)).gates) == 2


def test_two_gates_may_not_bear_one_name(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, two_gates(name="Churn", jobs=[7]))

    assert problems == ["gates[1].name: found 'Churn', as in gates[0]; expected a name of its own"]


def test_one_host_has_one_address(tmp_path: Path) -> None:
    github = {"repository": "a/b", "environments": ["x"], "url": "https://ghes.example.com/api/v3"}
    file = two_gates(jobs=[7], approval={"github": github})
    third = github | {"url": "https://ghes.example.com/other"}
    file["gates"].append(file["gates"][0] | {"name": "third", "jobs": [8], "approval": {"github": third}})
    fourth = github | {"ca_file": "/etc/ca.pem"}
    file["gates"].append(file["gates"][0] | {"name": "fourth", "jobs": [9], "approval": {"github": fourth}})

    problems = problems_of(tmp_path, file)

    assert len(problems) == 2
    assert problems[0].startswith("gates[2].approval.github.url: found https://ghes.example.com/other")
    assert problems[1].startswith("gates[3].approval.github.ca_file")


def test_problems_of_all_parts_come_in_one_message_and_then_those_between_them(tmp_path: Path) -> None:
    file = two_gates(name="churn", jobs=[0])
    file["gates"].append(copy.deepcopy(file["gates"][0]) | {"identities": {"x@y.z": []}})
    file["gates"].append(
        copy.deepcopy(file["gates"][0]) | {"metrics": {"f": {"better": "lower", "at_least": 1}}}
    )
    file["gates"][0]["model"] = "no-level"
    file["registri"] = 1

    problems = problems_of(tmp_path, file)

    for part in (
        "registri: is no key",
        "gates[1].jobs[0]: found 0",
        "gates[2].identities.x@y.z: found nobody",
        "gates[3].metrics.f.at_least",
    ):
        assert any(part in line for line in problems), (part, problems)
    del file["registri"], file["gates"][2]["identities"], file["gates"][3]["metrics"]
    file["gates"][1]["jobs"] = [2]

    problems = problems_of(tmp_path, file)

    for part in ("gates[0].model: 'no-level'", "gates[2].name: found 'churn'", "gates[3]: job 1234567890"):
        assert any(part in line for line in problems), (part, problems)


def test_the_schema_for_editors_takes_what_the_service_takes() -> None:
    schema = gates_json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    assert validator.is_valid(SMALLEST)
    assert validator.is_valid(yaml.safe_load(FULL))
    for path, value in (
        ("registry", "uc:x"),
        ("gates", []),
        ("gates 0 nmae", "x"),
        ("gates 0 name", "a b"),
        ("gates 0 jobs", [True]),
        ("gates 0 approval gitlab", {"project": 42}),
        ("gates 0 approval", {}),
        ("gates 0 approval", {"github": None}),
        ("gates 0 approval github repository", "ml"),
        ("gates 0 expires_after", "14"),
        ("gates 0 metrics", {"f1": {"better": "up"}}),
        ("gates 0 identities", {"a@b.c": "bot[bot]"}),
    ):
        assert not validator.is_valid(changed(path, value)), path
    assert json.dumps(schema)
    gate = schema["$defs"]["GateEntry"]["properties"]
    assert all(entry.get("description") for entry in gate.values())


def test_the_explanation_can_be_read_by_a_newcomer(tmp_path: Path) -> None:
    text = " ".join(explain(load_gates(written(tmp_path, FULL))).split())

    for words in (
        "in Unity Catalog. 2 gates:",
        "gate churn: when job 9007199254740993 or any run of the job named 'train-churn' succeeds, even with failures",
        "the version of main.ml.churn that this run registered (looked for among the versions tagged",
        "asks for the alias Champion.",
        "2 different people, one reviewer of each of the environments champion, second-eyes, approve it",
        "in the GitHub repository example/ml-deploy (pinned: repository id, owner id, id of environment champion)",
        "MAY approve it themselves",
        "first.last@example.com is octo-login; two@example.com is one or two",
        "Nobody stands behind 0a1b2c3d-1111-2222-3333-444455556666.",
        "after 12 hours",
        "waits beside it",
        "f1 (higher is better) is at most 0.01 worse than the version that has the alias now and is at least 0.8",
        "loss (lower is better) is at most 1.",
        "gate fraud: when job 5 succeeds, the version of main.ml.fraud",
        "A reviewer of the environment prod approves it in the GitHub repository team/deploy at https://ghes",
        "Nobody who trained the version may approve it",
        "after 14 days",
        "No metric is required.",
    ):
        assert words in text, (words, text)


def test_several_job_ids_are_explained_as_several(tmp_path: Path) -> None:
    text = explain(
        load_gates(written(tmp_path, changed("gates 0 jobs", [30, 4]) | {"registry": "databricks-uc"}))
    )

    assert "when one of the jobs 4, 30 succeeds" in text


@pytest.mark.parametrize(("dataset", "said"), [("eval", "on dataset eval"), ("", "on no dataset")])
def test_a_metrics_rule_may_name_a_dataset(tmp_path: Path, dataset: str, said: str) -> None:
    rule = {"better": "higher", "at_least": 0.8, "dataset": dataset}
    gates = load_gates(written(tmp_path, changed("gates 0 metrics", {"f1": rule})))

    assert gates.gates[0].metrics[0].dataset == dataset
    assert f"f1 {said} (higher is better) is at least 0.8" in " ".join(explain(gates).split())


# --- what follows a move ------------------------------------------------------------------------------------

JOB = {"job": 555}
ENDPOINT = {"serving_endpoint": "churn-prod"}


def with_after(*entries: object, **file: Any) -> dict[str, Any]:
    return changed("gates 0 after", list(entries)) | file


def test_what_follows_a_move_is_read_and_explained(tmp_path: Path) -> None:
    job = {**JOB, "parameters": {"mode": "full"}, "on": ["promoted", "rolled_back"]}
    gates = load_gates(written(tmp_path, with_after(job, {**ENDPOINT, "timeout": "45m"})))
    first, second = gates.gates[0].after
    assert (first.job, first.parameters, [kind.value for kind in first.on]) == (
        555,
        {"mode": "full"},
        ["promoted", "rolled_back"],
    )
    assert (second.serving_endpoint, second.timeout) == ("churn-prod", timedelta(minutes=45))
    assert (
        "When the alias has moved through the gate, job 555 is run (only when promoted or rolled_back), then the "
        "endpoint churn-prod is moved to the version."
    ) in " ".join(explain(gates).split())


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "found neither of job and serving_endpoint"),
        ({**JOB, **ENDPOINT}, "found both of job and serving_endpoint"),
        ({**ENDPOINT, "parameters": {"mode": "full"}}, "expected only with job"),
        ({**JOB, "parameters": {"model_version": "7"}}, "as the gate gives it one"),
        ({**JOB, "parameters": {"mode": 7}}, "expected|a text of at most 10,000 characters"),
        ({"job": "555"}, "a job's id, as a bare number"),
        ({**JOB, "on": []}, "at least 1"),
        ({**JOB, "on": ["set", "set"]}, "found 'set' a second time"),
        ({**JOB, "on": ["drifted"]}, "promoted"),
        ({"serving_endpoint": "a/b"}, "the name of a serving endpoint"),
    ],
)
def test_what_cannot_follow_a_move_is_refused(tmp_path: Path, entry: dict[str, Any], says: str) -> None:
    (problem,) = problems_of(tmp_path, with_after(entry))
    assert problem.startswith("gates[0].after[0]")
    assert re.search(says, problem), problem


def test_one_alias_has_one_list_of_what_follows(tmp_path: Path) -> None:
    gate = with_after(JOB)["gates"][0]
    entry = {"model": gate["model"], "alias": "champion", "after": [JOB]}
    for others in ({"gates": [gate, {**gate, "name": "other", "jobs": [77]}]}, {"aliases": [entry]}):
        (problem,) = problems_of(tmp_path, {**with_after(JOB), **others})
        assert "gates[0] says already what follows" in problem
    alone = load_gates(written(tmp_path, {**changed("gates 0 after", []), "aliases": [entry]}))
    assert alone.aliases[0].after[0].job == 555
    told = " ".join(explain(alone).split())
    assert f"When {gate['model']}@champion has moved through the gate, job 555 is run." in told
    assert "operators may change" not in told


def test_an_endpoint_follows_one_alias_of_a_model_and_unity_catalog_alone(tmp_path: Path) -> None:
    entry = {"model": with_after()["gates"][0]["model"], "alias": "shadow", "after": [ENDPOINT]}
    (twice,) = problems_of(tmp_path, with_after(ENDPOINT, aliases=[entry]))
    assert "aliases[0].after[0].serving_endpoint: found churn-prod, as in gates[0].after[0]" in twice
    (elsewhere,) = problems_of(tmp_path, with_after(ENDPOINT, registry="https://mlflow.example.com"))
    assert "endpoints serve models of Unity Catalog only" in elsewhere


@pytest.mark.parametrize("registry", ["databricks-uc", "https://mlflow.example.com"])
@pytest.mark.parametrize(
    ("where", "more"),
    [
        ("gates[0]", {}),
        ("gates[1]", {"gates": [{"name": "other", "jobs": [7], "alias": "CANDIDATE"}]}),
        ("aliases[0]", {"aliases": [{"alias": "CANDIDATE"}]}),
    ],
)
def test_a_challenger_that_would_put_what_nobody_has_approved_live_is_refused(
    tmp_path: Path, where: str, more: dict[str, list[dict[str, object]]], registry: str
) -> None:
    name = "Candidate" if more else "champion"
    file = changed("gates 0 challenger", name) | {"registry": registry}
    first = file["gates"][0]
    if registry != "databricks-uc":
        first["model"] = "churn"
    file["gates"] += [
        {**SMALLEST["gates"][0], "model": first["model"], **gate} for gate in more.get("gates", [])
    ]
    if "aliases" in more:
        file["aliases"] = [{"model": first["model"], **entry} for entry in more["aliases"]]
    (problem,) = problems_of(tmp_path, file)
    assert f"gates[0].challenger: found {name!r}, which {where} names for the same model" in problem


def test_a_challenger_of_another_model_or_shared_by_two_gates_is_taken(tmp_path: Path) -> None:
    file = changed("gates 0 challenger", "Challenger")
    first = file["gates"][0]
    file["gates"].append({**first, "name": "other", "jobs": [7]})
    file["gates"].append(
        {**first, "name": "third", "jobs": [8], "model": "main.ml.third", "challenger": "Shadow"}
    )
    file["gates"].append(
        {**first, "name": "fourth", "jobs": [9], "model": "main.ml.fourth", "alias": "Shadow"}
    )
    assert load_gates(written(tmp_path, file)).gates[0].challenger == "Challenger"
    file["gates"][1]["challenger"] = "challenger"
    assert "expected one spelling" in problems_of(tmp_path, file)[0]


COPY = {"model": "Prod.ML.churn", "job": 654}


def test_a_gate_may_promote_into_another_model_whose_alias_is_then_the_one_that_is_named(
    tmp_path: Path,
) -> None:
    file = changed("gates 0 promote_to", COPY)
    gates = load_gates(written(tmp_path, file))
    (gate,) = gates.gates
    assert (gate.destination, gate.model) == ("prod.ml.churn", "main.ml.churn")
    assert "is copied into prod.ml.churn by job 654" in explain(gates).replace("\n  ", " ")
    file["aliases"] = [{"model": "prod.ml.CHURN", "alias": "champion"}]
    (problem,) = problems_of(tmp_path, file)
    assert "which gates[0] names already" in problem
    del file["aliases"]
    file["gates"].append({**SMALLEST["gates"][0], "name": "prod", "model": "prod.ml.churn", "jobs": [7]})
    file["gates"][1]["challenger"] = "Champion"
    assert "would be live" in problems_of(tmp_path, file)[0]


@pytest.mark.parametrize(
    ("registry", "model", "copy", "told"),
    [
        ("databricks-uc", "main.ml.churn", {"model": "Main.ml.churn", "job": 1}, "the gate's own model"),
        ("databricks-uc", "main.ml.churn", {"model": "prod.ml.churn"}, "promote_to.job: is missing"),
        ("databricks-uc", "main.ml.churn", {"model": "churn", "job": 1}, "gates[0].promote_to.model: "),
        (
            "https://mlflow.example.com",
            "churn",
            {"model": "prod", "job": 1},
            "promote_to.job: found 1; expected none",
        ),
    ],
)
def test_what_a_gate_cannot_promote_to_is_refused(
    tmp_path: Path, registry: str, model: str, copy: dict[str, object], told: str
) -> None:
    file = changed("gates 0 promote_to", copy) | {"registry": registry}
    file["gates"][0]["model"] = model
    assert told in problems_of(tmp_path, file)[0]
