"""A gate's `promote_to`: what people approve is copied into another model, verified, and the copy gets the alias."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from champion_gate.domain.aliases import Order
from champion_gate.domain.callers import Caller, Role
from champion_gate.domain.copies import APPROVAL, COPIED_FROM
from champion_gate.domain.ledger.export import read_jsonl, write_jsonl
from champion_gate.domain.ledger.receipt import read_receipt
from champion_gate.domain.ledger.receipt_check import check_receipt
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step, StepPhase
from champion_gate.web.api.promotions import make_receipt
from champion_gate_standins.databricks.copying import FILES, PARAMETERS, CopyJob
from champion_gate_standins.databricks.job_starts import JobStarts, Started
from integration.gate_crashes import DiesAtWrite, Once, StoreBetween, start_with
from integration.gate_models import TRAINER, CatalogModels
from integration.gate_world import GATE, GateWorld, gate_world

pytestmark = pytest.mark.spread(4)

COPIER = "7c0b5f2e-0000-4000-8000-000000000002"
PROD = "prod.ml.churn"
LAST = 38
"""How many writes a promotion with a copy takes; one more is never reached."""


@dataclass
class Copying:
    """A gate that promotes from staging to prod, and the job that copies."""

    world: GateWorld
    job: str
    copier: CopyJob

    @property
    def starts(self) -> JobStarts:
        return self.world.databricks.starts

    @property
    def catalog(self) -> Any:
        return self.world.databricks.catalog

    def runs(self) -> list[Started]:
        """The copying runs that were made."""
        return self.starts.runs_of(self.job)

    def course(self, **course: Any) -> None:
        self.starts.set_course(self.job, **{"said": self.said, "seconds": 60.0, **course})

    def said(self, given: Mapping[str, str]) -> dict[str, object]:
        """What the job's one task does and says."""
        return {"main": self.copier.run(given)}

    def copies(self) -> list[str]:
        """The versions of prod."""
        found: list[str] = self.catalog.versions(PROD)
        return found

    def champion(self) -> str | None:
        return str(found) if (found := self.catalog.alias(PROD, "Champion")) else None

    def configure(self, **changes: Any) -> None:
        promote_to = {"model": PROD, "job": int(self.job), **changes.pop("promote_to", {})}
        self.world.reconfigure(promote_to=promote_to, **changes)

    def step(self, promotion: Promotion) -> Step:
        return self.world.store.get_step(f"{promotion.id}-copy")

    def approved(self, **time: float) -> Promotion:
        """A version that was asked about, approved, and carried on with for some time."""
        promotion = self.world.ask()
        self.world.approve(promotion)
        self.world.look()
        self.world.live(**(time or {"minutes": 30}))
        return promotion


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Copying]:
    with copying(tmp_path) as made:
        yield made


@contextmanager
def copying(folder: Path) -> Iterator[Copying]:
    """With a Champion v1 in prod."""
    with gate_world(folder) as world:
        world.databricks.catalog.add_model(PROD)
        job = world.databricks.jobs.add_job(
            "copy", run_as=COPIER, parameters=dict.fromkeys(PARAMETERS, "databricks-uc")
        )
        made = Copying(world, job, CopyJob(world.databricks.catalog, COPIER))
        first = made.catalog.add_version(PROD, created_by=COPIER)
        made.catalog.set_alias(PROD, "Champion", first)
        made.course()
        made.configure()
        yield made


def problems_of(world: GateWorld, promotion: Promotion, receipt: dict[str, object]) -> tuple[str, ...]:
    """What contradicts a receipt, in the ledger and the evidence."""
    export = "".join(write_jsonl(world.store.ledger_export())).encode()
    read = read_receipt(json.dumps(receipt).encode())
    evidence = world.again(promotion).evidence_json or ""
    return check_receipt(read, read_jsonl(io.BytesIO(export)), evidence.encode()).problems


