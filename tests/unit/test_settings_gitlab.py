"""gates.yaml for GitLab: what it becomes, every value that is refused, and what it is said to mean."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from champion_gate.adapters.gitlab.provider import spelled
from champion_gate.adapters.gitlab.settings import GitLabPlace, GitLabServer, Protection
from champion_gate.bootstrap.configuration import gates_json_schema, load_gates, read_gates
from champion_gate.domain.gates import Account, ApprovalTarget
from champion_gate.settings.explaining import explain
from champion_gate_standins.gitlab.state import TEMPLATE_INPUTS
from settings_samples import FULL_GITLAB, GITLAB, changed, problems_of, written

TEMPLATE = Path(__file__).resolve().parents[2] / "deploy/gitlab/champion-gate.gitlab-ci.yml"


def gitlab(**keys: object) -> dict[str, Any]:
    """The small file, with keys of its place in GitLab set."""
    file = copy.deepcopy(GITLAB)
    file["gates"][0]["approval"]["gitlab"].update(keys)
    return file


def test_a_small_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    gates = load_gates(written(tmp_path, GITLAB))

    target = gates.gates[0].approval
    assert target.provider == "gitlab"
    assert target.seats == ("champion",)
    assert target.words() == {
        "project": "42",
        "ref": "main",
        "job": "approve",
        "environment": "champion",
        "protection": "environment",
    }
    assert gates.servers == {"gitlab": GitLabServer()}
    assert gates.servers["gitlab"].url == "https://gitlab.com"


def test_every_key_reaches_the_gate(tmp_path: Path) -> None:
    gates = load_gates(written(tmp_path, FULL_GITLAB))

    gate, other, hub = gates.gates
    assert gate.approval.seats == ("prod/eu west (1/2)", "prod/eu west (2/2)")
    assert gate.approval.words() == {
        "project": "9007199254740993",
        "ref": "release/1",
        "job": "approve: [prod]",
        "environment": "prod/eu west",
        "protection": "environment",
        "approvers": "jane.doe,_max-2:17",
        "bot": "project_42_bot_0a1b",
        "namespace_id": "7",
    }
    assert dict(gate.identities) == {
        "first.last@example.com": (Account("jane.doe"),),
        "two@example.com": (Account("one"), Account("two.x")),
    }
    assert gates.servers["gitlab"].url == "https://gitlab.example.com/gitlab"
    assert gates.servers["gitlab"].ca_file == "/etc/ca.pem"
    assert (other.approval.provider, other.approval.words()["protection"]) == ("gitlab", "branch")
    assert hub.approval.provider == "github"
    assert list(gates.servers) == ["gitlab", "github"]


def test_the_place_is_read_as_it_was_meant(tmp_path: Path) -> None:
    gate = load_gates(written(tmp_path, FULL_GITLAB)).gates[0]

    spot = gate.approval.place
    assert isinstance(spot, GitLabPlace)

    assert (spot.project, spot.ref, spot.job) == (9007199254740993, "release/1", "approve: [prod]")
    assert (spot.environment, spot.protection) == ("prod/eu west", Protection.ENVIRONMENT)
    assert (spot.approvers, spot.bot) == (
        (Account("jane.doe"), Account("_max-2", "17")),
        "project_42_bot_0a1b",
    )
    assert spot.seats == gate.approval.seats
    assert spot.wanted_ids == {"namespace_id": "7"}


def _pattern(key: str) -> str:
    schema = GitLabPlace.model_json_schema()["properties"][key]
    return str((schema.get("items") or schema)["pattern"])


_LOGIN = GitLabPlace.model_json_schema()["properties"]["approvers"]["items"]["anyOf"][0]["pattern"]
_logins = st.from_regex(_LOGIN, fullmatch=True)
_approvers = st.one_of(_logins, st.fixed_dictionaries({"login": _logins, "id": st.integers(1, 2**63 - 1)}))
_places = st.fixed_dictionaries(
    {"project": st.integers(1, 2**63 - 1)},
    optional={
        "ref": st.from_regex(_pattern("ref"), fullmatch=True, alphabet=st.characters(codec="ascii")),
        "job": st.text(max_size=255),
        "environment": st.from_regex(_pattern("environment"), fullmatch=True),
        "protection": st.sampled_from(["environment", "branch"]),
        "approvers": st.lists(_approvers, max_size=3),
        "approvals": st.integers(0, 11),
        "bot": st.text("ab._-", max_size=4),
        "namespace_id": st.integers(1, 2**63 - 1),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=_places)
def test_whatever_is_taken_here_is_read_back_where_it_was_stored(
    tmp_path: Path, place: dict[str, object]
) -> None:
    reading = read_gates(written(tmp_path, gitlab(**place)))
    if reading.gates is None:
        assert all(line.startswith("gates[0].approval.gitlab") for line in reading.problems)
        return

    target = reading.gates.gates[0].approval
    stored = ApprovalTarget.stored(target.provider, target.words(), target.seats)

    assert len(target.seats) == place.get("approvals", 1)
    assert GitLabPlace.of(stored.place).words() == target.words()
    assert GitLabPlace.of(stored.place).seats == target.seats


def test_an_environment_that_is_taken_is_one_that_the_template_takes() -> None:
    header = next(iter(yaml.safe_load_all(TEMPLATE.read_text())))
    theirs = header["spec"]["inputs"]["environment"]["regex"]

    for name in ("champion", "Prod", "prod/eu west", "a", "1.2_x-y", "x" * 240):
        assert re.search(_pattern("environment"), name)
        assert re.search(theirs, name)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("gitlab", {"url": "ftp://x"}, r"^gitlab\.url: found 'ftp://x'"),
        ("gitlab", {"url": "http://gitlab.example.com"}, r"^gitlab\.url: .*https://"),
        ("gitlab", {"url": "https://gitlab.com/api/v4"}, r"^gitlab\.url: .*without /api/v4"),
        ("gitlab", {"url": "https://gitlab.com/x/api/v4/"}, r"^gitlab\.url: .*without /api/v4"),
        ("gitlab", {"url": "https://a:geheim@gitlab.com"}, r"^gitlab\.url: .*not shown"),
        ("gitlab", {"url": "https://gitlab.com/../x"}, r"^gitlab\.url"),
        ("gitlab", {"url": None}, r"^gitlab\.url: found nothing"),
        ("gitlab", {"ca_file": ""}, r"^gitlab\.ca_file: found ''; expected the path of a file"),
        ("gitlab", {"token": "glpat-geheim"}, r"^gitlab\.token: is no key .*; known are url, ca_file, oidc$"),
        ("gitlab", None, r"^gitlab: found nothing; expected keys"),
        ("gates 0 approval gitlab", None, r"approval\.gitlab: found nothing; expected keys"),
        ("gates 0 approval gitlab", {}, r"gitlab\.project: is missing; expected the project's number"),
        ("gates 0 approval gitlab", [42], r"approval\.gitlab: found a list of 1; expected keys"),
        ("gates 0 approval gitlab project", "42", r"gitlab\.project: found '42'; expected the project's num"),
        ("gates 0 approval gitlab project", "team/deploy", r"project: .*its path may be taken over"),
        ("gates 0 approval gitlab project", 0, r"project: found 0"),
        ("gates 0 approval gitlab project", True, r"project: found true"),
        ("gates 0 approval gitlab project", 4.0, r"project: found 4\.0"),
        ("gates 0 approval gitlab project", 2**63, r"project: found"),
        ("gates 0 approval gitlab ref", "refs/heads/main", r"gitlab\.ref: .*without refs/heads/"),
        ("gates 0 approval gitlab ref", "a..b", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "a b", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "main\n", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "rel*", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "a@{1}", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "-x", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "x/", r"gitlab\.ref"),
        ("gates 0 approval gitlab ref", "x" * 201, r"gitlab\.ref: .*at most 200"),
        ("gates 0 approval gitlab job", "", r"gitlab\.job: found ''"),
        ("gates 0 approval gitlab job", " approve", r"gitlab\.job: found ' approve'"),
        ("gates 0 approval gitlab job", "a\tb", r"gitlab\.job"),
        ("gates 0 approval gitlab job", "a\u202eb", r"gitlab\.job"),
        ("gates 0 approval gitlab job", ".approve", r"gitlab\.job: .*without a dot at its start"),
        ("gates 0 approval gitlab job", "x" * 256, r"gitlab\.job"),
        ("gates 0 approval gitlab job", 5, r"gitlab\.job: found 5"),
        ("gates 0 approval gitlab environment", "", r"gitlab\.environment: found ''"),
        ("gates 0 approval gitlab environment", "prod/", r"gitlab\.environment"),
        ("gates 0 approval gitlab environment", "/prod", r"gitlab\.environment"),
        ("gates 0 approval gitlab environment", "prod ", r"gitlab\.environment"),
        ("gates 0 approval gitlab environment", "$CI_COMMIT_REF_SLUG", r"gitlab\.environment"),
        ("gates 0 approval gitlab environment", "prod?x", r"gitlab\.environment"),
        ("gates 0 approval gitlab environment", "x" * 241, r"gitlab\.environment: .*at most 240"),
        (
            "gates 0 approval gitlab environments",
            ["a"],
            r"gitlab\.environments: is no key .*project, ref, job",
        ),
        (
            "gates 0 approval gitlab protection",
            "none",
            r"protection: found 'none'; expected 'environment' or",
        ),
        ("gates 0 approval gitlab protection", None, r"protection: found nothing; expected 'environment' or"),
        ("gates 0 approval gitlab approvers", "jane", r"approvers: found 'jane'; expected a list"),
        (
            "gates 0 approval gitlab approvers",
            ["jane doe"],
            r"approvers\[0\]: found 'jane doe'; expected a pe",
        ),
        ("gates 0 approval gitlab approvers", ["a,b"], r"approvers\[0\]: found 'a,b'"),
        ("gates 0 approval gitlab approvers", ["jane."], r"approvers\[0\]: found 'jane\.'"),
        ("gates 0 approval gitlab approvers", [".jane"], r"approvers\[0\]"),
        ("gates 0 approval gitlab approvers", [42], r"approvers\[0\]: found 42"),
        (
            "gates 0 approval gitlab approvers",
            [{"login": "a"}],
            r"approvers\[0\]: found keys with values",
        ),
        (
            "gates 0 approval gitlab approvers",
            [{"login": "a", "id": 0}],
            r"approvers\[0\]: found keys with va",
        ),
        ("gates 0 approval gitlab approvers", ["a:5"], r"approvers\[0\]: found 'a:5'"),
        (
            "gates 0 approval gitlab approvers",
            ["jane", {"login": "Jane", "id": 5}],
            r"approvers\[1\]: found 'Jane' a second time",
        ),
        (
            "gates 0 trainers",
            [{"login": "jane", "id": "5"}],
            r"trainers\[0\]: found keys with values below",
        ),
        (
            "gates 0 trainers",
            ["jane", {"login": "JANE", "id": 5}],
            r"trainers\[1\]: found 'JANE' a second time",
        ),
        ("gates 0 approval gitlab approvers", ["project_42_bot_0a"], r"approvers\[0\]: .*a bot is no person"),
        ("gates 0 approval gitlab approvers", ["group_7_bot1"], r"approvers\[0\]: .*a bot is no person"),
        (
            "gates 0 approval gitlab approvers",
            ["jane", "Jane"],
            r"approvers\[1\]: found 'Jane' a second time",
        ),
        ("gates 0 approval gitlab approvals", 0, r"approvals: found 0; expected a number from 1"),
        ("gates 0 approval gitlab approvals", 11, r"approvals: found 11; expected a number up to 10"),
        ("gates 0 approval gitlab approvals", "2", r"approvals: found '2'; expected a whole number"),
        ("gates 0 approval gitlab approvals", True, r"approvals: found true"),
        ("gates 0 approval gitlab namespace_id", "7", r"namespace_id: found '7'; expected a whole number"),
        ("gates 0 approval gitlab namespace_id", 0, r"namespace_id: found 0"),
        ("gates 0 approval gitlab bot", "a b", r"gitlab\.bot: found 'a b'"),
        ("gates 0 identities", {"a@example.com": "jane."}, r"identities\.a@example\.com: found 'jane\.'"),
        ("gates 0 identities", {"a@example.com": []}, r"identities\.a@example\.com: found nobody"),
    ],
)
def test_each_wrong_value_is_named_with_its_path(tmp_path: Path, path: str, value: object, says: str) -> None:
    problems = problems_of(tmp_path, changed(path, value, GITLAB))

    assert len([line for line in problems if re.search(says, line)]) == 1, problems
    assert len(problems) == 1, problems
    assert "geheim" not in "\n".join(problems)


def test_a_gate_asks_in_one_system_only(tmp_path: Path) -> None:
    file = gitlab()
    file["gates"][0]["approval"]["github"] = {"repository": "no-owner"}

    assert any("github.repository: found 'no-owner'" in line for line in problems_of(tmp_path, file))
    file["gates"][0]["approval"]["github"] = {"repository": "an/owner", "environments": ["x"]}
    (problem,) = problems_of(tmp_path, file)
    assert problem.startswith("gates[0].approval: found github and gitlab; expected one of them")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"approvals": 2, "protection": "branch"},
            "approvals: found 2; expected 1, because with protection: b",
        ),
        (
            {"approvals": 2, "approvers": ["jane"]},
            "approvers: names 1 who can approve, and approvals demands 2",
        ),
        ({"approvers": ["jane", "Gate-Bot"], "bot": "gate-bot"}, "approvers: names gate-bot, who asks (bot)"),
    ],
)
def test_a_place_where_nobody_could_approve_is_refused(
    tmp_path: Path, keys: dict[str, object], says: str
) -> None:
    problems = problems_of(tmp_path, gitlab(**keys))

    assert len(problems) == 1
    assert problems[0].startswith(f"gates[0].approval.gitlab.{says}")


@pytest.mark.parametrize(
    "keys",
    [
        {"approvals": 2},
        {"approvals": 2, "approvers": ["jane", "max"]},
        {"approvers": ["jane"], "protection": "branch"},
        {"approvers": ["jane", "gate-bott"], "bot": "gate-bot"},
    ],
)
def test_a_place_where_somebody_can_approve_is_taken(tmp_path: Path, keys: dict[str, object]) -> None:
    assert load_gates(written(tmp_path, gitlab(**keys))).gates


@pytest.mark.parametrize("character", list("&;'\"`<>|*$ (),!{}[]ü"))
def test_a_model_of_any_name_is_taken_and_spelled_as_the_pipelines_inputs_take_it(
    tmp_path: Path, character: str
) -> None:
    file = gitlab() | {"registry": "sqlite:///m.db"}
    file["gates"][0]["model"] = model = f"churn{character}x=1"
    assert load_gates(written(tmp_path, file)).gates[0].model == model
    assert re.fullmatch(TEMPLATE_INPUTS["model"], spelled(model))
    assert unquote(spelled(model).replace("=", "%")) == model
    assert spelled("Churn-v2_a.b@c+d=e~f") == "Churn-v2_a.b@c+d=e~f"


def test_problems_of_gates_in_both_systems_come_in_one_message(tmp_path: Path) -> None:
    file = gitlab(project="x", approvals=3)
    file["gates"].append(
        {"name": "b", "jobs": [1], "model": "main.ml.b", "approval": {"github": {"repository": "a/b"}}}
    )
    file["gates"].append({"name": "c", "jobs": [1], "model": "main.ml.c", "approval": {}})
    file["gates"].append(gitlab(approvals=2, protection="branch")["gates"][0] | {"name": "d", "jobs": [9]})
    file["gitlab"] = {"url": "x"}

    problems = problems_of(tmp_path, file)

    for part in (
        "gitlab.url: found 'x'",
        "gates[0].approval.gitlab.project: found 'x'",
        "gates[1].approval.github.environments: is missing",
        "gates[2].approval: found no keys",
        "gates[3].approval.gitlab.approvals: found 2",
    ):
        assert len([line for line in problems if line.startswith(part)]) == 1, (part, problems)
    assert len(problems) == 5


def test_the_schema_for_editors_takes_what_the_service_takes() -> None:
    schema = gates_json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)

    assert validator.is_valid(GITLAB)
    assert validator.is_valid(yaml.safe_load(FULL_GITLAB))
    for path, value in (
        ("gates 0 approval gitlab project", "team/deploy"),
        ("gates 0 approval gitlab project", 0),
        ("gates 0 approval gitlab ref", "refs/heads/main"),
        ("gates 0 approval gitlab job", ".hidden"),
        ("gates 0 approval gitlab environment", "$X"),
        ("gates 0 approval gitlab protection", "none"),
        ("gates 0 approval gitlab approvers", ["group_7_bot"]),
        ("gates 0 approval gitlab approvers", [{"login": "group_7_bot", "id": 1}]),
        ("gates 0 approval gitlab approvers", [{"login": "jane", "id": 0}]),
        ("gates 0 trainers", [{"login": "jane"}]),
        ("gates 0 approval gitlab approvals", 0),
        ("gates 0 approval gitlab token", "x"),
        ("gates 0 approval gitlab", None),
        ("gates 0 approval github", {"repository": "a/b", "environments": ["x"]}),
        ("gitlab", {"oidc": {"issuer": "gitlab.com"}}),
        ("gitlab", {"oidc": {"audience": "two words"}}),
        ("github", {"oidc": {"issuer": "https://x/"}}),
    ):
        assert not validator.is_valid(changed(path, value, GITLAB)), path
    for definition in ("GitLabServer", "GitHubServer", "Oidc", "GitLabPlace"):
        keys = schema["$defs"][definition]["properties"]
        assert all(entry.get("description") for entry in keys.values())


def explained(tmp_path: Path, file: object) -> str:
    return " ".join(explain(load_gates(written(tmp_path, file))).split())


def test_the_explanation_can_be_read_by_a_newcomer(tmp_path: Path) -> None:
    text = explained(tmp_path, FULL_GITLAB)

    for words in (
        "2 different people whom the approval rules of the protected environment prod/eu west name approve its",
        "in the GitLab project 9007199254740993 (pinned: namespace id) at https://gitlab.example.com/gitlab, in a",
        "in a pipeline on release/1; then the manual job approve: [prod] has to be started.",
        "Nobody counts but jane.doe, _max-2 (account 17).",
        "The pipelines are started as project_42_bot_0a1b, whose approval never counts.",
        "On GitLab, first.last@example.com is jane.doe; two@example.com is one or two.x.",
        "with a token of https://Public.example.com for the audience ours.",
        "A reviewer of the environment prod approves it in the GitHub repository team/deploy",
        "with a token of https://token.actions.githubusercontent.com for the audience https://gate.example.com.",
    ):
        assert words in text, (words, text)


def test_one_approval_is_explained_as_a_click_or_an_approval_rule(tmp_path: Path) -> None:
    text = explained(tmp_path, GITLAB)

    assert (
        "Somebody whom the protected environment champion admits approves it in the GitLab project 42" in text
    )
    assert "by starting the manual job approve or, where the environment has an approval rule" in text
    assert "Nobody counts but" not in text
    assert "protection: branch" not in text


def test_what_a_protected_branch_cannot_promise_is_said(tmp_path: Path) -> None:
    text = explained(tmp_path, gitlab(protection="branch"))

    for words in (
        "A Maintainer approves it by starting the manual job approve in the GitLab project 42",
        "What that cannot promise: GitLab itself lets every Maintainer start the job, those who trained the",
        "GitLab does not prevent it",
        "Whoever has that account's token can act as it.",
        "no second person, no comment, no reject button",
        "nothing in the job's token proves that the job was protected.",
    ):
        assert words in text, (words, text)
