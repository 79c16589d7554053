"""What the command line works with: settings, store and core of this process's own environment."""

from __future__ import annotations

import errno
import os
import pwd
import secrets
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from champion_gate import __version__
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import SystemChance, SystemClock, build_core
from champion_gate.domain.aliases import ManagedAliases
from champion_gate.domain.callers import Caller, Role, is_callers_name
from champion_gate.errors import GateError
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

_NAMES_SECONDS = 5.0  # a person waits at the terminal for names that only explain
_SECRET_PARAMETERS = ("password", "sslpassword")
"""Of PostgreSQL's connection URIs (postgresql.org, "Parameter Key Words")."""


class PortInUseError(GateError):
    """The service cannot listen where it should."""

    code = "port_in_use"
    retryable = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} of {host} is in use.",
            hint="Is the service running already? Else choose another port: --port, or CHAMPION_GATE_PORT.",
        )


def load_local_settings() -> Settings:
    """Settings out of this process's environment."""
    return load_settings(os.environ)


def load_serving_settings() -> Settings:
    """The same, for a process that has to call Databricks, if gates need it.

    Raises:
        ConfigurationError: naming every problem, also why no call could ever be made; none is made here.
    """
    from champion_gate.errors import ConfigurationError
    from champion_gate.settings.databricks import credential_problems

    problems = credential_problems(os.environ)
    try:
        settings = load_local_settings()
    except ConfigurationError as error:
        raise ConfigurationError(list(dict.fromkeys([*error.problems, *problems]))) from None
    if problems and settings.uses_databricks:
        raise ConfigurationError(problems)
    return settings


def _local_database_url() -> str:
    from champion_gate.bootstrap.configuration import load_environment

    return load_environment(os.environ).database_url.get_secret_value()


@contextmanager
def open_local_store() -> Iterator[Store]:
    """The store of this process's environment; needs no other setting than its address."""
    from champion_gate.errors import ConfigurationError
    from champion_gate.store.store import command_line_token, open_store

    url = _local_database_url()
    file = sqlite_file(url)
    if file is not None and file.parent.is_dir() and not file.exists():  # SQLite would make an empty one
        raise ConfigurationError([f"the database {url} is not there; to make it: champion-gate migrate"])
    with usable(url), open_store(url, token=command_line_token) as store:
        store.check()
        yield store


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
    return _without_password(_local_database_url())


def migrate_local() -> str:
    """Create or upgrade the tables of this process's environment, and return the database without a password."""
    url = _local_database_url()
    migrate_database(url)
    return _without_password(url)


def copy_store(source_url: str, target_url: str | None) -> tuple[str, int]:
    """Create the tables of a database, by default this environment's, and fill them from one of SQLite.

    Returns:
        The target without a password, and how many lines its ledger has.

    Raises:
        ConfigurationError, ConflictError: see `store.backup.copy_into`; or the source is no file of SQLite's.
    """
    from champion_gate.errors import ConfigurationError
    from champion_gate.store import open_store
    from champion_gate.store.backup import copy_into

    target_url = target_url or _local_database_url()
    file = Path(source_url.removeprefix("sqlite:///"))
    if not source_url.startswith("sqlite:///") or not file.is_file():
        raise ConfigurationError(["SOURCE: expected sqlite:///FILE of a database that is there"])
    with usable(source_url), open_store(source_url) as store:
        store.check()
    migrate_database(target_url)
    with usable(target_url):
        return _without_password(target_url), copy_into(file, target_url)


def back_up_local(target: Path) -> tuple[str, int | None, str | None]:
    """Copy the local database into a file; on PostgreSQL nothing is done.

    Returns:
        The database without a password; how many lines the copy's ledger has; and on PostgreSQL, instead of the
        lines, the command that makes the copy.
    """
    from champion_gate.store.backup import copy_whole

    url = _local_database_url()
    shown = _without_password(url)
    file = sqlite_file(url)
    if file is None:
        return (
            shown,
            None,
            f"pg_dump --format=custom --file={shlex.quote(str(target))} {shlex.quote(_libpq(url))}",
        )
    with usable(url):
        return shown, copy_whole(file, target), None