def test_what_is_approved_is_copied_once_and_the_copy_gets_the_alias(gate: Copying) -> None:
    promotion = gate.world.ask()
    shown = gate.world.evidence(promotion)
    assert isinstance(shown["copy"], dict)
    assert shown["copy"]["job"]["run_as"][0]["name"] == COPIER
    assert (shown["asked"]["model"], shown["asked"]["from_version"]) == (PROD, "1")  # type: ignore[index]
    text = str(gate.world.github.run(gate.world.run_id_of(promotion)).inputs)
    assert "a copy of version" in text
    assert gate.runs() == []

    gate.world.approve(promotion)
    gate.world.look()
    assert gate.world.again(promotion).phase is Phase.COPYING
    assert gate.champion() == "1"
    gate.world.live(minutes=10)
    reason = gate.world.ended(promotion, Phase.PROMOTED)
    assert "from v1 to v2, a copy of main.ml.churn v2" in reason
    assert (gate.champion(), gate.world.models.champion(), gate.copies()) == ("2", "1", ["1", "2"])
    (run,) = gate.runs()
    assert run.parameters["destination"] == PROD
    moved = next(
        line.entry.facts
        for line in gate.world.store.ledger_lines(promotion_id=promotion.id)
        if line.entry.kind.value == "alias_change"
    )
    assert (moved["from"], moved["to"]) == ("1", "2")
    assert (moved["source_model"], moved["source_version"]) == ("main.ml.churn", "2")
    gate.world.settle()
    assert gate.catalog.tags(PROD, "2")["champion_gate_promotion"] == promotion.id

    receipt = make_receipt(gate.world.store, promotion.id, gate.world.clock.now())
    assert problems_of(gate.world, promotion, receipt) == ()
    what = receipt["what"]
    assert isinstance(what, dict)
    assert (what["model"], what["source_model"], what["copy_version"]) == (PROD, "main.ml.churn", "2")
    what["copy_version"] = "1"
    assert any("other versions" in each for each in problems_of(gate.world, promotion, receipt))


@pytest.mark.part("rest")
def test_the_next_version_is_compared_by_age_with_what_the_champion_was_made_of(gate: Copying) -> None:
    gate.approved()
    assert gate.champion() == "2"
    older = gate.world.store.list_promotions().items[0]
    assert older.phase is Phase.PROMOTED
    # v3 of staging is newer than v2, of which the Champion is a copy, whatever the numbers in prod are.
    for _ in range(3):
        gate.catalog.add_version(PROD, created_by=COPIER)
    promotion = gate.approved()
    assert "from v2 to v6, a copy of main.ml.churn v3" in gate.world.ended(promotion, Phase.PROMOTED)


def test_the_champion_that_is_a_copy_is_compared_by_the_numbers_of_what_it_was_made_of(gate: Copying) -> None:
    gate.world.ended(gate.approved(), Phase.PROMOTED)
    worse = gate.world.train({"f1": 0.85})
    gate.world.settle()
    now = next(each for each in gate.world.promotions() if each.version.version == worse)
    assert "0.91" in gate.world.ended(now, Phase.INELIGIBLE)
    older = gate.world.core.promotion_orders.ask(
        "churn", "2", job_run_id=None, caller=Caller("operator-1", Role.OPERATOR, "test"), reason="again"
    )
    gate.world.settle()
    assert "A copy of version 2 of main.ml.churn is Champion already" in gate.world.ended(
        older, Phase.INELIGIBLE
    )


@pytest.mark.part("rest")
def test_after_a_rollback_the_champion_is_still_known_as_the_copy_that_it_is(gate: Copying) -> None:
    gate.world.ended(gate.approved(), Phase.PROMOTED)
    gate.world.ended(gate.approved(), Phase.PROMOTED)
    orders, caller = gate.world.core.alias_orders, Caller("operator-1", Role.OPERATOR, "test", "")
    key = gate.world.store.list_promotions().items[0].alias_key
    orders.roll_back(key.model, key.alias, Order(caller, "it answers nonsense"))
    assert gate.champion() == "2"  # the copy of staging's v2
    orders.release(key.model, key.alias, caller=caller, reason="over")
    older = gate.world.core.promotion_orders.ask("churn", "2", job_run_id=None, caller=caller, reason="again")
    gate.world.settle()
    assert "A copy of version 2 of main.ml.churn is Champion already" in gate.world.ended(
        older, Phase.INELIGIBLE
    )


