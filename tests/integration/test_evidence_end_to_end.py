"""What the reviewer is shown is what was found, is frozen, and is what the decision on record is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.promotion import Phase, Promotion
from integration.gate_world import GateWorld, gate_world


@pytest.fixture(params=["uc", "mlflow"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GateWorld]:
    with gate_world(tmp_path) as made:
        yield made


def shown(world: GateWorld, promotion: Promotion) -> str:
    """The Markdown that the CI run was given."""
    return world.ci_run(promotion).inputs["evidence"]


def decision_facts(world: GateWorld, promotion: Promotion) -> Mapping[str, Any]:
    (line,) = (
        line
        for line in world.store.ledger_lines(promotion_id=promotion.id)
        if line.entry.kind.value == "decision"
    )
    return line.entry.facts


def test_candidate_and_champion_stand_beside_each_other(either: GateWorld) -> None:
    pending = either.ask({"f1": 0.91, "auc": 0.97})
    text = shown(either, pending)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    (f1,) = (row for row in rows if "f1" in row)
    assert "| yes | 0.9 → 0.91 |" in f1
    assert any("auc" in row and "0.97" in row and "0.95" in row for row in rows)
    for words in (either.models.model, "v2", "v1", "Champion", "trainer@example.com", pending.job_run_id):
        assert words in text, words
    assert len(text) <= 60_000


def test_the_hash_on_record_is_that_of_what_was_shown(either: GateWorld) -> None:
    pending = either.ask()
    stored = either.again(pending)
    assert stored.evidence_json is not None
    digest = hashlib.sha256(stored.evidence_json.encode()).hexdigest()
    assert digest == stored.evidence_sha256
    assert digest in shown(either, pending)
    either.approve(pending)
    either.look()
    facts = decision_facts(either, pending)
    assert facts["evidence_sha256"] == digest
    assert facts["version_id"] == pending.version.version_id
    assert facts["approval_settings_sha256"] == pending.approval_sha256
    assert [decider["login"] for decider in facts["deciders"]] == ["reviewer-1"]
    assert [decider["comment"] for decider in facts["deciders"]] == ["looks good"]
    assert facts["request"] == either.run_id_of(pending)


def test_what_changes_later_does_not_change_the_evidence(world: GateWorld) -> None:
    pending = world.ask()
    before = world.again(pending).evidence_json
    catalog = world.databricks.catalog
    catalog.add_mlflow_run(run_id=pending.version.run_id, metrics={"f1": 0.1})
    world.look()
    world.wait(hours=5)
    assert world.again(pending).evidence_json == before


def test_the_first_version_is_shown_as_such(either: GateWorld) -> None:
    either.models.move_alias(None)
    pending = either.ask()
    assert either.evidence(pending)["champion"] is None
    assert "There is no `Champion` yet" in shown(either, pending)


def test_how_long_the_champion_has_served_is_known_from_the_ledger(world: GateWorld) -> None:
    first = world.ask()
    world.approve(first)
    world.look()
    world.clock.move(days=3)
    second = world.ask({"f1": 0.92})
    champion = world.evidence(second)["champion"]
    assert isinstance(champion, dict)
    assert champion["version"] == "2"
    assert champion["served_seconds"] == 3 * 24 * 3600
    assert "3 d 0 h" in shown(world, second)


def test_a_champion_whose_metrics_are_not_known_is_shown_all_the_same(world: GateWorld) -> None:
    bare = world.databricks.catalog.add_version(world.models.model, run_id=None)
    world.models.move_alias(bare)
    pending = world.ask()
    (f1,) = (line for line in shown(world, pending).splitlines() if line.startswith("| `f1`"))
    assert "| — → 0.91 |" in f1
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_a_champion_whose_mlflow_run_was_deleted_does_not_stop_the_gate(world: GateWorld) -> None:
    lost = world.databricks.catalog.add_version(world.models.model, run_id="f" * 32)
    world.models.move_alias(lost)
    world.train()
    world.settle()
    waiting = world.promotion(Phase.REQUESTED)
    assert f"MLflow run {'f' * 32} cannot be read" in (waiting.retry.last_error or "")
    world.live(minutes=30)
    world.ended(waiting, Phase.PENDING_APPROVAL)
    assert "cannot be read" in shown(world, waiting)


def test_evidence_too_long_for_github_is_cut_with_a_note(world: GateWorld) -> None:
    run_id = world.databricks.jobs.start_run(world.job_id)
    task = world.databricks.jobs.task_run_id(run_id, "train")
    tags = {"mlflow.databricks.jobID": world.job_id, "mlflow.databricks.jobRunID": task}
    params = {f"parameter_{number}": "ü" * 400 for number in range(400)}
    catalog = world.databricks.catalog
    made = catalog.add_mlflow_run(metrics={"f1": 0.91}, params=params, tags=tags)
    catalog.add_version(world.models.model, run_id=made)
    world.databricks.jobs.finish_run(run_id, notify=False)
    world.notify(run_id)
    world.settle()
    pending = world.promotion(Phase.PENDING_APPROVAL)
    text = shown(world, pending)
    assert len(text) <= 60_000
    assert "f1" in text
    assert "0.91" in text
    assert sum(len(value) for value in world.ci_run(pending).inputs.values()) <= 65_535
    world.approve(pending)
    world.look()
    world.ended(pending, Phase.PROMOTED)


def test_the_reviewer_is_told_who_must_not_approve(world: GateWorld) -> None:
    pending = world.ask()
    assert "octo-trainer" in shown(world, pending)


def test_nothing_secret_goes_into_the_run(world: GateWorld) -> None:
    pending = world.ask()
    handed_over = json.dumps(dict(world.ci_run(pending).inputs))
    for name, value in world.environ.items():
        if any(word in name for word in ("TOKEN", "SECRET", "PASSWORD")):
            assert value not in handed_over
    assert "standin-token" not in handed_over


def test_the_ledger_tells_the_whole_story_and_notices_tampering(world: GateWorld) -> None:
    pending = world.ask()
    world.approve(pending)
    world.look()
    kinds = [kind for kind, _ in world.ledger()]
    assert kinds == ["decision", "alias_change", "alias_change"]
    assert world.store.verify_ledger() == 3
    change = world.store.ledger_lines(promotion_id=pending.id)[0].entry
    assert change.reason == "approved: Approved by reviewer-1 (champion)."
    assert change.promotion_id == pending.id
    assert world.again(pending).phase is Phase.PROMOTED
