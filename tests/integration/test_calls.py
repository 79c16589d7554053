"""Which calls one promotion makes, in what order, and that their number does not grow with what was made that day.

What each call needs is a partial order. Calls that need nothing of each other may arrive in any order, and at the same
time: answers are held up, so that what has not been waited for is seen to overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.calls_world import (
    a_gate,
    apply_one,
    open_one,
    promote,
    train_at_the_same_time,
    train_one_after_the_other,
)
from integration.gate_providers import PROJECT, REPOSITORY, TRAINER_LOGIN, GitLabProvider
from integration.gate_world import GateWorld
from integration.journal import Call, Journal, counted
from integration.mlflow_server import MlflowServer

pytest_plugins = ("integration.mlflow_fixtures",)

HELD_UP_SECONDS = 0.02
NO_ROW, REQUESTED, ASKED = "no row", "requested", "asked"
PENDING, APPROVED, INTENDED = "pending", "approved", "intended"
"""How the rows stand: nothing of the version, its promotion, that people are about to be asked; people are asked, their
decision is in the ledger, the intent to move the alias is."""


@dataclass(frozen=True)
class Calls:
    """What is held of some calls.

    Attributes:
        lines: name -> the call's line, or how it begins where that ends with one of `?&/`. Each is made, and no other.
        order: names that have to wait for each other, as "a > b > c"; `a:first` and `a:last` are one of several.
        seen: how the rows stand when calls arrive: state -> the names of which one, the last, arrives then.
        last: the call for which all others are made.
    """

    lines: Mapping[str, str]
    order: tuple[str, ...]
    seen: Mapping[str, str]
    last: str


@dataclass
class Recorded:
    """One promotion's calls.

    Attributes:
        kind: registry and provider.
        ids: what stands in the tables' lines.
        opening: until people are asked.
        applying: from what they said until the alias is set.
    """

    kind: str
    ids: dict[str, str] = field(default_factory=dict)
    opening: list[Call] = field(default_factory=list)
    applying: list[Call] = field(default_factory=list)


# --- the tables ---------------------------------------------------------------------------------------------

JOB = {
    "job run": "GET /api/2.2/jobs/runs/get?",
    "job": "GET /api/2.2/jobs/get?",
    "task's word": "GET /api/2.2/jobs/runs/get-output?",
}
UNITY_CATALOG = {
    "versions": "GET /api/2.1/unity-catalog/models/main.ml.churn/versions?",
    "candidate": "GET /api/2.1/unity-catalog/models/main.ml.churn/versions/{candidate}",
    "candidate with tags": "GET /api/2.0/mlflow/unity-catalog/model-versions/get?name=main.ml.churn&version={candidate}",
    "candidate's run": "GET /api/2.0/mlflow/runs/get?run_id={candidate_run}",
    "alias": "GET /api/2.1/unity-catalog/models/main.ml.churn?include_aliases=true",
    "alias's version": "GET /api/2.0/mlflow/unity-catalog/registered-models/alias?name=main.ml.churn&alias=Champion",
    "champion's run": "GET /api/2.0/mlflow/runs/get?run_id={champion_run}",
    "runs' models": "POST /api/2.0/mlflow/logged-models/search",
    "put": "PUT /api/2.1/unity-catalog/models/main.ml.churn/aliases/Champion",
}
MLFLOW = {
    "versions": "GET /api/2.0/mlflow/model-versions/search?",
    "candidate": "GET /api/2.0/mlflow/model-versions/get?name={model}&version={candidate}",
    "candidate's run": "GET /api/2.0/mlflow/runs/get?run_uuid={candidate_run}&",
    "alias": "GET /api/2.0/mlflow/registered-models/get?",
    "alias's version": "GET /api/2.0/mlflow/registered-models/alias?",
    "champion's run": "GET /api/2.0/mlflow/runs/get?run_uuid={champion_run}&",
    "run of another version": "GET /api/2.0/mlflow/runs/get?",
    "runs' models": "POST /api/2.0/mlflow/logged-models/search",
    "put": "POST /api/2.0/mlflow/registered-models/alias",
}
_REPO = f"/repos/{REPOSITORY}"
GITHUB = {
    "trainer": "GET /users/octo-trainer",
    "repository": f"GET {_REPO}",
    "workflow": f"GET {_REPO}/actions/workflows/champion-gate.yml",
    "branch": f"GET {_REPO}/rules/branches/main?",
    "environment": f"GET {_REPO}/environments/champion",
    "policies": f"GET {_REPO}/environments/champion/deployment-branch-policies?",
    "ask": f"POST {_REPO}/actions/workflows/champion-gate.yml/dispatches",
    "run": f"GET {_REPO}/actions/runs/{{request}}",
    "jobs": f"GET {_REPO}/actions/runs/{{request}}/jobs?",
    "votes": f"GET {_REPO}/actions/runs/{{request}}/approvals",
}
_PROJECT = f"/api/v4/projects/{PROJECT}"
GITLAB = {
    "trainer": "GET /api/v4/users?username=octo-trainer&",
    "trainer's kind": "GET /api/v4/users/{trainer}",
    "project": f"GET {_PROJECT}",
    "triggers": f"GET {_PROJECT}/triggers?",
    "opener": "GET /api/v4/user",
    "branch": f"GET {_PROJECT}/protected_branches?",
    "environment": f"GET {_PROJECT}/protected_environments/champion",
    "bot's role": f"GET {_PROJECT}/members/all/",
    "ask": f"POST {_PROJECT}/trigger/pipeline",
    "run": f"GET {_PROJECT}/pipelines/{{request}}",
    "jobs": f"GET {_PROJECT}/pipelines/{{request}}/jobs?",
    "deployments": f"GET {_PROJECT}/deployments?",
    "votes": f"GET {_PROJECT}/deployments/",
    "voter": "GET /api/v4/users/{reviewer}",
    "voter's role": f"GET {_PROJECT}/members/all/{{reviewer}}",
}


def some(table: Mapping[str, str], names: str) -> dict[str, str]:
    """These rows of a table."""
    return {name: table[name] for name in names.split(", ")}


FOUND = "job run, job, task's word, versions"
READ = "candidate's run, alias's version, champion's run, runs' models"
SURVEYED_GITHUB = "repository, workflow, branch, environment, policies"
SURVEYED_GITLAB = "project, triggers, opener, branch, environment, bot's role"

FINDING = ("job run > task's word", "job run > versions > candidate's run:last")
COMPARING = ("alias's version > champion's run:last > runs' models:last",)
"""What is compared is what stands there: the registry tells the alias and its version at once."""

DECIDING_GITHUB = (
    "run:first > jobs > votes > run:last > alias:first",
    "environment > policies > alias:first",
)
"""The run before its jobs, so that of one that has ended the last word is read; the jobs before the votes, so that the vote that
let a job start is there; the attempt after the votes, which do not tell it; all of them before the alias is looked at."""

DECIDING_GITLAB = (
    "run > jobs > deployments > votes > voter > alias:first",
    "environment > bot's role > alias:first",
)
WRITING = ("alias:first > put", "candidate > put", "put > alias:last")

OPENING: dict[str, Calls] = {
    "uc, github": Calls(
        {
            **JOB,
            **some(UNITY_CATALOG, f"versions, candidate with tags, {READ}"),
            **some(GITHUB, f"trainer, {SURVEYED_GITHUB}, ask"),
        },
        (*FINDING, *COMPARING, "environment > policies"),
        {
            NO_ROW: FOUND,
            REQUESTED: f"candidate with tags, alias's version, trainer, {SURVEYED_GITHUB}",
            ASKED: "ask",
        },
        last="ask",
    ),
    "uc, gitlab-rules": Calls(
        {
            **JOB,
            **some(UNITY_CATALOG, f"versions, candidate with tags, {READ}"),
            **some(GITLAB, f"trainer, trainer's kind, {SURVEYED_GITLAB}, ask"),
        },
        (
            *FINDING,
            *COMPARING,
            "environment > bot's role",
            "trainer > trainer's kind",
        ),
        {
            NO_ROW: FOUND,
            REQUESTED: f"candidate with tags, alias's version, trainer, trainer's kind, {SURVEYED_GITLAB}",
            ASKED: "ask",
        },
        last="ask",
    ),
    "mlflow, github": Calls(
        {
            **JOB,
            **some(MLFLOW, f"versions, candidate, {READ}, run of another version"),
            **some(GITHUB, f"trainer, {SURVEYED_GITHUB}, ask"),
        },
        (
            *FINDING,
            *COMPARING,
            "environment > policies",
        ),
        {NO_ROW: FOUND, REQUESTED: f"candidate, alias's version, trainer, {SURVEYED_GITHUB}", ASKED: "ask"},
        last="ask",
    ),
}
APPLYING: dict[str, Calls] = {
    "uc, github": Calls(
        {
            **some(GITHUB, f"run, {SURVEYED_GITHUB}, jobs, votes"),
            **some(UNITY_CATALOG, "alias, candidate, put"),
        },
        (*DECIDING_GITHUB, *WRITING),
        {
            PENDING: f"run, {SURVEYED_GITHUB}, jobs, votes",
            APPROVED: "alias:first, candidate",
            INTENDED: "put, alias",
        },
        last="alias",
    ),
    "uc, gitlab-rules": Calls(
        {
            **some(GITLAB, f"run, {SURVEYED_GITLAB}, jobs, deployments, votes, voter, voter's role"),
            **some(UNITY_CATALOG, "alias, candidate, put"),
        },
        (*DECIDING_GITLAB, "votes > voter's role > alias:first", *WRITING),
        {
            PENDING: f"run, {SURVEYED_GITLAB}, jobs, deployments, votes, voter, voter's role",
            APPROVED: "alias:first, candidate",
            INTENDED: "put, alias",
        },
        last="alias",
    ),
    "mlflow, github": Calls(
        {**some(GITHUB, f"run, {SURVEYED_GITHUB}, jobs, votes"), **some(MLFLOW, "alias, candidate, put")},
        (*DECIDING_GITHUB, *WRITING),
        {
            PENDING: f"run, {SURVEYED_GITHUB}, jobs, votes",
            APPROVED: "alias:first, candidate",
            INTENDED: "put, alias",
        },
        last="alias",
    ),
}
TWICE = {"uc, github": "run, alias", "uc, gitlab-rules": "alias", "mlflow, github": "run, alias, alias"}
"""Of what is read until the alias is set, what is read again: the attempt after the votes, the alias after the write, and before
it by MLflow's client, which sets none on a prompt."""