@pytest.mark.part("rest")
def test_a_copy_that_is_gone_before_it_got_the_alias_is_waited_for_and_then_stale(gate: Copying) -> None:
    promotion = gate.world.ask()
    fault = r"models/prod\.ml\.churn/aliases/Champion$"
    gate.world.break_databricks(fault, method="PUT", status=503)
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=10)
    assert gate.world.again(promotion).copied is not None
    gate.catalog.remove_version(PROD, "2")
    gate.world.databricks.faults.clear()
    gate.world.live(hours=2)
    gate.world.ended(promotion, Phase.STALE)
    assert gate.champion() == "1"


@pytest.mark.parametrize(
    ("what", "later", "ends"),
    [
        ("version_id", None, Phase.PROMOTED),
        ("run_id", None, Phase.PROMOTED),
        pytest.param("source", None, Phase.PROMOTED, marks=pytest.mark.part("rest")),
        ("source", "models:/main.ml.churn/1", Phase.STALE),
    ],
)
def test_a_copy_of_which_more_is_told_later_is_still_the_copy_of_what_was_approved(
    gate: Copying, what: str, later: str | None, ends: Phase
) -> None:
    promotion = gate.world.ask()
    gate.world.break_databricks(r"models/prod\.ml\.churn/aliases/Champion$", method="PUT", status=503)
    copy = CopyJob(gate.catalog, COPIER).run

    def tells_less(given: Mapping[str, str]) -> dict[str, object]:
        said = copy(given)
        made = gate.catalog.version(PROD, "2")
        told[what] = getattr(made, what)
        setattr(made, what, None)
        return {"main": said}

    told: dict[str, object] = {}
    gate.course(said=tells_less)
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=10)
    known = gate.world.again(promotion)
    assert known.copied is not None, (known.reason, known.retry.last_error)
    setattr(gate.catalog.version(PROD, "2"), what, later or told[what])
    gate.world.databricks.faults.clear()
    gate.world.live(hours=1)
    assert (f"made of {later}" if later else "moved") in gate.world.ended(promotion, ends)
    assert gate.champion() == ("1" if later else "2")


IN_QUICK = {"of another version, with the tag", "by a trainer", "before our run", "one checksum differs"}
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "of another version, with the tag": (
        {"made": {"source": "models:/main.ml.churn/1"}},
        "was made of models:/main.ml.churn/1",
    ),
    "by a trainer": ({"made": {"created_by": TRAINER}}, f"was created by {TRAINER}"),
    "by nobody told": ({"made": {"created_by": None}}, "was created by"),
    "never ready": ({"made": {"status": "PENDING_REGISTRATION"}, "timeout": "20m"}, "is pending, not ready"),
    "before our run": ({"made_at": -3_600_000}, "was not made in a copying run of ours"),
    "after our run": ({"made_at": 3_600_000}, "was not made in a copying run of ours"),
    "without source, another's tag": (
        {"tells_source": False, "made": {"tags": {COPIED_FROM: "dev.ml.churn/2/x"}}},
        "bears champion_gate_copied_from",
    ),
    "one checksum differs": (
        {"sides": {"destination": {"files": [FILES[0], {**FILES[1], "sha256": "c" * 64}]}}},
        "files of the copy differ: model.pkl",
    ),
    "one file more": (
        {"sides": {"destination": {"files": [*FILES, {"path": "x.py", "size": 1, "sha256": "c" * 64}]}}},
        "files of the copy differ: x.py",
    ),
    "another signature": (
        {"sides": {"destination": {"signature": None}}},
        "the signature of the copy is another",
    ),
    "another model": (
        {"sides": {"destination": {"model_uuid": "u-2"}}},
        "the model_uuid of the copy is another",
    ),
    "no identity": (
        {"sides": {"source": {"model_uuid": None}, "destination": {"model_uuid": None}}},
        "model_uuid is missing",
    ),
    "no files": ({"sides": {"source": {"files": []}, "destination": {"files": []}}}, "it lists no files"),
    "says another source": ({"sides": {"source": {"version": "1"}}}, "is about main.ml.churn v1"),
    "says another number": ({"sides": {"destination": {"version": "1"}}}, "not about prod.ml.churn v1"),
    "says copied from elsewhere": ({"said": {"copied_from": "main.ml.churn/2/other"}}, "it says copied from"),
}


