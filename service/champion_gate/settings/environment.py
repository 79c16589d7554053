"""The variables CHAMPION_GATE_*, and the files of the secrets directory that stand in for them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from champion_gate.domain.ports.approval import Vendor
from champion_gate.domain.values import ADDRESS, Is, expected
from champion_gate.domain.vendors import PREFIX, Secrets
from champion_gate.settings.notices import is_notice_variable
from champion_gate.settings.problems import shown

_LARGEST_SECRET_FILE = 64 * 1024
_LARGEST_PORT = 65535
_LONGEST_SWEEP = 3600.0  # seconds; what nobody told of is found by the sweep only
_STOP_SECONDS = range(2, 601)
_REPLACED = dict.fromkeys(
    ("api_token", "api_token_previous"), "; `champion-gate tokens create` makes the tokens of the API"
)
_KUBERNETES = re.compile(r"SERVICE_(HOST|PORT(_.+)?)|PORT_\d+_(TCP|UDP|SCTP)(_.+)?")
_ADDRESSES = ("public_url", "api_url")
_PLACEHOLDER = re.compile(
    r"<.*>|.*…|.*\.\.\.|\$\{?\w+\}?|x{3,15}|\*{3,}|todo|dummy|example|placeholder|(change|replace)[-_ ]?me.*|your[-_ ].*",
    re.IGNORECASE,
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_LIBRARIES = (
    *("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
    *(*_PROXIES, *map(str.lower, _PROXIES)),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"),
)
"""Variables that mlflow, requests and Python read themselves."""
_COMMENT = re.compile(r"\s#")


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


class Environment(BaseModel):
    """All variables, by their names without the prefix and in lower case.

    Attributes:
        database_url: SQLAlchemy's; may hold a password.
        public_url: where others reach the service, without a slash at the end; None if it was not given.
        host, port: where to listen; port 0 takes any free one.
        sweep_seconds: how long the sweep rests between two rounds.
        proxy_hops: how many proxies in front are believed about the source address of a request.
        stop_seconds: how long the service may take to stop, open requests and steps in hand included.
        oidc_client_secret: of api.oidc.client_id, where the issuer wants one.
        vendors: those of the CI/CD systems, by the keys of their servers.
        notices: those of notices, by their names without the prefix and in lower case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

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
    mlflow_webhook_secret: SecretStr | None = None
    mlflow_webhook_secret_previous: SecretStr | None = None
    oidc_client_secret: SecretStr | None = None
    vendors: dict[str, Secrets] = {}
    notices: dict[str, SecretStr] = {}


def known_variables(vendors: tuple[Vendor, ...]) -> tuple[str, ...]:
    """All variables, by their names without the prefix and in lower case."""
    own = [name for name in Environment.model_fields if name not in {"vendors", "notices"}]
    return (*own, *(name for secrets in _secrets(vendors).values() for name in secrets.model_fields))


def _secrets(vendors: tuple[Vendor, ...]) -> dict[str, type[Secrets]]:
    """By the key of their server at the top of gates.yaml; several kinds of places may be at one server."""
    return {vendor.server.kind: vendor.secrets for vendor in vendors}


def _may_be_a_file(name: str) -> bool:
    field = Environment.model_fields.get(name)
    return field is None or name == "database_url" or field.annotation == (SecretStr | None)


