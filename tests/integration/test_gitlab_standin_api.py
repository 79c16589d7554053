"""The GitLab stand-in's answers: read by python-gitlab, and checked against GitLab's own description."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import gitlab.exceptions
import pytest

from champion_gate_standins.gitlab.state import DEVELOPER, GUEST, MAINTAINER, REPORTER
from conftest import ALLOWED_SKIP
from integration.gitlab_standin_world import PROJECT, START, World, inputs, standin_world

DESCRIPTION = Path(__file__).parents[3] / "shared" / "contracts" / "gitlab.json"


@pytest.fixture
def world() -> Iterator[World]:
    with standin_world("premium") as made:
        made.gitlab.protect_environment(42, "champion", approvals={"tom": 1, MAINTAINER: 2})
        yield made


# --- an independent client -------------------------------------------------------------------------------


def test_python_gitlab_follows_a_request_from_its_start_to_its_end(world: World) -> None:
    project = world.client().projects.get(42)
    assert (project.path_with_namespace, project.default_branch) == ("example/ml-deploy", "main")
    started = world.opened()
    pipeline = project.pipelines.get(started.id)
    assert pipeline.detailed_status["label"] == "blocked"
    waiting = next(one for one in pipeline.jobs.list(iterator=True) if one.name == "approve")

    reviewers = {
        name: world.client(world.gitlab.add_token(name, ["api"])) for name in ("rita", "tom", "boss")
    }
    world.gitlab.add_member(42, "boss", MAINTAINER)
    (deployment,) = project.deployments.list(environment="champion", status="blocked", get_all=True)
    assert deployment.deployable["id"] == waiting.id
    for client in reviewers.values():
        client.projects.get(42).deployments.get(deployment.id).approval("approved", comment="fine")
    decided = project.deployments.get(deployment.id)
    assert decided.pending_approval_count == 0
    assert {one["user"]["username"] for one in decided.approvals} == set(reviewers)

    reviewers["rita"].projects.get(42).jobs.get(waiting.id).play()
    assert project.jobs.get(waiting.id).user["username"] == "rita"
    assert project.pipelines.get(started.id).status == "success"


@pytest.mark.part("rest")
def test_python_gitlab_reads_webhooks_and_files(world: World) -> None:
    world.gitlab.webhooks.url = "https://gate.example.com/hooks/gitlab"
    world.gitlab.add_file(42, "ci/champion-gate.yml", "include: []\n")
    boss = world.client(world.gitlab.add_project_token(42, "reader", MAINTAINER)).projects.get(42)
    (hook,) = boss.hooks.list(get_all=True)
    assert (hook.url, hook.job_events, hook.alert_status) == (
        "https://gate.example.com/hooks/gitlab",
        True,
        "executable",
    )
    assert boss.files.get("ci/champion-gate.yml", ref="main").decode() == b"include: []\n"
    with pytest.raises(gitlab.GitlabGetError, match="404"):
        boss.files.get("ci/other.yml", ref="main")
    developer = world.client(world.gitlab.add_project_token(42, "developer", REPORTER)).projects.get(42)
    with pytest.raises(gitlab.GitlabListError, match="403"):
        developer.hooks.list(get_all=True)


def test_python_gitlab_starts_and_cancels_pipelines(world: World) -> None:
    opener = world.client(world.gitlab.add_project_token(42, "opener", MAINTAINER, ["api"])).projects.get(42)
    made = opener.pipelines.create({"ref": "main", "inputs": inputs()})
    made.cancel()
    assert opener.pipelines.get(made.id).status == "canceled"
    with pytest.raises(gitlab.exceptions.GitlabCreateError) as refused:
        opener.pipelines.create({"ref": "main", "inputs": inputs(version=2)})
    assert refused.value.response_code == 400


def test_python_gitlab_reads_protections_people_and_tokens(world: World) -> None:
    client = world.client()
    project = client.projects.get(42)
    branch = project.protectedbranches.get("main")
    assert [one["access_level"] for one in branch.merge_access_levels] == [MAINTAINER]
    place = project.protected_environments.get("champion")
    assert [one["required_approvals"] for one in place.approval_rules] == [1, 2]
    assert [one["access_level"] for one in place.deploy_access_levels] == [MAINTAINER]
    (rita,) = client.users.list(username="RITA", get_all=True)
    assert client.users.get(rita.id).bot is False
    assert project.members_all.get(rita.id).access_level == MAINTAINER
    assert client.users.list(username="nobody", get_all=True) == []
    client.auth()
    assert client.user
    assert client.user.bot is True
    token = client.personal_access_tokens.get("self")
    assert (token.scopes, token.user_id, token.active) == (["read_api"], client.user.id, True)
    (trigger,) = project.triggers.list(get_all=True)
    assert trigger.owner["username"] == "svc"
    assert not trigger.token.startswith(world.trigger[:10])


def test_python_gitlab_reads_long_lists_page_by_page(world: World) -> None:
    made = [world.opened(promotion_id=f"p{number}").id for number in range(45)]
    project = world.client().projects.get(42)
    assert [one.id for one in project.pipelines.list(iterator=True)] == made[::-1]
    page = world.call("GET", f"{PROJECT}/pipelines", params={"per_page": "20", "page": "3"})
    assert [one["id"] for one in page.json()] == made[4::-1]
    names = ("X-Page", "X-Next-Page", "X-Prev-Page", "X-Total", "X-Total-Pages")
    assert [page.headers[name] for name in names] == ["3", "", "2", "45", "3"]
    first = world.call("GET", f"{PROJECT}/pipelines?per_page=500")
    assert len(first.json()) == 45
    assert 'rel="next"' in world.call("GET", f"{PROJECT}/pipelines").headers["Link"]


# --- lists -----------------------------------------------------------------------------------------------


def test_pipelines_are_filtered_and_sorted(world: World) -> None:
    first = world.opened(promotion_id="a1").id
    world.now += timedelta(hours=1)
    second = world.opened(promotion_id="b2").id
    world.now += timedelta(hours=1)
    world.gitlab.start(42, dict(world.gitlab.pipeline(first).inputs), username="rita", source="web")
    world.gitlab.cancel(first)

    def ids(**query: str) -> list[int]:
        answer = world.call("GET", f"{PROJECT}/pipelines", params=query)
        return [one["id"] for one in answer.json()]

    assert ids(source="trigger") == [second, first]
    assert ids(source="trigger", status="canceled") == [first]
    assert ids(username="svc", sort="asc") == [first, second]
    assert ids(source="trigger", order_by="updated_at") == [first, second]
    assert ids(source="trigger", updated_after=(START + timedelta(minutes=90)).isoformat()) == [first]
    assert ids(created_after=(START + timedelta(minutes=30)).isoformat(), source="trigger") == [second]
    assert ids(name="Champion main.ml.churn v2 [b2]") == [second]
    assert ids(ref="other") == []


@pytest.mark.parametrize(
    "query", ["page=x", "per_page=x", "order_by=colour", "sort=up", "updated_after=yesterday"]
)
def test_a_filter_that_makes_no_sense_is_refused(world: World, query: str) -> None:
    answer = world.call("GET", f"{PROJECT}/pipelines?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


def test_deployments_are_filtered(world: World) -> None:
    first, second = world.opened(), world.opened(environment="other/place")
    world.gitlab.cancel(first.id)

    def ids(**query: str) -> list[int]:
        answer = world.call("GET", f"{PROJECT}/deployments", params=query)
        return [one["deployable"]["pipeline"]["id"] for one in answer.json()]

    assert ids() == [first.id, second.id]
    assert ids(sort="desc") == [second.id, first.id]
    assert ids(environment="other/place") == [second.id]
    assert ids(status="canceled") == [first.id]


# --- who may ask -----------------------------------------------------------------------------------------

ONE = f"{PROJECT}/protected_environments/champion"


@pytest.mark.parametrize(
    ("level", "scopes", "path", "code"),
    [
        (GUEST, ["api"], PROJECT, 200),
        (GUEST, ["api"], f"{PROJECT}/pipelines", 403),
        (REPORTER, ["read_api"], f"{PROJECT}/pipelines", 200),
        (REPORTER, ["read_user"], f"{PROJECT}/pipelines", 403),
        (REPORTER, ["read_user"], "/api/v4/user", 200),
        (REPORTER, ["read_user"], "/api/v4/personal_access_tokens/self", 200),
        (REPORTER, ["read_api"], f"{PROJECT}/protected_branches/main", 200),
        (REPORTER, ["read_api"], f"{PROJECT}/protected_branches/other", 404),
        (DEVELOPER, ["read_api"], ONE, 403),
        (MAINTAINER, ["read_api"], ONE, 200),
        (MAINTAINER, ["read_api"], f"{PROJECT}/protected_environments/other", 404),
        (DEVELOPER, ["read_api"], f"{PROJECT}/triggers", 403),
        (MAINTAINER, ["read_api"], "/api/v4/projects/43", 404),
        (MAINTAINER, ["read_api"], f"{PROJECT}/jobs/1", 404),
        (MAINTAINER, ["read_api"], f"{PROJECT}/members/all/1", 404),
        (MAINTAINER, ["read_api"], "/api/v4/nothing", 404),
    ],
)
def test_scopes_and_roles_decide(world: World, level: int, scopes: list[str], path: str, code: int) -> None:
    token = world.gitlab.add_project_token(42, "asker", level, scopes)
    assert world.call("GET", path, token).status_code == code


def test_tokens_end(world: World) -> None:
    token = world.gitlab.add_token("rita", expires_at=START + timedelta(days=1))
    bearer = {"Authorization": f"Bearer {token}"}
    assert world.call("GET", PROJECT, "", headers=bearer).status_code == 200
    world.now += timedelta(days=1)
    assert "expired" in world.call("GET", PROJECT, token).json()["error_description"]
    world.gitlab.revoke_token(world.reader)
    assert "revoked" in world.call("GET", PROJECT).json()["error_description"]
    for wrong in ("", "glpat-wrong"):
        assert world.call("GET", PROJECT, wrong).json() == {"message": "401 Unauthorized"}
    fresh = world.gitlab.add_token("rita")
    world.gitlab.block_user("rita")
    assert world.call("GET", PROJECT, fresh).status_code == 401


def test_a_project_token_reaches_its_own_project_only(world: World) -> None:
    world.gitlab.add_project("example/other", id=43, members={"svc": MAINTAINER})
    assert world.call("GET", "/api/v4/projects/43").json() == {"message": "404 Project Not Found"}
    same = world.gitlab.project(43).namespace_id
    assert world.call("GET", PROJECT).json()["namespace"]["id"] == same


# --- GitLab's description --------------------------------------------------------------------------------

UNDESCRIBED = {
    "name": "of listed pipelines, newer than the description",
    "group_inheritance_type": "described, but not where it stands in protections",
}


@cache
def described() -> dict[str, Any]:
    if not DESCRIPTION.exists():
        pytest.skip(ALLOWED_SKIP)
    loaded = json.loads(DESCRIPTION.read_text())
    assert isinstance(loaded, dict)
    return loaded


def problems(schema: dict[str, Any], value: object, where: str = "") -> Iterator[str]:
    """What is not as described. The description says neither what may be null nor, of some objects, that there are several."""
    if value is None:
        return
    if "$ref" in schema:
        definition = described()["definitions"][schema["$ref"].rpartition("/")[2]]
        values = value if isinstance(value, list) else [value]
        for one in values:
            yield from _object_problems(definition, one, where)
    elif schema.get("type") == "array":
        if not isinstance(value, list):
            yield f"{where}: no list"
            return
        for one in value:
            yield from problems(schema.get("items", {}), one, f"{where}[]")
    elif schema.get("type") in _FITS and not _FITS[schema["type"]](value):
        yield f"{where}: {value!r} is no {schema['type']}"
    elif schema.get("format") == "date-time":
        datetime.fromisoformat(str(value))
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is none of {schema['enum']}"


def _object_problems(definition: dict[str, Any], value: object, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: no object"
        return
    properties = definition["properties"]
    for name, one in value.items():
        if name not in properties and name not in UNDESCRIBED:
            yield f"{where}.{name}: not described"
        yield from problems(properties.get(name, {}), one, f"{where}.{name}")


# "string" is also what the description says of fields whose type it does not know.
_FITS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str | int | bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
}


def schema_of(method: str, template: str) -> dict[str, Any]:
    answers = described()["paths"][f"/api/v4/projects/{{id}}{template}"][method]["responses"]
    schema = next(one["schema"] for code, one in answers.items() if code.startswith("2"))
    assert isinstance(schema, dict)
    return schema


def test_every_answer_is_as_gitlab_describes_it(world: World) -> None:
    described()
    world.gitlab.ci.jobs_finish = False
    api = world.gitlab.add_token("tom", ["api"])
    started = world.opened()
    deployment = world.gitlab.deployment(started.id)
    pipeline, job = f"/pipelines/{started.id}", f"/jobs/{world.gitlab.job(started.id).id}"
    calls: list[tuple[str, str, str, dict[str, object]]] = [
        ("get", "/pipelines", "/pipelines", {}),
        ("get", "/pipelines/{pipeline_id}", pipeline, {}),
        ("get", "/pipelines/{pipeline_id}/jobs", f"{pipeline}/jobs", {}),
        ("get", "/jobs/{job_id}", job, {}),
        ("get", "/deployments", "/deployments", {}),
        (
            "post",
            "/deployments/{deployment_id}/approval",
            f"/deployments/{deployment.id}/approval",
            {"status": "approved"},
        ),
        ("get", "/deployments/{deployment_id}", f"/deployments/{deployment.id}", {}),
        ("post", "/pipelines/{pipeline_id}/cancel", f"{pipeline}/cancel", {}),
        ("get", "/pipelines/{pipeline_id}", pipeline, {}),
        ("get", "/jobs/{job_id}", job, {}),
        ("post", "/pipeline", "/pipeline", {"ref": "main", "inputs": dict(started.inputs)}),
    ]
    found = []
    for method, template, path, body in calls:
        answer = world.call(method.upper(), PROJECT + path, api, **({"json": body} if body else {}))
        assert answer.ok, answer.text
        found += list(problems(schema_of(method, template), answer.json(), f"{method} {template}"))
    assert found == []
    checked = {(method, f"/api/v4/projects/{{id}}{template}") for method, template, _, _ in calls}
    assert checked == {
        (method, path) for path, operations in described()["paths"].items() for method in operations
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"id": "7"}, "is no integer"),
        ({"tag": "no"}, "is no boolean"),
        ({"user": 7}, "no object"),
        ({"invented": 1}, "not described"),
    ],
)
def test_an_answer_that_is_not_as_described_is_found(answer: dict[str, object], words: str) -> None:
    assert words in "".join(problems(schema_of("get", "/pipelines/{pipeline_id}"), answer))
