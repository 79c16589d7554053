"""Serving endpoints that are moved to a version and back, over real HTTP with the real SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from champion_gate.adapters.databricks.serving import DatabricksServing
from champion_gate.domain.ports.workspace import Serving
from champion_gate.domain.serving import Standing, UpdateState, standing, trouble, versions_of
from champion_gate.errors import (
    ConflictError,
    InvalidNameError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import Workspace, workspace
from integration.endpoint_shapes import CHURN, MODEL, OTHER, SHAPES, Shape, but_counter, by_entity, expected


@pytest.fixture(scope="module")
def served() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


@pytest.fixture(scope="module")
def connected(served: Workspace) -> Serving:
    return DatabricksServing(served.connection())


@pytest.fixture
def databricks(served: Workspace) -> Iterator[Workspace]:
    yield served
    served.standin.faults.clear()
    standin = served.standin.serving
    standin.updates.clear()
    standin.update_seconds, standin.failure = 0.0, ""
    standin.refuses_old_names, standin.is_ready_while_updating = False, True


@pytest.fixture
def serving(databricks: Workspace, connected: Serving) -> Serving:
    return connected


def move(serving: Serving, name: str, version: str) -> dict[str, str]:
    return dict(serving.move(serving.read(name), MODEL, version))


def stands(serving: Serving, name: str, version: str) -> Standing:
    return standing(serving.read(name), MODEL, version)


# --- what a move changes, and what it leaves ----------------------------------------------------------------


@pytest.mark.parametrize("names_are_refused", [pytest.param(False, marks=pytest.mark.part("rest")), True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_move_and_a_rollback_change_the_version_alone(
    databricks: Workspace, serving: Serving, shape: Shape, *, names_are_refused: bool
) -> None:
    standin = databricks.standin.serving
    standin.refuses_old_names = names_are_refused
    name = f"{shape.name}-{names_are_refused}"
    standin.add_endpoint(name, shape.entities, routes=shape.routes, config=shape.config, **shape.extras)
    first = standin.shown(name)
    forced = shape.forced if names_are_refused else {}
    assert stands(serving, name, "8") is Standing.ELSEWHERE

    assert move(serving, name, "8") == forced
    there = standin.shown(name)
    assert stands(serving, name, "8") is Standing.ARRIVED
    back = move(serving, name, "7")

    assert but_counter(there) == but_counter(expected(first, "8", forced))
    assert back == {new: old for old, new in forced.items()}
    assert but_counter(standin.shown(name)) == but_counter(first)
    assert standin.shown(name)["config"]["config_version"] == first["config"]["config_version"] + 2
    assert len(standin.updates) == 2


def test_two_entities_that_would_bear_one_name_are_left_as_they_are(
    databricks: Workspace, serving: Serving
) -> None:
    standin = databricks.standin.serving
    standin.refuses_old_names = True
    entities = [CHURN, {**CHURN, "entity_version": "8"}]
    standin.add_endpoint("canary", entities, routes=by_entity(**{"churn-7": 90, "churn-8": 10}))
    with pytest.raises(ConflictError, match=r"two would be called 'churn-8'.*names of their own"):
        move(serving, "canary", "8")
    assert standin.updates == []


def test_a_refusal_that_is_not_about_names_stays_one(databricks: Workspace, serving: Serving) -> None:
    standin = databricks.standin.serving
    standin.add_endpoint("fixed", [{**CHURN, "name": "champion"}])
    databricks.standin.faults.add(
        Fault(path="/config$", status=400, error_code="INVALID_PARAMETER_VALUE", message="No such version.")
    )
    with pytest.raises(VendorRefusedError, match="No such version"):
        move(serving, "fixed", "8")


# --- updates that take their time ---------------------------------------------------------------------------


def test_an_update_of_ten_minutes_is_seen_from_its_beginning_to_its_end(
    databricks: Workspace, serving: Serving
) -> None:
    standin = databricks.standin.serving
    standin.add_endpoint("slow", [CHURN])
    standin.update_seconds = 600
    standin.is_ready_while_updating = False
    before = serving.read("slow")
    serving.move(before, MODEL, "8")

    under_way = serving.read("slow")
    assert standing(under_way, MODEL, "8") is Standing.ON_ITS_WAY
    assert standing(under_way, MODEL, "9") is Standing.BUSY
    assert (under_way.update, versions_of(under_way.config, MODEL)) == (UpdateState.IN_PROGRESS, {"7"})
    with pytest.raises(VendorUnavailableError, match="currently updating") as refused:
        serving.move(under_way, MODEL, "9")
    assert not refused.value.outcome_unknown

    databricks.time.pass_seconds(600)
    after = serving.read("slow")
    assert standing(after, MODEL, "8") is Standing.ARRIVED
    assert (before.config_version, after.config_version) == (1, 2)
    assert len(standin.updates) == 1


def test_an_update_that_fails_leaves_what_was_served_and_says_why(
    databricks: Workspace, serving: Serving
) -> None:
    standin = databricks.standin.serving
    standin.add_endpoint("failing", [CHURN])
    standin.failure = "The model could not be loaded."
    move(serving, "failing", "8")
    found = serving.read("failing")
    assert standing(found, MODEL, "8") is Standing.UPDATE_FAILED
    assert standing(found, MODEL, "7") is Standing.ARRIVED
    assert trouble(found) == "churn-7: The model could not be loaded."
    standin.failure = ""
    move(serving, "failing", "8")
    assert stands(serving, "failing", "8") is Standing.ARRIVED


def test_somebody_elses_update_between_reading_and_moving_is_not_written_over(
    databricks: Workspace, serving: Serving
) -> None:
    standin = databricks.standin.serving
    standin.add_endpoint("contended", [{**CHURN, "name": "champion"}])
    standin.update_seconds = 600
    theirs = {"served_entities": [{**CHURN, "name": "champion", "workload_size": "Large"}]}
    standin.before_put = lambda: standin.update("contended", theirs)
    with pytest.raises(VendorUnavailableError, match="409"):
        move(serving, "contended", "8")
    assert stands(serving, "contended", "8") is Standing.BUSY
    databricks.time.pass_seconds(600)
    move(serving, "contended", "8")
    databricks.time.pass_seconds(600)
    entity = serving.read("contended").config["served_entities"][0]
    assert (entity["entity_version"], entity["workload_size"]) == ("8", "Large")


def test_an_answer_that_is_lost_leaves_an_update_that_can_be_seen(
    databricks: Workspace, serving: Serving
) -> None:
    standin = databricks.standin.serving
    standin.add_endpoint("lost", [CHURN])
    standin.update_seconds = 600
    databricks.standin.faults.add(Fault(path="/config$", lose_answer=True))
    with pytest.raises(VendorUnavailableError) as lost:
        move(serving, "lost", "8")
    assert lost.value.outcome_unknown
    assert stands(serving, "lost", "8") is Standing.ON_ITS_WAY
    assert len(standin.updates) == 1


@pytest.mark.parametrize(
    ("state", "expected_state"),
    [
        ({"ready": "READY", "config_update": "NEVER_HEARD_OF"}, Standing.BUSY),
        ({"ready": "READY"}, Standing.BUSY),
        ({"ready": "READY", "update_state": "NOT_UPDATING"}, Standing.ARRIVED),
        ({"ready": "NOT_READY", "config_update": "NOT_UPDATING"}, Standing.NOT_READY),
        ({"ready": "READY", "config_update": "UPDATE_CANCELED"}, Standing.ARRIVED),
    ],
)
def test_where_an_endpoint_stands_that_says_something_else(
    databricks: Workspace, serving: Serving, state: dict[str, str], expected_state: Standing
) -> None:
    standin = databricks.standin.serving
    standin.add_endpoint("odd", [CHURN], state=state)
    assert stands(serving, "odd", "7") is expected_state


# --- what cannot be moved -----------------------------------------------------------------------------------


def test_an_endpoint_that_serves_another_model_is_not_moved(databricks: Workspace, serving: Serving) -> None:
    databricks.standin.serving.add_endpoint("prices", [OTHER])
    with pytest.raises(ConflictError, match=r"serves no version of main\.ml\.churn"):
        move(serving, "prices", "8")


def test_an_endpoint_that_is_not_there_is_not_found(serving: Serving) -> None:
    with pytest.raises(VendorNotFoundError):
        serving.read("nowhere")


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b", "ä"])
def test_a_name_that_must_not_enter_a_url_is_refused(serving: Serving, name: str) -> None:
    with pytest.raises(InvalidNameError):
        serving.read(name)


def test_whoever_may_not_move_it_is_told_the_permission(databricks: Workspace, serving: Serving) -> None:
    databricks.standin.serving.add_endpoint("guarded", [CHURN])
    databricks.standin.faults.add(Fault(path="/config$", status=403, error_code="PERMISSION_DENIED"))
    with pytest.raises(VendorRefusedError, match="CAN MANAGE"):
        move(serving, "guarded", "8")


def test_who_made_it_and_its_page_are_told(databricks: Workspace, serving: Serving) -> None:
    databricks.standin.serving.add_endpoint("told", [CHURN], creator="reviewer-1@example.com")
    found = serving.read("told")
    assert found.creator == "reviewer-1@example.com"
    assert found.url == f"{databricks.url}/ml/endpoints/told?o={databricks.standin.workspace_id}"