class _Given:
    """The given variables and secret files: `values` by their names, and a line for each that cannot be used."""

    def __init__(self, environ: Mapping[str, str], known: Sequence[str]) -> None:
        self.problems: list[str] = []
        self._known = known
        # An empty variable is how compose files say "not set".
        self._variables = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX) and value.strip()
        }
        self._files = dict(self._secret_files())
        self._refuse_unknown()
        every = (*known, *sorted(filter(is_notice_variable, {*self._variables, *self._files})))
        self.values = {name: value for name in every if (value := self._value(name)) is not None}

    def _value(self, name: str) -> str | None:
        variable, file = self._variables.get(name), self._files.get(name)
        if variable is not None and file is not None and variable != file:
            self.problems.append(
                f"{PREFIX}{name.upper()}: is given twice, as a variable and as a file in the secrets "
                "directory, and they differ; keep one"
            )
        value = file if variable is None else variable
        # In secrets, ids and addresses nothing else may stand; PEM ends with a line's end.
        if value is None or not (_may_be_a_file(name) or name in _ADDRESSES):
            return value
        without_end = value.rstrip("\r\n")
        bare = without_end if without_end.endswith("-----") else value
        stray = stray_problem(f"{PREFIX}{name.upper()}", bare)
        if stray is None:
            return value
        self.problems.append(stray)
        return without_strays(value)

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
            is_known = name in self._known or is_notice_variable(name)
            if name == path.name.lower() or not is_known or not _may_be_a_file(name):
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
        for name in sorted(set(self._variables) - set(self._known)):
            if _KUBERNETES.fullmatch(name.upper()) or is_notice_variable(name):
                continue  # made by Kubernetes for a Service named champion-gate
            close = difflib.get_close_matches(name, self._known, n=1)
            hint = _REPLACED.get(name) or (f"; did you mean {PREFIX}{close[0].upper()}?" if close else "")
            self.problems.append(f"{PREFIX}{name.upper()}: is no variable that is known{hint}")


def read_environment(
    environ: Mapping[str, str], vendors: tuple[Vendor, ...]
) -> tuple[Environment, list[str]]:
    """Read all variables and secret files.

    Args:
        environ: the environment's variables; only those with our prefix are read.
        vendors: whose variables there are besides our own.

    Returns:
        What was read, with the default where a value cannot be used, and a line for each such value.
    """
    given = _Given(environ, known_variables(vendors))
    values, problems = given.values, given.problems
    secrets = {
        kind: form.model_validate({name: values.pop(name) for name in form.model_fields if name in values})
        for kind, form in _secrets(vendors).items()
    }
    notices = {name: values.pop(name) for name in list(values) if is_notice_variable(name)}
    given_besides = {"vendors": secrets, "notices": notices}
    try:
        return Environment.model_validate({**values, **given_besides}), problems
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            name = str(detail["loc"][0])
            found = "a text (not shown)" if name == "database_url" else shown(values.pop(name, None))
            words = detail.get("ctx", {}).get("words", detail["msg"])
            problems.append(f"{PREFIX}{name.upper()}: found {found}; expected {words}")
            values.pop(name, None)
        return Environment.model_validate({**values, **given_besides}), problems


# --- what was kept with a value: `docker --env-file` keeps quotes, blanks and comments ---------------------


def stray_part(text: str) -> str | None:
    """What is in a secret, an id or an address that should not be; None where all is as it should be."""
    if _COMMENT.search(text):
        return "a comment behind it (` #`)"
    if text.strip() != text:
        return "blanks at its ends"
    if text[:1] in {"'", '"'} or text[-1:] in {"'", '"'}:
        return "quotes around it"
    return "a placeholder in place of the value" if _PLACEHOLDER.fullmatch(text) else None


def without_strays(text: str) -> str:
    """The value that was probably meant, so that nothing else is said of what is refused already."""
    return _COMMENT.split(text)[0].strip().strip("'\"")


def libraries_problems(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that goes to a library as it is, and holds what does not belong to it."""
    for name in _LIBRARIES:
        if environ.get(name, "").strip() and (found := stray_problem(name, environ[name])):
            yield found


def stray_problem(variable: str, text: str) -> str | None:
    """A line that names the variable and never shows what was found; None where nothing is wrong."""
    found = stray_part(text)
    if found is None:
        return None
    return (
        f"{variable}: found {found} (not shown); expected the value alone: "
        "docker's --env-file and secret files keep quotes, blanks and comments"
    )