@pytest.mark.parametrize(
    "name",
    [name if name in IN_QUICK else pytest.param(name, marks=pytest.mark.part("rest")) for name in ATTACKS],
)
def test_what_is_not_the_copy_does_not_get_the_alias(gate: Copying, name: str) -> None:
    changes, told = ATTACKS[name]
    changes = {**changes}
    gate.configure(promote_to={"timeout": changes.pop("timeout", "2h")})
    for key, value in changes.items():
        setattr(gate.copier, key, value)
    promotion = gate.approved()
    assert told in gate.world.ended(promotion, Phase.FAILED)
    assert gate.champion() == "1"
    assert gate.step(promotion).phase is StepPhase.FAILED


def test_a_planted_version_with_the_copys_source_and_tag_is_left_alone(gate: Copying) -> None:
    promotion = gate.world.ask()
    source = promotion.version
    tag = f"{source.model}/{source.version}/{source.version_id}"
    gate.catalog.add_version(
        PROD, created_by=TRAINER, source=f"models:/{source.model}/{source.version}", tags={COPIED_FROM: tag}
    )
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert (gate.champion(), gate.copies()) == ("3", ["1", "2", "3"])


def test_a_staging_version_that_is_itself_a_copy_and_bears_its_tags_counts_as_itself(gate: Copying) -> None:
    gate.copier.made = {"tags": {COPIED_FROM: "dev.ml.churn/9/x", "champion_gate_status": "promoted"}}
    promotion = gate.approved()
    gate.world.ended(
        promotion, Phase.PROMOTED
    )  # the registry tells its source, so its tags count for nothing
    assert gate.champion() == "2"


@pytest.mark.part("rest")
def test_a_copy_without_source_is_known_by_our_tag(gate: Copying) -> None:
    gate.copier.tells_source = False
    gate.world.ended(gate.approved(), Phase.PROMOTED)
    assert gate.champion() == "2"


@pytest.mark.parametrize(
    ("run_as", "told"),
    [
        ({"user_name": TRAINER}, "who is behind this version"),
        pytest.param(
            {"group_name": "copiers"}, "cannot be told as which one", marks=pytest.mark.part("rest")
        ),
    ],
)
def test_nobody_is_asked_while_the_copying_job_runs_as_the_wrong_one(
    gate: Copying, run_as: dict[str, str], told: str
) -> None:
    gate.world.databricks.jobs.run_job_as(gate.job, next(iter(run_as.values())), run_as)
    gate.world.train()
    gate.world.settle()
    assert told in gate.world.promotion(Phase.REQUESTED).reason
    assert gate.world.github.runs == []


@pytest.mark.part("rest")
def test_a_job_that_runs_as_somebody_else_by_then_does_not_copy(gate: Copying) -> None:
    promotion = gate.world.ask()
    gate.world.databricks.jobs.run_job_as(gate.job, TRAINER, {"user_name": TRAINER})
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=5)
    assert "who is behind this version" in gate.world.ended(promotion, Phase.FAILED)
    assert gate.runs() == []


def test_a_failed_copy_is_failed_and_a_retry_reuses_what_is_there(gate: Copying) -> None:
    gate.course(
        code="RUN_EXECUTION_ERROR", tasks={"main": "RUN_EXECUTION_ERROR"}, errors={"main": "no space"}
    )
    promotion = gate.approved()
    assert "The copy failed" in gate.world.ended(promotion, Phase.FAILED)
    assert gate.copies() == ["1", "2"]  # it had made it before it failed
    gate.course()
    gate.world.core.promotion_orders.retry(promotion.id, actor="operator-1")
    gate.world.live(minutes=10)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert (gate.champion(), gate.copies(), len(gate.runs())) == ("2", ["1", "2"], 2)


def test_a_copying_run_that_failed_and_was_repaired_before_it_was_looked_at_has_failed(gate: Copying) -> None:
    gate.course(code="RUN_EXECUTION_ERROR", tasks={"main": "RUN_EXECUTION_ERROR"})
    promotion = gate.world.ask()
    gate.world.approve(promotion)
    gate.world.look()
    (run,) = gate.runs()
    gate.world.clock.move(minutes=2)
    gate.starts.let_time_pass()
    gate.world.databricks.jobs.repair_run(run.run_id)
    gate.world.clock.move(minutes=2)
    gate.world.databricks.jobs.finish_run(run.run_id, "SUCCESS", notify=False)
    gate.world.live(minutes=30)
    assert "The copy failed: RUN_EXECUTION_ERROR" in gate.world.ended(promotion, Phase.FAILED)
    assert gate.champion() == "1"


