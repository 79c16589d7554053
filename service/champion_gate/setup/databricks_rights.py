"""`champion-gate setup databricks --grant`: what the service's and the training principals need to have.

Routes and fields: databricks/sdk/service/catalog.py (GrantsAPI; a model is of type FUNCTION) and iam.py (PermissionsAPI, SCIM). Raw
JSON, as the SDK's enum lacks CREATE_MODEL_VERSION. What each act needs: docs.databricks.com, "Manage model lifecycle".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import Field

from champion_gate.adapters.databricks.connection import DatabricksConnection
from champion_gate.adapters.databricks.jobs_api import read_job, run_as
from champion_gate.adapters.databricks.models import Listed, Page
from champion_gate.adapters.http.models import Answered
from champion_gate.domain.names import check_model, vendor_id
from champion_gate.errors import InvalidNameError, VendorNotFoundError, VendorRefusedError
from champion_gate.settings.gates import Gates
from champion_gate.setup.changes import Change, Plan, needing

_CATALOG = "/api/2.1/unity-catalog"
_SCIM = "/api/2.0/preview/scim/v2"
_NAME = re.compile(r"[A-Za-z0-9@._+ -]{1,255}")
_ALL, _SEEN = (
    "ALL_PRIVILEGES",
    {"CAN_VIEW", "CAN_READ", "CAN_EDIT", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"},
)
_RUN = {"CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"}
_GRANTER = "It takes the owner, or MANAGE, of what is granted: let somebody who has that run this."
_MANAGER = "It takes CAN MANAGE there: let somebody who has it run this."


@dataclass(frozen=True)
class Right:
    """Something that somebody needs.

    Attributes:
        level: CATALOG, SCHEMA or FUNCTION; jobs or experiments.
        name: full name, or id.
        privilege: such as USE_CATALOG or CAN_VIEW.
    """

    principal: str
    privilege: str
    level: str
    name: str

    @property
    def in_catalog(self) -> bool:
        """Whether Unity Catalog grants it."""
        return self.level.isupper()

    @property
    def told(self) -> str:
        """What a person would type."""
        words = self.privilege.replace("_", " ")
        if self.in_catalog:
            quoted = ".".join(f"`{part}`" for part in self.name.split("."))
            return f"GRANT {words} ON {self.level} {quoted} TO `{self.principal}`"
        body = json.dumps({"access_control_list": [self.entry()]})
        return f"databricks permissions update {self.level} {self.name} --json '{body}'"

    def entry(self) -> dict[str, str]:
        """For the Permissions API; whoever has an `@` in the name is a person, and the others service principals."""
        kind = "user_name" if "@" in self.principal else "service_principal_name"
        return {kind: self.principal, "permission_level": self.privilege}


class _Assignment(Answered):
    principal: str
    privileges: list[dict[str, Any]] = Field(default_factory=list)


class _Assignments(Page):
    privilege_assignments: Listed[_Assignment] = Field(default_factory=list)


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
        self._principal = principal
        self._owner = owner or principal
        self._remarks: list[str] = []
        self._known: dict[str, list[tuple[str, str]]] = {}

    def add_to(self, plan: Plan, gates: Gates, job_ids: Mapping[str, list[str]], *, grant: bool) -> None:
        """Add the grants, or say them.

        Args:
            plan: takes them.
            gates: whose models and jobs they are for.
            job_ids: gate -> the ids of the jobs that it watches.
            grant: whether they are granted, or only told.
        """
        names = self._names(self._principal)
        wanted: dict[Right, frozenset[str]] = {}
        for gate in gates.gates:
            for job_id in job_ids[gate.name]:
                wanted[Right(self._principal, "CAN_VIEW", "jobs", job_id)] = names
            started = [each.job_id for each in (gate.validation, gate.promote_to) if each and each.job_id]
            started += [str(each.job) for each in gate.after if each.job is not None]
            wanted |= {Right(self._principal, "CAN_MANAGE_RUN", "jobs", each): names for each in started}
            if gates.on_unity_catalog:
                wanted |= self._of_model(gate.model, names, job_ids[gate.name])
                if gate.destination != gate.model:
                    wanted |= self._of_model(gate.destination, names, [])
        owners = self._owners(gates) if gates.on_unity_catalog else {}
        missing = [
            right
            for right in wanted
            if (right.level != "FUNCTION" or right.name in owners) and not self._is_held(right, wanted[right])
        ]
        moved = {gate.destination for gate in gates.gates}
        given = [(model, owner) for model, owner in owners.items() if model in moved and owner not in names]
        if grant:
            # Last what may be refused although all else is right: an experiment of a notebook has the notebook's rights.
            last = [right for right in missing if right.level == "experiments"]
            plan.changes += [self._grant(right) for right in missing if right not in last]
            plan.changes += [self._give(model, before) for model, before in given]
            plan.changes += [self._grant(right) for right in last]
        else:
            plan.remarks += [f"missing (--grant grants it): {right.told}" for right in missing]
            plan.remarks += [
                f"missing (--grant grants it): databricks registered-models update {model} --owner {self._owner}"
                for model, _ in given
            ]
        plan.remarks += dict.fromkeys(self._remarks)

    # --- what is wanted ---------------------------------------------------------------------------------------

    def _of_model(self, model: str, names: frozenset[str], job_ids: list[str]) -> dict[Right, frozenset[str]]:
        """What it takes to read a model, and for those who train it to register its versions."""
        wanted = dict.fromkeys(_reading(model, self._principal), names)
        trainers = {
            each.name: each
            for job_id in job_ids
            for each in run_as(read_job(self._connection.begin(), job_id))
        }
        for name, trainer in trainers.items():
            if name is None or trainer.is_group or name == self._principal or not _NAME.fullmatch(name):
                self._remarks.append(
                    f"As whom a job of {model} trains cannot be told: look at its rights yourself."
                )
                continue
            rights = [*_reading(model, name), Right(name, "CREATE_MODEL_VERSION", "FUNCTION", model)]
            wanted |= dict.fromkeys(rights, self._names(name))
        experiment = self._experiment(model)
        if experiment is not None:
            wanted[Right(self._principal, "CAN_READ", "experiments", experiment)] = names
        return wanted

    def _experiment(self, model: str) -> str | None:
        """The MLflow experiment in which a version of the model was trained; None where there is none yet."""
        api = self._connection.begin()
        try:
            versions = api.read(f"{_CATALOG}/models/{_path(model)}/versions", {"max_results": 100})
            runs = [run for each in versions.get("model_versions") or [] if (run := each.get("run_id"))]
            if not runs:
                self._remarks.append(
                    f"{model} has no version yet: give {self._principal} CAN READ on the experiment of its training."
                )
                return None
            run = api.read("/api/2.0/mlflow/runs/get", {"run_id": str(runs[-1])})
        except VendorRefusedError as refused:
            self._remarks.append(f"The experiment of {model} cannot be told: {refused.message}")
            return None
        return vendor_id(((run.get("run") or {}).get("info") or {}).get("experiment_id"))

    def _owners(self, gates: Gates) -> dict[str, str]:
        """Model -> its owner, of those that are there."""
        found = {}
        for model in sorted({each for gate in gates.gates for each in (gate.model, gate.destination)}):
            try:
                shown = self._connection.begin().read(f"{_CATALOG}/models/{_path(model)}")
            except VendorNotFoundError:
                self._remarks.append(
                    f"There is no model {model} yet, or you may not see it. Run its training job once, and run this again."
                )
            else:
                found[model] = str(shown.get("owner") or "nobody that is told")
        return found

    # --- what is there ----------------------------------------------------------------------------------------

    def _names(self, principal: str) -> frozenset[str]:
        """A principal and the groups that it is in, as far as we may see them."""
        kind, key = ("Users", "userName") if "@" in principal else ("ServicePrincipals", "applicationId")
        try:
            answer = self._connection.begin().read(f"{_SCIM}/{kind}", {"filter": f'{key} eq "{principal}"'})
        except VendorRefusedError:
            self._remarks.append(
                f"The groups of {principal} may not be seen: what they give it is not counted."
            )
            return frozenset({principal})
        found = answer.get("Resources") or []
        if not found:
            self._remarks.append(f"{principal} is nobody in this workspace: add it there first.")
        groups = [group.get("display") for each in found for group in each.get("groups") or []]
        return frozenset({principal, *filter(None, groups)})

    def _is_held(self, right: Right, names: frozenset[str]) -> bool:
        try:
            held = self._granted(right, names) if right.in_catalog else self._permitted(right, names)
        except VendorRefusedError:
            return False  # a grant that is there already changes nothing
        if right.in_catalog:
            return bool({right.privilege, _ALL} & held)
        return bool((_RUN if right.privilege == "CAN_MANAGE_RUN" else _SEEN) & held)

    def _granted(self, right: Right, names: frozenset[str]) -> set[str]:
        path = f"{_CATALOG}/effective-permissions/{right.level}/{_path(right.name)}"
        if path not in self._known:
            pages = self._connection.begin().pages(_Assignments, path, {"max_results": 0})
            assigned = [each for page in pages for each in page.privilege_assignments]
            self._known[path] = [
                (each.principal, str(one.get("privilege"))) for each in assigned for one in each.privileges
            ]
        return {privilege for principal, privilege in self._known[path] if principal in names}

    def _permitted(self, right: Right, names: frozenset[str]) -> set[str]:
        path = f"/api/2.0/permissions/{right.level}/{right.name}"
        if path not in self._known:
            listed = self._connection.begin().read(path).get("access_control_list") or []
            self._known[path] = [
                (str(each.get(f"{kind}_name")), str(one.get("permission_level")))
                for each in listed
                for kind in ("user", "group", "service_principal")
                for one in each.get("all_permissions") or []
            ]
        return {level for principal, level in self._known[path] if principal in names}

    # --- what is changed --------------------------------------------------------------------------------------

    def _grant(self, right: Right) -> Change:
        path = f"{_CATALOG}/permissions/{right.level}/{_path(right.name)}"
        body: dict[str, Any] = {"changes": [{"principal": right.principal, "add": [right.privilege]}]}
        needs = _GRANTER
        if not right.in_catalog:
            path = f"/api/2.0/permissions/{right.level}/{right.name}"
            body, needs = {"access_control_list": [right.entry()]}, _MANAGER

        def make() -> None:
            with needing(needs):
                self._connection.begin().write("PATCH", path, body)

        what = f"{right.privilege.replace('_', ' ')} on {right.level.lower()} {right.name}"
        return Change(what, (f"+ {right.principal}",), make)

    def _give(self, model: str, before: str) -> Change:
        def make() -> None:
            with needing(_GRANTER):
                path = f"{_CATALOG}/models/{_path(model)}"
                self._connection.begin().write("PATCH", path, {"owner": self._owner})

        loses = f"{before} loses the rights of an owner of {model}, and so the right to set its aliases"
        return Change(f"owner of {model}", (f"- {before}", f"+ {self._owner}"), make, stops=(loses,))


def _reading(model: str, principal: str) -> Iterator[Right]:
    catalog, schema, _ = check_model(model, three_level=True).split(".")
    yield Right(principal, "USE_CATALOG", "CATALOG", catalog)
    yield Right(principal, "USE_SCHEMA", "SCHEMA", f"{catalog}.{schema}")
    yield Right(principal, "EXECUTE", "FUNCTION", model)


def _path(name: str) -> str:
    return quote(name, safe="")
