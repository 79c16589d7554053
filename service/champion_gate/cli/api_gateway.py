"""The commands over a service's API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from champion_gate.adapters.http.client import joined
from champion_gate.cli.api_calls import ApiCalls, unreadable
from champion_gate.cli.gateway import Json
from champion_gate.domain.names import check_alias, check_model, check_version
from champion_gate.errors import InvalidInputError

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PROVIDER = re.compile(r"[a-z]+(:[A-Za-z0-9.:\[\]-]{1,255})?")
_LOGIN = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,255}")


class ApiGateway:
    """Fulfils `Gateway`; names are checked and encoded before they enter a URL."""

    def __init__(self, calls: ApiCalls) -> None:
        self._calls = calls

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calls.close()

    # --- aliases ----------------------------------------------------------------------------------------------

    def alias(self, model: str, alias: str) -> Json:
        """Where an alias stands now."""
        return self._calls.json("GET", _alias_path(model, alias))

    def put_alias(
        self, model: str, alias: str, version: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Set it; `only_if` names the version on which it must still be."""
        body = {"version": check_version(version), "reason": reason, "override_hold": override_hold}
        return self._calls.json("PUT", _alias_path(model, alias), body=body, headers=_if_match(only_if))

    def delete_alias(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Remove it from the version that it is on."""
        query = {"reason": reason, "override_hold": "true" if override_hold else "false"}
        return self._calls.json("DELETE", _alias_path(model, alias), query=query, headers=_if_match(only_if))

    def roll_back(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Put it back on the version before, and on hold; `only_if` names the version on which it must still be."""
        body = {"reason": reason, "override_hold": override_hold}
        path = _alias_path(model, alias, "rollback")
        return self._calls.json("POST", path, body=body, headers=_if_match(only_if))

    def hold(self, model: str, alias: str, *, reason: str) -> Json:
        """Keep it where it is."""
        return self._calls.json("PUT", _alias_path(model, alias, "hold"), body={"reason": reason})

    def release(self, model: str, alias: str, *, reason: str) -> Json:
        """End its hold."""
        return self._calls.json("DELETE", _alias_path(model, alias, "hold"), query={"reason": reason})

    def history(self, model: str, alias: str, *, cursor: str | None, limit: int) -> Json:
        """Its `lines` of the ledger, newest first, and a `cursor`."""
        path = _alias_path(model, alias, "history")
        return self._list(path, "lines", {"cursor": cursor, "limit": str(limit)})

    # --- promotions -------------------------------------------------------------------------------------------

    def promotions(
        self, *, cursor: str | None, limit: int, model: str | None = None, phase: str | None = None
    ) -> Json:
        """One part of the `promotions`, newest first, and a `cursor`."""
        query = {"model": model, "phase": phase, "cursor": cursor, "limit": str(limit)}
        return self._list("/promotions", "promotions", query)

    def promotion(self, promotion_id: str) -> Json:
        """One promotion, with its `follow_ups` and its lines of the `ledger`."""
        return self._calls.json("GET", _path("promotions", promotion_id))

    def receipt(self, promotion_id: str) -> Json:
        """What an auditor keeps of it."""
        return self._calls.json("GET", _path("promotions", promotion_id, "receipt"))

    def evidence(self, promotion_id: str) -> str:
        """What the reviewer was shown, as Markdown."""
        return self._calls.raw("GET", _path("promotions", promotion_id, "evidence.md")).decode(
            errors="replace"
        )

    def ask(self, gate: str, version: str, *, job_run_id: str | None, reason: str) -> Json:
        """Ask for approval of a version by hand; the promotion."""
        body = {"gate": gate, "version": check_version(version), "reason": reason}
        if job_run_id is not None:
            body["job_run_id"] = job_run_id
        return self._calls.json("POST", "/promotions", body=body)

    def cancel(self, promotion_id: str, *, reason: str) -> Json:
        """Order its end; the promotion."""
        return self._calls.json("POST", _path("promotions", promotion_id, "cancel"), body={"reason": reason})

    def retry(self, promotion_id: str, *, reason: str | None) -> Json:
        """Take it up again; the promotion that goes on, which may be a fresh one."""
        body = {} if reason is None else {"reason": reason}
        return self._calls.json("POST", _path("promotions", promotion_id, "retry"), body=body)

    # --- notifications ----------------------------------------------------------------------------------------

    def notifications(self, *, cursor: str | None, limit: int, phase: str | None = None) -> Json:
        """One part of the `notifications`, newest first, and a `cursor`."""
        query = {"phase": phase, "cursor": cursor, "limit": str(limit)}
        return self._list("/notifications", "notifications", query)

    def notification(self, notification_id: str) -> Json:
        """One notification."""
        return self._calls.json("GET", _path("notifications", notification_id))

    def replay(self, notification_id: str) -> Json:
        """Have its run looked at again; the notification."""
        return self._calls.json("POST", _path("notifications", notification_id, "replay"))

    # --- identities -------------------------------------------------------------------------------------------

    def identities(self) -> Json:
        """Every login that is remembered, with its accounts."""
        found = self._calls.json("GET", "/identities")
        if not _is_rows(found.get("identities")):
            raise unreadable("GET /identities")
        return found

    def accept_identity(self, provider: str, login: str, *, reason: str, user_id: str | None) -> Json:
        """Let a login stand for the account that has it now; the login."""
        body = {"reason": reason, **({} if user_id is None else {"user_id": user_id})}
        return self._calls.json("POST", _identity_path(provider, login, "accept"), body=body)

    def forget_identity(self, provider: str, login: str, *, reason: str) -> Json:
        """Forget what a login stood for; what was remembered."""
        return self._calls.json("POST", _identity_path(provider, login, "forget"), body={"reason": reason})

    def _list(self, path: str, name: str, query: Mapping[str, str | None]) -> Json:
        found = self._calls.json("GET", path, query=query)
        items, cursor = found.get(name), found.get("cursor")
        if not _is_rows(items) or not isinstance(cursor, str | None):
            raise unreadable(f"GET {path}")
        return found


def _is_rows(items: object) -> bool:
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _identity_path(provider: str, login: str, order: str) -> str:
    if not _PROVIDER.fullmatch(provider):
        raise InvalidInputError(f"{provider!r} is no provider.", hint="Write github, github:HOST or gitlab.")
    if not _LOGIN.fullmatch(login):
        raise InvalidInputError(f"{login!r} is no login.")
    return joined("identities", provider, login, order)


def _alias_path(model: str, alias: str, *more: str) -> str:
    # Whether the name must have three levels is the service's to know; the wider rule keeps it out of the URL.
    checked = check_model(model, three_level=False)
    return joined("models", checked, "aliases", check_alias(alias), *more)


def _path(kind: str, row_id: str, *more: str) -> str:
    if not _ID.fullmatch(row_id):
        raise InvalidInputError(f"{row_id!r} is no id of a row under {kind}.")
    return joined(kind, row_id, *more)


def _if_match(only_if: str | None) -> dict[str, str]:
    return {} if only_if is None else {"If-Match": f'"{check_version(only_if)}"'}
