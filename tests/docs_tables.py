"""The tables of `service/docs/` that are made from the code: `make docs` writes them, a test compares them.

A table stands on its page between `<!-- table: NAME -->` and `<!-- /table -->`. Its rows, and every cell that the
code tells, come from here. Where the code has no words for the last cell, a person writes it on the page, and it is
kept by the row's name; `…` is a cell that nobody has written yet.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias, cast, get_args, get_origin

import click
from click.testing import CliRunner
from flask import Flask
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

import champion_gate
from champion_gate import domain, flow, meters, web
from champion_gate.bootstrap.doctor import CHECKS
from champion_gate.bootstrap.vendors import VENDORS
from champion_gate.cli import cli
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import ConfigurationError, GateError, UnsafeTargetError, VersionMissingError
from champion_gate.flow.ci_outcome import PostedDecision
from champion_gate.flow.context import Waits
from champion_gate.flow.identities import AnotherAccountError
from champion_gate.flow.resolver import VersionBusyError
from champion_gate.settings.environment import Environment
from champion_gate.settings.gates import gates_form
from champion_gate.web.app import Access, Operations, create_app
from champion_gate.web.auth import Auth, Guard, guard_of
from champion_gate.web.metrics import GAUGES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "service" / "docs"
UNWRITTEN = "…"
PREVIOUS = "_previous"

Row: TypeAlias = tuple[str | None, ...]
"""The cells; None is one that a person writes on the page."""


@dataclass(frozen=True)
class Table:
    """Where a table stands, and what it holds."""

    page: str
    name: str
    rows: Callable[[], Iterator[Row]]


# --- settings ---------------------------------------------------------------------------------------------


def variables() -> Iterator[Row]:
    """Every variable, its default, and whether it has a twin."""
    fields = dict(Environment.model_fields)
    del fields["vendors"], fields["notices"]
    for vendor in VENDORS:
        fields |= vendor.secrets.model_fields
    for name, field in fields.items():
        if not name.endswith(PREVIOUS):
            twin = "yes" if name + PREVIOUS in fields else ""
            yield f"`{PREFIX}{name.upper()}`", _default(field), twin, None
    yield f"`{PREFIX}NOTICE_<NAME>_URL`", "", "", None
    yield f"`{PREFIX}NOTICE_<NAME>_SECRET`", "", "yes", None


def keys() -> Iterator[Row]:
    """Every key of gates.yaml with its default and the words of its JSON Schema."""
    for path, field in _keys(gates_form(VENDORS)):
        words = f"{field.description}{_choices(field)}"
        yield f"`{path}`", "required" if field.is_required() else _default(field), words


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    schemas = model.model_json_schema()["properties"]
    for own_name, field in model.model_fields.items():
        name = field.alias or own_name
        written = [each.form for each in field.metadata if hasattr(each, "form")]
        inner = written or [each for each in _models(field.annotation) if each is not model]
        by_name, listed = "additionalProperties" in schemas[name], "items" in schemas[name]
        if not inner or by_name:
            yield f"{prefix}{name}", field
        for each in inner:
            yield from _keys(each, f"{prefix}{name}{'.*' if by_name else '[]' if listed else ''}.")


def _choices(field: FieldInfo) -> str:
    """Which values there are, where the description does not name them."""
    kind = field.annotation
    choices = [str(each) for each in get_args(kind) if get_origin(kind) is Literal]
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(each) for each in kind]
    if all(each in str(field.description) for each in choices):
        return ""
    return f": {' or '.join(f'`{each}`' for each in choices)}"


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for argument in getattr(annotation, "__args__", ()) for each in _models(argument)]


def _default(field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, timedelta):
        hours = value // timedelta(hours=1)
        value = f"{value.days}d" if value.days else f"{hours}h"
    if isinstance(value, float):
        value = f"{value:g}"
    return f"`{value}`" if isinstance(value, str | int | Path) else ""


# --- phases and errors ------------------------------------------------------------------------------------


def phases() -> Iterator[Row]:
    """Every phase of a promotion, and whether it is open in it."""
    for phase in Phase:
        yield f"`{phase}`", "yes" if phase.is_open else "", None


def notification_phases() -> Iterator[Row]:
    """Every phase of a notification."""
    for phase in NotificationPhase:
        yield f"`{phase}`", None


_INNER = {AnotherAccountError, ConfigurationError, UnsafeTargetError, VersionBusyError, VersionMissingError}
"""Workers and the command line meet these; a view never does."""

_WITHOUT_CLASS = {
    (400, "bad_request"),
    (405, "method_not_allowed"),
    (408, "request_timeout"),
    (409, "promotion_ended"),
}


def errors() -> Iterator[Row]:
    """Every status and code that the API answers."""
    for package in (domain, flow, web):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    # Stand-ins, adapters and tests have kinds of their own.
    places = ("champion_gate.domain.", "champion_gate.flow.", "champion_gate.web.", "champion_gate.errors")
    kinds = {each for each in _kinds(GateError) if each.__module__.startswith(places)} - _INNER
    for status, code in sorted({(each.status, each.code) for each in kinds} | _WITHOUT_CLASS):
        yield str(status), f"`{code}`", None


def _kinds(error: type[GateError]) -> Iterator[type[GateError]]:
    yield error
    for each in error.__subclasses__():
        yield from _kinds(each)


# --- routes and commands ----------------------------------------------------------------------------------

_SECTIONS = (
    "/api/v1/promotions",
    "/api/v1/models",
    "/api/v1/notifications",
    "/api/v1/identities",
    "/hooks",
    "/",
)
_METHODS = ("GET", "POST", "PUT", "DELETE")
_WHO = {
    Auth.NONE: "anybody",
    Auth.BASIC: "Databricks, by Basic authentication",
    Auth.SIGNATURE: "the vendor, by its signature",
    Auth.PING: "the doctor, by the secrets of Databricks' hook",
    Auth.CI_JOB: "the gated CI job, by its ID token",
}


def app_of_nothing() -> Flask:
    """An app with every route, none of which could do anything."""
    nothing = cast("Any", SimpleNamespace(ledger_head=None))
    return create_app(
        store=nothing,
        wake_ups=nothing,
        clock=nothing,
        access=Access(
            provider_hooks=dict.fromkeys(("github", "gitlab"), nothing),
            registry_hooks={"mlflow": nothing},
        ),
        checks=(),
        posted_decision=PostedDecision(
            store=nothing, verifier=nothing, wake_ups=nothing, clock=nothing, pause=nothing
        ),
        operations=Operations(**{each.name: nothing for each in fields(Operations)}),
    )


def routes() -> Iterator[Row]:
    """Every route, who may call it, and the summary that the API's own description has of it."""
    app = app_of_nothing()
    described = app.test_client().get("/openapi.json").get_json()["paths"]
    found = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        section = next(at for at, each in enumerate(_SECTIONS) if path.startswith(each))
        guard = guard_of(app.view_functions[rule.endpoint])
        for method in (rule.methods or set()) & set(_METHODS):
            summary = described.get(path, {}).get(method.lower(), {}).get("summary")
            where = section, path.count("/") if section == 0 else 0, path, _METHODS.index(method)
            found.append((where, (f"`{method} {path}`", _who(guard), summary)))
    yield from (row for _, row in sorted(found, key=lambda each: each[0]))


