"""What `champion-gate doctor` looks at in the Databricks workspace, but for privileges on models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial

from champion_gate.adapters.ci_checks import ADDRESS
from champion_gate.adapters.databricks import check_models, check_started
from champion_gate.adapters.databricks.audit import DatabricksAudit
from champion_gate.adapters.databricks.check_started import trainers_of
from champion_gate.adapters.databricks.compute import places
from champion_gate.adapters.databricks.connection import DatabricksConnection
from champion_gate.adapters.databricks.errors import CREDENTIALS, InvalidRequestError
from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns
from champion_gate.adapters.databricks.jobs_api import run_as
from champion_gate.adapters.databricks.reading import run_result
from champion_gate.adapters.databricks.surroundings import Surroundings
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.policy import identify
from champion_gate.errors import ForbiddenError, VendorError, VendorNotFoundError, VendorRefusedError

_MOST_DESTINATIONS = 3  # of one event of a job

IDENTITY = Check(
    "databricks.identity",
    "the workspace answers, and takes our credentials",
    "Every promotion begins and ends with calls to Databricks.",
    cheap=True,
)
JOB = Check(
    "databricks.job",
    "each watched job can be read, and its name means one job",
    "What a notification says is believed only after the job and its run were read.",
    cheap=True,
)
RUN_AS = Check(
    "databricks.run_as",
    "as whom each watched job runs is told, and `identities` knows them",
    "Nobody is asked for approval while it is not known who must not give it.",
)
NOTIFICATION = Check(
    "databricks.notification",
    "this service's own notification destination is attached to each watched job",
    "Without it a run is noticed minutes later, by the sweep.",
)
LAST_RUN = Check(
    "databricks.last_run",
    "the latest run of each watched job can be read, and ended well",
    "Only a run that ended well asks for approval. Databricks deletes runs after 60 days.",
)
COMPUTE = Check(
    "databricks.compute",
    "the tasks of watched jobs run where Unity Catalog can be reached",
    "Reading tables of Unity Catalog, and registering from Spark, fails on compute in another access mode.",
)
AUDIT = Check(
    "databricks.audit",
    "system.access.audit can be read through the SQL warehouse, where one is configured",
    "Without it the ledger says that somebody moved an alias outside the gate, and not who.",
)
CHECKS = (
    *(IDENTITY, JOB, RUN_AS, NOTIFICATION, LAST_RUN, COMPUTE, AUDIT),
    *check_started.CHECKS,
    *check_models.CHECKS,
)


def destination_of(public_url: str) -> str:
    """The name of a service's notification destination: Databricks tells no address, and a workspace may have several.

    Args:
        public_url: of the service, as `web_address` returns it.
    """
    return f"champion-gate {public_url.partition('://')[2]}"


def checkups(
    connection: DatabricksConnection,
    gates: Sequence[Gate],
    public_url: str | None,
    *,
    on_unity_catalog: bool,
    write_probe: bool,
    warehouse: str | None,
) -> Iterator[Checkup]:
    """The checks of a workspace and of these gates; no call is made yet."""
    around = Surroundings(connection)
    yield Checkup(IDENTITY, lambda: _identity(around))
    if on_unity_catalog:
        audit = Checkup(AUDIT, lambda: _audit(around, warehouse))
        yield replace(audit, run=partial(_once_signed_in, around, audit))
    for gate in gates:
        checks = _GatesChecks(around, gate, public_url, on_unity_catalog=on_unity_catalog)
        trainers = checks.jobs if gate.watches_jobs else list[str]  # other jobs only tell of versions
        started = check_started.StartedChecks(around, gate, trainers, on_unity_catalog=on_unity_catalog)
        made = [*checks.all(), *started.all()]
        if on_unity_catalog:
            made += check_models.ModelChecks(around, gate, trainers, started.starts()).all(
                write_probe=write_probe
            )
        for each in made:
            yield replace(each, run=partial(_once_signed_in, around, each))


def _once_signed_in(around: Surroundings, checkup: Checkup) -> Iterator[Finding]:
    """What a check finds; where we cannot sign in, that is told once, and nothing is asked."""
    try:
        around.me()
    except VendorError:
        yield checkup.check.not_known("the workspace could not be asked", f"See {IDENTITY.key}.")
        return
    yield from checkup.run()


def _audit(around: Surroundings, warehouse: str | None) -> Iterator[Finding]:
    if warehouse is None:
        yield AUDIT.ok("databricks.warehouse is not configured: who moves an alias outside is not looked up")
        return
    try:
        is_read = DatabricksAudit(around.connection, warehouse).probe()
    except InvalidRequestError as error:
        yield AUDIT.fail(
            error.message, "Correct the id under databricks.warehouse (SQL Warehouses > its page)."
        )
    except ForbiddenError as error:
        remedy = f"Give {around.me().name} CAN USE on the SQL warehouse {warehouse} (its page > Permissions)."
        yield AUDIT.fail(error.message, remedy)
    except VendorRefusedError as error:
        name = check_models.ticked(around.me().name)
        yield AUDIT.fail(
            error.message,
            f"GRANT USE CATALOG ON CATALOG system TO {name}; GRANT USE SCHEMA ON SCHEMA system.access TO {name}; "
            f"GRANT SELECT ON TABLE system.access.audit TO {name}; (an account admin enables the schema)",
        )
    else:
        found = "can be read" if is_read else "is asked: the warehouse is starting"
        yield AUDIT.ok(f"system.access.audit {found} (warehouse {warehouse})")


def _identity(around: Surroundings) -> Iterator[Finding]:
    connection = around.connection
    try:
        me = around.me()
        DatabricksJobRuns(connection).workspace_id()  # raises where another workspace answers
    except VendorError as error:
        yield IDENTITY.fail(error.message, error.hint or CREDENTIALS)
        return
    if me.name:
        yield IDENTITY.ok(f"we are {me.name} at {connection.host} (workspace {connection.workspace_id})")
    else:
        yield IDENTITY.not_known(f"{connection.host} does not say who we are.", CREDENTIALS)


@dataclass(frozen=True)
class _GatesChecks:
    """The checks of one gate's jobs and endpoints."""

    around: Surroundings
    gate: Gate
    public_url: str | None
    on_unity_catalog: bool

    def all(self) -> Iterator[Checkup]:
        made: list[tuple[Check, Callable[[], Iterator[Finding]]]] = [
            (JOB, self._job),
            (NOTIFICATION, self._notification),
            (LAST_RUN, self._last_run),
        ]
        if self.gate.watches_jobs:
            made.insert(1, (RUN_AS, self._run_as))
            made += [(COMPUTE, self._compute)] if self.on_unity_catalog else []
        for check, run in made if self.gate.jobs else ():
            yield Checkup(check, run, self.gate.name)

    def jobs(self) -> list[str]:
        """The ids of the watched jobs that can be read."""
        return [job_id for job_id in self._ids() if self._is_readable(job_id)]

    def _ids(self) -> list[str]:
        """Those of the watched jobs; a name that means no job, or several, is left out."""
        named = [self._named(name) for name in sorted(self.gate.job_names)]
        return [*sorted(self.gate.job_ids), *(ids[0] for ids in named if len(ids) == 1)]

    def _is_readable(self, job_id: str) -> bool:
        try:
            self.around.job(job_id)
        except VendorRefusedError:
            return False
        return True

    def _named(self, name: str) -> tuple[str, ...]:
        return DatabricksJobRuns(self.around.connection).jobs_named(name)

    def _job(self) -> Iterator[Finding]:
        for name in sorted(self.gate.job_names):
            ids = self._named(name)
            if len(ids) != 1:
                found = f"jobs {', '.join(ids)} bear" if ids else "no job that we may see bears"
                yield JOB.fail(
                    f"{found} the name {name!r}", f"Write the job's id in place of {name!r} {self._in_gates}."
                )
        for job_id in self._ids():
            try:
                job = self.around.job(job_id)
            except VendorNotFoundError as error:
                yield JOB.fail(error.message, f"Correct the job's id {self._in_gates}.")
            except ForbiddenError as error:
                permission = self.around.permission(job_id, "CAN VIEW")
                yield JOB.fail(
                    error.message, f"{permission} If there is none, correct the job's id {self._in_gates}."
                )
            else:
                yield JOB.ok(f"job {job_id} ({job.name}) can be read")

    @property
    def _in_gates(self) -> str:
        return f"under jobs of gate {self.gate.name} in gates.yaml"

    def _run_as(self) -> Iterator[Finding]:
        for job_id in self.jobs():
            known = run_as(self.around.job(job_id))
            missing = identify(self.gate, trainers_of(self.around.job(job_id))).missing
            names = " and ".join(each.name or "somebody who is not told" for each in known)
            if missing:
                yield RUN_AS.fail(f"job {job_id} runs as {names}", " ".join(missing))
            else:
                yield RUN_AS.ok(f"job {job_id} runs as {names}")

    def _notification(self) -> Iterator[Finding]:
        if self.public_url is None:
            yield NOTIFICATION.not_known(
                f"{ADDRESS} is not set, and our destination is named after it",
                f"Set {ADDRESS} to the address by which Databricks reaches this service.",
            )
            return
        name = destination_of(self.public_url)
        try:
            destinations = {each.id: each for each in self.around.destinations() if each.id}
        except ForbiddenError as error:
            jobs = ", ".join(self.around.connection.page(f"jobs/{each}") for each in self.jobs())
            yield NOTIFICATION.not_known(error.message, f"Look for {name} under Job notifications: {jobs}")
            return
        ours = {
            key
            for key, each in destinations.items()
            if each.destination_type == "WEBHOOK" and (each.display_name or "").casefold() == name.casefold()
        }
        for job_id in self.jobs():
            attached = [each.id for each in self.around.job(job_id).on_success if each.id]
            others = [destinations[each].display_name or each for each in attached if each in destinations]
            if ours & set(attached):
                yield NOTIFICATION.ok(f"job {job_id} notifies {name} of success")
                continue
            page = self.around.connection.page(f"jobs/{job_id}")
            attach = f"At {page}, Job details → Job notifications, add {name} for Success."
            if len(attached) >= _MOST_DESTINATIONS:
                attach += (
                    f" First take one away: a job has at most {_MOST_DESTINATIONS} ({', '.join(others)})."
                )
            if not ours:
                attach = (
                    "If it is there by another name, let a workspace administrator rename it, else make it: Settings → Notifications → Manage → Add destination → Webhook, "
                    f"with the name {name} and the address {self.public_url}/hooks/databricks. {attach}"
                )
            found = (
                "is not attached to" if ours else "is no destination of the workspace, and so not attached to"
            )
            yield NOTIFICATION.warning(f"{name} {found} job {job_id}", attach)

    def _last_run(self) -> Iterator[Finding]:
        for job_id in self.jobs():
            runs = self.around.last_run(job_id).runs
            if not runs:
                remedy = "Run the job once, so that all of the way is shown to work."
                yield LAST_RUN.warning(f"no run of job {job_id} has ended in the last 60 days", remedy)
                continue
            result, detail = run_result(runs[0])
            when = runs[0].end_time
            at = f" at {when.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if when else ""
            found = f"run {runs[0].run_id} of job {job_id} ended{at}: {detail or result.value}"
            if result.value.startswith("succeeded"):
                yield LAST_RUN.ok(found)
            else:
                page = runs[0].run_page_url or self.around.connection.page(
                    f"jobs/{job_id}/runs/{runs[0].run_id}"
                )
                yield LAST_RUN.warning(found, f"See why: {page}")

    def _compute(self) -> Iterator[Finding]:
        for job_id in self.jobs():
            people = [
                self.around.who(each.name, is_group=each.is_group)
                for each in run_as(self.around.job(job_id))
                if each.name
            ]
            names = frozenset().union(*(each.names for each in people))
            bad = False
            for place in places(self.around, job_id, names):
                found = f"task {place.task} of job {job_id}: {place.why}"
                remedy = (
                    "Let the task run on serverless compute, or give its cluster the access mode Standard or Dedicated "
                    "(data_security_mode: DATA_SECURITY_MODE_AUTO), dedicated to the principal as whom the job runs."
                )
                if place.reaches is False:
                    yield COMPUTE.warning(found, remedy)
                elif place.reaches is None:
                    yield COMPUTE.not_known(found, remedy)
                bad = bad or not place.reaches
            if not bad:
                yield COMPUTE.ok(f"the tasks of job {job_id} reach Unity Catalog")