def test_a_copy_whose_registration_has_not_ended_is_waited_for(gate: Copying) -> None:
    gate.copier.made = {"status": "PENDING_REGISTRATION"}
    promotion = gate.approved()
    now = gate.world.again(promotion)
    assert (now.phase, gate.champion()) == (Phase.COPYING, "1"), now.reason
    assert "v2 is pending" in now.reason
    gate.catalog.set_status(PROD, "2", "READY")
    gate.world.live(minutes=5)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert (gate.champion(), len(gate.runs())) == ("2", 1)


@pytest.mark.part("rest")
def test_a_copying_run_that_somebody_else_began_does_not_count(gate: Copying) -> None:
    promotion = gate.world.ask()
    given = {"model_name": gate.world.models.model, "model_version": "2", "destination": PROD}
    jobs = gate.world.databricks.jobs
    run = jobs.start_run(gate.job, creator=TRAINER, parameters=given)
    jobs.job(gate.job).most_runs = 2  # type: ignore[union-attr]
    gate.world.break_databricks("run-now", body=json.dumps({"run_id": int(run)}).encode())
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=1)
    assert f"was started by {TRAINER}" in gate.world.ended(promotion, Phase.FAILED)
    gate.world.databricks.faults.clear()
    gate.world.core.promotion_orders.retry(promotion.id, actor="operator-1")
    gate.world.live(minutes=10)
    gate.world.ended(promotion, Phase.PROMOTED)  # by a run of ours; that one still goes on
    assert (gate.champion(), len(gate.runs())) == ("2", 1)


@pytest.mark.part("rest")
def test_an_approval_whose_copy_another_one_made_takes_that(gate: Copying) -> None:
    promotion = gate.world.ask()

    def others_move(given: Mapping[str, str]) -> dict[str, object]:
        said = gate.said(given)
        gate.catalog.set_alias(PROD, "Champion", gate.catalog.add_version(PROD))
        return said

    gate.course(said=others_move)
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.STALE)
    gate.course()
    afresh = gate.world.core.promotion_orders.retry(promotion.id, actor="operator-1")
    gate.world.settle()
    again = gate.world.store.get_promotion(afresh)
    gate.world.approve(again)
    gate.world.look()
    gate.world.live(minutes=30)
    assert "to v2" in gate.world.ended(again, Phase.PROMOTED)


@pytest.mark.part("rest")
def test_a_copy_that_was_made_for_another_alias_is_taken_for_this_one_too(gate: Copying) -> None:
    world = gate.world
    usual = {**GATE, "jobs": [int(world.job_id)], "model": world.models.model}
    usual["promote_to"] = {"model": PROD, "job": int(gate.job)}
    world.write_gates([usual, {**usual, "name": "shadow", "alias": "Shadow"}])
    version = world.train()
    world.settle()
    for promotion in [each for each in world.promotions() if each.version.version == version]:
        world.approve(promotion)
        world.look()
        world.live(minutes=10)
        world.ended(promotion, Phase.PROMOTED)
    assert (gate.champion(), gate.catalog.alias(PROD, "Shadow"), gate.copies()) == ("2", "2", ["1", "2"])


@pytest.mark.parametrize("tells_source", [True, pytest.param(False, marks=pytest.mark.part("rest"))])
def test_a_run_that_was_killed_half_way_leaves_what_is_never_ready_and_a_retry_copies_anew(
    gate: Copying, *, tells_source: bool
) -> None:
    gate.copier.dies, gate.copier.tells_source = True, tells_source
    gate.course(code="CLOUD_FAILURE", tasks={"main": "CLOUD_FAILURE"})
    promotion = gate.world.ask()
    source = promotion.version
    gate.catalog.version(source.model, source.version).tags["team"] = "churn"
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=30)
    assert "CLOUD_FAILURE" in gate.world.ended(promotion, Phase.FAILED)
    assert (gate.champion(), gate.catalog.version(PROD, "2").status) == ("1", "PENDING_REGISTRATION")
    gate.copier.dies = False
    gate.course()
    gate.world.core.promotion_orders.retry(promotion.id, actor="operator-1")
    gate.world.live(minutes=10)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert (gate.champion(), gate.copies(), len(gate.runs())) == ("3", ["1", "2", "3"], 2)
    assert gate.catalog.tags(PROD, "3")["team"] == "churn"


