"""What `champion-gate doctor` looks at about models in Unity Catalog: who may do what, and who must not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from champion_gate.adapters.databricks.jobs_api import run_as
from champion_gate.adapters.databricks.privileges import LEVELS, MANAGE, Privileges, is_group
from champion_gate.adapters.databricks.surroundings import Surroundings, Who
from champion_gate.adapters.databricks.unity_catalog import UnityCatalog
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.names import check_model
from champion_gate.errors import ForbiddenError, VendorNotFoundError, VendorRefusedError

_SIMPLE = re.compile(r"[A-Za-z0-9_]+")
_ADMINS = "admins"  # the workspace's administrators
_OURS = ("USE_CATALOG", "USE_SCHEMA", "EXECUTE")
_TOO_MUCH = frozenset({"ALL_PRIVILEGES", MANAGE})
_WRITES = frozenset({*_TOO_MUCH, "CREATE_MODEL_VERSION", "APPLY_TAG"})

MODEL = Check(
    "databricks.model",
    "the gate's models can be read",
    "Who registers a model first owns it, and can move its aliases without asking anybody.",
)
EXPERIMENT = Check(
    "databricks.experiment",
    "the MLflow run of the newest version can be read",
    "The numbers that are judged, and who trained, are read from there.",
)
PRIVILEGES = Check(
    "databricks.privileges",
    "our principal has USE CATALOG, USE SCHEMA and EXECUTE",
    "Without them Unity Catalog shows us no version.",
)
ALIAS = Check(
    "databricks.alias",
    "our principal, or a group that it is in, owns the model",
    "Only the owner may move aliases: else the refusal comes after people have approved.",
)
TRAINING = Check(
    "databricks.training",
    "the principal as whom the job trains may register versions",
    "Else training fails when it registers.",
)
SEPARATION = Check(
    "databricks.separation",
    "as whom jobs run that train, or that the gate starts, cannot move the alias, and who validates writes nothing",
    "Who could move the alias makes a version Champion without any approval, by the code that they run.",
)
OTHERS = Check(
    "databricks.others",
    "nobody else is seen to be able to move the alias",
    "Whoever may move the alias needs no approval. The gate notices that afterwards, and cannot prevent it.",
)
OWN_RIGHTS = Check(
    "databricks.own_rights",
    "our principal has no more rights than it needs",
    "Who steals the service's credentials has them too.",
)
DEPLOYMENT_JOB = Check(
    "databricks.deployment_job",
    "the model has no deployment job of Databricks' own",
    "It would ask for a second approval, and runs code with the model owner's rights on each new version.",
)
CHECKS = (MODEL, EXPERIMENT, PRIVILEGES, ALIAS, TRAINING, SEPARATION, OTHERS, OWN_RIGHTS, DEPLOYMENT_JOB)


def grant(privilege: str, model: str, principal: str) -> str:
    """The SQL statement that grants a privilege at the level where that matters; models are functions there."""
    names = Privileges.names_of(model)
    level = LEVELS.get(privilege, "FUNCTION")
    return f"GRANT {privilege.replace('_', ' ')} ON {level} {_quoted(names[level])} TO {ticked(principal)};"


def _revoke(at: Privileges, who: Who, level: str, privilege: str) -> str:
    """The SQL statements that take it away: where it was granted, and from whom."""
    return "\n".join(
        f"REVOKE {privilege.replace('_', ' ')} ON {where} {_quoted(name)} FROM {ticked(principal)};"
        for where, name, principal in at.grants(who, level, privilege)
    )


@dataclass(frozen=True)
class ModelChecks:
    """The checks of one gate's models.

    Attributes:
        jobs: reads the ids of the jobs that train.
        started: the ids of the jobs that the gate starts.
    """

    around: Surroundings
    gate: Gate
    jobs: Callable[[], list[str]]
    started: Collection[str] = ()

    def all(self, *, write_probe: bool) -> Iterator[Checkup]:
        """Each as an entry; where a write shows who may move aliases, owners need not."""
        made: list[tuple[Check, Callable[[], Iterator[Finding]]]] = [
            (MODEL, self._model),
            (EXPERIMENT, self._experiment),
            (PRIVILEGES, self._privileges),
            *([] if write_probe else [(ALIAS, self._alias)]),
            (TRAINING, self._training),
            (SEPARATION, self._separation),
            (OTHERS, self._others),
            (OWN_RIGHTS, self._own_rights),
            (DEPLOYMENT_JOB, self._deployment_job),
        ]
        for check, run in made:
            whole = (
                run if check in {MODEL, PRIVILEGES, TRAINING} else partial(self._of_what_is_there, check, run)
            )
            yield Checkup(check, whole, self.gate.name)

    def _of_what_is_there(self, check: Check, run: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        if all(Privileges(self.around, name).is_there() for name in self._names):
            yield from run()
        else:
            yield check.not_known("the model cannot be read", f"See {MODEL.key}.")

    @property
    def _names(self) -> list[str]:
        """The model whose versions are judged, and that whose alias is set."""
        both = (self.gate.model, self.gate.destination)
        return list(dict.fromkeys(check_model(each, three_level=True) for each in both))

    @property
    def _destination(self) -> Privileges:
        return Privileges(self.around, self._names[-1])

    def _model(self) -> Iterator[Finding]:
        for name in self._names:
            try:
                owner = self.around.owner("models", name)
            except VendorNotFoundError as error:
                yield MODEL.fail(
                    error.message,
                    f"If it is there: {grant('EXECUTE', name, self.around.me().name)}\nElse let its future owner, a group that our "
                    "principal is in and nobody who trains, register it first.",
                )
            except ForbiddenError as error:
                yield MODEL.not_known(error.message, f"See {PRIVILEGES.key}.")
            else:
                yield MODEL.ok(f"{name} can be read; {owner or 'nobody who is told'} owns it")

    def _experiment(self) -> Iterator[Finding]:
        registry = UnityCatalog(self.around.connection)
        newest = next(iter(registry.list_versions(self._names[0])), None)
        if newest is None or newest.run_id is None:
            shown = (
                f"{self._names[0]} has no version that we see"
                if newest is None
                else "the newest version names no MLflow run"
            )
            yield EXPERIMENT.not_known(shown, f"Train once. If it has versions: {registry.listing_needs}")
            return
        run = registry.get_training_run(newest.run_id)
        yield EXPERIMENT.ok(
            f"MLflow run {newest.run_id} of v{newest.version} can be read, with {len(run.metrics)} metrics"
        )

    def _privileges(self) -> Iterator[Finding]:
        me = self.around.me()
        for name in self._names:
            privileges = Privileges(self.around, name)
            lacking = {each: has for each in _OURS if not (has := privileges.has(me, each))}
            for privilege, has in lacking.items():
                remedy = grant(privilege, name, me.name)
                if has is None:
                    found = f"whether we have {privilege} for {name} is not shown"
                    yield PRIVILEGES.not_known(found, f"If not: {remedy}")
                else:
                    yield PRIVILEGES.fail(f"we have no {privilege.replace('_', ' ')} for {name}", remedy)
            if not lacking:
                yield PRIVILEGES.ok(f"we have USE CATALOG, USE SCHEMA and EXECUTE for {name}")

    def _alias(self) -> Iterator[Finding]:
        me, at = self.around.me(), self._destination
        name, owner = at.names["FUNCTION"], at.owner("FUNCTION")
        probe = "champion-gate doctor --write-probe shows whether we may all the same."
        remedy = (
            f"Let a group own it that our principal {me.name} is in, and nobody who trains: databricks registered-models "
            f"update {shlex.quote(name)} --owner GROUP\n{probe}"
        )
        if owner is None:
            yield ALIAS.not_known(f"who owns {name} is not told", probe)
        elif at.owns(me, "FUNCTION"):
            yield ALIAS.ok(f"{owner}, which is us or a group of ours, owns {name}")
        elif at.has(me, MANAGE):
            yield ALIAS.not_known(
                f"{owner} owns {name}; we have MANAGE, of which Databricks says no more", remedy
            )
        elif is_group(owner):
            yield ALIAS.not_known(f"the group {owner} owns {name}, and we are not seen to be in it", remedy)
        else:
            yield ALIAS.fail(f"{owner} owns {name}, not us", remedy)

    def _trainers(self) -> list[Who]:
        """As whom the watched jobs run, each once."""
        return self._as_whom(self.jobs())

    def _as_whom(self, job_ids: Iterable[str]) -> list[Who]:
        """As whom jobs run, each once; a job that is not shown to us is told of by another check."""
        found = dict[str, Who]()
        for job_id in job_ids:
            with suppress(VendorRefusedError):
                for each in run_as(self.around.job(job_id)):
                    if each.name:
                        found.setdefault(each.name, self.around.who(each.name, is_group=each.is_group))
        return list(found.values())

    def _training(self) -> Iterator[Finding]:
        name = self._names[0]
        at, registered = Privileges(self.around, name), self._registered(name)
        for who in self._trainers():
            if version := registered.get(who.name.casefold()):
                yield TRAINING.ok(f"{who.name} has registered v{version} of {name}")
                continue
            needed = (
                "USE_CATALOG",
                "USE_SCHEMA",
                "CREATE_MODEL" if at.is_there() is False else "CREATE_MODEL_VERSION",
            )
            has = {each: at.has(who, each) for each in needed}
            lacking = [each for each in needed if has[each] is False]
            unseen = [each.replace("_", " ") for each in needed if has[each] is None]
            for each in lacking:
                found = f"{who.name} has no {each.replace('_', ' ')} for {name}"
                yield TRAINING.fail(found, grant(each, name, who.name))
            if unseen and not lacking:
                remedy = "If not:\n" + "\n".join(
                    grant(each, name, who.name) for each in needed if has[each] is None
                )
                yield TRAINING.not_known(
                    f"whether {who.name} has {', '.join(unseen)} for {name} is not shown", remedy
                )
            elif not lacking:
                yield TRAINING.ok(f"{who.name} may register versions of {name}")

    def _registered(self, name: str) -> dict[str, str]:
        """Who has registered a version, without regard to case, and which was their latest."""
        try:
            versions = UnityCatalog(self.around.connection).list_versions(name)
        except VendorRefusedError:
            return {}
        return {each.created_by.casefold(): each.version for each in reversed(versions) if each.created_by}

    def _separation(self) -> Iterator[Finding]:
        trainers = self._trainers()
        for who in trainers:
            yield self._separated(who, "the job trains")
        for job_id in self.started:
            for who in self._as_whom([job_id]):
                if who not in trainers:
                    yield self._separated(who, f"job {job_id} runs")
        if self.gate.validation is not None:
            yield from self._writing(self.gate.validation.job_id)

    def _writing(self, job_id: str) -> Iterator[Finding]:
        """What those as whom a validation runs may write to the model that it loads; whoever made that runs code there."""
        at = Privileges(self.around, self._names[0])
        name = at.names["FUNCTION"]
        for who in self._as_whom([job_id]):
            found = f"{who.name}, as whom job {job_id} validates,"
            if len(self._names) > 1 and at.owns(who, "FUNCTION"):
                yield SEPARATION.warning(
                    f"{found} owns {name} or is in the group that does", _other_owner(name, who)
                )
            for each in sorted(
                at.given_to(who, "FUNCTION") & (_WRITES if len(self._names) > 1 else _WRITES - {MANAGE})
            ):
                yield SEPARATION.warning(
                    f"{found} has {each.replace('_', ' ')} on {name}, and needs EXECUTE alone",
                    _revoke(at, who, "FUNCTION", each),
                )

    def _separated(self, who: Who, does: str) -> Finding:
        """Whether a principal can move the alias without any approval; `does` says what runs as it."""
        at, me = self._destination, self.around.me()
        name, owns, manages = at.names["FUNCTION"], at.owns(who, "FUNCTION"), at.has(who, MANAGE)
        found = f"{who.name}, as whom {does},"
        if who.name.casefold() == me.name.casefold():
            remedy = "Give the job, or the service, a service principal of its own."
            return SEPARATION.fail(f"{found} is our own principal", remedy)
        if owns:
            return SEPARATION.fail(
                f"{found} owns {name} or is in the group that does", _other_owner(name, who)
            )
        if manages:
            remedy = _revoke(at, who, "FUNCTION", MANAGE)
            return SEPARATION.fail(f"{found} has MANAGE on {name}, itself, by a group or from above", remedy)
        if owns is None or manages is None:
            remedy = f"Let an administrator look: it must neither own {name}, nor have MANAGE, nor be in {at.owner('FUNCTION')}."
            return SEPARATION.not_known(
                f"whether {found} can move aliases of {name} is not shown to us", remedy
            )
        groups = ", ".join(sorted(who.groups or ())) or "no group"
        return SEPARATION.ok(f"{who.name}, in {groups}, as whom {does}, cannot move aliases of {name}")

    def _others(self) -> Iterator[Finding]:
        at, me = self._destination, self.around.me()
        name, owner, holders = at.names["FUNCTION"], at.owner("FUNCTION"), at.holders(MANAGE)
        above = [each for level in ("SCHEMA", "CATALOG") if (each := at.owner(level))]
        may_take = f"; {', '.join(dict.fromkeys(above))}, who own what is above it, and metastore admins may give themselves the right"
        ours = {each.casefold() for each in (me.name, *(me.groups or ()))}
        others = sorted(each for each in holders or () if each.casefold() not in ours)
        if owner is None or holders is None:
            remedy = f"Let its owner look: databricks grants get-effective FUNCTION {shlex.quote(name)}"
            yield OTHERS.not_known(f"who has MANAGE on {name} is not shown to us", remedy)
        elif others:
            remedy = "\n".join(_revoke(at, Who(each, frozenset()), "FUNCTION", MANAGE) for each in others)
            yield OTHERS.warning(
                f"{', '.join(others)} have MANAGE on {name}, there or from above{may_take}", remedy
            )
        else:
            yield OTHERS.ok(f"only {owner} is seen to own or manage {name}{may_take if above else ''}")

    def _own_rights(self) -> Iterator[Finding]:
        well = "we are seen to have nothing beyond USE CATALOG, USE SCHEMA and the model"
        yield from OWN_RIGHTS.warnings(self._too_much(), well)

    def _too_much(self) -> Iterator[tuple[str, str]]:
        at, me = self._destination, self.around.me()
        if _ADMINS in {each.casefold() for each in me.groups or ()}:
            yield "we are a workspace administrator", f"Take {me.name} out of the group {_ADMINS}."
        for level in ("CATALOG", "SCHEMA"):
            name = at.names[level]
            if at.owns(me, level):
                yield (
                    f"we own the {level.lower()} {name}",
                    f"ALTER {level} {_quoted(name)} OWNER TO another group;",
                )
            for each in sorted(at.given_to(me, level) & _TOO_MUCH):
                yield f"we have {each.replace('_', ' ')} on {name}", _revoke(at, me, level, each)
        for job_id in self.jobs():
            if self._may_change(job_id):
                page = self.around.connection.page(f"jobs/{job_id}")
                remedy = f"At {page}, Job details → Permissions, CAN VIEW is enough for us."
                yield f"we may change job {job_id}, which trains", remedy

    def _may_change(self, job_id: str) -> bool:
        try:
            return bool(self.around.rights_on(job_id) & {"CAN_MANAGE", "IS_OWNER"})
        except ForbiddenError:
            return False

    def _deployment_job(self) -> Iterator[Finding]:
        for name in self._names:
            job_id = self.around.deployment_job(name)
            if job_id is None:
                yield DEPLOYMENT_JOB.ok(f"{name} has none")
            else:
                remedy = f"Keep one of the two: disconnect it on the page of {name} in Catalog Explorer, or remove the gate."
                yield DEPLOYMENT_JOB.warning(
                    f"Databricks starts job {job_id} for each new version of {name}", remedy
                )


def _other_owner(name: str, who: Who) -> str:
    return f"databricks registered-models update {shlex.quote(name)} --owner GROUP, with a group that {who.name} is not in."


def _quoted(name: str) -> str:
    return ".".join(part if _SIMPLE.fullmatch(part) else f"`{part}`" for part in name.split("."))


def ticked(principal: str) -> str:
    """A principal as SQL takes it."""
    return f"`{principal.replace('`', '``')}`"
