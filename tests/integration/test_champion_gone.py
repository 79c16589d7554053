"""An alias that stands on a version that is gone: there is nothing to compare with, and promotions go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.evidence_markdown import render_markdown
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConflictError
from champion_gate.flow.operator_aliases import AliasOrders
from integration.gate_world import GateWorld, gate_world
from integration.logged_models_world import EVERY_REGISTRY

pytestmark = pytest.mark.part("full", "mlflow")

OPERATOR = Caller("operator-1", Role.OPERATOR, "token", "127.0.0.1")

pytest_plugins = ("integration.mlflow_fixtures",)


@pytest.fixture
def uc(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


@pytest.fixture(params=EVERY_REGISTRY)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    server = request.getfixturevalue("running_mlflow") if request.param == "server" else None
    with gate_world(tmp_path, request.param, server=server) as made:
        yield made


def waiting_because(world: GateWorld) -> str:
    return world.promotion(Phase.REQUESTED).retry.last_error or ""


def test_people_are_asked_without_a_champion_to_compare_with(world: GateWorld) -> None:
    world.models.remove_beneath("1")
    assert world.models.champion() == "1"
    world.train({"f1": 0.81, "auc": 0.1})
    world.settle()
    assert f"{world.models.model} v1 is not there. Looked for again at" in waiting_because(world)
    world.wait(minutes=9)
    world.promotion(Phase.REQUESTED)
    world.wait(minutes=1)
    promotion = world.promotion(Phase.PENDING_APPROVAL)
    assert promotion.version_missing_since is None

    document: Any = world.evidence(promotion)
    assert document["champion"] is None
    assert (document["asked"]["from_version"], document["asked"]["from_is_gone"]) == ("1", True)
    assert document["gate_metrics"]["rows"][0]["champion"] is None
    shown = render_markdown(document, promotion.evidence_sha256 or "")
    assert "`Champion` stands on version v1, which is gone from the registry**" in shown
    assert "and takes it from version v1." in shown
    assert "There is no `Champion` yet" not in shown

    world.approve(promotion)
    world.look()
    assert world.ended(promotion, Phase.PROMOTED) == f"Champion of {world.models.model} moved from v1 to v2"
    assert world.models.champion() == "2"
    assert world.moves()[-1] == ("1", "2", "reviewer-1")


def test_the_bounds_apply_still(uc: GateWorld) -> None:
    uc.models.remove_beneath("1")
    uc.train({"f1": 0.79})
    uc.settle()
    uc.wait(minutes=10)
    assert uc.ended(uc.promotion(), Phase.INELIGIBLE) == "F1 is 0.79, and must be at least 0.8."


def test_a_champion_that_goes_while_people_decide_changes_nothing(world: GateWorld) -> None:
    promotion = world.ask()
    world.models.remove_beneath("1")
    world.look()
    world.approve(promotion)
    world.look()
    world.ended(promotion, Phase.PROMOTED)
    assert world.moves()[-1] == ("1", "2", "reviewer-1")


READS_CHAMPION = "(/models/.*/versions/1|/registered-models/alias)$"


def test_a_champion_that_is_hidden_is_not_gone(uc: GateWorld) -> None:
    uc.break_databricks(READS_CHAMPION, method="GET", status=403)
    uc.train({"f1": 0.81})
    uc.settle()
    assert uc.promotion().phase is Phase.REQUESTED
    assert "answered 403" in (uc.promotion().retry.last_error or "")


def test_a_champion_that_the_list_still_has_is_not_gone(uc: GateWorld) -> None:
    uc.break_databricks(READS_CHAMPION, method="GET", status=404, error_code="RESOURCE_DOES_NOT_EXIST")
    uc.train({"f1": 0.81})
    uc.settle()
    assert uc.promotion().phase is Phase.REQUESTED
    assert "answered 404" in (uc.promotion().retry.last_error or "")


def test_a_champion_that_a_registry_forgets_for_a_moment_is_compared_with(uc: GateWorld) -> None:
    """Reads and lists of a replica that lags: without the comparison the worse version would be asked for."""
    found = uc.break_databricks(
        READS_CHAMPION, method="GET", status=404, error_code="RESOURCE_DOES_NOT_EXIST"
    )
    uc.train({"f1": 0.81})
    listed = json.dumps({"model_versions": [listed_version(uc, "2")]}).encode()
    hidden = uc.break_databricks("/models/[^/]*/versions$", body=listed)
    uc.settle()
    assert "main.ml.churn v1 is not there" in waiting_because(uc)
    assert uc.github.runs == []
    found.times = hidden.times = 0
    uc.wait(minutes=10)
    assert "max_worse" in uc.ended(uc.promotion(), Phase.INELIGIBLE)


def listed_version(uc: GateWorld, number: str) -> Any:
    url = f"{uc.databricks_url}/api/2.1/unity-catalog/models/main.ml.churn/versions"
    answer = requests.get(url, headers={"Authorization": "Bearer standin-token"}, timeout=10).json()
    return next(each for each in answer["model_versions"] if str(each["version"]) == number)


def test_a_list_that_lacks_the_candidate_too_shows_nothing(uc: GateWorld) -> None:
    uc.models.remove_beneath("1")
    uc.break_databricks("/models/[^/]*/versions$", body=b"{}", skip=1)  # one is the search
    uc.train({"f1": 0.81})
    uc.settle()
    assert uc.promotion().phase is Phase.REQUESTED
    assert "answered 404" in (uc.promotion().retry.last_error or "")


def test_the_watch_and_orders_go_on(world: GateWorld) -> None:
    second = world.models.train(world.job_id, "9", {"f1": 0.9})
    world.sweep()
    world.models.remove_beneath("1")
    world.sweep()
    orders: AliasOrders = world.core.alias_orders
    change = orders.put(world.models.model, "Champion", second, Order(OPERATOR, "the other one is gone"))
    assert (change.from_version, change.state.version) == ("1", second)
    assert world.moves()[-1] == ("1", second, "operator-1")
    with pytest.raises(ConflictError, match="v1, and it is gone from the registry"):
        orders.roll_back(world.models.model, "Champion", Order(OPERATOR, "back"))
    assert world.models.champion() == second


def test_a_first_look_at_an_alias_on_a_version_that_is_gone(world: GateWorld) -> None:
    world.models.remove_beneath("1")
    world.sweep()
    assert world.moves() == [(None, "1", "outside champion-gate")]
    world.sweep()
    assert len(world.moves()) == 1
