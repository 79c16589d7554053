"""The values in gates.yaml: each check says in words what it expects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BeforeValidator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from champion_gate.domain.gates import Account
from champion_gate.domain.metrics import is_number
from champion_gate.domain.names import check_alias
from champion_gate.errors import InvalidNameError
from champion_gate.settings.addresses import host_of, web_address

UNITY_CATALOG = "databricks-uc"
MAX_JOB_ID = 2**63 - 1
LONGEST_WAIT = timedelta(days=30)
"""GitHub fails a job that has waited 30 days (facts: actions-limits page)."""

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_GITHUB_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_USERNAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_-])?"
"""GitLab's; every login of GitHub's is of this form too."""
_LONGEST_NAME = 255
GITHUB_JOB_NAME = 100
"""GitHub cuts the names of jobs here, and puts three dots at the end (seen in the answers of its API)."""
_LONGEST_ENVIRONMENT = GITHUB_JOB_NAME - len("approve ()")


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


def checked(rule: Is, value: object, what: str) -> Any:
    """The value, as this rule takes it.

    Args:
        rule: one of those below.
        value: a name that enters a URL or a query.
        what: what it names, for the message.

    Raises:
        InvalidNameError: the rule does not take it; the hint says what it takes.
    """
    try:
        return rule.check(value)
    except PydanticCustomError as error:
        raise InvalidNameError(f"{value!r} is no {what}.", hint=f"Write {error.message()}.") from None


def github_length(name: str) -> int:
    """How many characters GitHub counts: UTF-16 code units, as its job service, written in C#, does."""
    return len(name.encode("utf-16-le", errors="surrogatepass")) // 2


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
    # Its job is found by its name, which the workflow file makes of this one.
    if not isinstance(value, str) or not value or github_length(value) > _LONGEST_ENVIRONMENT:
        raise expected(
            f"a GitHub environment's name of 1 to {_LONGEST_ENVIRONMENT} characters "
            f"(GitHub cuts the name of its job, `approve (…)`, at {GITHUB_JOB_NAME})"
        )
    if value.strip() != value or value in {".", ".."} or not value.isprintable():
        raise expected("a GitHub environment's name without blanks at its ends and invisible characters")
    return value


def is_github_login(login: str) -> bool:
    """Whether GitHub could have a user of this name; dots, which GitLab allows, are none of GitHub's."""
    return _GITHUB_LOGIN.fullmatch(login) is not None


def account(pattern: str, words: str) -> Is:
    """Somebody's login, or `{login, id}` to pin it to an account.

    Args:
        pattern: that the login matches as a whole.
        words: what is expected.
    """

    def check(value: object) -> Account:
        login, user_id = value, None
        if isinstance(value, dict) and value.keys() == {"login", "id"} and _is_id(value["id"]):
            login, user_id = value["login"], str(value["id"])
        if not isinstance(login, str) or not re.fullmatch(pattern, login):
            raise expected(words)
        return Account(login, user_id)

    of_login = {"type": "string", "pattern": f"^(?:{pattern})$"}
    pinned = {
        "type": "object",
        "properties": {"login": of_login, "id": {"type": "integer", "minimum": 1}},
        "required": ["login", "id"],
        "additionalProperties": False,
    }
    return Is(check, {"anyOf": [of_login, pinned]})


def _accounts(value: object) -> tuple[Account, ...]:
    return tuple(_ONE_ACCOUNT.check(each) for each in (value if isinstance(value, list) else [value]))


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_JOB_ID


def _gitlab_address(value: object) -> str:
    checked = _address(value)
    if "/api/" in f"{checked}/":
        raise expected("the address of GitLab itself, such as https://gitlab.com, without /api/v4")
    return checked


def _issuer(value: object) -> str:
    # Kept letter by letter: it is compared so with the claim `iss` of tokens.
    _address(value)
    if str(value).endswith("/"):
        raise expected("the issuer exactly as in the tokens' claim iss, which has no / at its end")
    return str(value)


def _api_issuer(value: object) -> str:
    # Kept letter by letter too; several identity providers do end their claim iss with a slash.
    _address(value)
    if str(value).endswith("//"):
        raise expected("the issuer exactly as in the tokens' claim iss, with at most one / at its end")
    return str(value)


def _never_null(value: object) -> object:
    if value is None:
        raise expected("keys with values below them")
    return value


