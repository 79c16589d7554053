"""Signing in, with an API token or at the identity provider, and out."""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

from flask import Flask, Response, request, url_for

from champion_gate.domain.callers import Attempt, Person
from champion_gate.domain.ports.runtime import Chance
from champion_gate.errors import GateError, NotAuthenticatedError, TooManyAttemptsError
from champion_gate.flow.sessions import LASTS, Sessions
from champion_gate.log import get_logger
from champion_gate.web import cookies
from champion_gate.web.auth import Auth, NotSignedInError, caller, count_refusal, guarded
from champion_gate.web.pages.site import Page, Site
from champion_gate.web.throttle import Attempts, ConcurrencyLimit, source_address

log = get_logger(__name__)

_FORM_CAP = 16 * 1024
_LONGEST_PATH = 1000
_OWN_PATH = re.compile(r"/(?!/)[!-\[\]-~]*")
"""An address on this host: no other one after `//`, no backslash, which browsers take for a slash, nothing invisible."""


class IdentityProvider(Protocol):
    """Where people sign in with an account of theirs."""

    host: str

    def address(self, attempt: Attempt) -> str:
        """Where to send the browser; raises VendorError."""
        ...

    def person(self, attempt: Attempt, answer: dict[str, str]) -> Person:
        """Whom it has signed in; raises NotAuthenticatedError or VendorError."""
        ...


@dataclass(frozen=True)
class Doors:
    """How people come in.

    Attributes:
        provider: None where API tokens alone are taken.
        attempts: counts those who are refused, over the API too.
        waiting: those that wait for vendors, over the API too.
    """

    sessions: Sessions
    provider: IdentityProvider | None
    chance: Chance
    attempts: Attempts
    waiting: ConcurrencyLimit


