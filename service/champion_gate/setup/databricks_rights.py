"""`champion-gate setup databricks --grant`: what the service's and the training principals need to have.

Routes and fields: databricks/sdk/service/catalog.py (GrantsAPI; a model is of type FUNCTION) and iam.py (PermissionsAPI). What each act
needs: docs.databricks.com, "Manage model lifecycle".
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from champion_gate.adapters.databricks.check_models import grant as statement
from champion_gate.adapters.databricks.connection import DatabricksConnection
from champion_gate.adapters.databricks.jobs_api import run_as
from champion_gate.adapters.databricks.privileges import LEVELS, Privileges
from champion_gate.adapters.databricks.surroundings import Surroundings, Who
from champion_gate.domain.names import check_model, vendor_id
from champion_gate.errors import InvalidNameError, VendorRefusedError
from champion_gate.settings.gates import Gates
from champion_gate.setup.changes import Change, Plan, needing

_CATALOG, _PERMISSIONS = "/api/2.1/unity-catalog", "/api/2.0/permissions"
_NAME = re.compile(r"[^\"'`\\\x00-\x1f\x7f]{1,255}")
_READING = ("USE_CATALOG", "USE_SCHEMA", "EXECUTE")
_MAY = {
    "CAN_VIEW": {"CAN_VIEW", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"},
    "CAN_MANAGE_RUN": {"CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"},
    "CAN_READ": {"CAN_READ", "CAN_EDIT", "CAN_MANAGE"},
}
"""What is wanted -> which permissions are as good."""
_GRANTER = "It takes the owner, or MANAGE, of what is granted: let somebody who has that run this."
_MANAGER = "It takes CAN MANAGE there: let somebody who has it run this."


class Rights:
    """What is missing between these gates' models and jobs, and those who work on them."""

    def __init__(self, connection: DatabricksConnection, principal: str, owner: str | None) -> None:
        """Nothing is called yet.

        Args:
            connection: of a person who may see and grant it all.
            principal: the service's: an application id, or a user name.
            owner: who is to own the models, where neither the principal nor a group of its does; None = the principal.

        Raises:
            InvalidNameError: that is no name of a principal.
        """
        for name in filter(None, (principal, owner)):
            if not _NAME.fullmatch(name):
                raise InvalidNameError(f"{name[:80]!r} is no principal of Databricks.")
        self._connection = connection
        self._around = Surroundings(connection)
        self._principal = principal
        self._owner = owner or principal

    def add_to(self, plan: Plan, gates: Gates, job_ids: Mapping[str, list[str]], *, grant: bool) -> None:
        """Add the grants, or say them."""
        us = self._around.who(self._principal)
        if us.groups is None:
            plan.remarks.append(
                f"{us.name} is nobody that you can see in this workspace: add it there, or the groups that it is in are not counted."
            )
        found = list(self._on_jobs(gates, job_ids, us))
        if gates.on_unity_catalog:
            found += self._on_models(plan, gates, job_ids, us)
        by_what = {change.what + str(change.difference): (change, told) for change, told in found}
        if grant:
            plan.changes += [change for change, _ in by_what.values()]
        else:
            plan.remarks += [f"missing (--grant grants it): {told}" for _, told in by_what.values()]

    # --- jobs and experiments ---------------------------------------------------------------------------------

    def _on_jobs(
        self, gates: Gates, job_ids: Mapping[str, list[str]], us: Who
    ) -> Iterator[tuple[Change, str]]:
        for gate in gates.gates:
            started = [each.job_id for each in (gate.validation, gate.promote_to) if each and each.job_id]
            started += [str(each.job) for each in gate.after if each.job is not None]
            for job_id, wanted in [
                *((each, "CAN_VIEW") for each in job_ids[gate.name]),
                *((each, "CAN_MANAGE_RUN") for each in started),
            ]:
                if not self._is_permitted("jobs", job_id, us, wanted):
                    yield self._permit("jobs", job_id, wanted)

    def _is_permitted(self, kind: str, object_id: str, us: Who, wanted: str) -> bool:
        try:
            access = self._around.access(object_id, kind)
        except VendorRefusedError:
            return False  # what is there already is given once more, which changes nothing
        return any(_MAY[wanted] & levels for name, levels in access.items() if name in us.names)

    def _permit(self, kind: str, object_id: str, wanted: str) -> tuple[Change, str]:
        named = "user_name" if "@" in self._principal else "service_principal_name"
        body = {"access_control_list": [{named: self._principal, "permission_level": wanted}]}

        def make() -> None:
            with needing(_MANAGER):
                self._connection.begin().write("PATCH", f"{_PERMISSIONS}/{kind}/{object_id}", body)

        what = f"{wanted.replace('_', ' ')} on {kind[:-1]} {object_id}"
        told = f"databricks permissions update {kind} {object_id} --json '{json.dumps(body)}'"
        return Change(what, (f"+ {self._principal}",), make), told

    def _experiment(self, plan: Plan, model: str) -> str | None:
        """The MLflow experiment in which a version of the model was trained; None where there is none that can be seen."""
        api = self._connection.begin()
        try:
            versions = api.read(f"{_CATALOG}/models/{quote(model, safe='')}/versions", {"max_results": 100})
            runs = [run for each in versions.get("model_versions") or [] if (run := each.get("run_id"))]
            run = api.read("/api/2.0/mlflow/runs/get", {"run_id": str(runs[-1])}) if runs else {}
        except VendorRefusedError as refused:
            plan.remarks.append(f"The experiment of {model} cannot be told: {refused.message}")
            return None
        found = vendor_id(((run.get("run") or {}).get("info") or {}).get("experiment_id"))
        if found is None:
            plan.remarks.append(
                f"{model} has no version yet: when it has, run this again for the right to read its experiment."
            )
        return found

    # --- models -----------------------------------------------------------------------------------------------

    def _on_models(
        self, plan: Plan, gates: Gates, job_ids: Mapping[str, list[str]], us: Who
    ) -> Iterator[tuple[Change, str]]:
        """Owners come behind grants, which an owner of before could not make any more."""
        given: dict[str, tuple[Change, str]] = {}
        experiments: list[tuple[Change, str]] = []
        for gate in gates.gates:
            trained, destination = (
                check_model(each, three_level=True) for each in (gate.model, gate.destination)
            )
            for model in dict.fromkeys((trained, destination)):
                at = Privileges(self._around, model)
                if not at.is_there():
                    plan.remarks.append(
                        f"There is no model {model} yet, or you may not see it. Run its training job once, and run this again."
                    )
                    continue
                moves = model == destination and self._has_to_move(plan, at, us)
                yield from self._missing(at, us, _READING, moves=moves)
                if moves:
                    given[model] = self._give(model, at.owner("FUNCTION") or "nobody that is told")
                if model == trained:
                    for who in self._trainers(plan, model, job_ids[gate.name]):
                        yield from self._missing(at, who, (*_READING, "CREATE_MODEL_VERSION"), moves=moves)
                    experiments += self._on_experiment(plan, model, us)
        yield from given.values()
        # Last what may be refused although all else is right: an experiment of a notebook has the notebook's rights.
        yield from experiments

    def _has_to_move(self, plan: Plan, at: Privileges, us: Who) -> bool:
        """Whether the model needs another owner; taken from nobody who may be a group that the service is in."""
        owns, name = at.owns(us, "FUNCTION"), at.names["FUNCTION"]
        if owns is None:
            plan.remarks.append(
                f"{at.owner('FUNCTION') or 'Somebody who is not told'} owns {name}; whether {us.name} is in there is not shown. "
                f"If it is not: databricks registered-models update {shlex.quote(name)} --owner {shlex.quote(self._owner)}"
            )
        return owns is False

    def _on_experiment(self, plan: Plan, model: str, us: Who) -> Iterator[tuple[Change, str]]:
        experiment = self._experiment(plan, model)
        if experiment and not self._is_permitted("experiments", experiment, us, "CAN_READ"):
            yield self._permit("experiments", experiment, "CAN_READ")

    def _trainers(self, plan: Plan, model: str, job_ids: list[str]) -> Iterator[Who]:
        """As whom the jobs run, each once, but for the service itself."""
        seen = {self._principal.casefold()}
        for job_id in job_ids:
            for each in run_as(self._around.job(job_id)):
                if each.name is None or not _NAME.fullmatch(each.name):
                    plan.remarks.append(
                        f"As whom job {job_id} trains {model} is not told: look at its rights yourself."
                    )
                elif each.name.casefold() not in seen:
                    seen.add(each.name.casefold())
                    yield self._around.who(each.name, is_group=each.is_group)

    def _missing(
        self, at: Privileges, who: Who, wanted: tuple[str, ...], *, moves: bool
    ) -> Iterator[tuple[Change, str]]:
        """Those that are not seen to be there; what an owner has is not counted where the model gets another one."""
        for privilege in wanted:
            if moves and privilege not in LEVELS:
                has = bool({privilege, "ALL_PRIVILEGES"} & at.given_to(who, "FUNCTION"))
            else:
                has = at.has(who, privilege) is True
            if not has:
                yield self._grant(at, who.name, privilege)

    def _grant(self, at: Privileges, name: str, privilege: str) -> tuple[Change, str]:
        level = LEVELS.get(privilege, "FUNCTION")
        path = f"{_CATALOG}/permissions/{level}/{quote(at.names[level], safe='')}"
        body: dict[str, Any] = {"changes": [{"principal": name, "add": [privilege]}]}

        def make() -> None:
            with needing(_GRANTER):
                self._connection.begin().write("PATCH", path, body)

        thing = "model" if level == "FUNCTION" else level.lower()
        what = f"{privilege.replace('_', ' ')} on {thing} {at.names[level]}"
        return Change(what, (f"+ {name}",), make), statement(privilege, at.names["FUNCTION"], name)

    def _give(self, model: str, before: str) -> tuple[Change, str]:
        def make() -> None:
            with needing(_GRANTER):
                path = f"{_CATALOG}/models/{quote(model, safe='')}"
                self._connection.begin().write("PATCH", path, {"owner": self._owner})

        loses = f"{before} loses the rights of an owner of {model}, and so the right to set its aliases"
        told = f"databricks registered-models update {shlex.quote(model)} --owner {shlex.quote(self._owner)}"
        return Change(f"owner of {model}", (f"- {before}", f"+ {self._owner}"), make, stops=(loses,)), told
