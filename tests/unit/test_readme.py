"""README.md says what there is: every variable, key, command, route and phase, and none besides."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from pydantic import BaseModel

from champion_gate import domain, flow, web
from champion_gate.cli import cli
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConfigurationError, GateError, UnsafeTargetError, VersionMissingError
from champion_gate.flow.ci_outcome import PostedDecision
from champion_gate.flow.identities import AnotherAccountError
from champion_gate.flow.resolver import VersionBusyError
from champion_gate.settings.environment import PREFIX, Environment
from champion_gate.settings.gates_file import load_gates
from champion_gate.settings.gates_model import GatesEntry
from champion_gate.web.app import Access, Operations, create_app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PREVIOUS = "_previous"


def rows(pattern: str) -> dict[str, list[str]]:
    """First cell -> the other cells, of the table rows whose first cell matches."""
    found = {}
    for line in README.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        match = re.fullmatch(f"`({pattern})`", cells[0]) if line.startswith("| ") else None
        if match:
            found[match[1]] = cells[1:]
    return found


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted path of every key of gates.yaml."""
    for name, field in model.model_fields.items():
        inner = [each for each in _models(field.annotation) if each is not model]
        if not inner:
            yield f"{prefix}{name}"
            continue
        text = str(field.annotation)
        if text.startswith("dict"):
            yield f"{prefix}{name}"
        infix = {"list": "[].", "dict": ".*."}.get(text[:4], ".")
        for each in inner:
            yield from keys(each, f"{prefix}{name}{infix}")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for argument in getattr(annotation, "__args__", ()) for each in _models(argument)]


def _kinds(error: type[GateError]) -> Iterator[type[GateError]]:
    for each in error.__subclasses__():
        yield each
        yield from _kinds(each)


def commands(group: click.Group, path: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


def test_lists_every_variable_and_none_that_is_not_read() -> None:
    current = {name for name in Environment.model_fields if not name.endswith(PREVIOUS)}
    assert set(rows(f"{PREFIX}[A-Z_]+")) == {PREFIX + name.upper() for name in current}


def test_says_of_which_variables_a_previous_value_is_taken() -> None:
    twins = {name for name, cells in rows(f"{PREFIX}[A-Z_]+").items() if cells[1] == "yes"}
    previous = {name for name in Environment.model_fields if name.endswith(PREVIOUS)}
    assert twins == {PREFIX + name.removesuffix(PREVIOUS).upper() for name in previous}


def test_gives_the_defaults_that_hold() -> None:
    table = rows(f"{PREFIX}[A-Z_]+")
    for name in ("config", "host", "port"):
        assert table[PREFIX + name.upper()][0] == f"`{Environment.model_fields[name].default}`"
    assert (
        float(table[f"{PREFIX}SWEEP_SECONDS"][0].strip("`"))
        == Environment.model_fields["sweep_seconds"].default
    )
    secret = Environment.model_fields["database_url"].default.get_secret_value()
    assert table[f"{PREFIX}DATABASE_URL"][0] == f"`{secret}`"


def test_mentions_no_variable_that_is_unknown() -> None:
    shipped = README + (ROOT / "Dockerfile").read_text()
    mentioned = set(re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", shipped))
    # A variable of the CI system, where the released job reads it.
    assert mentioned - {"CHAMPION_GATE_URL"} <= {PREFIX + name.upper() for name in Environment.model_fields}


def test_lists_every_key_of_gates_yaml_and_none_that_is_refused() -> None:
    path = r"registry|(?:github|gitlab|api)\.[\w.]+|(?:gates|aliases)\[\]\.[\w.*]+"
    assert set(rows(path)) == set(keys(GatesEntry))


def test_examples_of_gates_yaml_are_taken(tmp_path: Path) -> None:
    gates, api = re.findall(r"^```yaml\n((?:registry|api):.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    file = tmp_path / "gates.yaml"
    file.write_text(gates + api)
    loaded = load_gates(file)
    assert [gate.name for gate in loaded.gates] == ["churn"]
    assert loaded.api_oidc is not None
    assert loaded.api_oidc.operator == {"ml-operators"}


def test_lists_every_command() -> None:
    assert set(rows(r"champion-gate [\w -]+")) == set(commands(cli, "champion-gate"))


def test_lists_every_exit_code() -> None:
    help_text = CliRunner().invoke(cli, ["--help"]).output
    assert set(rows(r"\d+")) == set(re.findall(r"^ +(\d+)  ", help_text, flags=re.MULTILINE))


def test_lists_every_code_of_an_error_that_the_api_answers() -> None:
    for package in (domain, flow, web):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    listed = {
        (int(status), code)
        for status, codes in re.findall(r"^\| (\d{3}) \| (`.*?`) \|", README, flags=re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    # Workers and the command line meet these; a view never does.
    inner = {
        AnotherAccountError,
        ConfigurationError,
        UnsafeTargetError,
        VersionBusyError,
        VersionMissingError,
    }
    # Stand-ins, adapters and tests have kinds of their own.
    places = ("champion_gate.domain.", "champion_gate.flow.", "champion_gate.web.", "champion_gate.errors")
    kinds = {each for each in _kinds(GateError) if each.__module__.startswith(places)} - inner
    ours = {(each.status, each.code) for each in kinds}
    assert listed - ours == {
        (400, "bad_request"),
        (405, "method_not_allowed"),
        (408, "request_timeout"),
        (409, "promotion_ended"),
    }
    assert ours <= listed


def test_lists_every_route() -> None:
    nothing = cast("Any", SimpleNamespace(ledger_head=None))
    access = Access(provider_hooks=dict.fromkeys(("github", "gitlab"), nothing))
    decisions = PostedDecision(
        store=nothing, verifier=nothing, wake_ups=nothing, clock=nothing, pause=nothing
    )
    app = create_app(
        store=nothing,
        wake_ups=nothing,
        clock=nothing,
        access=access,
        checks=(),
        posted_decision=decisions,
        operations=Operations(*[nothing] * 7),
    )
    routes = {
        f"{method} {rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(rows(r"(?:GET|POST|PUT|DELETE) /[^`]*")) == routes


def test_tables_and_blocks_are_what_they_look_like() -> None:
    lines = README.splitlines()
    tokens = MarkdownIt("commonmark").enable("table").parse(README)
    tables = [lines[slice(*token.map)] for token in tokens if token.type == "table_open" and token.map]
    assert [line for table in tables for line in table] == [line for line in lines if line.startswith("|")]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, table[0]
    blocks = [token.info for token in tokens if token.type == "fence"]
    assert len(blocks) * 2 == sum(line.strip().startswith("```") for line in lines)
    assert set(blocks) <= {"sh", "yaml", "mermaid"}


def test_explains_every_phase_of_a_promotion() -> None:
    assert set(Phase) <= set(rows(r"[a-z_]+"))


@pytest.mark.parametrize(
    "phase", [NotificationPhase.IGNORED, NotificationPhase.WAITING, NotificationPhase.UNRESOLVED]
)
def test_says_what_to_do_about_a_notification_that_led_to_nothing(phase: NotificationPhase) -> None:
    assert f"**The notification is `{phase}`.**" in README


def test_takes_at_most_ten_steps_to_set_up() -> None:
    section = README.split("\n## Set it up\n")[1].split("\n## ")[0]
    steps = re.findall(r"^(\d+)\. \*\*", section, flags=re.MULTILINE)
    assert steps == [str(number) for number in range(1, len(steps) + 1)]
    assert len(steps) <= 10


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", README, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (ROOT / target).exists(), target