# --- the world ----------------------------------------------------------------------------------------------


def standing(world: GateWorld, version: str) -> str:
    """How the rows stand of this version."""
    found = [each for each in world.promotions() if each.version.version == version]
    if not found:
        return NO_ROW
    (promotion,) = found
    if promotion.phase is Phase.REQUESTED:
        return ASKED if promotion.request is not None else REQUESTED
    if promotion.phase is Phase.APPROVED:
        lock = world.store.known_alias(promotion.alias_key)
        return INTENDED if lock is not None and lock.intent is not None else APPROVED
    return PENDING if promotion.phase is Phase.PENDING_APPROVAL else promotion.phase.value


def ids_of(world: GateWorld, champion: Promotion, candidate: Promotion) -> dict[str, str]:
    """What stands in the tables' lines."""
    people = {}
    if isinstance(world.provider, GitLabProvider):
        users = world.provider.standin.state
        people = {"trainer": str(users.user(TRAINER_LOGIN).id), "reviewer": str(users.user("reviewer-1").id)}
    return {
        "model": world.models.model,
        "candidate": candidate.version.version,
        "candidate_run": str(candidate.version.run_id),
        "champion": champion.version.version,
        "champion_run": str(champion.version.run_id),
        "request": world.run_id_of(candidate),
        **people,
    }


