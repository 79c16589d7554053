"""The variables CHAMPION_GATE_*, and the files of the secrets directory that stand in for them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from champion_gate.settings.gates_problems import shown
from champion_gate.settings.gates_values import ADDRESS, Is, expected
from champion_gate.settings.stray import stray_problem, without_strays

PREFIX = "CHAMPION_GATE_"
_LARGEST_SECRET_FILE = 64 * 1024
_LARGEST_PORT = 65535
_LONGEST_SWEEP = 3600.0
_STOP_SECONDS = range(2, 601)
_REPLACED = dict.fromkeys(
    ("api_token", "api_token_previous"), "; `champion-gate tokens create` makes the tokens of the API"
)
_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_.+)?")


def _database_url(value: object) -> SecretStr:
    text = str(value)
    if re.fullmatch(r"sqlite:///[^?#]+", text) and ":memory:" not in text:
        return SecretStr(text)
    if re.fullmatch(r"postgresql(\+psycopg)?://\S+", text):
        return SecretStr(text)
    raise expected("sqlite:///path/to/file.db, or postgresql+psycopg://… (an in-memory database forgets)")


def _port(value: object) -> int:
    text = str(value)
    if text.startswith("tcp://"):
        raise expected(
            "a port number; this one is Kubernetes' own, made for a Service named champion-gate: "
            "set enableServiceLinks: false in the pod, or set the variable yourself"
        )
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _LARGEST_PORT:
        raise expected("a port number from 1 to 65535, or 0 for any free one")
    return int(text)


def _host(value: object) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:-]{1,253}", str(value)):
        raise expected("an IP address or host name to listen on, such as 127.0.0.1 or 0.0.0.0")
    return str(value)


def _seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_SWEEP:
        raise expected("a number of seconds, above 0 and up to 3600")
    return seconds


def _stop_seconds(value: object) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", str(value)) or int(str(value)) not in _STOP_SECONDS:
        raise expected("a whole number of seconds from 2 to 600")
    return int(str(value))


def _hops(value: object) -> int:
    if not re.fullmatch(r"[0-5]", str(value)):
        raise expected("how many proxies in front append to X-Forwarded-For, from 0 to 5")
    return int(str(value))


class Environment(BaseSettings):
    """All variables, by their names without the prefix and in lower case."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=False
    )

    config: Path = Path("gates.yaml")
    secrets_dir: Path | None = None
    database_url: Annotated[SecretStr, Is(_database_url, {})] = SecretStr("sqlite:///champion-gate.db")
    public_url: Annotated[str, ADDRESS] | None = None
    host: Annotated[str, Is(_host, {})] = "127.0.0.1"
    port: Annotated[int, Is(_port, {})] = 8080
    sweep_seconds: Annotated[float, Is(_seconds, {})] = 60.0
    proxy_hops: Annotated[int, Is(_hops, {})] = 0
    stop_seconds: Annotated[int, Is(_stop_seconds, {})] = 8
    # Where the command line finds a running service, and what it shows there; the service reads neither.
    api_url: Annotated[str, ADDRESS] | None = None
    token: SecretStr | None = None
    databricks_hook_username: SecretStr | None = None
    databricks_hook_username_previous: SecretStr | None = None
    databricks_hook_password: SecretStr | None = None
    databricks_hook_password_previous: SecretStr | None = None
    github_app_client_id: SecretStr | None = None
    github_app_client_id_previous: SecretStr | None = None
    github_app_private_key: SecretStr | None = None
    github_app_private_key_previous: SecretStr | None = None
    github_token: SecretStr | None = None
    github_token_previous: SecretStr | None = None
    github_host_tokens: SecretStr | None = None
    github_host_tokens_previous: SecretStr | None = None
    github_webhook_secret: SecretStr | None = None
    github_webhook_secret_previous: SecretStr | None = None
    gitlab_trigger_token: SecretStr | None = None
    gitlab_api_token: SecretStr | None = None
    gitlab_api_token_previous: SecretStr | None = None
    gitlab_read_token: SecretStr | None = None
    gitlab_read_token_previous: SecretStr | None = None
    gitlab_signing_token: SecretStr | None = None
    gitlab_signing_token_previous: SecretStr | None = None
    gitlab_webhook_token: SecretStr | None = None
    gitlab_webhook_token_previous: SecretStr | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take only what `read_environment` gives: never os.environ by itself."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


