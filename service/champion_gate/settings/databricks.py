"""DATABRICKS_HOST and DATABRICKS_WORKSPACE_ID, taken from an address as a browser shows it where need be.

The SDK puts paths behind whatever stands in DATABRICKS_HOST, so that anything behind the host makes each call
one for the workspace's front page. All other variables reach it unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from champion_gate.settings.addresses import web_address
from champion_gate.settings.gates_problems import shown
from champion_gate.settings.stray import stray_problem, without_strays

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
_WORKSPACE_ID = re.compile(r"[1-9][0-9]{0,18}")


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
    if said and not _WORKSPACE_ID.fullmatch(said):
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
    ids = {each for each in found if _WORKSPACE_ID.fullmatch(each)}
    return ids.pop() if len(ids) == 1 else ""