def test_cancel_while_copying_cancels_the_run_at_once(gate: Copying) -> None:
    gate.course(seconds=None)
    promotion = gate.approved(minutes=5)
    assert gate.world.again(promotion).phase is Phase.COPYING
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.settle()
    gate.world.ended(promotion, Phase.CANCELLED)
    (run,) = gate.runs()
    assert run.cancelled is not None
    assert gate.champion() == "1"


@pytest.mark.parametrize("fails", [True, pytest.param(False, marks=pytest.mark.part("rest"))])
def test_cancel_while_a_worker_looks_at_the_run_cancels_it_as_soon_as_that_is_done(
    gate: Copying, *, fails: bool
) -> None:
    gate.course(seconds=None)
    promotion = gate.approved(minutes=5)
    at = []

    def cancel() -> None:
        gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
        gate.world.core.promoter.advance(promotion.id)
        gate.world.databricks.faults.clear()
        at.append(int(gate.world.clock.now().timestamp() * 1000))

    if fails:
        gate.world.break_databricks("runs/get", status=503)
    start_with(gate.world, StoreBetween(gate.world.store, before=Once("save_step", cancel)))
    gate.world.live(minutes=2)
    gate.world.ended(promotion, Phase.CANCELLED)
    (run,) = gate.runs()
    assert [run.cancelled] == at


@pytest.mark.part("rest")
def test_cancel_after_looks_at_the_run_that_failed_cancels_it_at_once(gate: Copying) -> None:
    gate.course(seconds=None)
    promotion = gate.approved(minutes=5)
    gate.world.break_databricks("runs/get", status=503)
    gate.world.live(minutes=45)
    assert gate.step(promotion).retry.attempts > 3
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.settle()
    gate.world.ended(promotion, Phase.CANCELLED)
    (run,) = gate.runs()
    assert run.cancelled is not None


def test_a_promotion_that_fails_while_its_copy_goes_on_has_the_run_cancelled_and_a_retry_makes_another(
    gate: Copying,
) -> None:
    gate.configure(promote_to={"timeout": "30h"})
    gate.course(seconds=None)
    promotion = gate.approved(minutes=5)
    gate.world.databricks.starts.cancel_seconds = 300
    gate.world.break_databricks(r"models/prod\.ml\.churn", status=403)
    gate.world.look()
    for _ in range(25):
        gate.world.wait(hours=1)
    gate.world.ended(promotion, Phase.FAILED)
    (run,) = gate.runs()
    assert run.cancelled is not None
    gate.world.databricks.faults.clear()
    gate.course()
    gate.world.core.promotion_orders.retry(promotion.id, actor="operator-1")
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert (gate.champion(), gate.copies(), len(gate.runs())) == ("2", ["1", "2"], 2)


@pytest.mark.part("rest")
def test_cancel_finds_the_run_whose_start_was_not_answered(gate: Copying) -> None:
    gate.course(seconds=None)
    promotion = gate.world.ask()
    gate.world.break_databricks("run-now", lose_answer=True)
    gate.world.approve(promotion)
    gate.world.look()
    assert len(gate.runs()) == 1
    gate.world.core.promotion_orders.cancel(promotion.id, actor="operator-1", reason="wrong data")
    gate.world.settle()
    gate.world.databricks.faults.clear()
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.CANCELLED)
    (run,) = gate.runs()
    assert run.cancelled is not None


def test_a_hold_on_the_destination_is_looked_at_before_anything_is_copied(gate: Copying) -> None:
    promotion = gate.world.ask()
    orders = gate.world.core.alias_orders
    caller = Caller("operator-1", Role.OPERATOR, "test", "")
    orders.hold(PROD, "Champion", caller=caller, reason="freeze")
    gate.world.approve(promotion)
    gate.world.look()
    assert gate.world.again(promotion).phase is Phase.APPROVED
    assert gate.runs() == []
    orders.release(PROD, "Champion", caller=caller, reason="over")
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.PROMOTED)


