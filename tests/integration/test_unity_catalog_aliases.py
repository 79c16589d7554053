"""Aliases in Unity Catalog, over real HTTP with the real SDK."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from champion_gate.adapters.databricks.unity_catalog import UnityCatalog
from champion_gate.domain.versions import TaggedVersion
from champion_gate.errors import (
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import IMPATIENT, Workspace, workspace

MODEL = "main.ml.churn"
TWO_CHAMPIONS = (
    b'{"full_name": "main.ml.churn", "aliases": [{"alias_name": "champion", "version_num": 1},'
    b' {"alias_name": "Champion", "version_num": 2}]}'
)


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        found.standin.catalog.add_model(MODEL)
        yield found


@pytest.fixture
def registry(databricks: Workspace) -> UnityCatalog:
    return UnityCatalog(databricks.connection())


def test_an_alias_is_set_moved_read_and_deleted_whatever_its_case(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    catalog.add_version(MODEL)
    catalog.add_version(MODEL)
    assert registry.get_alias(MODEL, "Champion") is None

    registry.set_alias(MODEL, "Champion", "1")
    registry.set_alias(MODEL, "Champion", "2")

    assert registry.get_alias(MODEL, "Champion") == registry.get_alias(MODEL, "champion") == "2"
    assert catalog.alias_writes == [(MODEL, "Champion", 1), (MODEL, "Champion", 2)]
    written = [request for request in databricks.standin.requests if request.method == "PUT"]
    assert [request.body for request in written] == [{"version_num": 1}, {"version_num": 2}]

    registry.delete_alias(MODEL, "Champion")
    registry.delete_alias(MODEL, "Champion")
    assert registry.get_alias(MODEL, "Champion") is None


def test_the_version_that_holds_an_alias_is_read_whole(databricks: Workspace, registry: UnityCatalog) -> None:
    databricks.standin.catalog.add_version(MODEL, tags={"team": "growth"})
    assert registry.get_holder(MODEL, "Champion") is None

    registry.set_alias(MODEL, "Champion", "1")
    version = registry.get_version(MODEL, "1")

    assert registry.get_holder(MODEL, "Champion") == TaggedVersion(version, {"team": "growth"})
    databricks.standin.catalog.remove_version(MODEL, "1", keep_aliases=True)
    assert registry.get_holder(MODEL, "Champion") is None
    assert registry.get_alias(MODEL, "Champion") == "1"


def test_the_holder_is_a_known_version_only_if_made_at_the_same_time(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    catalog = databricks.standin.catalog
    catalog.add_version(MODEL, run_id="r" * 32, created_by="trainer@example.com")
    registry.set_alias(MODEL, "Champion", "1")
    before = registry.get_version(MODEL, "1")
    calls = len(databricks.standin.requests)

    assert registry.get_holder(MODEL, "Champion", [before]) == TaggedVersion(before, {})
    assert len(databricks.standin.requests) == calls + 1

    catalog.remove_version(MODEL, "1")
    databricks.time.pass_seconds(1)
    catalog.add_version(MODEL, run_id="r" * 32, created_by="somebody@example.com")
    catalog.set_alias(MODEL, "Champion", "1")

    held = registry.get_holder(MODEL, "Champion", [before])

    assert held == TaggedVersion(registry.get_version(MODEL, "1"), {})
    with pytest.raises(VendorNotFoundError, match="another made in its place"):
        registry.get_details(before)


def test_no_alias_is_told_only_of_a_model_that_was_read(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    with pytest.raises(VendorNotFoundError):
        registry.get_alias("main.ml.nobody", "Champion")
    with pytest.raises(VendorNotFoundError):
        registry.delete_alias("main.ml.nobody", "Champion")
    databricks.standin.faults.add(Fault(path="models/main.ml.churn$", status=403, times=1))
    with pytest.raises(VendorRefusedError):
        registry.get_alias(MODEL, "Champion")
    for body in (
        b"{}",
        b'{"full_name": "main.ml.other", "aliases": []}',
        b'{"full_name": "main.ml.churn", "aliases": "none"}',
        b'{"full_name": "main.ml.churn", "aliases": [{"alias_name": "champion"}]}',
        TWO_CHAMPIONS,
    ):
        databricks.standin.faults.add(Fault(path="models/main.ml.churn$", body=body, times=1))
        with pytest.raises(VendorUnavailableError):
            registry.get_alias(MODEL, "Champion")


def test_an_alias_on_a_version_that_is_not_there_is_refused(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    with pytest.raises(VendorNotFoundError):
        registry.set_alias(MODEL, "Champion", "99")
    assert databricks.standin.catalog.alias_writes == []


def test_a_write_whose_answer_is_lost_says_so_and_was_sent_once(
    databricks: Workspace, registry: UnityCatalog
) -> None:
    databricks.standin.catalog.add_version(MODEL)
    registry.check()
    databricks.standin.faults.add(Fault(path="aliases", method="PUT", lose_answer=True))
    with pytest.raises(VendorUnavailableError) as caught:
        registry.set_alias(MODEL, "Champion", "1")
    assert caught.value.outcome_unknown
    assert databricks.standin.catalog.alias_writes == [(MODEL, "Champion", 1)]
    assert registry.get_alias(MODEL, "Champion") == "1"


def test_no_permission_to_move_the_alias_is_final(databricks: Workspace, registry: UnityCatalog) -> None:
    databricks.standin.catalog.add_version(MODEL)
    databricks.standin.faults.add(Fault(path="aliases", status=403, error_code="PERMISSION_DENIED"))
    with pytest.raises(VendorRefusedError):
        registry.set_alias(MODEL, "Champion", "1")
    assert databricks.standin.catalog.alias("main.ml.churn", "Champion") is None


def test_throttling_without_end_stops_within_the_budget(databricks: Workspace) -> None:
    registry = UnityCatalog(databricks.connection(timeouts=IMPATIENT))
    registry.check()
    databricks.standin.faults.add(Fault(path="unity-catalog", status=429))
    with pytest.raises(VendorUnavailableError) as caught:
        registry.get_alias(MODEL, "Champion")
    assert caught.value.retryable