_SECRETS = frozenset(
    name for name, field in Environment.model_fields.items() if field.annotation == (SecretStr | None)
)
_BARE = _SECRETS | {"database_url", "public_url", "api_url"}
"""Secrets, ids and addresses, in which nothing else may stand."""


def _without_line_end(name: str, value: str) -> str:
    """PEM ends with one."""
    return value.rstrip("\r\n") if name.startswith("github_app_private_key") else value


class _Given(PydanticBaseSettingsSource):
    """The given variables and secret files.

    pydantic's own source of secret files only warns where a file cannot be read, and lets a variable win
    over a file that says something else; here both are problems.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Environment)
        self.problems: list[str] = []
        # An empty variable is how compose files say "not set".
        self._variables = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and value.strip()
        }
        self._files = dict(self._secret_files())

    def __call__(self) -> dict[str, Any]:
        """All values that are given, by the names of the fields."""
        self._refuse_unknown()
        values = {}
        for name, field in Environment.model_fields.items():
            value, _, _ = self.get_field_value(field, name)
            if value is None:
                continue
            if (
                name in _BARE
                and (stray := stray_problem(f"{PREFIX}{name.upper()}", _without_line_end(name, value)))
                is not None
            ):
                self.problems.append(stray)
                value = without_strays(value)
            values[name] = value
        return values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The value of one field, from its variable or its file."""
        del field
        variable = self._variables.get(field_name)
        file = self._files.get(field_name)
        if variable is not None and file is not None and variable != file:
            self.problems.append(
                f"{PREFIX}{field_name.upper()}: is given twice, as a variable and as a file in the secrets "
                "directory, and they differ; keep one"
            )
        return (file if variable is None else variable), field_name, False

    def _secret_files(self) -> Iterator[tuple[str, str]]:
        directory = self._variables.get("secrets_dir")
        if directory is None:
            return
        try:
            paths = sorted(Path(directory).iterdir())
        except OSError as error:
            self.problems.append(
                f"{PREFIX}SECRETS_DIR: found {shown(directory)}; expected a readable directory ({error.strerror})"
            )
            return
        seen: dict[str, str] = {}
        for path in paths:
            name = path.name.lower().removeprefix(PREFIX.lower())
            if name == path.name.lower() or name not in _BARE - {"public_url", "api_url"}:
                continue  # other services may keep theirs here
            if name in seen:
                self.problems.append(f"{path}: is the same secret as {seen[name]}; keep one")
            seen[name] = str(path)
            text = self._read(path)
            if text:
                yield name, text

    def _read(self, path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST_SECRET_FILE + 1)
            if len(data) > _LARGEST_SECRET_FILE:
                self.problems.append(f"{path}: is larger than 64 KiB; expected one secret")
                return None
            return data.decode().rstrip("\r\n")
        except OSError as error:
            self.problems.append(f"{path}: cannot be read ({error.strerror})")
        except UnicodeDecodeError:
            self.problems.append(f"{path}: is no UTF-8 text")
        return None

    def _refuse_unknown(self) -> None:
        for name in sorted(set(self._variables) - set(Environment.model_fields)):
            if _KUBERNETES.fullmatch(name.upper()):
                continue  # made by Kubernetes for a Service named champion-gate
            close = difflib.get_close_matches(name, Environment.model_fields, n=1)
            hint = _REPLACED.get(name) or (f"; did you mean {PREFIX}{close[0].upper()}?" if close else "")
            self.problems.append(f"{PREFIX}{name.upper()}: is no variable that is known{hint}")


def read_environment(environ: Mapping[str, str]) -> tuple[Environment, list[str]]:
    """Read all variables and secret files.

    Args:
        environ: the environment's variables; only those with our prefix are read.

    Returns:
        What was read, with the default where a value cannot be used, and a line for each such value.
    """
    source = _Given(environ)
    values = source()
    problems = source.problems
    try:
        return Environment(**values), problems
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            found = "a text (not shown)" if name == "database_url" else shown(values.pop(name, None))
            words = detail.get("ctx", {}).get("words", detail["msg"])
            problems.append(f"{PREFIX}{name.upper()}: found {found}; expected {words}")
            values.pop(name, None)
        return Environment(**values), problems
