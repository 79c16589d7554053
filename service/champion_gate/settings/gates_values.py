"""The values in gates.yaml: each check says in words what it expects."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from champion_gate.core.names import check_alias
from champion_gate.errors import InvalidNameError
from champion_gate.settings.addresses import host_of, web_address

UNITY_CATALOG = "databricks-uc"
MAX_JOB_ID = 2**63 - 1
LONGEST_WAIT = timedelta(days=30)
"""GitHub fails a job that has waited 30 days (facts: actions-limits page)."""

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOGIN = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


def expected(words: str) -> PydanticCustomError:
    """The error for a value that is not what `words` describe."""
    return PydanticCustomError("expected", "{words}", {"words": words})


@dataclass(frozen=True, eq=False)
class Is:
    """Annotation of a field: the check that its value goes through, and what editors are told of it."""

    check: Callable[[object], Any]
    schema: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, _source: object, _next: object) -> CoreSchema:
        """Let pydantic call the check in place of its own."""
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _schema: object, _next: object) -> dict[str, Any]:
        """Tell editors."""
        return dict(self.schema)


def text(pattern: str, words: str) -> Is:
    """A text that matches `pattern` as a whole; `words` say what is expected."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise expected(words)
        return value

    return Is(check, {"type": "string", "pattern": f"^(?:{pattern})$"})


def _registry(value: object) -> str:
    words = "databricks-uc, the https:// address of an MLflow server, or sqlite:///path/to/mlflow.db"
    if value == UNITY_CATALOG:
        return UNITY_CATALOG
    if not isinstance(value, str):
        raise expected(words)
    if value == "uc" or value.startswith("uc:"):
        raise expected(
            f"{words}; the open-source Unity Catalog (uc:) has no aliases and no tags on model versions"
        )
    if value.startswith(("http://", "https://")):
        return _address(value)
    if re.fullmatch(r"sqlite:///[^?#\x00-\x1f\x7f]+", value) and ":memory:" not in value:
        return value
    raise expected(words)


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise expected("an address such as https://host.example.com")
    try:
        return web_address(value)
    except ValueError as error:
        raise expected(str(error)) from None


def _github_address(value: object) -> str:
    checked = _address(value)
    if host_of(checked) in {"github.com", "www.github.com"}:
        raise expected("the address of GitHub's API: https://api.github.com")
    return checked


def _job(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_JOB_ID:
        return value
    if isinstance(value, str) and value.isdecimal():
        raise expected("a job id as a bare number without leading zeros, not in quotes")
    if not isinstance(value, str) or not value.strip() or len(value) > 4096 or _CONTROL.search(value):  # noqa: PLR2004 - Databricks' own limit
        raise expected("a job's id (a number from 1) or its name (at most 4096 characters)")
    return value


def _model(value: object) -> str:
    # How many parts it must have depends on the registry: gates_file checks that.
    if not isinstance(value, str) or not value:
        raise expected("a registered model: catalog.schema.model, or a plain name on an MLflow server")
    return value


def _alias(value: object) -> str:
    if not isinstance(value, str):
        raise expected("an alias such as Champion")
    try:
        return check_alias(value)
    except InvalidNameError as error:
        raise expected(f"an alias such as Champion. {error.hint}") from None


def _environment(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or value.strip() != value:  # noqa: PLR2004 - GitHub's limit
        raise expected("a GitHub environment's name of 1 to 255 characters")
    if _CONTROL.search(value):
        raise expected("a GitHub environment's name without control characters")
    return value


def _logins(value: object) -> tuple[str, ...]:
    logins = [value] if isinstance(value, str) else value
    if not isinstance(logins, list) or not all(
        isinstance(login, str) and re.fullmatch(_LOGIN, login) for login in logins
    ):
        raise expected("a person's GitHub login such as octo-login, or a list of logins (a bot is no person)")
    return tuple(logins)


def _duration(value: object) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match:
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
        if duration <= LONGEST_WAIT:
            return duration
    raise expected(
        "a duration such as 14d, 12h or 90m, from 1m to 30d (GitHub ends a waiting job after 30 days)"
    )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise expected("a finite number")
    return float(value)


def _at_least_zero(value: object) -> float:
    number = _number(value)
    if number < 0:
        raise expected("a number from 0: how much worse than the Champion the candidate may be")
    return number


def _refuse_gitlab(_value: object) -> None:
    raise expected("no gitlab: this version asks for approval in GitHub Actions only; use `github:`")


REGISTRY = Is(_registry, {"type": "string", "pattern": "^(databricks-uc$|https?://|sqlite:///.)"})
ADDRESS = Is(_address, {"type": "string", "pattern": "^https?://"})
GITHUB_ADDRESS = Is(_github_address, {"type": "string", "pattern": "^https?://"})
GATE_NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, . _ and - (at most 64 characters)"
)
JOB = Is(
    _job,
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "minLength": 1, "maxLength": 4096}]},
)
MODEL = Is(_model, {"type": "string", "pattern": "^[^\\s/?#%]+$"})
ALIAS = Is(_alias, {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"})
REPOSITORY = text(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", "a repository as OWNER/NAME"
)
WORKFLOW = text(
    r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.ya?ml",
    "the file name of a workflow in .github/workflows, such as champion-gate.yml",
)
REF = text(
    r"(?!refs/)(?!.*(\.\.|//|/\.))[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,253}[A-Za-z0-9_-])?",
    "a branch such as main (without refs/heads/)",
)
ENVIRONMENT = Is(_environment, {"type": "string", "minLength": 1, "maxLength": 255})
LOGINS = Is(
    _logins,
    {
        "anyOf": [
            {"type": "string", "pattern": f"^{_LOGIN}$"},
            {"type": "array", "items": {"type": "string", "pattern": f"^{_LOGIN}$"}},
        ]
    },
)
DURATION = Is(_duration, {"type": "string", "pattern": "^[1-9][0-9]{0,5}[dhm]$"})
NUMBER = Is(_number, {"type": "number"})
AT_LEAST_ZERO = Is(_at_least_zero, {"type": "number", "minimum": 0})
FILE = text(r"[^\x00\r\n]+", "the path of a file")
NO_GITLAB = Is(_refuse_gitlab, {"not": {}})
