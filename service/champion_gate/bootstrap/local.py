"""What the command line works with: settings, API and core of this process's own environment."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, TypeVar, cast

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import SystemChance, SystemClock, build_core
from champion_gate.bootstrap.databases import local_database_url, open_local_store, without_password
from champion_gate.domain.aliases import ManagedAliases
from champion_gate.domain.callers import Caller, Role, is_callers_name
from champion_gate.flow.api_tokens import ApiTokens
from champion_gate.flow.identities import Identities
from champion_gate.flow.operator_steps import StepOrders
from champion_gate.settings.loading import Settings

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from champion_gate.domain.ports.runtime import WakeUps
    from champion_gate.settings.credentials import ApiAccess
    from champion_gate.store import Store

T = TypeVar("T")


def load_local_settings() -> Settings:
    """Settings out of this process's environment."""
    return load_settings(os.environ)


def local_api(store: Store) -> FlaskClient:
    """The API on a store, called in this process as whoever runs the command; errors are raised.

    What works on rows alone needs no setting but the database's address, and no vendor's client, whose import takes
    seconds. What is left to be done, a running service does.
    """
    from champion_gate.web.app import Access, Operations, create_app

    clock, token = SystemClock(), secrets.token_urlsafe()
    wake_ups = _when_used(_local_wake_ups)
    core = _when_used(lambda: build_core(load_local_settings(), store=store, wake_ups=wake_ups))
    app = create_app(
        store=store,
        wake_ups=wake_ups,
        clock=clock,
        access=Access(authenticate=lambda text, _address: local_caller() if text == token else None),
        checks=(),
        operations=Operations(
            store=store,
            clock=clock,
            registry=_when_used(lambda: core.context.registry),
            promotion_orders=_when_used(lambda: core.promotion_orders),
            alias_orders=_when_used(lambda: core.alias_orders),
            step_orders=StepOrders(store, wake_ups, clock),
            identities=Identities(store, clock),
            managed=_when_used(_local_managed_aliases),
        ),
        raises=True,
    )
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def _local_wake_ups() -> WakeUps:
    from champion_gate.work.queue import HueyWakeUps

    return HueyWakeUps()


def _local_managed_aliases() -> ManagedAliases:
    """Those of the core, without its adapters and secrets: gates.yaml is enough."""
    from champion_gate.bootstrap.configuration import load_environments_gates

    gates = load_environments_gates(os.environ)
    return ManagedAliases(
        gates.gates, gates.aliases, registry=gates.registry, folds_case=gates.on_unity_catalog
    )


def _when_used(make: Callable[[], T]) -> T:
    """What stands for something that is made when it is first used."""
    from werkzeug.local import LocalProxy

    return cast("T", LocalProxy(cache(make)))


@contextmanager
def open_local_api() -> Iterator[FlaskClient]:
    """The same on the local store."""
    with open_local_store() as store:
        yield local_api(store)


def send_test_notice(name: str) -> str:
    """Send a test message by a notice, and say what came of it.

    Raises:
        ConfigurationError: naming every problem; or there is no such notice.
        VendorError: it was not taken.
    """
    from champion_gate.bootstrap.vendors import notice_senders
    from champion_gate.domain.notice_messages import Messages
    from champion_gate.errors import ConfigurationError

    settings, clock = load_local_settings(), SystemClock()
    sender = notice_senders(settings, clock).get(name)
    if sender is None:
        names = ", ".join(each.name for each in settings.gates.notices) or "none are there"
        raise ConfigurationError([f"NAME: found {name!r}; expected a notice of gates.yaml: {names}"])
    message = Messages(settings.environment.public_url).of_test(clock.now())
    return sender.send(message, f"test-{SystemChance().token()}")


@contextmanager
def open_local_tokens() -> Iterator[ApiTokens]:
    """The API tokens of the local store."""
    with open_local_store() as store:
        yield ApiTokens(store, SystemClock(), SystemChance())


def local_caller() -> Caller:
    """Who runs the command: whoever may read the database and its secrets may do everything."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name  # getpass believes LOGNAME, where anything may stand
    except KeyError:  # in a container there may be no name for the user id
        user = ""
    actor = user if is_callers_name(user) else f"uid {os.getuid()}"
    return Caller(actor=actor, role=Role.OPERATOR, authenticated_by="command line")


def api_access(url: str | None) -> ApiAccess | None:
    """Which service to talk to, by the option or this process's environment; None for the local database.

    Raises:
        ConfigurationError: the address or the token cannot be used.
    """
    from champion_gate.bootstrap.configuration import load_api_access

    return load_api_access(os.environ, url)


def local_instead_of_api() -> str | None:
    """The local database, without a password, where the environment names a service beside it; else None."""
    if not os.environ.get("CHAMPION_GATE_API_URL", "").strip():
        return None
    return without_password(local_database_url())