@pytest.fixture(scope="module", params=OPENING)
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The second promotion of a service, which knows the workspace and its own account by then."""
    found, journal = Recorded(request.param), Journal()
    folder = tmp_path_factory.mktemp("calls")
    with a_gate(found.kind, folder, journal, lambda: request.getfixturevalue("running_mlflow")) as world:
        before = promote(world)
        world.clock.move(hours=1)
        run_id, version = world.train_run()
        journal.delay, journal.look = HELD_UP_SECONDS, lambda: standing(world, version)
        found.opening = open_one(world, journal, run_id)
        asked = world.promotion(Phase.PENDING_APPROVAL)
        found.applying = apply_one(world, journal, asked)
        found.ids = ids_of(world, before, asked)
    return found


# --- what is held -------------------------------------------------------------------------------------------


def named(calls: list[Call], lines: Mapping[str, str], ids: Mapping[str, str]) -> dict[str, list[Call]]:
    """The calls by their names; a call that has none is one that nobody has thought of."""
    known = {line.format(**ids): name for name, line in lines.items()}
    found: dict[str, list[Call]] = {}
    for call in calls:
        fitting = [
            line for line in known if call.line == line or (line[-1] in "?&/" and call.line.startswith(line))
        ]
        assert fitting, f"a call that is not in the table: {call.line}"
        found.setdefault(known[max(fitting, key=len)], []).append(call)
    return found


def check_order(found: Mapping[str, list[Call]], rule: str) -> None:
    """Whether each of a rule's calls waited for those before it."""
    names = rule.split(" > ")
    for before, after in pairwise(names):
        answered = max(call.ended for call in chosen(found, before))
        sent = min(call.begun for call in chosen(found, after))
        assert answered <= sent, f"{after} did not wait for {before}: {rule}"


