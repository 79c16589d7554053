"""The API's operations, over a service's API or on the app in this process: the same answers from both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from champion_gate.domain.aliases import check_reason
from champion_gate.domain.json_body import UnusableBodyError, json_object
from champion_gate.domain.names import check_alias, check_model, check_version, is_row_id, joined
from champion_gate.domain.text import one_line
from champion_gate.errors import GateError, InvalidInputError, VendorUnavailableError

if TYPE_CHECKING:
    from flask.testing import FlaskClient

Json = dict[str, Any]
"""A JSON object as the API answers it."""

ROOT = "/api/v1"
PROBLEM = "application/problem+json"
TRY_AGAIN = frozenset({408, 429, 502, 503, 504})
_TRY_AGAIN_CODES = frozenset({"alias_busy", "lease_lost"})
_LONGEST_TEXT = 2000
PART = 100  # items that are read at a time
_PROVIDER = re.compile(r"[a-z]+(:[A-Za-z0-9.:\[\]-]{1,255})?")
_LOGIN = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,255}")


@dataclass(frozen=True)
class Call:
    """One call of the API.

    Attributes:
        path: below /api/v1, already encoded.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def acts(self) -> bool:
        """Whether it may change something."""
        return self.method != "GET"

    def unreadable(self, what: str = "something that cannot be read") -> VendorUnavailableError:
        """An answer that is not what the API promises."""
        return VendorUnavailableError(
            "the service",
            f"{self.method} {self.path} was answered with {what}.",
            hint="Is this the service's address, and of this version? A proxy before it may want people to sign in.",
            outcome_unknown=self.acts,
        )


class Transport(Protocol):
    """Carries calls."""

    def send(self, call: Call) -> bytes:
        """The body of a good answer.

        Raises:
            GateError: the API said no, or there was no answer.
        """
        ...


class ServiceError(GateError):
    """The service said no; status, code, text and hint are its own."""

    def __init__(self, status: int, problem: Mapping[str, object]) -> None:
        """Keep nothing of it that a terminal could obey.

        Args:
            status: of the answer.
            problem: its body, as RFC 9457 has it.
        """

        def text(name: str) -> str:
            return one_line(str(problem.get(name) or ""), _LONGEST_TEXT)

        super().__init__(text("detail") or f"The service answered {status}.", hint=text("hint"))
        self.status = status
        self.code = text("code")
        # A vendor's refusal is 502 too, and helps nobody to repeat.
        self.retryable = (status in TRY_AGAIN and status != HTTPStatus.BAD_GATEWAY) or (
            self.code in _TRY_AGAIN_CODES
        )


class InProcess:
    """Calls the app in this process; its errors come as they were raised."""

    def __init__(self, app: FlaskClient) -> None:
        """Nothing is called yet.

        Args:
            app: calls it as whoever runs the command.
        """
        self._app = app

    def send(self, call: Call) -> bytes:
        """As the protocol says."""
        answer = self._app.open(
            f"{ROOT}{call.path}",
            method=call.method,
            query_string=call.query,
            json=call.body,
            headers=call.headers,
        )
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise ServiceError(answer.status_code, json_or_none(answer.get_data()) or {})
        return answer.get_data()


