"""What is made sure of before the service starts: its settings, its port, and which jobs its gates name."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack

from champion_gate import __version__
from champion_gate.bootstrap.configuration import load_settings
from champion_gate.errors import GateError
from champion_gate.settings.loading import Settings

_NAMES_SECONDS = 5.0  # a person waits at the terminal for names that only explain


class PortInUseError(GateError):
    """The service cannot listen where it should."""

    code = "port_in_use"
    retryable = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"Port {port} of {host} is in use.",
            hint="Is the service running already? Else choose another port: --port, or CHAMPION_GATE_PORT.",
        )


def load_serving_settings() -> Settings:
    """The same, for a process that has to call Databricks, if gates need it.

    Raises:
        ConfigurationError: naming every problem, also why no call could ever be made; none is made here.
    """
    from champion_gate.errors import ConfigurationError
    from champion_gate.settings.databricks import credential_problems

    problems = credential_problems(os.environ)
    try:
        settings = load_settings(os.environ)
    except ConfigurationError as error:
        raise ConfigurationError(list(dict.fromkeys([*error.problems, *problems]))) from None
    if problems and settings.uses_databricks:
        raise ConfigurationError(problems)
    return settings


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