@pytest.mark.part("rest")
def test_a_run_that_takes_too_long_is_cancelled_and_the_promotion_fails(gate: Copying) -> None:
    gate.configure(promote_to={"timeout": "10m"})
    gate.course(seconds=None)
    promotion = gate.approved(minutes=40)
    assert "took longer than 0:10:00" in gate.world.ended(promotion, Phase.FAILED)


def test_an_answer_lost_after_the_run_was_made_leads_to_one_run(gate: Copying) -> None:
    promotion = gate.world.ask()
    gate.world.break_databricks("run-now", times=1, lose_answer=True)
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert (len(gate.runs()), gate.copies()) == (1, ["1", "2"])


@pytest.mark.part("rest")
def test_another_copying_job_than_people_were_shown_makes_it_stale(gate: Copying) -> None:
    promotion = gate.world.ask()
    other = gate.world.databricks.jobs.add_job(
        "other", run_as=COPIER, parameters=dict.fromkeys(PARAMETERS, "")
    )
    gate.configure(promote_to={"job": int(other)})
    gate.world.approve(promotion)
    gate.world.look()
    assert "another copying job" in gate.world.ended(promotion, Phase.STALE)


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(each, marks=pytest.mark.part("rest")) for each in range(1, 9))]
)
def test_in_an_mlflow_registry_the_gate_copies_once_also_where_it_dies(tmp_path: Path, number: int) -> None:
    with gate_world(tmp_path, "mlflow", trainers=["octo-trainer"]) as world:
        from mlflow import MlflowClient  # noqa: PLC0415 - slow

        client = MlflowClient(tracking_uri=world.models.registry, registry_uri=world.models.registry)
        prod = f"{world.models.model}-prod"
        client.create_registered_model(prod)
        world.reconfigure(promote_to={"model": prod}, trainers=["octo-trainer"])
        promotion = world.ask()
        world.approve(promotion)
        dies = DiesAtWrite(number)
        start_with(world, StoreBetween(world.store, before=dies))
        try:
            world.look()
        except SystemExit:
            world.crash()
        world.look()
        world.live(minutes=20)
        assert dies.died is (number > 0)
        world.ended(promotion, Phase.PROMOTED)
        (copy,) = client.search_model_versions(f"name='{prod}'")
        assert str(client.get_model_version_by_alias(prod, "Champion").version) == str(copy.version) == "1"
        assert copy.source == f"models:/{world.models.model}/2"
        assert world.models.champion() == "1"


@pytest.mark.part("rest")
def test_in_an_mlflow_registry_a_retry_takes_its_own_copy_and_no_older_version_that_bears_its_token(
    tmp_path: Path,
) -> None:
    with gate_world(tmp_path, "mlflow", trainers=["octo-trainer"]) as world:
        from mlflow import MlflowClient  # noqa: PLC0415 - slow

        client = MlflowClient(tracking_uri=world.models.registry, registry_uri=world.models.registry)
        prod = f"{world.models.model}-prod"
        client.create_registered_model(prod)
        world.reconfigure(promote_to={"model": prod}, trainers=["octo-trainer"])
        promotion = world.ask()
        client.create_model_version(
            prod, f"models:/{world.models.model}/2"
        )  # the same source, but not approved
        world.approve(promotion)

        def plants_and_dies(name: str) -> None:
            versions = len(client.search_model_versions(f"name='{prod}'"))
            if name == "save_step" and versions == 1:
                client.create_model_version(prod, f"models:/{world.models.model}/1")
            elif name in {"save_step", "take_step"} and versions == 3:
                raise SystemExit

        start_with(world, StoreBetween(world.store, before=plants_and_dies))
        with pytest.raises(SystemExit):
            world.look()
        world.crash()
        token = client.get_model_version(prod, "3").tags[APPROVAL]
        for planted in ("1", "2"):
            client.set_model_version_tag(prod, planted, APPROVAL, token)
        world.look()
        world.live(minutes=20)
        assert f"{prod} v2 was made of" in world.ended(promotion, Phase.FAILED)
        client.delete_model_version_tag(prod, "2", APPROVAL)
        world.core.promotion_orders.retry(promotion.id, actor="operator-1")
        world.live(minutes=20)
        world.ended(promotion, Phase.PROMOTED)
        assert len(client.search_model_versions(f"name='{prod}'")) == 3
        assert str(client.get_model_version_by_alias(prod, "Champion").version) == "3"