def _who(guard: Guard | None) -> str:
    assert guard is not None, "a route declares who may call it"
    return guard.role.value if guard.role is not None else _WHO[guard.auth]


def commands() -> Iterator[Row]:
    """Every command with the first words of its help."""
    yield from _commands(cli, "champion-gate")


def _commands(group: click.Group, path: str) -> Iterator[Row]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"`{path} {name}`", command.get_short_help_str(500)


def exit_codes() -> Iterator[Row]:
    """Every exit code, as `champion-gate --help` explains it."""
    help_text = CliRunner().invoke(cli, ["--help"]).output
    for code, words in re.findall(r"^ +(\d+)  +(.*)$", help_text, flags=re.MULTILINE):
        yield f"`{code}`", words


def checks() -> Iterator[Row]:
    """Every kind of check of `champion-gate doctor`, and why it is made."""
    for check in CHECKS:
        yield f"`{check.key}`", check.title, "yes" if check.cheap else "", check.why


# --- metrics ----------------------------------------------------------------------------------------------


def metrics() -> Iterator[Row]:
    """Every metric of our own: its labels, whose it is, and what it says."""
    for gauge in GAUGES:
        whose = "this process" if gauge.name.startswith(meters.PREFIX) else "the rows"
        yield f"`{gauge.name}`", _labels(gauge.labels), "gauge", whose, gauge.what
    for meter in meters.Meters().declared:
        yield f"`{meter.name}`", _labels(meter.labels), meter.kind, "this process", meter.what


