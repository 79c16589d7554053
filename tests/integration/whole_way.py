"""One gate with everything that there is around a promotion, and what it has come to once all of it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.serving import versions_of
from champion_gate.domain.steps import Step, StepKind, StepPhase
from integration.process_world import ProcessWorld, until

ENDPOINT = "churn-prod"
CHALLENGER = "Challenger"
SETTLED_SECONDS = 200.0
"""After a kill a challenger whose setting was lost on its way is taken away only once that cannot arrive any more."""
VALIDATOR = "7c0b5f2e-0000-4000-8000-000000000001"
_SAYS = {"champion_gate_validation": {"passed": True, "metrics": {"auc": 0.96}}}


@dataclass
class WholeWay:
    """A served gate that validates, has a challenger, runs a batch job, and moves an endpoint where the registry is Unity Catalog.

    Attributes:
        validation, batch: the jobs that the gate runs.
    """

    world: ProcessWorld
    validation: str
    batch: str

    @property
    def has_endpoint(self) -> bool:
        """Endpoints serve models of Unity Catalog alone."""
        return self.world.models.registry == "databricks-uc"

    def approve_until(self, true: Callable[[], object]) -> None:
        """Have a reviewer approve once the challenger stands on the version, until it is true."""

        def is_true() -> object:
            self._approve_what_waits()
            return true()

        until(is_true, self.story, SETTLED_SECONDS)

    def _approve_what_waits(self) -> None:
        for each in self.world.promotions():
            if each.phase is Phase.PENDING_APPROVAL and self._waits(each):
                self.world.approve(each)

    def _waits(self, promotion: Promotion) -> bool:
        if any(step.phase.is_open for step in self._steps_of(promotion)):
            return False
        return self.world.github.run(self.world.run_id_of(promotion)).status == "waiting"

    def steps(self) -> dict[StepKind, Step]:
        """What was to be done around the one promotion; one step of a kind."""
        (promotion,) = self.world.promotions()
        with self.world.store() as store:
            steps = store.steps_of(promotion.id)
        counted = Counter(step.kind for step in steps)
        assert set(counted.values()) == {1}, counted
        return {step.kind: step for step in steps}

    def finish(self) -> Promotion:
        """Go on until nothing is left to be done around the one promotion."""

        def is_done() -> bool:
            if [each.phase for each in self.world.promotions()] != [Phase.PROMOTED]:
                return False
            return not any(step.phase.is_open for step in self.steps().values())

        self.approve_until(is_done)
        (promotion,) = self.world.promotions()
        return promotion

    def story(self) -> str:
        """What the rows and the log say."""
        rows = [
            f"{step.id} {step.phase}: {step.reason} {step.retry.last_error}"
            for promotion in self.world.promotions()
            for step in self._steps_of(promotion)
        ]
        return "\n".join([*rows, self.world.story()])

    def _steps_of(self, promotion: Promotion) -> tuple[Step, ...]:
        with self.world.store() as store:
            return store.steps_of(promotion.id)

    def done(self) -> int:
        """How many things the stand-ins' journals tell of."""
        databricks = self.world.databricks
        return (
            len(databricks.starts.started)
            + len(databricks.catalog.alias_writes)
            + len(databricks.serving.updates)
        )

    def assert_all_done_once(self) -> None:
        """One of each: validation run, request to people, move of the alias, batch run, update of the endpoint."""
        promotion, databricks = self.finish(), self.world.databricks
        version = promotion.version.version
        assert {step.phase for step in self.steps().values()} == {StepPhase.SUCCEEDED}, self.story()
        jobs = [started.job_id for started in databricks.starts.started]
        assert jobs == [self.validation, self.batch]
        assert {started.parameters["model_version"] for started in databricks.starts.started} == {version}
        assert len(self.world.github.runs) == 1
        assert self.world.models.champion() == version
        ours = [move for move in self.world.moves() if move[2] == "reviewer-1"]
        assert ours == [("1", version, "reviewer-1")]
        if self.has_endpoint:
            self._assert_catalog(int(version))

    def _assert_catalog(self, version: int) -> None:
        model, databricks = self.world.models.model, self.world.databricks
        writes = [(model, CHALLENGER, version), (model, "Champion", version), (model, CHALLENGER, None)]
        assert sorted(databricks.catalog.alias_writes, key=str) == sorted(writes, key=str)
        assert len(databricks.serving.updates) == 1
        shown = databricks.serving.shown(ENDPOINT)
        assert (versions_of(shown["config"], model), shown["state"]["ready"]) == ({str(version)}, "READY")


def whole_way(world: ProcessWorld) -> WholeWay:
    """Give the world's gate all of it."""
    jobs, model = world.databricks.jobs, world.models.model
    parameters = dict.fromkeys(("model_name", "model_version", "alias", "promotion_id", "mode"), "")
    way = WholeWay(
        world,
        validation=jobs.add_job("validate-churn", run_as=VALIDATOR, parameters=parameters),
        batch=jobs.add_job("score-churn", run_as=VALIDATOR, parameters=parameters),
    )
    world.databricks.starts.set_course(way.validation, said=lambda _given: {"main": _SAYS})
    after: list[dict[str, object]] = [{"job": int(way.batch), "parameters": {"mode": "full"}}]
    if way.has_endpoint:
        entity = {"name": "champion", "entity_name": model, "entity_version": "1"}
        world.databricks.serving.add_endpoint(ENDPOINT, [entity])
        after.append({"serving_endpoint": ENDPOINT})
    world.write_gates(
        world.gate(
            validation={"job": int(way.validation), "parameters": {"mode": "full"}},
            metrics={
                "f1": {"better": "higher", "at_least": 0.8},
                "auc": {"from": "validation", "better": "higher", "at_least": 0.9},
            },
            challenger=CHALLENGER,
            after=after,
        )
    )
    world.impatient = True
    return way
