"""What `champion-gate doctor` looks at of the jobs and serving endpoints that the gate itself starts and moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from champion_gate.adapters.databricks import check_models
from champion_gate.adapters.databricks.jobs import DatabricksJobs
from champion_gate.adapters.databricks.jobs_api import run_as
from champion_gate.adapters.databricks.privileges import Privileges
from champion_gate.adapters.databricks.surroundings import Surroundings, WholeJob
from champion_gate.domain.after import GIVEN_PARAMETERS
from champion_gate.domain.copies import unfit_because
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import DESTINATION_PARAMETER, MODEL_PARAMETER, VERSION_PARAMETER, Gate
from champion_gate.domain.job_runs import GROUP_ROLE, Trainer
from champion_gate.domain.names import check_model
from champion_gate.errors import ForbiddenError

_MAY_START = frozenset({"CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"})

STARTED_JOB = Check(
    "databricks.started_job",
    "the jobs that the gate starts (validation, copy, after) can be started, define their parameters, and may use the model",
    "A validation that cannot start holds every promotion up, and what follows a move is not done.",
)
ENDPOINT = Check(
    "databricks.endpoint",
    "the serving endpoints that the gate moves can be moved, and their creator is no person",
    "An update of an endpoint needs CAN MANAGE, and is checked against the rights of whoever created it.",
)
CHECKS = (STARTED_JOB, ENDPOINT)


def trainers_of(job: WholeJob) -> list[Trainer]:
    """As whom a job runs, as the gate takes them for people behind a version."""
    return [Trainer(GROUP_ROLE if each.is_group else "job run-as", each.name) for each in run_as(job)]


@dataclass(frozen=True)
class StartedChecks:
    """The checks of what one gate starts and moves; `jobs` reads the ids of the jobs that train."""

    around: Surroundings
    gate: Gate
    jobs: Callable[[], list[str]]
    on_unity_catalog: bool

    def all(self) -> Iterator[Checkup]:
        """Each as an entry, where there is something to look at."""
        if self.starts():
            yield Checkup(STARTED_JOB, self._started_jobs, self.gate.name)
        if self._moves():
            yield Checkup(ENDPOINT, self._endpoints, self.gate.name)

    def starts(self) -> dict[str, set[str]]:
        """The jobs that the gate starts, each with the parameters that it is given."""
        gate, wanted = self.gate, dict[str, set[str]]()
        version = {MODEL_PARAMETER, VERSION_PARAMETER}
        if gate.validation is not None:
            wanted[gate.validation.job_id] = {*version, *gate.validation.parameters}
        if gate.promote_to is not None and gate.promote_to.job_id is not None:
            wanted.setdefault(gate.promote_to.job_id, set()).update({*version, DESTINATION_PARAMETER})
        for each in gate.after:
            if each.job is not None:
                wanted.setdefault(str(each.job), set()).update({*GIVEN_PARAMETERS, *each.parameters})
        return wanted

    def _moves(self) -> list[str]:
        return [each.serving_endpoint for each in self.gate.after if each.serving_endpoint is not None]

    def _started_jobs(self) -> Iterator[Finding]:
        for job_id, parameters in self.starts().items():
            try:
                job = DatabricksJobs(self.around.connection).describe(job_id)
            except ForbiddenError as error:
                yield STARTED_JOB.fail(error.message, self.around.permission(job_id, "CAN MANAGE RUN"))
                continue
            missing = sorted(parameters - set(job.parameters))
            copies = self.gate.promote_to is not None and job_id == self.gate.promote_to.job_id
            unfit = unfit_because(job, (), self._trainers()) if copies else None
            if unfit is not None:
                yield STARTED_JOB.fail(unfit, f"See {job.url}.")
            elif missing:
                remedy = f"Add them at {job.url}, Job details → Job parameters."
                yield STARTED_JOB.fail(f"job {job_id} does not define {', '.join(missing)}", remedy)
            else:
                yield self._may_start(job_id)
                if self.on_unity_catalog:
                    yield from self._may_use(job_id)

    def _trainers(self) -> list[Trainer]:
        return [each for job_id in self.jobs() for each in trainers_of(self.around.job(job_id))]

    def _may_start(self, job_id: str) -> Finding:
        remedy, me = self.around.permission(job_id, "CAN MANAGE RUN"), self.around.me()
        try:
            levels = self.around.rights_on(job_id)
        except ForbiddenError:
            return STARTED_JOB.not_known(f"who may start job {job_id} is not shown to us", remedy)
        if levels & _MAY_START:
            return STARTED_JOB.ok(f"job {job_id} can be started")
        return STARTED_JOB.fail(f"{me.name} may not start job {job_id}", remedy)

    def _may_use(self, job_id: str) -> Iterator[Finding]:
        """What those as whom a job runs lack on the models; USE CATALOG and USE SCHEMA of others are not shown to us."""
        for who in run_as(self.around.job(job_id)):
            for model, privilege in sorted(set(self._uses(job_id))) if who.name else ():
                at, name = Privileges(self.around, model), who.name or ""
                needed = "CREATE_MODEL" if at.is_there() is False else privilege
                has = at.has(self.around.who(name, is_group=who.is_group), needed)
                remedy, lacks = (
                    check_models.grant(needed, model, name),
                    f"{needed.replace('_', ' ')} for {model}",
                )
                if has is False:
                    yield STARTED_JOB.fail(f"{name}, as whom job {job_id} runs, has no {lacks}", remedy)
                elif has is None:
                    found = f"whether {name}, as whom job {job_id} runs, has {lacks} is not shown"
                    yield STARTED_JOB.not_known(found, f"If not: {remedy}")

    def _uses(self, job_id: str) -> Iterator[tuple[str, str]]:
        """Models that a job uses, each with the privilege that it takes."""
        gate, copies = self.gate, self.gate.promote_to
        model, destination = (check_model(each, three_level=True) for each in (gate.model, gate.destination))
        if gate.validation is not None and job_id == gate.validation.job_id:
            yield model, "EXECUTE"
        if copies is not None and job_id == copies.job_id:
            yield from ((model, "EXECUTE"), (destination, "CREATE_MODEL_VERSION"))
        if any(job_id == str(each.job) for each in gate.after):
            yield destination, "EXECUTE"

    def _endpoints(self) -> Iterator[Finding]:
        for name in self._moves():
            shown = self.around.endpoint(name)
            page = self.around.connection.page(f"ml/endpoints/{name}")
            if shown.permission_level != "CAN_MANAGE":
                remedy = f"At {page}, Permissions, give {self.around.me().name} CAN MANAGE."
                yield ENDPOINT.fail(f"endpoint {name} may be seen, and not moved", remedy)
            elif shown.creator is None or "@" in shown.creator:
                remedy = (
                    "Make the endpoint anew as a service principal that has EXECUTE on the model: who leaves, or loses that "
                    "right, stops every update."
                )
                yield ENDPOINT.warning(
                    f"endpoint {name} was created by {shown.creator or 'nobody who is told'}", remedy
                )
            else:
                yield from self._creator(name, shown.creator)

    def _creator(self, name: str, creator: str) -> Iterator[Finding]:
        may = Privileges(self.around, self.gate.destination.lower()).has(self.around.who(creator), "EXECUTE")
        remedy = check_models.grant("EXECUTE", self.gate.destination.lower(), creator)
        if may:
            yield ENDPOINT.ok(f"endpoint {name} can be moved; its creator {creator} may use the model")
        elif may is None:
            yield ENDPOINT.not_known(
                f"whether {creator}, who created endpoint {name}, may use the model", remedy
            )
        else:
            yield ENDPOINT.fail(
                f"{creator}, who created endpoint {name}, has no EXECUTE on the model", remedy
            )