def restore_local(backup: Path) -> tuple[str, int, Path | None]:
    """Put a backup in the place of the local database.

    Returns:
        The database; how many lines its ledger has; and where the former one is now, if there was one.

    Raises:
        ConflictError: see `store.backup.put_back`; or the database is PostgreSQL.
    """
    from champion_gate.errors import ConflictError
    from champion_gate.store.backup import put_back

    url = _local_database_url()
    file = sqlite_file(url)
    if file is None:
        raise ConflictError(
            "The database is PostgreSQL, which has its own way back.",
            # Into a newer release's tables --clean would leave those that the dump lacks, and no migration goes on then.
            hint="Stop every replica, and give this name to a new, empty database. Then: "
            f"pg_restore --exit-on-error --single-transaction --dbname={shlex.quote(_libpq(url))} {shlex.quote(str(backup))}",
        )
    with usable(f"sqlite:///{backup.absolute()}"):
        lines, former = put_back(backup, file)
    migrate_database(url)
    return _without_password(url), lines, former


def sqlite_file(database_url: str) -> Path | None:
    """The database's file; None where it is no SQLite."""
    from sqlalchemy import make_url

    url = make_url(database_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _libpq(database_url: str) -> str:
    """The URL for PostgreSQL's own programs, without a password: they take it from PGPASSWORD or ~/.pgpass."""
    from sqlalchemy import make_url

    # `set` takes no None for "none".
    url = make_url(database_url)._replace(drivername="postgresql", password=None)
    return url.difference_update_query(_SECRET_PARAMETERS).render_as_string()


def _without_password(database_url: str) -> str:
    from sqlalchemy import make_url

    url = make_url(database_url).difference_update_query(_SECRET_PARAMETERS)
    return url.render_as_string(hide_password=True)


def migrate_database(database_url: str) -> None:
    """Create or upgrade the tables."""
    from champion_gate.store.schema import migrate

    with usable(database_url):
        migrate(database_url)


@contextmanager
def usable(database_url: str) -> Iterator[None]:
    """Say in words that a database cannot be used; its drivers raise whatever they like."""
    import sqlite3

    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from champion_gate.errors import StoreUnavailableError

    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        why = str(error.orig if isinstance(error, DBAPIError) else error).strip().partition("\n")[0]
        raise StoreUnavailableError(
            f"The database {_without_password(database_url)} cannot be used: {why}.",
            hint="Is CHAMPION_GATE_DATABASE_URL right, and may this user write there?",
        ) from error


def check_local_config() -> str:
    """What the configuration does, in words.

    Raises:
        ConfigurationError: naming every problem, as `serve` does before it calls anybody.
    """
    from champion_gate.settings.explaining import explain

    return explain(load_serving_settings().gates)


def check_port(host: str, port: int) -> None:
    """Make sure that the service can listen there; raises as `listening` does, for gunicorn tries for seconds, and says little."""
    listening(host, port).close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there, so that nobody else can.

    Args:
        host: an address or a name.
        port: 0 is any free one.

    Raises:
        PortInUseError: another process listens there.
        ConfigurationError: this machine has no such address, or this user may not listen there.
    """
    from champion_gate.errors import ConfigurationError

    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as unless_it_listens:
            found = unless_it_listens.enter_context(socket.socket(family))
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen()
            unless_it_listens.pop_all()
            return found
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(host, port) from error
        why = f"the service cannot listen on {host}, port {port}: {error.strerror}."
        raise ConfigurationError([why]) from error


def check_job_names(settings: Settings) -> None:
    """Make sure that each job name in gates.yaml means one job. Asks Databricks only if there are names.

    Raises:
        ConfigurationError: several jobs, or none, bear a name.
        VendorError: Databricks does not answer; the names are then checked whenever they are met.
    """
    from champion_gate.adapters.databricks.connection import import_sdk
    from champion_gate.adapters.databricks.job_runs import DatabricksJobRuns, connect
    from champion_gate.adapters.http.deadline import Timeouts
    from champion_gate.errors import ConfigurationError

    named = [(gate.name, name) for gate in settings.gates.gates for name in sorted(gate.job_names)]
    if not named:
        return
    import_sdk()  # whose seconds the time-outs do not bound
    # Little: the service must come up soon, also while Databricks is away.
    timeouts = Timeouts(connect=_NAMES_SECONDS, read=_NAMES_SECONDS, total=_NAMES_SECONDS)
    job_runs = DatabricksJobRuns(connect(product_version=__version__, timeouts=timeouts))
    problems = []
    for gate, name in named:
        ids = job_runs.jobs_named(name)
        if len(ids) != 1:
            found = (
                f"{len(ids)} jobs bear it ({', '.join(ids)})" if ids else "no job that we may see bears it"
            )
            problems.append(
                f"jobs of gate {gate}: {name!r}: {found}; expected exactly one. Write the job's id."
            )
    if problems:
        raise ConfigurationError(problems)
