"""The credentials that are no vendor's: what Databricks' hook shows us, and what the command line shows a service."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from champion_gate.domain.addresses import web_address
from champion_gate.domain.ports.approval import Vendor
from champion_gate.domain.vendors import PREFIX, label, missing, shared_secret_problems
from champion_gate.errors import ConfigurationError
from champion_gate.settings.environment import Environment, read_environment

_UNSAFE = re.compile(r"[:\x00-\x1f\x7f]")


@dataclass(frozen=True)
class BasicCredentials:
    """A user name and password of HTTP Basic authentication."""

    username: str
    password: SecretStr


def hook_credentials(environment: Environment) -> tuple[BasicCredentials, ...]:
    """The pairs that Databricks may send, the current one first.

    A previous user name or password alone is paired with the current other half.
    """
    pairs = [(environment.databricks_hook_username, environment.databricks_hook_password)]
    if environment.databricks_hook_username_previous or environment.databricks_hook_password_previous:
        pairs.append(
            (
                environment.databricks_hook_username_previous or environment.databricks_hook_username,
                environment.databricks_hook_password_previous or environment.databricks_hook_password,
            )
        )
    found = (
        BasicCredentials(username.get_secret_value(), password)
        for username, password in pairs
        if username is not None and password is not None
    )
    return tuple(dict.fromkeys(found))


def hook_problems(environment: Environment, *, needed: bool = True) -> Iterator[str]:
    """One line for each half of those pairs that is missing (where they are needed), too short, or that HTTP cannot carry."""
    for name in ("databricks_hook_username", "databricks_hook_password"):
        if needed and getattr(environment, name) is None:
            yield missing(name)
        for variable in (name, f"{name}_previous"):
            secret: SecretStr | None = getattr(environment, variable)
            if secret is None:
                continue
            if name == "databricks_hook_password":
                yield from shared_secret_problems(variable, secret.get_secret_value())
            elif _UNSAFE.search(secret.get_secret_value()):
                yield (
                    f"{label(variable)}: found a text (not shown); expected a user name without `:` and control "
                    "characters"
                )


def webhook_secrets(environment: Environment) -> tuple[str, ...]:
    """What MLflow's webhooks may be signed with, the current secret first."""
    given = (environment.mlflow_webhook_secret, environment.mlflow_webhook_secret_previous)
    return tuple(dict.fromkeys(each.get_secret_value() for each in given if each is not None))


def webhook_problems(environment: Environment) -> Iterator[str]:
    """One line for each of those secrets that cannot be one."""
    for name in ("mlflow_webhook_secret", "mlflow_webhook_secret_previous"):
        secret: SecretStr | None = getattr(environment, name)
        if secret is not None:
            yield from shared_secret_problems(name, secret.get_secret_value())


@dataclass(frozen=True)
class ApiAccess:
    """A running service and our token for it.

    Attributes:
        url: https (http only on this machine itself), without a slash at the end.
        token: what goes into `Authorization: Bearer …`.
    """

    url: str
    token: SecretStr


def load_api_access(
    environ: Mapping[str, str], url: str | None, vendors: tuple[Vendor, ...]
) -> ApiAccess | None:
    """Which service to talk to, by `url` before the variable; None for the local settings and database.

    Raises:
        ConfigurationError: the address or the token cannot be used; neither is ever shown.
    """
    environment, problems = read_environment(environ, vendors)
    address = environment.api_url
    if url is not None:
        try:
            address = web_address(url)
        except ValueError as error:
            problems.append(f"--api: expected {error}")
    if problems:
        raise ConfigurationError(problems)
    if address is None:
        return None
    token = environment.token.get_secret_value() if environment.token else ""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        found = "is missing" if not token else "holds characters that no token has"
        raise ConfigurationError(
            [f"{PREFIX}TOKEN: {found}; expected the API token that the service at {address} knows"]
        )
    return ApiAccess(address, SecretStr(token))
