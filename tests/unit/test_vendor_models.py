"""What makes a vendor's answer unreadable: each field that decides, absent or of another type, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from champion_gate.adapters.databricks import models as databricks
from champion_gate.adapters.github import models as github
from champion_gate.adapters.gitlab import models as gitlab
from champion_gate.adapters.http.models import Answered, Reader
from champion_gate.errors import VendorUnavailableError

SOMEBODY = {"id": 7, "login": "ann", "username": "ann", "type": "User"}
WHEN = "2026-11-20T10:00:00Z"

# Model -> an answer in which every field is one that we cannot do without.
WHOLE: dict[type[Answered], dict[str, Any]] = {
    github.AccessToken: {"token": "ghs_x", "expires_at": WHEN},
    github.DispatchedRun: {"workflow_run_id": 1, "html_url": "https://x"},
    github.User: {"id": 7, "login": "ann"},
    github.Repository: {"id": 1, "owner": {"id": 2}, "full_name": "example/ml"},
    github.Workflow: {"id": 1, "path": ".github/workflows/x.yml", "state": "active"},
    github.Membership: {"state": "active"},
    github.Environment: {"id": 1, "name": "champion", "protection_rules": []},
    github.ProtectionRule: {"type": "required_reviewers"},
    github.BranchPolicy: {"name": "main"},
    github.BranchRule: {"type": "deletion"},
    github.Run: {
        "id": 1,
        "status": "waiting",
        "run_attempt": 1,
        "event": "workflow_dispatch",
        "path": ".github/workflows/x.yml",
        "head_branch": "main",
        "head_sha": "0" * 40,
        "workflow_id": 2,
        "repository": {"id": 3, "full_name": "example/ml"},
        "actor": {"id": 4},
    },
    github.ListedRun: {
        "id": 1,
        "display_title": "x",
        "html_url": "https://x",
        "event": "push",
        "created_at": WHEN,
        "updated_at": WHEN,
    },
    github.Job: {"run_id": 1, "run_attempt": 1, "name": "approve (champion)", "status": "waiting"},
    github.Approval: {"state": "approved", "environments": [], "comment": ""},
    github.PendingDeployment: {"environment": {"id": 1}},
    gitlab.Account: {"id": 7, "username": "ann"},
    gitlab.User: {"id": 7, "username": "ann", "state": "active"},
    gitlab.Member: {"id": 7, "username": "ann", "state": "active", "access_level": 40},
    gitlab.Project: {
        "id": 1,
        "namespace": {"id": 2},
        "path_with_namespace": "example/ml",
        "web_url": "https://x",
    },
    gitlab.ProtectedBranch: {"name": "main", "push_access_levels": [], "merge_access_levels": []},
    gitlab.ProtectedEnvironment: {"name": "champion", "deploy_access_levels": []},
    gitlab.Trigger: {"token": "glptt"},
    gitlab.StartedPipeline: {"id": 1, "web_url": "https://x"},
    gitlab.ListedPipeline: {
        "id": 1,
        "status": "manual",
        "web_url": "https://x",
        "created_at": WHEN,
        "updated_at": WHEN,
    },
    gitlab.Pipeline: {
        "id": 1,
        "status": "manual",
        "web_url": "https://x",
        "created_at": WHEN,
        "updated_at": WHEN,
        "project_id": 2,
        "ref": "main",
        "sha": "0" * 40,
        "source": "trigger",
        "tag": False,
    },
    gitlab.Job: {
        "id": 1,
        "name": "decide",
        "status": "manual",
        "pipeline": {"id": 2, "sha": "0" * 40},
        "allow_failure": False,
    },
    gitlab.Deployment: {"id": 1, "environment": {"name": "champion"}, "sha": "0" * 40},
}
BESIDES: dict[type[Answered], dict[str, Any]] = {
    github.Approval: {"user": SOMEBODY},
    gitlab.Deployment: {"deployable": {"id": 2}},
}
WRONG = [None, {"a": 1}, [1], "", "1", 1.0, True]


def read(model: type[Answered], answer: object) -> Answered:
    return Reader("Vendor").one(model, answer, "answer")


def spoilt(whole: dict[str, Any], field: str) -> Iterator[dict[str, Any]]:
    """The answer without the field, and with values of other types in its place."""
    others = {key: whole[key] for key in whole if key != field}
    yield others
    yield from ({**others, field: value} for value in WRONG if type(value) is not type(whole[field]))


@pytest.mark.parametrize("model", WHOLE, ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_a_field_that_we_cannot_do_without_makes_an_answer_unreadable_and_is_named(
    model: type[Answered],
) -> None:
    whole = {**WHOLE[model], **BESIDES.get(model, {})}
    read(model, {**whole, "a field that nobody knows": [1]})
    for field in WHOLE[model]:
        for answer in spoilt(whole, field):
            with pytest.raises(VendorUnavailableError, match=f"cannot be read: `answer.{field}"):
                read(model, answer)


NESTED: list[tuple[type[Answered], dict[str, object], str]] = [
    (
        github.ProtectionRule,
        {"type": "x", "reviewers": [{"type": "User"}]},
        "reviewers.0.reviewer` is absent",
    ),
    (github.ProtectionRule, {"type": "x", "reviewers": {}}, "reviewers` is absent or not a list"),
    (
        github.Environment,
        {**WHOLE[github.Environment], "deployment_branch_policy": {"protected_branches": True}},
        "deployment_branch_policy.custom_branch_policies` is absent",
    ),
    (github.Run, {**WHOLE[github.Run], "actor": {"id": "4"}}, "actor.id` is absent or not a whole number"),
    (gitlab.Job, {**WHOLE[gitlab.Job], "pipeline": {"id": 2}}, "pipeline.sha` is absent"),
    (
        gitlab.Deployment,
        {**WHOLE[gitlab.Deployment], "deployable": None, "approvals": [{"status": 1}]},
        "approvals.0.status` is absent or not a text",
    ),
]


@pytest.mark.parametrize(("model", "answer", "words"), NESTED)
def test_a_field_of_a_part_is_named_by_its_path(
    model: type[Answered], answer: dict[str, object], words: str
) -> None:
    with pytest.raises(VendorUnavailableError, match=re.escape(f"`answer.{words}")):
        read(model, answer)


def test_that_a_review_is_nobodys_has_to_be_told() -> None:
    read(github.Approval, {**WHOLE[github.Approval], "user": None})
    with pytest.raises(VendorUnavailableError, match=r"`answer\.user` is absent\."):
        read(github.Approval, WHOLE[github.Approval])


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (databricks.Job, {"job_id": 1, "settings": "x"}),
        (databricks.Job, {"job_id": 1, "settings": {"run_as": "x"}}),
        (databricks.MlflowVersion, {"model_version": []}),
        (databricks.Output, {"run_job_output": [1]}),
        (databricks.Output, {"run_job_output": {"run_id": "../x"}}),
        (databricks.Run, {"run_id": 1, "tasks": {}}),
        (databricks.Run, {"run_id": 1, "repair_history": [{"task_run_ids": ["x"]}]}),
        (databricks.RegisteredModel, {"aliases": ["x"]}),
        (databricks.Version, {"version": "v1"}),
        (databricks.VersionList, {"model_versions": {"version": "1"}}),
    ],
)
def test_what_stands_in_the_place_of_an_object_list_or_number_is_unreadable(
    model: type[Answered], answer: object
) -> None:
    with pytest.raises(VendorUnavailableError, match="cannot be read: `answer"):
        read(model, answer)


@pytest.mark.parametrize("answer", [None, [], "x", 1, True])
def test_what_is_no_object_is_unreadable(answer: object) -> None:
    with pytest.raises(VendorUnavailableError, match="`answer` is absent or not an object"):
        read(github.Run, answer)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "absent or not a time"),
        ("yesterday", "absent or not a time"),
        ("2026-11-20T10:00:00", "absent or not a time with an offset"),
    ],
)
def test_a_time_has_an_offset(value: object, words: str) -> None:
    with pytest.raises(VendorUnavailableError, match=f"`answer.expires_at` is {words}"):
        read(github.AccessToken, {"token": "x", "expires_at": value})


def test_a_token_is_not_shown() -> None:
    assert "ghs_x" not in repr(read(github.AccessToken, WHOLE[github.AccessToken]))
    with pytest.raises(VendorUnavailableError) as caught:
        read(github.AccessToken, {"token": "ghs_x", "expires_at": "ghs_y"})
    assert "ghs_" not in str(caught.value)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ({"jobs": []}, "jobs.total_count` is absent"),
        ({"jobs": {}, "total_count": 1}, "jobs` is absent or not a list"),
        ({"total_count": 1}, "jobs` is absent or not a list"),
        ({"jobs": [{}], "total_count": 1}, r"jobs.run_id` is absent"),
        ([], "jobs` is absent or not an object"),
    ],
)
def test_a_page_of_a_list_tells_how_many_there_are(page: object, words: str) -> None:
    with pytest.raises(VendorUnavailableError, match=words):
        Reader("Vendor").page(github.Job, page, "jobs")


def test_what_else_an_access_level_names_is_seen() -> None:
    read_entry = Reader("Vendor").one(gitlab.AccessLevel, {"access_level": 40, "agent_id": 3}, "entry")
    assert dict(read_entry)["agent_id"] == 3


class Judged(databricks.Nested):
    metrics: object = databricks.at("run", "data", "metrics")


def test_what_judges_a_version_or_says_who_ran_it_may_be_left_out_and_not_be_null() -> None:
    read(Judged, {"run": {}})
    read(Judged, {"run": {"data": {}}})
    read(databricks.Job, {"job_id": 1})
    with pytest.raises(VendorUnavailableError, match="whose `data` is an object"):
        read(Judged, {"run": {"data": None}})
    with pytest.raises(VendorUnavailableError, match="whose `settings` is an object"):
        read(databricks.Job, {"job_id": 1, "settings": None})
