"""Models and aliases through the API: shown, set, removed, rolled back, held; refused with the world unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from champion_gate.domain.aliases import AliasKey
from champion_gate.web.api.aliases import only_if
from integration.api_world import ALIAS, OPERATOR, OTHER, VIEWER, ApiWorld, api_world

pytestmark = pytest.mark.spread(2)

HELD = "/api/v1/models/main.ml.churn/aliases/Champion/hold"
WHY = "an incident"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiWorld]:
    with api_world(tmp_path) as world:
        yield world


def put(api: ApiWorld, version: str, **how: str) -> None:
    assert api.call("PUT", ALIAS, {"version": version, "reason": WHY}, **how).status_code == 200


def test_an_alias_is_shown_with_its_version_as_its_tag(api: ApiWorld) -> None:
    answer = api.call("GET", ALIAS, token=VIEWER)
    assert answer.json() == {
        "registry": "databricks-uc",
        "model": "main.ml.churn",
        "alias": "Champion",
        "version": "1",
        "hold": None,
        "outside": None,
    }
    assert answer.headers["ETag"] == '"1"'


def test_a_model_is_shown_with_its_aliases_and_newest_versions(api: ApiWorld) -> None:
    api.add_versions(54)
    model = api.call("GET", "/api/v1/models/MAIN.ml.churn", token=VIEWER).json()
    assert model["model"] == "main.ml.churn"
    assert model["aliases"] == [{"alias": "Champion", "version": "1", "hold": None, "outside": None}]
    assert [each["version"] for each in model["versions"]] == [str(number) for number in range(55, 5, -1)]
    assert set(model["versions"][0]) == {"version", "status", "created_at", "created_by", "run_id"}


def test_setting_an_alias_is_done_in_the_registry_and_attributed_in_the_history(api: ApiWorld) -> None:
    api.add_versions(1)
    answer = api.call("PUT", ALIAS, {"version": "2", "reason": "<b>better</b> \x1b[31m | `x`"})
    said = answer.json()
    assert (said["version"], said["from_version"], said["changed"]) == ("2", "1", True)
    assert answer.headers["ETag"] == '"2"'
    assert api.gate.models.champion() == "2"
    again = api.call("PUT", ALIAS, {"version": "2", "reason": WHY}).json()
    assert (again["version"], again["from_version"], again["changed"]) == ("2", "2", False)
    line = api.call("GET", f"{ALIAS}/history", token=VIEWER).json()["lines"][0]
    assert (line["actor"], line["kind"]) == ("operator-1", "alias_change")
    assert line["reason"] == "<b>better</b> \x1b[31m | `x`"
    assert line["facts"]["authenticated_by"] == "API token a"
    assert line["facts"]["address"] == "127.0.0.1"
    assert (line["facts"]["from"], line["facts"]["to"]) == ("1", "2")


def test_a_removed_alias_is_on_no_version_and_can_be_set_again(api: ApiWorld) -> None:
    said = api.call("DELETE", f"{ALIAS}?reason=retired")
    assert (said.json()["version"], said.json()["from_version"]) == (None, "1")
    assert "ETag" not in said.headers
    assert api.gate.models.champion() is None
    api.call("PUT", HELD, {"reason": WHY})
    gone = api.problem(404, "alias_not_set", "GET", ALIAS)
    assert (gone["version"], gone["hold"]["actor"]) == (None, "operator-1")
    assert gone["hint"] == "Put it on a version."  # which the command line says too
    api.problem(409, "on_hold", "DELETE", f"{ALIAS}?reason=again")
    api.call("DELETE", f"{HELD}?reason=over")
    api.problem(404, "alias_not_set", "DELETE", f"{ALIAS}?reason=again")
    put(api, "1")
    assert api.gate.models.champion() == "1"


def test_a_rollback_goes_to_the_version_before_and_holds_it_there(api: ApiWorld) -> None:
    api.add_versions(1)
    put(api, "2")
    answer = api.call("POST", f"{ALIAS}/rollback", {"reason": "it is bad"})
    said = answer.json()
    assert (said["version"], said["from_version"], answer.headers["ETag"]) == ("1", "2", '"1"')
    assert (said["hold"]["actor"], said["hold"]["by_rollback"]) == ("operator-1", True)
    assert api.gate.models.champion() == "1"
    api.problem(409, "on_hold", "POST", f"{ALIAS}/rollback", {"reason": "once more"})
    api.problem(409, "conflict", "POST", f"{ALIAS}/rollback", {"reason": "once more"}, If_Match='"1"')
    api.problem(409, "on_hold", "PUT", ALIAS, {"version": "2", "reason": WHY})
    assert api.gate.models.champion() == "1"


def test_a_hold_stops_everybody_who_does_not_override_it(api: ApiWorld) -> None:
    api.add_versions(1)
    held = api.call("PUT", HELD, {"reason": WHY}, token=OTHER)
    assert (held.json()["hold"]["actor"], held.json()["hold"]["reason"]) == ("ben", WHY)
    assert held.headers["ETag"] == '"1"'
    refused = api.problem(409, "on_hold", "PUT", ALIAS, {"version": "2", "reason": WHY})
    assert "ben" in refused["detail"]
    api.problem(409, "on_hold", "DELETE", f"{ALIAS}?reason=x&override_hold=false")
    assert api.gate.models.champion() == "1"
    said = api.call("PUT", ALIAS, {"version": "2", "reason": WHY, "override_hold": True}).json()
    assert (said["version"], said["hold"]["actor"]) == ("2", "ben")
    assert api.call("DELETE", f"{ALIAS}?reason=x&override_hold=true").status_code == 200
    released = api.call("DELETE", f"{HELD}?reason=it%20is%20over").json()
    assert released["hold"] is None
    api.problem(404, "not_found", "DELETE", f"{HELD}?reason=again")


@pytest.mark.parametrize(
    "tag", ['"2"', 'W/"1"', '"2", W/"1"', '""', '"01"', '"1x"', '"2" , "3"'], ids=lambda tag: tag
)
def test_an_order_for_another_version_changes_nothing(api: ApiWorld, tag: str) -> None:
    api.add_versions(1)
    api.problem(412, "precondition_failed", "PUT", ALIAS, {"version": "2", "reason": WHY}, If_Match=tag)
    api.problem(412, "precondition_failed", "DELETE", f"{ALIAS}?reason=x", If_Match=tag)
    api.problem(412, "precondition_failed", "POST", f"{ALIAS}/rollback", {"reason": WHY}, If_Match=tag)
    assert api.gate.models.champion() == "1"


def test_an_order_for_the_version_that_it_is_on_is_carried_out(api: ApiWorld) -> None:
    api.add_versions(2)
    put(api, "2", If_Match='"1"')
    put(api, "3", If_Match='W/"9", "7",  "2"')
    put(api, "1", If_Match="*")
    api.call("DELETE", f"{ALIAS}?reason=x", If_Match='"1"')
    api.problem(412, "precondition_failed", "PUT", ALIAS, {"version": "1", "reason": WHY}, If_Match="*")


@pytest.mark.parametrize("tag", ["1", '"1', "1,2", '"1""2"', "**", '*, "1"', '"1",', "w/1"])
def test_a_condition_that_is_none_is_refused_not_ignored(api: ApiWorld, tag: str) -> None:
    said = api.problem(422, "invalid_input", "DELETE", f"{ALIAS}?reason=x", If_Match=tag)
    assert said["errors"][0]["name"] == "If-Match"
    assert api.gate.models.champion() == "1"


def test_a_weak_tag_matches_nothing() -> None:
    condition = only_if('W/"1"')
    assert condition is not None
    assert not condition.allows("1")
    assert only_if(None) is None


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/models/main.ml.other/aliases/Champion", 404, "not_managed"),
        ("GET", "/api/v1/models/main.ml.churn/aliases/champ", 404, "not_managed"),
        ("GET", "/api/v1/models/main.ml.other", 404, "not_managed"),
        ("GET", "/api/v1/models/churn", 422, "invalid_name"),
        ("GET", "/api/v1/models/main.ml.churn/aliases/v12", 422, "invalid_name"),
        ("GET", "/api/v1/models/main.ml.ch%3Furn/aliases/Champion", 422, "invalid_name"),
        ("GET", f"{ALIAS}/history?cursor=nonsense", 422, "invalid_input"),
        ("GET", f"{ALIAS}/history?cursor=LTE=", 422, "invalid_input"),
        ("DELETE", f"{ALIAS}?reason=x&override_hold=yes", 422, "invalid_input"),
        ("DELETE", f"{ALIAS}?reason=x&reason=y", 422, "invalid_input"),
        ("DELETE", f"{ALIAS}?reason=%20%09", 422, "invalid_input"),
        ("DELETE", ALIAS, 422, "invalid_input"),
    ],
)
def test_names_and_parameters_that_mean_nothing_are_told_apart(
    api: ApiWorld, method: str, path: str, status: int, code: str
) -> None:
    api.problem(status, code, method, path)
    assert api.gate.models.champion() == "1"


@pytest.mark.parametrize(
    ("version", "code"), [("99", "no_such_version"), ("01", "invalid_name"), ("v2", "invalid_name")]
)
def test_only_a_version_that_there_is_can_be_set(api: ApiWorld, version: str, code: str) -> None:
    api.problem(422, code, "PUT", ALIAS, {"version": version, "reason": WHY})
    assert api.gate.models.champion() == "1"


def test_a_registry_that_is_away_is_told_from_one_that_refuses(api: ApiWorld) -> None:
    api.gate.break_databricks(".*", status=500)
    away = api.call("GET", ALIAS)
    assert (away.status_code, away.json()["code"]) == (503, "vendor_unavailable")
    assert int(away.headers["Retry-After"]) > 0
    assert api.call("PUT", HELD, {"reason": WHY}).json()["hold"]["reason"] == WHY
    api.gate.databricks.faults.clear()
    api.gate.break_databricks(".*", status=403)
    api.problem(502, "vendor_refused", "GET", ALIAS)


def test_an_alias_in_another_writers_hands_is_busy_for_a_moment(api: ApiWorld) -> None:
    key = AliasKey("databricks-uc", "main.ml.churn", "Champion")
    assert api.gate.store.lock_alias(key, api.gate.clock.now(), 300) is not None
    answer = api.call("PUT", HELD, {"reason": WHY}, token=OPERATOR)
    assert (answer.status_code, answer.json()["code"]) == (409, "alias_busy")
    assert answer.headers["Retry-After"] == "1"


def test_the_history_comes_in_parts_newest_first(api: ApiWorld) -> None:
    for number in range(3):
        api.call("PUT", HELD, {"reason": f"reason {number}"})
    first = api.call("GET", f"{ALIAS}/history?limit=2", token=VIEWER).json()
    second = api.call("GET", f"{ALIAS}/history?limit=2&cursor={first['cursor']}", token=VIEWER).json()
    assert [line["reason"] for line in first["lines"]] == ["reason 2", "reason 1"]
    assert second["lines"][0]["reason"] == "reason 0"
    assert second["cursor"] is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", ALIAS),
        ("DELETE", ALIAS),
        ("POST", f"{ALIAS}/rollback"),
        ("PUT", HELD),
        ("DELETE", HELD),
    ],
)
def test_a_viewer_changes_nothing(api: ApiWorld, method: str, path: str) -> None:
    api.problem(403, "not_permitted", method, path, {"reason": WHY}, token=VIEWER)
    api.problem(401, "not_authenticated", method, path, {"reason": WHY}, token=None)
    assert api.gate.ledger() == []
