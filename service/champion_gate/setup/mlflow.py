"""`champion-gate setup mlflow`: the webhook at the MLflow server, its secret, and the test ping that shows both to work."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.adapters.mlflow.registry import MlflowRegistry
from champion_gate.adapters.mlflow.webhook import EVENTS
from champion_gate.adapters.mlflow.webhooks import PATH, MlflowWebhooks, Webhook
from champion_gate.errors import ConfigurationError, ConflictError, VendorUnavailableError
from champion_gate.settings.env_file import read_env_file, rotate_variable, set_variables
from champion_gate.settings.gates import Gates
from champion_gate.setup.changes import Change, Plan, needing

VARIABLE = "CHAMPION_GATE_MLFLOW_WEBHOOK_SECRET"
NEEDS = (
    "The server needs MLflow 3.3 or later with a database, and a login of yours that may make webhooks. It posts to https and public "
    "addresses only, unless it runs with MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https and MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true."
)
_ENCRYPTION = (
    "The MLflow server must run with a MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY of its own, the same after each restart: else it cannot "
    "read the secret any more, and sends nothing."
)
_PATIENT = Timeouts(read=60.0, total=90.0)  # the server tries its test ping several times
_FIRST = (3, 3)
_RELEASE = re.compile(r"MLflow (\d+)\.(\d+)")


@dataclass(frozen=True)
class Service:
    """What the service is told.

    Attributes:
        hook: where the server is to post to.
        token: makes a fresh secret.
    """

    hook: str
    env_file: Path
    token: Callable[[], str]

    @property
    def secret(self) -> str:
        """The one in the file of variables; empty where there is none yet."""
        return read_env_file(self.env_file).get(VARIABLE, "")


def service_of(gates: Gates, env_file: Path, token: Callable[[], str]) -> Service:
    """What the files say.

    Raises:
        ConfigurationError: naming what is missing.
    """
    url = read_env_file(env_file).get("CHAMPION_GATE_PUBLIC_URL", "").rstrip("/")
    problems = [] if url else [f"CHAMPION_GATE_PUBLIC_URL: is missing in {env_file}"]
    if not gates.registry.startswith("http"):
        problems.append(f"registry: found {gates.registry!r}; only an MLflow server has webhooks")
    if problems:
        raise ConfigurationError(problems)
    return Service(f"{url}{PATH}", env_file, token)


class ServerWebhook:
    """The one webhook of an MLflow server that posts to the service."""

    def __init__(self, gates: Gates, service: Service) -> None:
        """No call is made yet."""
        self._registry = MlflowRegistry(gates.registry, timeouts=_PATIENT)
        self._webhooks = MlflowWebhooks(gates.registry, _PATIENT)
        self._service = service
        self._where = f"webhook of {gates.registry}"

    def add_to(self, plan: Plan, restarted: Callable[[], object]) -> None:
        """Add what has to change.

        Raises:
            ConflictError: the server is too old, or several webhooks post to the service.
            VendorError: the server did not answer or refused.
        """
        self._check_release()
        there, known = self._there(), self._service.secret
        if not known:
            make = partial(self._new_secret, restarted)
            plan.changes.append(Change(f"secret in {self._service.env_file}", (f"+ {VARIABLE}",), make))
        if there is None:
            wanted = f"+ {self._service.hook}, signed, on {', '.join(EVENTS)}"
            plan.changes.append(Change(self._where, (wanted,), self._put))
            plan.remarks.append(_ENCRYPTION)
            return
        told = tuple(f"+ {each}" for each in there.missing)
        more = () if there.is_active else ("- disabled", "+ active")
        told = (*told, *more, *(() if known else ("+ the new secret",)))
        if told:
            plan.changes.append(Change(self._where, told, self._put))

    def rotate(self, plan: Plan, restarted: Callable[[], object]) -> None:
        """Add a new secret, the old one beside it.

        Raises:
            ConflictError: there is no such webhook, or no secret.
            VendorError: the server did not answer or refused.
        """
        if self._there() is None or not self._service.secret:
            raise ConflictError(
                f"There is no {self._where} of ours.", hint="Run this without --rotate first."
            )

        def keep() -> None:
            """First the server gets what the file has, also where an earlier rotation broke off; so one of the two always fits."""
            self._put()
            rotate_variable(self._service.env_file, VARIABLE, self._service.token())
            restarted()

        told = (f"+ {VARIABLE}", f"+ {VARIABLE}_PREVIOUS (the old one)")
        plan.changes.append(Change(f"secret in {self._service.env_file}", told, keep))
        plan.changes.append(Change(self._where, ("+ the new secret",), self._put))
        plan.remarks.append(f"When all is well, take {VARIABLE}_PREVIOUS out of {self._service.env_file}.")

    def tested(self) -> str:
        """Have the server send its test ping: what came of it, in words. Only a signature that fits is answered well.

        Raises:
            VendorError: the server did not answer or refused.
        """
        there = self._there()
        if there is None:
            return "left to do: there is no webhook yet."
        try:
            is_taken, said = self._webhooks.test(there.id)
        except VendorUnavailableError as error:
            is_taken, said = False, error.message
        if is_taken:
            return f"The MLflow server's test ping has arrived with a signature that fits ({said})."
        return (
            f"left to do: the MLflow server's test ping was not taken ({said or 'no answer'}). Start the service, or restart it so that "
            f"it takes the secret; then run this again, with --rotate if it still answers 401. {NEEDS}"
        )

    def _check_release(self) -> None:
        told = self._registry.server_version()
        release = _RELEASE.match(told)
        if release is not None and (int(release[1]), int(release[2])) < _FIRST:
            raise ConflictError(f"The server is {told}, which has no webhooks.", hint=NEEDS)

    def _there(self) -> Webhook | None:
        with needing(NEEDS):
            found = self._webhooks.at(self._service.hook)
        if len(found) > 1:
            raise ConflictError(
                f"{len(found)} webhooks post to {self._service.hook}.", hint="Delete all but one of them."
            )
        return found[0] if found else None

    def _new_secret(self, restarted: Callable[[], object]) -> None:
        set_variables(self._service.env_file, {VARIABLE: self._service.token()})
        restarted()

    def _put(self) -> None:
        there, secret = self._there(), self._service.secret
        with needing(NEEDS):
            if there is None:
                self._webhooks.make(self._service.hook, secret)
            else:
                self._webhooks.put(there, secret)