def chosen(found: Mapping[str, list[Call]], word: str) -> list[Call]:
    """All calls of a name, or its first or last one."""
    name, _, which = word.partition(":")
    return {"first": found[name][:1], "last": found[name][-1:]}.get(which, found[name])


def check(calls: list[Call], held: Calls, ids: Mapping[str, str]) -> dict[str, list[Call]]:
    """Whether every call is there, and waited for what it has to."""
    found = named(calls, held.lines, ids)
    assert set(found) == set(held.lines)
    for rule in held.order:
        check_order(found, rule)
    for state, names in held.seen.items():
        for name in names.split(", "):
            call = chosen(found, name)[-1]
            assert call.saw == state, f"{name} was read when the rows stood at {call.saw}"
    last = found[held.last][-1]
    assert all(call is last or call.ended <= last.begun for call in calls), (
        f"{held.last} did not wait for all"
    )
    return found


def test_people_are_asked_after_all_that_they_are_shown_and_all_that_protects_them_was_read(
    recorded: Recorded,
) -> None:
    found = check(recorded.opening, OPENING[recorded.kind], recorded.ids)
    assert len(found["ask"]) == 1


def test_an_alias_is_set_after_every_read_that_it_rests_on_and_read_back(recorded: Recorded) -> None:
    held = APPLYING[recorded.kind]
    found = check(recorded.applying, held, recorded.ids)
    times = Counter([*held.lines, *TWICE[recorded.kind].split(", ")])
    assert {name: len(calls) for name, calls in found.items()} == times


# --- how many -----------------------------------------------------------------------------------------------

FEW, MANY = 2, 198
"""Beside the Champions of that day, the first and the one before."""
MOST_TO_OPEN, MOST_TO_APPLY = 17, 13
ALL_TO_OPEN = 18
"""Also with those to which GitHub answers 304, as it does where a place has not changed since the promotion before."""


def calls_to_open(
    kind: str,
    folder: Path,
    train: Callable[[GateWorld, int], str],
    versions: int,
    running_mlflow: Callable[[], MlflowServer],
) -> int:
    """How many calls it takes from the notification to the request."""
    journal = Journal()
    with a_gate(kind, folder, journal, running_mlflow) as world:
        promote(world)
        world.clock.move(hours=1)
        run_id = train(world, versions)
        calls = open_one(world, journal, run_id)
        assert world.promotions()[0].phase is Phase.PENDING_APPROVAL, world.notifications()[0].reason
    return len(calls)


@pytest.mark.parametrize(
    ("kind", "train", "further"),
    [
        ("uc, github", train_one_after_the_other, 0),
        ("uc, github", train_at_the_same_time, 0),
        # MLflow does not tell who made a version, so all of the day are looked up, a hundred MLflow runs a call.
        pytest.param(
            "mlflow, github", train_one_after_the_other, MANY // 100 + 1, marks=pytest.mark.part("rest")
        ),
    ],
)
def test_calls_do_not_grow_with_the_versions_of_the_day(
    kind: str,
    train: Callable[[GateWorld, int], str],
    further: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    def running_mlflow() -> MlflowServer:
        server: MlflowServer = request.getfixturevalue("running_mlflow")
        return server

    few, many = (calls_to_open(kind, tmp_path, train, count, running_mlflow) for count in (FEW, MANY))
    assert many <= few + further


@pytest.mark.parametrize("recorded", ["uc, github"], indirect=True)
def test_an_alias_is_set_within_so_many_calls(recorded: Recorded) -> None:
    assert len(recorded.applying) <= MOST_TO_APPLY


@pytest.mark.parametrize("recorded", ["uc, github"], indirect=True)
def test_people_are_asked_within_so_many_calls(recorded: Recorded) -> None:
    assert counted(recorded.opening) <= MOST_TO_OPEN
    assert len(recorded.opening) <= ALL_TO_OPEN
