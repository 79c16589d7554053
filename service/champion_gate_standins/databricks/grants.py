"""The Databricks stand-in's privileges: grants and owners in Unity Catalog, permissions on jobs and experiments.

Routes and fields: databricks/sdk/service/catalog.py (GrantsAPI) and iam.py (PermissionsAPI). Models are of type FUNCTION.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from flask import Flask, Response, abort, jsonify, request

from champion_gate_standins.databricks.principals import Principal, Principals, caller

_SMALLEST_PAGE = 150
_LEVELS = ("CATALOG", "SCHEMA", "FUNCTION")
_ALL = "ALL_PRIVILEGES"
_NOT_IN_ALL = {"MANAGE"}
_OBJECTS = {"jobs": "job", "experiments": "mlflowExperiment"}
_VIEWS = {"CAN_VIEW", "CAN_READ", "CAN_EDIT", "CAN_MANAGE_RUN", "CAN_MANAGE", "IS_OWNER"}
_MANAGES = {"CAN_MANAGE", "IS_OWNER"}
_RUNS = {"CAN_MANAGE_RUN", *_MANAGES}
_KINDS = ("service_principal_name", "user_name", "group_name")


class Grants:
    """Who was granted what, and who owns what.

    Attributes:
        guarded: whether calls are refused to those without the privilege; else only grants are kept.
        owners: (type, full name in lower case) -> owner, of catalogs and schemas.
        objects: (kind, id) -> principal -> (how it is named, level), of jobs and experiments.
    """

    def __init__(self, principals: Principals, owner_of_model: Callable[[str], str | None]) -> None:
        self.guarded = False
        self.owners: dict[tuple[str, str], str] = {}
        self.objects: dict[tuple[str, str], dict[str, tuple[str, str]]] = defaultdict(dict)
        self._granted: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(dict)
        self._principals = principals
        self._owner_of_model = owner_of_model
        self._lock = threading.RLock()

    def grant(self, level: str, name: str, principal: str, *privileges: str) -> None:
        """Grant privileges; none takes all of them away."""
        with self._lock:
            held = self._granted[level, name.lower()]
            if not privileges:
                held.pop(principal, None)
            else:
                held.setdefault(principal, set()).update(privileges)

    def revoke(self, level: str, name: str, principal: str, privilege: str) -> None:
        """Take one privilege away."""
        with self._lock:
            self._granted[level, name.lower()][principal].discard(privilege)

    def granted(self, level: str, name: str, principal: str) -> set[str]:
        """What was granted to somebody by name on this one thing."""
        with self._lock:
            return set(self._granted[level, name.lower()].get(principal, ()))

    def permit(self, kind: str, object_id: str, principal: str, level: str, named: str = "user_name") -> None:
        """Give somebody a permission on a job or experiment."""
        with self._lock:
            self.objects[kind, object_id][principal] = named, level

    def holds(self, who: Principal, privilege: str, level: str, name: str) -> bool:
        """Whether somebody has a privilege, through a grant here or above, or as an owner or admin."""
        if who.admin or self.owner(level, name) in who.names:
            return True
        taken = {privilege} if privilege in _NOT_IN_ALL else {privilege, _ALL}
        return any(
            each in who.names and taken & privileges
            for each, privileges, _ in self._effective(level, name.lower())
        )

    def reaches(self, who: Principal, full_name: str) -> bool:
        """Whether somebody may use the catalog and the schema of a model."""
        catalog, schema, _ = full_name.lower().split(".")
        above = f"{catalog}.{schema}"
        return self.holds(who, "USE_CATALOG", "CATALOG", catalog) and self.holds(
            who, "USE_SCHEMA", "SCHEMA", above
        )

    def owner(self, level: str, name: str) -> str | None:
        """Who owns it; None where nobody said."""
        return self._owner_of_model(name) if level == "FUNCTION" else self.owners.get((level, name.lower()))

    def permitted(
        self, who: Principal, kind: str, object_id: str, *, manages: bool = False, runs: bool = False
    ) -> bool:
        """Whether somebody may see (or manage, or run) a job or experiment."""
        levels = _MANAGES if manages else _RUNS if runs else _VIEWS
        held = self.objects[kind, object_id]
        return who.admin or any(held[each][1] in levels for each in who.names if each in held)

    def _effective(self, level: str, name: str) -> Iterator[tuple[str, set[str], tuple[str, str] | None]]:
        """Principal, privileges, and from where they are inherited."""
        parts = name.split(".")
        for depth, each in enumerate(_LEVELS[: len(parts)]):
            above = ".".join(parts[: depth + 1])
            inherited = None if each == level else (each, above)
            for principal, privileges in self._granted[each, above].items():
                yield principal, privileges, inherited

    def _sees_all(self, who: Principal, level: str, name: str) -> bool:
        """Whether somebody is shown others' grants: its owner, that of what is above it, who has MANAGE, and admins.

        https://docs.databricks.com/aws/en/data-governance/unity-catalog/manage-privileges/: others see their own alone.
        """
        parts = name.split(".")
        above = [(each, ".".join(parts[: depth + 1])) for depth, each in enumerate(_LEVELS[: len(parts)])]
        owns = any(self.owner(*each) in who.names for each in above)
        return owns or not self.guarded or self.holds(who, "MANAGE", level, name)

    # what clients see
    def attach(self, app: Flask) -> None:
        """Add the routes."""
        catalog = "/api/2.1/unity-catalog"
        app.get(f"{catalog}/permissions/<level>/<name>")(self._get_grants)
        app.patch(f"{catalog}/permissions/<level>/<name>")(self._patch_grants)
        app.get(f"{catalog}/effective-permissions/<level>/<name>")(self._get_effective)
        for level, path in (("CATALOG", "catalogs"), ("SCHEMA", "schemas")):
            app.get(f"{catalog}/{path}/<name>", endpoint=path)(partial(self._get_owner, level))
        app.get("/api/2.0/permissions/<kind>/<object_id>")(self._get_object)
        app.patch("/api/2.0/permissions/<kind>/<object_id>")(self._patch_object)

    def _get_grants(self, level: str, name: str) -> Response:
        self._check(level, name)
        with self._lock:
            held = self._granted[level, name.lower()]
            return jsonify(
                privilege_assignments=[
                    {"principal": each, "privileges": sorted(privileges)} for each, privileges in held.items()
                ]
            )

    def _patch_grants(self, level: str, name: str) -> Response:
        self._check(level, name)
        who = caller()
        if not (who.admin or self.owner(level, name) in who.names or self.holds(who, "MANAGE", level, name)):
            abort(403, f"User does not have MANAGE on {level.title()} '{name}'.")
        changes = (request.get_json(silent=True) or {}).get("changes") or []
        for change in changes:
            if not self._principals.knows(change.get("principal", "")):
                abort(404, f"Could not find principal with name {change.get('principal')}")
        with self._lock:
            for change in changes:
                held = self._granted[level, name.lower()].setdefault(change["principal"], set())
                held.update(change.get("add") or [])
                held.difference_update(change.get("remove") or [])
        return self._get_grants(level, name)

    def _get_effective(self, level: str, name: str) -> Response:
        """One principal a page, and an empty page before the last: clients have to go on until there is no token."""
        self._check(level, name)
        size = int(request.args.get("max_results", 0))
        if size < 0 or 0 < size < _SMALLEST_PAGE:
            abort(400, f"max_results: {size} is not 0, and not {_SMALLEST_PAGE} or more.")
        wanted, page = request.args.get("principal"), int(request.args.get("page_token") or 0)
        told: dict[str, list[dict[str, str]]] = {}
        with self._lock:
            sees_all = self._sees_all(caller(), level, name)
            for each, privileges, inherited in self._effective(level, name.lower()):
                if wanted in {None, each} and (sees_all or each in caller().names):
                    told.setdefault(each, []).extend(_effective(one, inherited) for one in sorted(privileges))
        pages: list[list[Any]] = [[{"principal": who, "privileges": held}] for who, held in told.items()]
        pages = [*pages[:-1], [], *pages[-1:]]
        more = {"next_page_token": str(page + 1)} if page + 1 < len(pages) else {}
        part = pages[page]
        return jsonify({**({"privilege_assignments": part} if part else {}), **more})

    def _get_owner(self, level: str, name: str) -> Response:
        owner = self.owners.get((level, name.lower()))
        if self.guarded and not self.holds(caller(), f"USE_{level}", level, name):
            abort(403, f"User does not have USE {level} on {level.title()} '{name}'.")
        return jsonify(
            {"name": name.rpartition(".")[2], "full_name": name, **({"owner": owner} if owner else {})}
        )

    def _check(self, level: str, name: str) -> None:
        if level not in _LEVELS or len(name.split(".")) != _LEVELS.index(level) + 1:
            abort(400, f"{level} {name} is no securable.")
        if level == "FUNCTION" and self._owner_of_model(name) is None:
            abort(404, f"Registered model '{name}' does not exist.")

    def _get_object(self, kind: str, object_id: str) -> Response:
        if kind not in _OBJECTS or not re.fullmatch("[0-9]+", object_id):
            abort(400, f"{kind} {object_id} is no object with permissions.")
        if self.guarded and not self.permitted(caller(), kind, object_id):
            abort(403, f"{caller().name} does not have View permissions on {kind} {object_id}.")
        with self._lock:
            held = [
                {named: who, "all_permissions": [{"permission_level": level, "inherited": False}]}
                for who, (named, level) in self.objects[kind, object_id].items()
            ]
        told = {"object_id": f"/{kind}/{object_id}", "object_type": _OBJECTS[kind]}
        return jsonify({**told, "access_control_list": held})

    def _patch_object(self, kind: str, object_id: str) -> Response:
        if not self.permitted(caller(), kind, object_id, manages=True):
            abort(403, f"{caller().name} does not have Manage permissions on {kind} {object_id}.")
        for entry in (request.get_json(silent=True) or {}).get("access_control_list") or []:
            named = next((each for each in _KINDS if each in entry), None)
            if named is None or not self._principals.knows(entry[named]):
                abort(404, f"Principal {entry.get(named or '')} does not exist.")
            self.permit(kind, object_id, entry[named], entry.get("permission_level", ""), named)
        return self._get_object(kind, object_id)


def _effective(privilege: str, inherited: tuple[str, str] | None) -> dict[str, str]:
    above = (
        {}
        if inherited is None
        else {"inherited_from_type": inherited[0], "inherited_from_name": inherited[1]}
    )
    return {"privilege": privilege, **above}
