"""The values in gates.yaml, and the models that hold them: each check says in words what it expects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from champion_gate.domain.addresses import web_address
from champion_gate.domain.names import check_alias
from champion_gate.domain.versions import is_number
from champion_gate.errors import InvalidNameError

UNITY_CATALOG = "databricks-uc"
MAX_ID = 2**63 - 1  # the vendors' ids are int64
LONGEST_WAIT = timedelta(days=30)
"""GitHub fails a job that has waited 30 days (facts: actions-limits page)."""

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([dhm])")
_LONGEST_JOB_NAME = 4096  # Databricks' own limit
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
USERNAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_-])?"
"""The form of logins at every vendor; each may be stricter."""


class Strict(BaseModel):
    """Keys of gates.yaml as they are used: what is not known is refused, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def problems(self) -> Iterator[str]:
        """What is wrong between keys that are right by themselves, each as a line that begins with its key."""
        return iter(())

    @model_validator(mode="after")
    def _between_keys(self) -> Strict:
        """Tell all of it at once, each with its path."""
        broken = [broken_rule(line) for line in self.problems()]
        if broken:
            details = [InitErrorDetails(type=each, input=None) for each in broken]
            raise ValidationError.from_exception_data(type(self).__name__, details)
        return self


@dataclass(frozen=True)
class Account:
    """Somebody's account at the provider, by its login.

    Attributes:
        user_id: the vendor's numeric id, where the operator has pinned it.
    """

    login: str
    user_id: str | None = None

    @classmethod
    def of(cls, text: str) -> Account:
        """The account that str() has made this text of; no vendor's login has a colon."""
        login, _, user_id = text.partition(":")
        return cls(login, user_id or None)

    @property
    def shown(self) -> str:
        """For people."""
        return self.login if self.user_id is None else f"{self.login} (account {self.user_id})"

    def __str__(self) -> str:
        """Its login, and where it is pinned `:` and the id: as a request stores it."""
        return self.login if self.user_id is None else f"{self.login}:{self.user_id}"


def expected(words: str) -> PydanticCustomError:
    """The error for a value that is not what `words` describe."""
    return PydanticCustomError("expected", "{words}", {"words": words})


def broken_rule(line: str) -> PydanticCustomError:
    """The error whose whole text is `line`, which begins with the key; what was found is not repeated."""
    return PydanticCustomError("rule", "{line}", {"line": line})


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


@dataclass(frozen=True)
class Listed:
    """Annotation of a tuple that is written as a list."""

    at_least: int = 0
    at_most: int | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check it as the list that it is; pydantic says of a tuple with a wrong item that it is too short, too."""
        length = Field(min_length=self.at_least, max_length=self.at_most)
        checked_list = handler.generate_schema(Annotated[list[get_args(source)[0]], length])  # type: ignore[misc] # made here
        frozen = core_schema.no_info_after_validator_function(tuple, checked_list)
        return core_schema.no_info_before_validator_function(
            lambda value: list(value) if isinstance(value, tuple) else value, frozen
        )


def text(pattern: str, words: str) -> Is:
    """A text that matches `pattern` as a whole; `words` say what is expected."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise expected(words)
        return value

    return Is(check, {"type": "string", "pattern": f"^(?:{pattern})$"})


def checked(rule: Is, value: object, what: str) -> Any:
    """The value, as this rule takes it.

    Raises:
        InvalidNameError: the rule does not take it; the hint says what it takes.
    """
    try:
        return rule.check(value)
    except PydanticCustomError as error:
        raise InvalidNameError(f"{value!r} is no {what}.", hint=f"Write {error.message()}.") from None


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
        return address(value)
    if re.fullmatch(r"sqlite:///[^?#\x00-\x1f\x7f]+", value) and ":memory:" not in value:
        return value
    raise expected(words)


def address(value: object) -> str:
    """The address, as `web_address` writes it."""
    if not isinstance(value, str):
        raise expected("an address such as https://host.example.com")
    try:
        return web_address(value)
    except ValueError as error:
        raise expected(str(error)) from None


def _job(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ID:
        return value
    if isinstance(value, str) and value.isdecimal():
        raise expected("a job id as a bare number without leading zeros, not in quotes")
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > _LONGEST_JOB_NAME
        or _CONTROL.search(value)
    ):
        raise expected(f"a job's id (a number from 1) or its name (at most {_LONGEST_JOB_NAME} characters)")
    return value