def _project(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_JOB_ID:
        return value
    raise expected("the project's number (Settings, General); its path may be taken over by somebody else")


def _ci_job(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 1 <= len(value) <= _LONGEST_NAME
        or value.strip() != value
        or not value.isprintable()
    ):
        raise expected("the name of a CI/CD job of 1 to 255 characters, such as approve")
    if value.startswith("."):
        raise expected("the name of a CI/CD job without a dot at its start (GitLab never runs those)")
    return value


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
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise expected("a finite number")
    try:
        number = float(value)
    except OverflowError:
        raise expected("a finite number") from None
    if not is_number(number):
        raise expected("a finite number")
    return number


def _at_least_zero(value: object) -> float:
    number = _number(value)
    if number < 0:
        raise expected("a number from 0: how much worse than the Champion the candidate may be")
    return number


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
MODEL = Is(_model, {"type": "string", "pattern": "^[^/:?#%\\\\\\u0000-\\u001f]+$"})
ALIAS = Is(_alias, {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"})
REPOSITORY = text(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,98}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", "a repository as OWNER/NAME"
)
WORKFLOW = text(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.ya?ml",
    "the file name of a workflow in .github/workflows, such as champion-gate.yml",
)
ENVIRONMENT = Is(_environment, {"type": "string", "minLength": 1, "maxLength": _LONGEST_ENVIRONMENT})
_ONE_ACCOUNT = account(
    _USERNAME,
    "a person's GitHub login or GitLab username such as octo-login, {login: octo-login, id: 583231}, "
    "or a list of such (a bot is no person)",
)
ACCOUNTS = Is(
    _accounts, {"anyOf": [_ONE_ACCOUNT.schema, {"type": "array", "items": dict(_ONE_ACCOUNT.schema)}]}
)
TRAINER = account(
    _USERNAME, "a GitHub login or GitLab username such as octo-login, or {login: octo-login, id: 583231}"
)
DURATION = Is(_duration, {"type": "string", "pattern": "^[1-9][0-9]{0,5}[dhm]$"})
NUMBER = Is(_number, {"type": "number"})
DATASET = text(r"[^\x00-\x1f\x7f]{0,500}", 'the name of a dataset, or "" for numbers that name none')
AT_LEAST_ZERO = Is(_at_least_zero, {"type": "number", "minimum": 0})
FILE = text(r"[^\x00\r\n]+", "the path of a file")
GITLAB_ADDRESS = Is(_gitlab_address, {"type": "string", "pattern": "^https?://"})
ISSUER = Is(_issuer, {"type": "string", "pattern": "^https?://.*[^/]$"})
AUDIENCE = text(
    r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}", "a text of letters, digits and . _ : / - such as champion-gate"
)
API_ISSUER = Is(_api_issuer, {"type": "string", "pattern": "^https?://.*[^/]/?$"})
CLAIM = text(
    r"(?!(?:iss|aud|exp|nbf|iat|jti)$)[A-Za-z0-9_](?:[A-Za-z0-9_.:/@-]{0,253}[A-Za-z0-9_])?",
    "the name of a claim that tells people apart, such as email or groups",
)
CLAIM_VALUE = text(
    r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,253}[^\s\x00-\x1f\x7f])?",
    "a text of 1 to 255 characters, without blanks at its ends and without control characters",
)
NEVER_NULL = BeforeValidator(_never_null)
"""Annotation of a key that may be left out, and has something below it where it is written."""
PROJECT = Is(_project, {"type": "integer", "minimum": 1})
BRANCH = text(
    r"(?!refs/)(?!.*(\.\.|//|/\.))[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9_-])?",
    "a branch such as main, of at most 200 characters (without refs/heads/)",
)
CI_JOB = Is(_ci_job, {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^.]"})
GITLAB_ENVIRONMENT = text(
    r"[A-Za-z0-9](?:[A-Za-z0-9 ._/-]{0,238}[A-Za-z0-9._-])?",
    "a GitLab environment's name of letters, digits, blanks and . _ / - (at most 240 characters)",
)
APPROVER = account(
    rf"(?!(?:project|group)_[0-9]+_bot){_USERNAME}",
    "a person's GitLab username such as jane.doe, or {login: jane.doe, id: 42} (a bot is no person)",
)
USERNAME = text(_USERNAME, "a GitLab username such as gate-bot")