class Client:
    """Names are checked and encoded before they enter a path. Every operation may raise GateError."""

    def __init__(self, transport: Transport) -> None:
        """Nothing is called yet.

        Args:
            transport: carries the calls.
        """
        self._transport = transport

    # --- aliases ----------------------------------------------------------------------------------------------

    def alias(self, model: str, alias: str) -> Json:
        """Where an alias stands now."""
        return self._call("GET", _alias_path(model, alias))

    def put_alias(
        self, model: str, alias: str, version: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Set it; `only_if` names the version on which it must still be."""
        body = {"version": check_version(version), **_because(reason), "override_hold": override_hold}
        return self._call("PUT", _alias_path(model, alias), body=body, headers=_if_match(only_if))

    def delete_alias(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Remove it from the version that it is on."""
        query = {**_because(reason), "override_hold": "true" if override_hold else "false"}
        return self._call("DELETE", _alias_path(model, alias), query=query, headers=_if_match(only_if))

    def roll_back(
        self, model: str, alias: str, *, reason: str, only_if: str | None, override_hold: bool
    ) -> Json:
        """Put it back on the version before, and on hold; `only_if` names the version on which it must still be."""
        body = {**_because(reason), "override_hold": override_hold}
        path = _alias_path(model, alias, "rollback")
        return self._call("POST", path, body=body, headers=_if_match(only_if))

    def hold(self, model: str, alias: str, *, reason: str) -> Json:
        """Keep it where it is."""
        return self._call("PUT", _alias_path(model, alias, "hold"), body=_because(reason))

    def release(self, model: str, alias: str, *, reason: str) -> Json:
        """End its hold."""
        return self._call("DELETE", _alias_path(model, alias, "hold"), query=_because(reason))

    def history(self, model: str, alias: str) -> Iterator[Json]:
        """Its lines of the ledger, newest first."""
        return self._items(_alias_path(model, alias, "history"), "lines")

    # --- promotions -------------------------------------------------------------------------------------------

    def promotions(self, *, model: str | None = None, phase: str | None = None) -> Iterator[Json]:
        """All promotions, or those of a model or phase, newest first."""
        return self._items("/promotions", "promotions", model=model, phase=phase)

    def promotion(self, promotion_id: str) -> Json:
        """One promotion, with its `steps` and its lines of the `ledger`."""
        return self._call("GET", _path("promotions", promotion_id))

    def receipt(self, promotion_id: str) -> Json:
        """What an auditor keeps of it."""
        return self._call("GET", _path("promotions", promotion_id, "receipt"))

    def evidence(self, promotion_id: str) -> str:
        """What the reviewer was shown, as Markdown."""
        path = _path("promotions", promotion_id, "evidence.md")
        return self._transport.send(Call("GET", path)).decode(errors="replace")

    def ask(self, gate: str, version: str, *, job_run_id: str | None, reason: str) -> Json:
        """Ask for approval of a version by hand; the promotion."""
        body = {"gate": gate, "version": check_version(version), **_because(reason)}
        if job_run_id is not None:
            body["job_run_id"] = job_run_id
        return self._call("POST", "/promotions", body=body)

    def cancel(self, promotion_id: str, *, reason: str) -> Json:
        """Order its end; the promotion."""
        return self._call("POST", _path("promotions", promotion_id, "cancel"), body=_because(reason))

    def retry(self, promotion_id: str, *, reason: str | None) -> Json:
        """Take it up again; the promotion that goes on, which may be a fresh one."""
        body = {} if reason is None else _because(reason)
        return self._call("POST", _path("promotions", promotion_id, "retry"), body=body)

    # --- steps ------------------------------------------------------------------------------------------------

    def alias_steps(self, model: str, alias: str) -> Json:
        """Its `steps`: what follows the alias's latest move."""
        return self._call("GET", _alias_path(model, alias, "steps"))

    def retry_step(self, step_id: str, *, reason: str | None) -> Json:
        """Take it up again; the step."""
        body = {} if reason is None else _because(reason)
        return self._call("POST", _path("steps", step_id, "retry"), body=body)

    def skip_step(self, step_id: str, *, reason: str) -> Json:
        """Have nothing try it any more; the step."""
        return self._call("POST", _path("steps", step_id, "skip"), body=_because(reason))

    # --- notifications ----------------------------------------------------------------------------------------

    def notifications(self, *, phase: str | None = None) -> Iterator[Json]:
        """All notifications, or those in a phase, newest first."""
        return self._items("/notifications", "notifications", phase=phase)

    def notification(self, notification_id: str) -> Json:
        """One notification."""
        return self._call("GET", _path("notifications", notification_id))

    def replay(self, notification_id: str) -> Json:
        """Have its run looked at again; the notification."""
        return self._call("POST", _path("notifications", notification_id, "replay"))

    # --- identities -------------------------------------------------------------------------------------------

    def identities(self) -> Json:
        """The `identities`: every login that is remembered, with its accounts."""
        return self._call("GET", "/identities")

    def accept_identity(self, provider: str, login: str, *, reason: str, user_id: str | None) -> Json:
        """Let a login stand for the account that has it now (only if it is `user_id`); the login."""
        body = {**_because(reason), **({} if user_id is None else {"user_id": user_id})}
        return self._call("POST", _identity_path(provider, login, "accept"), body=body)

    def forget_identity(self, provider: str, login: str, *, reason: str) -> Json:
        """Forget what a login stood for; what was remembered."""
        return self._call("POST", _identity_path(provider, login, "forget"), body=_because(reason))

    # --- calls ------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, **more: Any) -> Json:
        call = Call(method, path, **more)
        found = json_or_none(self._transport.send(call))
        if found is None:
            raise call.unreadable()
        return found

    def _items(self, path: str, name: str, **query: str | None) -> Iterator[Json]:
        """The items of a list that comes in parts, each part read when its items are asked for."""
        given = {key: value for key, value in query.items() if value is not None}
        cursor: object = None
        while True:
            more = {} if cursor is None else {"cursor": str(cursor)}
            call = Call("GET", path, {**given, **more, "limit": str(PART)})
            found = json_or_none(self._transport.send(call)) or {}
            items, cursor = found.get(name), found.get("cursor")
            if not isinstance(items, list) or not isinstance(cursor, str | None):
                raise call.unreadable()
            if not all(isinstance(each, dict) for each in items):
                raise call.unreadable()
            yield from items
            if cursor is None:
                return


def first(items: Iterator[Json], limit: int) -> tuple[list[Json], bool]:
    """The first items, and whether there are more."""
    found = list(islice(items, limit + 1))
    return found[:limit], len(found) > limit


def json_or_none(body: bytes) -> dict[str, Any] | None:
    """The JSON object that a body is; None where it is none."""
    try:
        return json_object(body)
    except UnusableBodyError:
        return None


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
    if not is_row_id(row_id):
        raise InvalidInputError(f"{row_id!r} cannot be the id of a {kind.removesuffix('s')}.")
    return joined(kind, row_id, *more)


def _because(reason: str) -> dict[str, str]:
    return {"reason": check_reason(reason)}


def _if_match(only_if: str | None) -> dict[str, str]:
    return {} if only_if is None else {"If-Match": f'"{check_version(only_if)}"'}
