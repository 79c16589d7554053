"""Who may do what with one model, as far as we are shown: yes, no, or not known.

https://docs.databricks.com/aws/en/data-governance/unity-catalog/manage-privileges/: owners and admins do not show among
grants, groups are not expanded, and who neither owns an object or what is above it, nor has MANAGE on it, is shown
their own grants alone. So that something is not listed says little of others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from champion_gate.adapters.databricks.surroundings import EVERYBODY, Granted, Surroundings, Who
from champion_gate.errors import ForbiddenError, VendorNotFoundError, VendorRefusedError

_KINDS = {"CATALOG": "catalogs", "SCHEMA": "schemas", "FUNCTION": "models"}
LEVELS: Final = {"USE_CATALOG": "CATALOG", "USE_SCHEMA": "SCHEMA", "CREATE_MODEL": "SCHEMA"}
"""Where a privilege matters; all others do on the model, which in the API and in SQL is a FUNCTION."""
_USE = ("USE_CATALOG", "USE_SCHEMA")
_MOST_GROUPS = 30  # asked about one by one
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MANAGE = "MANAGE"
"""It counts as the right to move aliases, though Databricks does not say that it is."""


class Privileges:
    """The privileges on a model, its schema and its catalog."""

    def __init__(self, around: Surroundings, model: str) -> None:
        """No call is made.

        Args:
            around: what is read.
            model: a checked three-level name.
        """
        self._around = around
        self.names = self.names_of(model)

    @staticmethod
    def names_of(model: str) -> dict[str, str]:
        """The names of a model, its schema and its catalog, by their levels."""
        catalog, schema, _ = model.split(".")
        return {"CATALOG": catalog, "SCHEMA": f"{catalog}.{schema}", "FUNCTION": model}

    def owner(self, level: str) -> str | None:
        """Who owns it; None where that cannot be read."""
        try:
            return self._around.owner(_KINDS[level], self.names[level])
        except VendorRefusedError:
            return None

    def is_there(self) -> bool | None:
        """Whether there is the model; None where it is hidden from us."""
        try:
            self._around.owner("models", self.names["FUNCTION"])
        except VendorNotFoundError:
            return False
        except ForbiddenError:
            return None
        return True

    def owns(self, who: Who, level: str) -> bool | None:
        """Whether it, or a group that it is in, is the owner."""
        try:
            owner = self._around.owner(_KINDS[level], self.names[level])
        except ForbiddenError:
            # Whoever owns it, and may use what is above it, may see it.
            above = _USE[: list(_KINDS).index(level)]
            reaches = who == self._around.me() and all(self.has(who, each) for each in above)
            return False if reaches else None
        except VendorRefusedError:
            return None
        if owner is None:
            return None
        if owner.casefold() in who.names:
            return True
        return None if who.groups is None and is_group(owner) else False

    def has(self, who: Who, privilege: str) -> bool | None:
        """Whether it has a privilege where that matters, from there or from above."""
        level = LEVELS.get(privilege, "FUNCTION")
        owns = False if privilege == MANAGE else self.owns(who, level)
        if owns or _gives(self._listed(level, None), who, privilege):
            return True
        if who == self._around.me():
            by_name = list(self._by_name(who, level))
            if any(_gives(rows, who, privilege) for rows in by_name):
                return True
            is_whole = None not in by_name
        else:
            is_whole = self._sees_all(level)
        return False if is_whole and owns is False and who.groups is not None else None

    def holders(self, privilege: str) -> list[str] | None:
        """Principals that are listed with a privilege on the model; None where we are not shown all."""
        rows = self._listed("FUNCTION", None)
        if rows is None or not self._sees_all("FUNCTION"):
            return None
        return [name for name, given in rows.items() if privilege in given]

    def grants(self, who: Who, level: str, privilege: str) -> list[tuple[str, str, str]]:
        """By which grants it is seen to have a privilege there: level and name of what was granted, and to whom."""
        rows = (each for each in (self._listed(level, None), *self._by_name(who, level)) if each)
        return sorted(
            {
                (*where, name)
                for each in rows
                for name, given in each.items()
                if name.casefold() in who.names
                for where in given.get(privilege, ())
            }
        )

    def given_to(self, who: Who, level: str) -> frozenset[str]:
        """What is seen to be granted to it, there or above."""
        rows = [self._listed(level, None), *self._by_name(who, level)]
        return frozenset().union(
            *(given for each in rows if each for name, given in each.items() if name.casefold() in who.names)
        )

    def _by_name(self, who: Who, level: str) -> Iterator[Granted | None]:
        """The same of each of its names: a list of all may leave out what its groups were granted."""
        groups = sorted(who.groups or ())
        for name in [who.name, EVERYBODY, *groups[:_MOST_GROUPS]]:
            yield self._listed(level, name)
        if len(groups) > _MOST_GROUPS:
            yield None

    def _listed(self, level: str, principal: str | None) -> Granted | None:
        try:
            return self._around.granted(level, self.names[level], principal)
        except VendorRefusedError:
            return None

    def _sees_all(self, level: str) -> bool:
        """Whether we are shown what others were granted there: we own it or what is above it, or have MANAGE on it."""
        me, levels = self._around.me(), list(_KINDS)
        if any(self.owns(me, each) for each in levels[: levels.index(level) + 1]):
            return True
        rows = self._listed(level, None) or {}
        return any(MANAGE in given for name, given in rows.items() if name.casefold() in me.names)


def _gives(rows: Granted | None, who: Who, privilege: str) -> bool:
    enough = {privilege} if privilege == MANAGE else {privilege, "ALL_PRIVILEGES"}
    return any(enough & given.keys() for name, given in (rows or {}).items() if name.casefold() in who.names)


def is_group(principal: str) -> bool:
    """Whether an owner's name is that of a group: users have addresses, and service principals UUIDs."""
    return "@" not in principal and _UUID.fullmatch(principal) is None