def _job_id(value: object) -> int:
    if not _is_id(value):
        raise expected("a job's id, as a bare number from 1")
    return int(str(value))


def _model(value: object) -> str:
    # How many parts it must have depends on the registry: the whole file tells that.
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


def account(pattern: str, words: str) -> Is:
    """Somebody's login, or `{login, id}` to pin it to an account."""

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
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ID


def _issuer(value: object) -> str:
    # Kept letter by letter: it is compared so with the claim `iss` of tokens.
    address(value)
    if str(value).endswith("/"):
        raise expected("the issuer exactly as in the tokens' claim iss, which has no / at its end")
    return str(value)


def _api_issuer(value: object) -> str:
    # Kept letter by letter too; several identity providers do end their claim iss with a slash.
    address(value)
    if str(value).endswith("//"):
        raise expected("the issuer exactly as in the tokens' claim iss, with at most one / at its end")
    return str(value)


def _never_null(value: object) -> object:
    if value is None:
        raise expected("keys with values below them")
    return value


def never_null_in_schema(schema: dict[str, Any]) -> None:
    """Tell editors that the key, where it is written, has a value."""
    schema.update(schema.pop("anyOf")[0])
    schema.pop("default", None)


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
ADDRESS = Is(address, {"type": "string", "pattern": "^https?://"})
GATE_NAME = text(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of letters, digits, . _ and - (at most 64 characters)"
)
JOB = Is(
    _job,
    {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "minLength": 1, "maxLength": _LONGEST_JOB_NAME},
        ]
    },
)
JOB_ID = Is(_job_id, {"type": "integer", "minimum": 1})
JOB_PARAMETER = text(r"[A-Za-z0-9_.-]{1,100}", "the name of a job parameter, of letters, digits and _ . -")
# A run shows what Databricks has put in the place of a reference, and is told by what it shows.
JOB_PARAMETER_VALUE = text(
    r"(?:(?!\{\{)[^\x00]){0,10000}",
    "a text of at most 10,000 characters, in quotes, without {{: Databricks replaces references such as {{job.id}}, "
    "so that no run would show the value that it was given",
)
WAREHOUSE = text(r"[0-9A-Za-z]{1,64}", "the id of a SQL warehouse, in quotes: letters and digits")
ENDPOINT = text(r"[A-Za-z0-9_-]{1,63}", "the name of a serving endpoint: letters, digits, _ and -")
MODEL = Is(_model, {"type": "string", "pattern": "^[^/:?#%\\\\\\u0000-\\u001f]+$"})
ALIAS = Is(_alias, {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"})
_ONE_ACCOUNT = account(
    USERNAME,
    "a person's GitHub login or GitLab username such as octo-login, {login: octo-login, id: 583231}, "
    "or a list of such (a bot is no person)",
)
ACCOUNTS = Is(
    _accounts, {"anyOf": [_ONE_ACCOUNT.schema, {"type": "array", "items": dict(_ONE_ACCOUNT.schema)}]}
)
TRAINER = account(
    USERNAME, "a GitHub login or GitLab username such as octo-login, or {login: octo-login, id: 583231}"
)
DURATION = Is(_duration, {"type": "string", "pattern": "^[1-9][0-9]{0,5}[dhm]$"})
NUMBER = Is(_number, {"type": "number"})
DATASET = text(r"[^\x00-\x1f\x7f]{0,500}", 'the name of a dataset, or "" for numbers that name none')
AT_LEAST_ZERO = Is(_at_least_zero, {"type": "number", "minimum": 0})
FILE = text(r"[^\x00\r\n]+", "the path of a file")
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
SCOPE = text(
    r"[!#-\[\]-~]{1,255}",
    "an OAuth scope such as profile: visible characters without blanks, quotes and backslashes",
)
NEVER_NULL = BeforeValidator(_never_null)
"""Annotation of a key that may be left out, and has something below it where it is written."""
BRANCH = text(
    r"(?!refs/)(?!.*(\.\.|//|/\.))[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9_-])?",
    "a branch such as main, of at most 200 characters (without refs/heads/)",
)
VendorId = Annotated[int, Field(ge=1, le=MAX_ID)]
"""A number by which a vendor knows something."""


def repeated(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Each name of a list that stands there before, in whatever case, and its index."""
    folded = [name.casefold() for name in names]
    for index, name in enumerate(folded):
        if name in folded[:index]:
            yield index, names[index]