class SignIn:
    """The views behind `/sign-in` and `/sign-out`."""

    def __init__(self, app: Flask, site: Site, doors: Doors) -> None:
        self._site = site
        self._doors = doors
        app.add_url_rule("/sign-in", "signIn", self.form)
        app.add_url_rule("/sign-in", "signInByToken", self.by_token, methods=["POST"])
        app.register_error_handler(NotSignedInError, self._to_form)
        if doors.provider is not None:
            app.add_url_rule("/sign-in/provider", "signInAtProvider", self.at_provider)
            app.add_url_rule("/sign-in/callback", "signedIn", self.callback)

    @guarded(Auth.NONE)
    def form(self) -> Response:
        """The only page for whoever is not signed in."""
        return self._form(own_path(request.args.get("next", "")))

    @guarded(Auth.VISITOR, body_cap=_FORM_CAP)
    def by_token(self) -> Response:
        """Sign in with the text of an API token."""
        target = own_path(request.form.get("next", ""))
        session_id = self._doors.sessions.begin(request.form.get("token", "").strip())
        if session_id is None:
            return self._refused(target, "This is no API token that counts.")
        return self._begun(session_id, target)

    @guarded(Auth.NONE)
    def at_provider(self) -> Response:
        """Send the browser to the identity provider, with a secret of its own for the way back."""
        provider, target = self._provider(), own_path(request.args.get("next", ""))
        secret = self._secret()
        try:
            address = self._doors.waiting.run(lambda: provider.address(_attempt(secret, target)))
        except GateError as error:
            return self._form(target, error.status, error.message)
        response = self._site.go_on(address)
        cookies.give(response, cookies.VISITOR, secret, cookies.VISIT_LASTS)
        return response

    @guarded(Auth.NONE)
    def callback(self) -> Response:
        """What the browser comes back with from the identity provider."""
        provider, given = self._provider(), request.args.to_dict()
        secret, target = cookies.secret_in(cookies.VISITOR), _target_in(given.get("state", ""))
        attempt = _attempt(secret or self._secret(), target)
        if secret is None or not hmac.compare_digest(given.get("state", "").encode(), attempt.state.encode()):
            return self._refused("/", "This answer belongs to no sign-in of this browser, or to an old one.")
        if "error" in given:
            return self._refused(target, f"{provider.host} says: {given['error']}")
        try:
            person = self._doors.waiting.run(lambda: provider.person(attempt, given))
        except NotAuthenticatedError as refused:
            return self._refused(target, refused.message)
        except GateError as error:
            return self._form(target, error.status, error.message)
        session_id = self._doors.sessions.begin_for(person)
        if session_id is None:
            why = f"{person.actor} has no role here; `api.oidc` in gates.yaml says who has."
            return self._refused(target, why, HTTPStatus.FORBIDDEN)
        return self._begun(session_id, target)

    @Page("/sign-out", "signOut", takes_form=True, reads_form_only=True)
    def sign_out(self) -> Response:
        """End the session."""
        log.info("signed out", actor=caller().actor, address=source_address())
        response = self._site.go_on(url_for("signIn"))
        self._forget(response)
        return response

    def _form(self, target: str, status: int = HTTPStatus.OK, refused: str = "") -> Response:
        secret = cookies.secret_in(cookies.VISITOR) or self._secret()
        response = self._site.render(
            "sign_in.html",
            status=status,
            title="Sign in",
            caller=None,
            warnings=[],
            form_token=cookies.form_token(secret),
            provider=self._doors.provider,
            target=target,
            refused=refused,
        )
        cookies.give(response, cookies.VISITOR, secret, cookies.VISIT_LASTS)
        return response

    def _refused(self, target: str, why: str, status: int = HTTPStatus.UNAUTHORIZED) -> Response:
        """The form again, for somebody who is not known: held back where there are too many such."""
        try:
            count_refusal(self._doors.attempts, why)
        except TooManyAttemptsError as many:
            return self._form(target, many.status, f"{many.message} {many.hint}")
        return self._form(target, status, why)

    def _begun(self, session_id: str, target: str) -> Response:
        """A session of its own id, whatever the browser had before."""
        known = self._doors.sessions.caller(session_id, source_address())
        log.info("signed in", actor=known and known.actor, address=source_address())
        response = self._site.go_on(target)
        self._forget(response)
        cookies.give(response, cookies.SESSION, session_id, LASTS)
        return response

    def _forget(self, response: Response) -> None:
        if (former := cookies.secret_in(cookies.SESSION)) is not None:
            self._doors.sessions.end(former)
        cookies.take(response, cookies.SESSION)
        cookies.take(response, cookies.VISITOR)

    def _to_form(self, _: NotSignedInError) -> Response:
        query = request.query_string.decode("latin-1")
        target = own_path(quote(request.path) + (f"?{query}" if query else ""))
        return self._site.go_on(url_for("signIn", next=None if target == "/" else target))

    def _provider(self) -> IdentityProvider:
        if self._doors.provider is None:
            raise NotAuthenticatedError("Nobody signs in that way here.")
        return self._doors.provider

    def _secret(self) -> str:
        return "".join(self._doors.chance.token() for _ in range(3))


def own_path(given: str) -> str:
    """Where to go on to after signing in: what was given, if it is a page of ours, else the first page."""
    is_own = len(given) <= _LONGEST_PATH and _OWN_PATH.fullmatch(given) is not None
    return given if is_own and not given.startswith("/sign-") else "/"


def _attempt(secret: str, target: str) -> Attempt:
    """What goes to the provider and comes back, made of the visitor's secret: nothing has to be kept meanwhile."""
    bound = base64.urlsafe_b64encode(target.encode()).decode()
    state = f"{cookies.derived(secret, f'state {target}')}.{bound}"
    return Attempt(state, cookies.derived(secret, "nonce"), cookies.derived(secret, "verifier"))


def _target_in(state: str) -> str:
    """Where a sign-in goes on to; unverified."""
    try:
        return own_path(base64.urlsafe_b64decode(state.partition(".")[2]).decode())
    except ValueError:
        return "/"
