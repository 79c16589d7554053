"""One gate with everything that there is around a promotion, and what it has come to once all of it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.serving import versions_of
from champion_gate.domain.steps import Step, StepKind, StepPhase
from champion_gate_standins.databricks import copying
from champion_gate_standins.databricks.server import DatabricksStandIn
from integration.gate_models import CatalogModels, MlflowModels, Models
from integration.mlflow_server import MlflowServer
from integration.process_world import ProcessWorld, until

ENDPOINT = "churn-prod"
CHALLENGER = "Challenger"
PARAMETERS = ("model_name", "model_version", "alias", "promotion_id", "mode", *copying.PARAMETERS)
SETTLED_SECONDS = 200.0
"""After a kill a challenger whose setting was lost on its way is taken away only once that cannot arrive any more."""
RUNS_AS = "7c0b5f2e-0000-4000-8000-000000000001"
"""Of the jobs: a service principal, which trained nothing."""
_SAYS = {"champion_gate_validation": {"passed": True, "metrics": {"auc": 0.96}}}


@dataclass
class WholeWay:
    """A served gate that validates, has a challenger, copies to production, runs a batch job, and moves an endpoint.

    Where the registry is MLflow's, the service copies, and there is no endpoint.

    Attributes:
        jobs: those that the gate runs, in order.
        destination: the model of production, whose Champion is v1.
    """

    world: ProcessWorld
    jobs: list[str]
    destination: Models

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

    def assert_all_done_once(self) -> None:
        """One of each: validation run, request to people, move of the alias, batch run, update of the endpoint."""
        promotion, databricks = self.finish(), self.world.databricks
        version = promotion.version.version
        assert {step.phase for step in self.steps().values()} == {StepPhase.SUCCEEDED}, self.story()
        jobs = [started.job_id for started in databricks.starts.started]
        assert jobs == self.jobs
        assert {started.parameters["model_version"] for started in databricks.starts.started} == {version}
        assert len(self.world.github.runs) == 1
        assert (self.world.models.champion(), self.destination.champion()) == ("1", version)
        ours = [move for move in self.world.moves() if move[2] == "reviewer-1"]
        assert ours == [("1", version, "reviewer-1")]
        if isinstance(self.destination, CatalogModels):
            self._assert_catalog(int(version))

    def _assert_catalog(self, version: int) -> None:
        model, databricks = self.destination.model, self.world.databricks
        source = self.world.models.model
        assert databricks.catalog.versions(model) == ["1", "2"]
        writes = [(source, CHALLENGER, version), (model, "Champion", version), (source, CHALLENGER, None)]
        assert sorted(databricks.catalog.alias_writes, key=str) == sorted(writes, key=str)
        assert len(databricks.serving.updates) == 1
        shown = databricks.serving.shown(ENDPOINT)
        assert (versions_of(shown["config"], model), shown["state"]["ready"]) == ({str(version)}, "READY")


def whole_way(world: ProcessWorld) -> WholeWay:
    """Give the world's gate all of it."""
    models = world.models
    if isinstance(models, CatalogModels):
        made = _on_unity_catalog(world)
    else:
        assert isinstance(models, MlflowModels)
        made = _on_mlflow(world, models)
    made.destination.move_alias(made.destination.train("1", "1", {"f1": 0.9}))
    world.impatient = True
    return made


@dataclass(frozen=True)
class Around:
    """What surrounds the promotions of a gate on Unity Catalog.

    Attributes:
        keys: of the gate.
        jobs: those that it runs: validation, copy and batch.
        destination: where the approved version is copied to; without versions yet.
    """

    keys: dict[str, object]
    jobs: list[str]
    destination: CatalogModels


def around(
    databricks: DatabricksStandIn,
    name: str = "churn",
    endpoint: str = ENDPOINT,
    copied: Callable[[Mapping[str, str], dict[str, Any]], object] = lambda _given, _said: None,
) -> Around:
    """Make jobs, an endpoint and a model of production for a gate.

    Args:
        databricks: where.
        name: of the model of production, and at the end of the jobs' names.
        endpoint: its name.
        copied: told of each run of the copying job: its parameters, and what it says.
    """
    destination = CatalogModels(databricks, f"prod.ml.{name}")
    copy = copying.CopyJob(databricks.catalog, RUNS_AS)

    def run_copy(given: Mapping[str, str]) -> object:
        said = copy.run(given)
        copied(given, said)
        return said

    validation = _add_job(databricks, f"validate-{name}", lambda _given: _SAYS)
    copying_job = _add_job(databricks, f"copy-{name}", run_copy)
    batch = _add_job(databricks, f"score-{name}")
    entity = {"name": "champion", "entity_name": destination.model, "entity_version": "1"}
    databricks.serving.add_endpoint(endpoint, [entity])
    keys = {
        **_asks(validation),
        "promote_to": {"model": destination.model, "job": int(copying_job)},
        "after": [{"job": int(batch)}, {"serving_endpoint": endpoint}],
    }
    return Around(keys, [validation, copying_job, batch], destination)


def _on_unity_catalog(world: ProcessWorld) -> WholeWay:
    made = around(world.databricks)
    world.write_gates(world.gate(**made.keys))
    return WholeWay(world, made.jobs, made.destination)


def _on_mlflow(world: ProcessWorld, models: MlflowModels) -> WholeWay:
    server = MlflowServer(models.registry, models.database)
    destination = MlflowModels(world.folder, server, f"{models.model}-prod")
    validation = _add_job(world.databricks, "validate", lambda _given: _SAYS)
    batch = _add_job(world.databricks, "score")
    world.write_gates(
        world.gate(
            **_asks(validation),
            promote_to={"model": destination.model},
            after=[{"job": int(batch)}],
            trainers=["octo-trainer"],
        )
    )
    return WholeWay(world, [validation, batch], destination)


def _add_job(
    databricks: DatabricksStandIn, name: str, says: Callable[[Mapping[str, str]], object] = lambda _given: ""
) -> str:
    defined = dict.fromkeys(PARAMETERS, "")
    job = databricks.jobs.add_job(name, run_as=RUNS_AS, parameters=defined)
    databricks.starts.set_course(job, said=lambda given: {"main": says(given)})
    return job


def _asks(validation: str) -> dict[str, object]:
    metrics = {
        "f1": {"better": "higher", "at_least": 0.8},
        "auc": {"from": "validation", "better": "higher", "at_least": 0.9},
    }
    validated = {"job": int(validation), "parameters": {"mode": "full"}}
    return {"validation": validated, "metrics": metrics, "challenger": CHALLENGER}
