"""DATABRICKS_HOST and DATABRICKS_WORKSPACE_ID, taken from an address as a browser shows it where need be.

The SDK puts paths behind whatever stands in DATABRICKS_HOST, so that anything behind the host makes each call
one for the workspace's front page. All other variables reach it unchanged. It takes them, and else a profile of
~/.databrickscfg (databricks/sdk/config.py), and is silent about what is missing until the first call; importing it
takes seconds, so its rules are followed here.
"""

from __future__ import annotations

import configparser
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from champion_gate.domain.addresses import web_address
from champion_gate.domain.names import VENDOR_ID
from champion_gate.settings.environment import stray_problem, without_strays
from champion_gate.settings.problems import shown

HOST, WORKSPACE = "DATABRICKS_HOST", "DATABRICKS_WORKSPACE_ID"

_BARE = (
    HOST,
    WORKSPACE,
    *(f"DATABRICKS_{name}" for name in ("CLIENT_ID", "CLIENT_SECRET", "TOKEN", "USERNAME", "PASSWORD")),
    *("ARM_CLIENT_ID", "ARM_CLIENT_SECRET", "ARM_TENANT_ID"),
)

_EXPECTED = "expected the workspace's address, such as https://adb-1234567890123456.7.azuredatabricks.net"
_DATABRICKS = re.compile(r"(?:.+\.)?(?:azuredatabricks\.net|databricks\.(?:com|us|mil|azure\.us|azure\.cn))")
_ACCOUNTS = re.compile(r"accounts(?:-[a-z]+)?\.")

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
_EXPECTED_CREDENTIALS = (
    "DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET of a service principal, DATABRICKS_TOKEN, or a profile"
)


def databricks_settings(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What the SDK is given in place of the two variables, and a line for each that cannot be used.

    Args:
        environ: the environment's variables; those of a profile of the SDK's are left to it.

    Returns:
        `host` and `workspace_id`, each only where it is known.
    """
    strays = {name: stray_problem(name, environ[name]) for name in _BARE if environ.get(name, "").strip()}
    problems = [line for line in strays.values() if line is not None]
    settings: dict[str, str] = {}
    said = without_strays(environ.get(WORKSPACE, ""))
    if said and not VENDOR_ID.fullmatch(said):
        problems.append(
            f"{WORKSPACE}: found {shown(said)}; expected a number, the one behind ?o= in the browser"
        )
    elif said:
        settings["workspace_id"] = said
    given = without_strays(environ.get(HOST, ""))
    if not given:
        return settings, problems
    try:
        host, in_address = _taken_apart(given)
    except ValueError as error:
        problems.append(f"{HOST}: {error}")
        return settings, problems
    settings["host"] = host
    if in_address and said and in_address != said:
        problems.append(
            f"{HOST}: names workspace {in_address} behind ?o=, and {WORKSPACE} says {shown(said)}"
        )
    elif in_address:
        settings["workspace_id"] = in_address
    return settings, problems


def _taken_apart(given: str) -> tuple[str, str]:
    """The bare address, and the workspace's id behind `?o=` or an empty text; ValueError says what is wrong."""
    text = given if "://" in given else f"https://{given}"
    try:
        parts = urlsplit(text if text.count("//") == 1 else "")
        bare = f"{parts.scheme}://{parts.netloc}"
        is_databricks = _DATABRICKS.fullmatch(parts.hostname or "") is not None
        address = web_address(bare if is_databricks else f"{bare}{parts.path}")
    except ValueError as error:
        more = " without a user name or password in it" if "user name" in str(error) else ""
        raise ValueError(f"found {shown(text)}; {_EXPECTED}{more}") from None
    if is_databricks and _ACCOUNTS.match(parts.hostname or ""):
        raise ValueError(f"found {shown(given)}, the account console; {_EXPECTED}")
    from_browser = bool(parts.query or parts.fragment)
    if not is_databricks and from_browser and parts.path.strip("/"):
        raise ValueError(f"found {shown(given)}; {_EXPECTED}, without anything behind it")
    return address, _workspace_in(parts.query, parts.fragment)


def _workspace_in(query: str, fragment: str) -> str:
    found = parse_qs(query).get("o", []) + parse_qs(fragment.partition("?")[2]).get("o", [])
    ids = {each for each in found if VENDOR_ID.fullmatch(each)}
    return ids.pop() if len(ids) == 1 else ""


# --- whether the SDK will sign in -------------------------------------------------------------------------


def credential_problems(environ: Mapping[str, str]) -> list[str]:
    """One line for each reason why no call to Databricks could ever be made."""
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
        yield f"DATABRICKS_*: no credentials are found; expected {_EXPECTED_CREDENTIALS}"
    for first, second in (("client_id", "client_secret"), ("username", "password")):
        for has, lacks in ((first, second), (second, first)):
            by_federation = has == "client_id" and elsewhere
            if has in known and lacks not in known and not by_federation:
                yield f"{_variable(lacks)}: is missing; {_variable(has)} alone signs nobody in"