@pytest.mark.part("rest")
@pytest.mark.parametrize("number", range(1, LAST + 2))
def test_a_crash_before_any_write_leads_to_one_run_one_copy_and_one_move(tmp_path: Path, number: int) -> None:
    with copying(tmp_path) as gate:
        world = gate.world
        world.train()
        dies = DiesAtWrite(number)
        start_with(world, StoreBetween(world.store, before=dies))
        try:
            world.settle()
            for promotion in world.store.pending_promotions():
                world.approve(promotion)
            for seconds in (5, 30, 60):
                world.wait(seconds=seconds)
        except SystemExit:
            world.crash()
        for _ in range(4):
            world.settle()
            for promotion in world.store.pending_promotions():
                if world.ci_run(promotion).status == "waiting":
                    world.approve(promotion)
            world.wait(minutes=11)

        assert dies.died is (number <= LAST), dies.left
        world.promotion(Phase.PROMOTED)
        assert (gate.champion(), gate.copies(), len(gate.runs())) == ("2", ["1", "2"], 1)
        assert gate.catalog.alias_writes == [(PROD, "Champion", 2)]


def test_validation_candidate_alias_and_copy_go_together(gate: Copying) -> None:
    validate = gate.world.databricks.jobs.add_job(
        "validate", run_as=COPIER, parameters=dict.fromkeys(PARAMETERS[:2], "")
    )
    gate.configure(validation={"job": int(validate)}, challenger="Challenger")
    promotion = gate.world.ask()
    (run,) = gate.starts.runs_of(validate)
    assert run.parameters["model_name"] == "main.ml.churn"
    assert gate.catalog.alias("main.ml.churn", "Challenger") == "2"
    gate.world.approve(promotion)
    gate.world.look()
    gate.world.live(minutes=30)
    gate.world.ended(promotion, Phase.PROMOTED)
    assert gate.champion() == "2"
    assert gate.catalog.alias("main.ml.churn", "Challenger") is None
    kinds = [step.kind.value for step in gate.world.store.steps_of(promotion.id)]
    assert {"validate", "challenger", "challenger_removal", "copy"} <= set(kinds)
    receipt = make_receipt(gate.world.store, promotion.id, gate.world.clock.now())
    assert problems_of(gate.world, promotion, receipt) == ()


def test_versions_of_two_models_with_one_number_ask_for_one_alias_side_by_side(gate: Copying) -> None:
    world, jobs = gate.world, gate.world.databricks.jobs
    other, job = CatalogModels(world.databricks, "eu.ml.churn"), jobs.add_job("train-eu", run_as=TRAINER)
    other.train(job, "1", {"f1": 0.9})
    usual = {**GATE, "promote_to": {"model": PROD, "job": int(gate.job)}}
    world.write_gates(
        [
            {**usual, "jobs": [int(world.job_id)], "model": world.models.model},
            {**usual, "name": "eu", "jobs": [int(job)], "model": other.model},
        ]
    )
    ours = world.ask()
    run_id = jobs.start_run(job)
    assert other.train(job, jobs.task_run_id(run_id, "train"), {"f1": 0.9}) == ours.version.version
    jobs.finish_run(run_id, "SUCCESS", notify=False)
    world.notify(run_id, job_id=job, job_name="train-eu")
    world.settle()
    world.sweep()
    theirs = next(each for each in world.promotions() if each.id != ours.id)
    assert (theirs.source_model, theirs.model, theirs.phase) == (other.model, PROD, Phase.PENDING_APPROVAL)
    assert world.again(ours).phase is Phase.PENDING_APPROVAL
    world.approve(theirs)
    world.look()
    world.live(minutes=30)
    world.ended(theirs, Phase.PROMOTED)
    world.ended(ours, Phase.STALE)
    assert gate.catalog.version(PROD, gate.champion() or "").source == "models:/eu.ml.churn/2"