def _labels(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# --- limits -----------------------------------------------------------------------------------------------

_LIMITS = (
    ("how long a call that fails is tried again, before the promotion is `failed`", "BUDGET"),
    ("longest `expires_after` and `apply_within`", "LONGEST_WAIT"),
    ("how far back the watched jobs' runs are listed", "_LOOK_BACK"),
    ("how far around a run a version may have been made to be looked at", "_AROUND_RUN"),
    ("MLflow runs that are read to find a run's version", "_MOST_LOOKED_AT"),
    ("versions whose tags are read to find it, on Unity Catalog", "_MOST_TAGS_READ"),
    ("how long a version may take to become READY", "READY_WITHIN"),
    ("starts of one request's run or pipeline", "MOST_STARTS"),
    ("how long a started run may take to appear in the vendor's list", "Waits.request_appears"),
    ("how long a run or pipeline has to be gone before its request is void", "Waits.request_gone"),
    ("how long a version has to be gone before it is taken for gone", "Waits.version_gone"),
    ("how long numbers that cannot be read are looked for", "Waits.numbers"),
    ("how often it looks again at what a person has to mend", "Waits.recheck"),
    ("how often it looks again at a hold, or a person who is not told", "Waits.recheck_seldom"),
    ("how often at most it reads a request of which nothing was told", "Waits.look"),
    ("the evidence as the reviewer sees it, in characters", "MARKDOWN_LIMIT"),
    ("rows of one answer, without `?limit=`", "DEFAULT_LIMIT"),
    ("rows of one answer, at most", "MAX_LIMIT"),
    ("body of a notification from Databricks", "DATABRICKS_BODY_CAP"),
    ("body of a webhook from GitHub or GitLab", "PROVIDER_BODY_CAP"),
    ("how long a body may stop", "_BODY_SILENCE_SECONDS"),
    ("how long a body may take in all", "_BODY_SECONDS"),
    ("shortest password and webhook secret", "SHORTEST_SECRET"),
    ("size of gates.yaml", "MAX_BYTES"),
)
"""What is limited, and by what: a constant whose name only one module has, or one of the flow's waits."""

_BYTES = frozenset({"DATABRICKS_BODY_CAP", "PROVIDER_BODY_CAP", "MAX_BYTES"})
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def limits() -> Iterator[Row]:
    """The numbers that a user can meet."""
    values = _constants({name for _, name in _LIMITS})
    values |= {f"Waits.{name}": [value] for name, value in vars(Waits()).items()}
    for words, name in _LIMITS:
        assert len(values[name]) == 1, f"{name}: the service has {len(values[name])} of it; mend _LIMITS"
        yield words, _amount(name, values[name][0])


def _constants(names: set[str]) -> dict[str, list[Any]]:
    """The values of the modules' constants with these names."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    root = Path(champion_gate.__file__).parent
    for file in sorted(root.rglob("*.py")):
        for statement in ast.parse(file.read_text()).body:
            targets = statement.targets if isinstance(statement, ast.Assign) else ()
            for name in {each.id for each in targets if isinstance(each, ast.Name)} & names:
                module = ".".join(("champion_gate", *file.relative_to(root).with_suffix("").parts))
                found[name].append(getattr(importlib.import_module(module), name))
    return found


def _amount(name: str, value: Any) -> str:
    if name in _BYTES:
        return f"{value // 2**20} MiB" if value >= 2**20 else f"{value // 2**10} KiB"
    if name.endswith("_SECONDS"):
        value = timedelta(seconds=value)
    if not isinstance(value, timedelta):
        return f"{value:,}"
    seconds = int(value.total_seconds())
    size, unit = next(each for each in _UNITS if seconds % each[0] == 0)
    return f"{seconds // size} {unit}{'' if seconds == size else 's'}"


# --- writing ----------------------------------------------------------------------------------------------

TABLES = (
    Table("configuration.md", "variables", variables),
    Table("configuration.md", "keys", keys),
    Table("approving.md", "phases", phases),
    Table("approving.md", "notification-phases", notification_phases),
    Table("api.md", "routes", routes),
    Table("api.md", "errors", errors),
    Table("cli.md", "commands", commands),
    Table("cli.md", "exit-codes", exit_codes),
    Table("doctor.md", "checks", checks),
    Table("metrics.md", "metrics", metrics),
    Table("limits.md", "limits", limits),
)


def renewed(table: Table, page: str) -> str:
    """The page with this table as the code has it."""
    mark = re.compile(rf"(<!-- table: {table.name} -->\n(?:\|.*\n){{2}})((?:\|.*\n)*)(?=<!-- /table -->)")
    match = mark.search(page)
    assert match is not None, f"{table.page} has no place for the table {table.name}"
    written = {_name(cells): cells[-1] for cells in map(_cells, match[2].splitlines())}
    lines = []
    for row in table.rows():
        told = [each or "" for each in row[:-1]]
        last = row[-1] or written.get(_name(told), UNWRITTEN)
        cells = (re.sub(r"(?<!\\)\|", r"\|", each) for each in (*told, last))
        lines.append(f"| {' | '.join(cells)} |\n")
    return page[: match.start(2)] + "".join(lines) + page[match.end(2) :]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _name(cells: list[str]) -> str:
    return next((each for each in cells if each.startswith("`")), cells[0])


def main() -> None:
    """Write every table, and say which cells somebody has to write."""
    for table in TABLES:
        path = DOCS / table.page
        page = path.read_text()
        if (new := renewed(table, page)) != page:
            path.write_text(new)
            print(f"renewed: {table.name} in {path.relative_to(ROOT)}")  # noqa: T201 - what it is for
    for path in sorted(DOCS.glob("*.md")):
        for line in path.read_text().splitlines():
            if line.endswith(f"| {UNWRITTEN} |"):
                sys.stderr.write(f"{path.relative_to(ROOT)}: write the last cell of {line}\n")


if __name__ == "__main__":
    main()
