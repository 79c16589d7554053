"""Who calls the Databricks stand-in, and who may: people, service principals, admins.

Routes and fields: databricks/sdk/service/iam.py (SCIM). https://docs.databricks.com/admin/workspace-settings/notification-destinations.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flask import Flask, Response, abort, g, jsonify, request

_EVERYBODY = "account users"
_FILTER = re.compile(r'(userName|applicationId|displayName) eq "([^"]*)"')


@dataclass(frozen=True)
class Principal:
    """A person, by user name, or a service principal, by application id.

    Attributes:
        admin: of the workspace and the metastore.
    """

    name: str
    groups: tuple[str, ...] = ()
    admin: bool = False
    is_service: bool = False

    @property
    def names(self) -> frozenset[str]:
        """Its own name, those of its groups, and that of the group that all are in and that nobody is told of."""
        return frozenset({self.name, *self.groups, _EVERYBODY})

    def shown(self) -> dict[str, Any]:
        """As SCIM shows it."""
        own = {"applicationId": self.name} if self.is_service else {"userName": self.name}
        own["id"] = str(zlib.crc32(self.name.encode()))  # a number of its own, as any other
        return {**own, "displayName": self.name, "active": True, "groups": _groups(self)}


class Principals:
    """Tokens, and whose they are.

    Attributes:
        hides_others: whether people who are no admins may look nobody up; it is documented nowhere whether they may.
    """

    def __init__(self) -> None:
        self.hides_others = False
        self.by_token: dict[str, Principal] = {}

    def add(self, principal: Principal, token: str) -> None:
        """Let somebody sign in with this token."""
        self.by_token[token] = principal

    def knows(self, name: str) -> bool:
        """Whether somebody, or a group, has this name; every mail address has somebody."""
        return "@" in name or any(name in each.names for each in self.by_token.values())

    def attach(self, app: Flask) -> None:
        """Add the routes."""
        scim = "/api/2.0/preview/scim/v2"
        app.get(f"{scim}/Me")(_me)
        for path, is_service in (("Users", False), ("ServicePrincipals", True)):
            app.get(f"{scim}/{path}", endpoint=path)(partial(self._listed, is_service=is_service))

    def join(self, name: str, group: str) -> None:
        """Have somebody be in one more group."""
        for token, each in self.by_token.items():
            if each.name == name:
                self.by_token[token] = replace(each, groups=(*each.groups, group))

    def _listed(self, *, is_service: bool) -> Response:
        if self.hides_others and not caller().admin:
            abort(403, "This API is disabled for users without the admin role.")
        asked = _FILTER.fullmatch(request.args.get("filter", ""))
        if asked is None:
            abort(400, "Given filter operator is not supported.")
        found = [
            each.shown()
            for each in dict.fromkeys(self.by_token.values())
            if each.is_service is is_service and each.name == asked[2]
        ]
        start = int(request.args.get("startIndex", 1))
        part = found[start - 1 :]
        told = {"Resources": part} if part else {}
        return jsonify({**told, "totalResults": len(found), "itemsPerPage": len(part), "startIndex": start})


def caller() -> Principal:
    """Who makes the call."""
    found: Principal = g.caller
    return found


def require_admin(act: str) -> None:
    """403 unless the caller is an admin of the workspace."""
    if not caller().admin:
        abort(403, f"Only workspace admins can {act}.")


def _me() -> Response:
    who = caller()
    return jsonify(id="42", userName=who.name, active=True, groups=_groups(who))


def _groups(principal: Principal) -> list[dict[str, str]]:
    return [{"display": each} for each in principal.groups]
