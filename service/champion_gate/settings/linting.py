"""gates.yaml judged by itself, without any secret or call: what is wrong and what is doubtful, each with its line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from champion_gate.domain.ports.approval import Vendor
from champion_gate.errors import ConfigurationError
from champion_gate.settings.environment import stray_part
from champion_gate.settings.gates import Gates
from champion_gate.settings.gates_yaml import read_yaml
from champion_gate.settings.loading import read_gates

_LINE = re.compile(r"\blines? (\d+)")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_APPLICATION = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_URL = re.compile(r"\w+://|www\.|#?/?jobs?/", re.IGNORECASE)
_NUMBER = re.compile(r"\W*(id|job|job id)?\W*\d[\d\s_.,'-]*", re.IGNORECASE)
_REFERENCE = re.compile(r"\{\{.*\}\}|.*\$\{.*\}.*")


@dataclass(frozen=True)
class Remark:
    """Something about the file.

    Attributes:
        line: from 1; the first where none can be told.
        is_wrong: whether the service would refuse the file; else it is only doubtful.
    """

    line: int
    message: str
    is_wrong: bool


def lint(path: Path, vendors: tuple[Vendor, ...]) -> list[Remark]:
    """Look at the file; in the order of its lines."""
    lines: dict[str, int] = {}
    reading = read_gates(path, vendors)
    with contextlib.suppress(ConfigurationError):  # what keeps it from being read is among the problems
        read_yaml(path, lines)
    found = [Remark(_line(each, lines), each, is_wrong=True) for each in reading.problems]
    if reading.gates is not None:
        found += [Remark(_line(each, lines), each, is_wrong=False) for each in _doubts(reading.gates)]
    return sorted(found, key=lambda each: (each.line, not each.is_wrong))


def _line(message: str, lines: Mapping[str, int]) -> int:
    """The line of the longest path with which a message begins, or else the one that it names."""
    paths = [path for path in lines if message.startswith(path) and not message[len(path) :][:1].isalnum()]
    if paths:
        return lines[max(paths, key=len)]
    named = _LINE.search(message)
    return int(named[1]) if named else 1


def _doubts(gates: Gates) -> Iterator[str]:
    for index, gate in enumerate(gates.gates):
        for number, job in enumerate(gate.jobs):
            if isinstance(job, str) and (why := _strange(job)):
                yield f"gates[{index}].jobs[{number}]: {job!r} is taken as a job's name, and looks like {why}"
        for name in gate.identities:
            if not _ADDRESS.fullmatch(name) and not _APPLICATION.fullmatch(name):
                yield (
                    f"gates[{index}].identities.{name}: is no mail address and no application id, by which Databricks "
                    "names people and service principals; a group has to be written exactly so there"
                )


def _strange(job: str) -> str | None:
    if _URL.search(job):
        return "an address: write the number at its end"
    if stray_part(job) or _REFERENCE.fullmatch(job):
        return "a placeholder: write the job's number or name"
    return "a number: write the digits alone, without quotes" if _NUMBER.fullmatch(job) else None
