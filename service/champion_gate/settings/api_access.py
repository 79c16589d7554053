"""Where the command line finds a running service, and the token that it shows there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from champion_gate.errors import ConfigurationError
from champion_gate.settings.addresses import web_address
from champion_gate.settings.environment import PREFIX, read_environment


@dataclass(frozen=True)
class ApiAccess:
    """A running service and our token for it.

    Attributes:
        url: https (http only on this machine itself), without a slash at the end.
        token: what goes into `Authorization: Bearer …`.
    """

    url: str
    token: SecretStr


def load_api_access(environ: Mapping[str, str], url: str | None) -> ApiAccess | None:
    """Which service to talk to; None for the local settings and database.

    Args:
        environ: the environment's variables.
        url: what was given on the command line; it stands before the variable.

    Raises:
        ConfigurationError: the address or the token cannot be used; neither is ever shown.
    """
    environment, problems = read_environment(environ)
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
