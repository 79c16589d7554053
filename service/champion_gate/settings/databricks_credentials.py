"""Whether the Databricks SDK will find an address and a way to sign in, told when the service starts, without a call.

The SDK takes its variables, and else a profile of ~/.databrickscfg (databricks/sdk/config.py), and is silent about
what is missing until the first call; importing it takes seconds, so its rules are followed here.
"""

from __future__ import annotations

import configparser
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from champion_gate.settings.databricks import HOST, databricks_settings

_PROFILE, _FILE, _AUTH_TYPE = "DATABRICKS_CONFIG_PROFILE", "DATABRICKS_CONFIG_FILE", "DATABRICKS_AUTH_TYPE"
_METHODS = {
    "token": ("token",),
    "basic": ("username", "password"),
    "oauth": ("client_id", "client_secret"),
    "azure": ("azure_client_id", "azure_client_secret", "azure_use_msi", "azure_workspace_resource_id"),
    "google": ("google_credentials", "google_service_account"),
    "oidc": ("oidc_token_env", "oidc_token_filepath"),
}
_VARIABLES = {
    "azure_client_id": "ARM_CLIENT_ID",
    "azure_client_secret": "ARM_CLIENT_SECRET",
    "azure_use_msi": "ARM_USE_MSI",
    "azure_workspace_resource_id": "DATABRICKS_AZURE_RESOURCE_ID",
    "google_credentials": "GOOGLE_CREDENTIALS",
}
_ELSEWHERE = (
    *("DATABRICKS_METADATA_SERVICE_URL", "DATABRICKS_OIDC_TOKEN", "DATABRICKS_RUNTIME_VERSION"),
    *("ACTIONS_ID_TOKEN_REQUEST_URL", "SYSTEM_ACCESSTOKEN", "DATABRICKS_OIDC_TOKEN_FILE"),
)
"""Variables of surroundings in which the SDK gets a token without any of ours."""
_PROGRAMS = ("az", "databricks")
_EXPECTED = (
    "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal, DATABRICKS_TOKEN, or a profile"
)


def credential_problems(environ: Mapping[str, str]) -> list[str]:
    """One line for each reason why no call to Databricks could ever be made.

    Args:
        environ: the environment's variables.
    """
    given = {name: text for name in _attributes() if (text := environ.get(_variable(name), "").strip())}
    problems: list[str] = []
    profile: dict[str, str] = {}
    where = ""
    if environ.get(_PROFILE, "").strip() or not given:
        profile, where = _profile(environ, problems)
    known = {**profile, **given}
    problems += _address_problems(known.get("host"), where if "host" not in given else "")
    if "host" not in known and "azure_workspace_resource_id" not in known:
        problems.append(f"{HOST}: is missing; expected the workspace's address, here or in a profile")
    chosen = environ.get(_AUTH_TYPE, "").strip() or known.get("auth_type")
    if not problems and not chosen:
        problems += _method_problems(known, environ)
    return problems


def _attributes() -> tuple[str, ...]:
    return ("host", *(name for names in _METHODS.values() for name in names))


def _variable(name: str) -> str:
    return _VARIABLES.get(name, f"DATABRICKS_{name.upper()}")


def _profile(environ: Mapping[str, str], problems: list[str]) -> tuple[dict[str, str], str]:
    """What the chosen or the default profile says, and how to name it."""
    chosen = environ.get(_PROFILE, "").strip()
    path = Path(environ.get(_FILE, "").strip() or "~/.databrickscfg").expanduser()
    file = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        found = file.read(path)
    except (configparser.Error, UnicodeDecodeError):
        problems.append(f"{_FILE}: {path} is no file of profiles")
        return {}, ""
    fallback = file.get("__settings__", "default_profile", fallback="").strip() or "DEFAULT"
    name = chosen or fallback
    if name in file:
        return dict(file[name]), f"the host of profile {name} in {path}"
    if chosen:
        why = (
            f"{path} has no profile {chosen!r}"
            if found
            else f"there is no file {path} (or it cannot be read)"
        )
        problems.append(f"{_PROFILE}: {why}; expected the name of one")
    return {}, ""


def _address_problems(host: str | None, profile: str) -> Iterator[str]:
    """A profile's address must be bare, for the SDK takes it as it is; a variable's was checked before."""
    if host is None or not profile:
        return
    taken, problems = databricks_settings({HOST: host})
    for each in problems:
        yield f"{profile}{each.removeprefix(HOST)}"
    if not problems and ("?" in host or "#" in host):
        yield (
            f"{profile}: has more behind the address, as in a browser; keep only {taken.get('host', 'the address')}, "
            "and put the number behind ?o= into workspace_id"
        )


def _method_problems(known: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    methods = [name for name, names in _METHODS.items() if any(each in known for each in names)]
    if len(methods) > 1:
        yield (
            f"DATABRICKS_*: found more than one way to sign in ({' and '.join(methods)}); keep one, or name it in "
            f"{_AUTH_TYPE}"
        )
        return
    elsewhere = any(environ.get(name) for name in _ELSEWHERE)
    if (
        not methods
        and not elsewhere
        and not any(shutil.which(each, path=environ.get("PATH", "")) for each in _PROGRAMS)
    ):
        yield f"DATABRICKS_*: no credentials are found; expected {_EXPECTED}"
    for first, second in (("client_id", "client_secret"), ("username", "password")):
        for has, lacks in ((first, second), (second, first)):
            by_federation = has == "client_id" and elsewhere
            if has in known and lacks not in known and not by_federation:
                yield f"{_variable(lacks)}: is missing; {_variable(has)} alone signs nobody in"
