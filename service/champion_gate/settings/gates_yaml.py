"""Reads gates.yaml into plain values, refusing what YAML would silently guess: duplicates, octal ids, aliases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from champion_gate.errors import ConfigurationError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20  # a deeper document is an attack on the parser
_SCALARS = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("tag:yaml.org,2002:int", r"[-+]?(0|[1-9][0-9]*)", [*"-+0123456789"]),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+0123456789."],
    ),
)


class _Loader(yaml.SafeLoader):
    """Scalars of YAML 1.2's core schema: PyYAML's 1.1 reads `0123` as 83, `1:30` as 90 and `on` as true."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way to drop the inherited rules
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases (a small file can expand to gigabytes) and bottomless nesting while reading."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not taken; write the value out", problem_mark=mark
            )
        if self.depth >= MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_yaml(path: Path, lines: dict[str, int] | None = None) -> tuple[object, list[str]]:
    """Read one YAML document.

    Args:
        path: the file; UTF-8, at most 1 MiB.
        lines: takes the line, from 1, of each key's and item's path, such as `gates[0].model`.

    Returns:
        The value, and one line for every key written twice or that is no text, each with its path.

    Raises:
        ConfigurationError: the file cannot be read, or is no YAML at all.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            [
                f"{path}: cannot be read ({error.strerror}); expected gates.yaml (CHAMPION_GATE_CONFIG says where it is)"
            ]
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError([f"{path}: is larger than 1 MiB"])
    problems: list[str] = []
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        try:
            node = loader.get_single_node()
            if lines is not None and node is not None:
                lines.update(_lines(node, ""))
            return (None if node is None else _value(loader, node, "", problems)), problems
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: is no UTF-8 text (byte {error.start})"]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError([f"{path}: {_words(error)}"]) from error


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    below: Iterable[tuple[str, yaml.Node, yaml.Node]] = ()
    if isinstance(node, yaml.MappingNode):
        below = ((f"{path}.{key.value}" if path else str(key.value), key, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        below = ((f"{path}[{index}]", item, item) for index, item in enumerate(node.value))
    for each, shown, value in below:
        yield each, shown.start_mark.line + 1
        yield from _lines(value, each)


def _value(loader: _Loader, node: yaml.Node, path: str, problems: list[str]) -> object:
    if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
        return dict(_items(loader, node, path, problems))
    if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
        return [_value(loader, item, f"{path}[{i}]", problems) for i, item in enumerate(node.value)]
    try:
        return loader.construct_object(node)
    except ValueError:  # an integer of thousands of digits, or `!!int x`
        problems.append(f"{path}: line {node.start_mark.line + 1} holds no usable value")
        return None


def _items(
    loader: _Loader, node: yaml.MappingNode, path: str, problems: list[str]
) -> Iterator[tuple[str, object]]:
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            problems.append(f"{path or 'the file'}: the key in line {line} is no text; put it in quotes")
            continue
        key = str(key_node.value)
        below = f"{path}.{key}" if path else key
        if key in lines:
            problems.append(f"{below}: is written twice (lines {lines[key]} and {line}); keep one")
            continue
        lines[key] = line
        yield key, _value(loader, value_node, below, problems)


def _words(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        return f"{where}{error.problem or error.context}"
    return f"cannot be read as YAML ({type(error).__name__})"
