"""The login of the person who runs a setup command; what the service signs in with is refused there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from champion_gate import __version__
from champion_gate.bootstrap.vendors import VENDORS
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import ConfigurationError
from champion_gate.settings.databricks import databricks_settings
from champion_gate.settings.env_file import read_env_file
from champion_gate.settings.environment import Environment, read_environment
from champion_gate.settings.gates import Gates
from champion_gate.settings.loading import load_gates

if TYPE_CHECKING:
    from champion_gate.adapters.databricks.connection import DatabricksConnection

_LOGIN = ("DATABRICKS_", "ARM_")
_OF_PROFILES = "DATABRICKS_CONFIG_FILE"


def take_env_file(path: Path) -> None:
    """Let this process have the variables of a file, in place of those of its own that they stand for.

    Where the file says who signs in to Databricks, nothing else of the environment says so too.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    given = read_env_file(path)
    if any(name.startswith(_LOGIN) for name in given):
        _drop_login()
    os.environ.update(given)


def given_to_service(config: Path, env_file: Path) -> tuple[Environment, Gates]:
    """What the service reads, by its file of variables alone: nothing of the person's shell.

    Raises:
        ConfigurationError: naming what is wrong with either file; missing secrets do not matter here.
    """
    variables = {**read_env_file(env_file), f"{PREFIX}CONFIG": str(config)}
    environment, problems = read_environment(variables, VENDORS)
    if problems:
        raise ConfigurationError(problems)
    return environment, load_gates(environment.config, VENDORS)


def databricks_of_person(profile: str | None, service: Mapping[str, str]) -> DatabricksConnection:
    """A connection to the workspace as the person; no call is made.

    Args:
        profile: of ~/.databrickscfg; None takes what the shell or the default profile says.
        service: the service's variables.

    Raises:
        ConfigurationError: the shell's credentials are the service's, or cannot be used.
    """
    from champion_gate.adapters.databricks.connection import connect

    if profile is not None:
        _drop_login()
        return connect(product_version=__version__, config_overrides={"profile": profile})
    overrides, problems = databricks_settings(os.environ)
    names = ("DATABRICKS_CLIENT_ID", "DATABRICKS_TOKEN")
    problems += _of_service(names, service, "give --profile, or unset it")
    if problems:
        raise ConfigurationError(problems)
    return connect(product_version=__version__, config_overrides=overrides)


def check_mlflow_login(service: Mapping[str, str]) -> None:
    """See that the login for the MLflow server, which mlflow reads itself, is the person's.

    Raises:
        ConfigurationError: it is the service's.
    """
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN")
    if problems := _of_service(names, service, "set your own"):
        raise ConfigurationError(problems)


def token_of_person(names: tuple[str, ...], service: Mapping[str, str]) -> str:
    """The person's token for a CI/CD system, out of the first of these variables that is set.

    Raises:
        ConfigurationError: there is none, or it is one of the service's.
    """
    found = next((name for name in names if os.environ.get(name, "").strip()), None)
    if found is None:
        raise ConfigurationError([f"{' or '.join(names)}: is missing; expected a token of your own"])
    token = os.environ[found].strip()
    if token in service.values():
        raise ConfigurationError([f"{found}: is one of the service's tokens; setup runs as you"])
    return token


def _of_service(names: Iterable[str], service: Mapping[str, str], otherwise: str) -> list[str]:
    return [
        f"{name}: is the service's own; setup runs as you ({otherwise})"
        for name in names
        if service.get(name) and service[name] == os.environ.get(name)
    ]


def _drop_login() -> None:
    for name in [name for name in os.environ if name.startswith(_LOGIN) and name != _OF_PROFILES]:
        del os.environ[name]
