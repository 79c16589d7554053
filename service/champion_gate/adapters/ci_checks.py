"""What checks of CI/CD systems have in common: a CI file beside the shipped one, and webhooks that arrived or did not."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import yaml

from champion_gate.domain.findings import Check, Finding
from champion_gate.domain.text import one_line
from champion_gate.errors import VendorUnavailableError

ADDRESS = "CHAMPION_GATE_PUBLIC_URL"
SEEN_LATER = "Without its webhooks a decision is seen by the sweep, up to a minute later."
_LARGEST_FILE = 256 * 1024
_THEIR_OWN = frozenset({"description", "runs-on", "timeout-minutes", "image", "tags", "timeout"})
"""Keys that are for people alone, or say where jobs run and how long they may."""


# --- CI files ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CiFile:
    """A CI file as it is on the gate's branch.

    Attributes:
        parts: in it -> in the shipped one, of what champion-gate relies on: keys from the outside in, the number of the
            YAML document first.
    """

    where: str
    text: str
    parts: Mapping[tuple[str, ...], tuple[str, ...]]

    def compared(self, check: Check, shipped: str, name: str) -> Finding:
        """What the file has in common with the one that we ship."""
        if self.text.split() == shipped.split():
            return check.ok(f"{self.where} is the shipped file")
        copy = f"Put {name} of this release in its place, or make these parts as they are there."
        found, wanted = _documents(self.text), _documents(shipped)
        if not found or wanted is None:
            return check.fail(f"{self.where} cannot be read as YAML.", copy)
        other = dict.fromkeys(
            ".".join(path)
            for mine, theirs in self.parts.items()
            for path in _differences(_at(found, mine), _at(wanted, theirs), mine[1:])
        )
        if other:
            return check.fail(f"{self.where} is not as shipped in: {one_line(', '.join(other))}.", copy)
        return check.ok(f"{self.where} differs from the shipped file in nothing that champion-gate relies on")


def decoded(content: str, vendor: str) -> str:
    """The text of a file that was answered as base64, with line ends or without; VendorUnavailableError for none."""
    try:
        text = base64.b64decode("".join(content.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        raise VendorUnavailableError(vendor, "a file's content cannot be read.") from None
    if len(text) > _LARGEST_FILE:
        raise VendorUnavailableError(vendor, f"a CI file is larger than {_LARGEST_FILE} characters.")
    return text


def _documents(text: str) -> list[Any] | None:
    """The YAML documents, every scalar a text: `on` is a key like another; None where it is no YAML."""
    try:
        return list(yaml.load_all(text, Loader=yaml.BaseLoader))
    except (yaml.YAMLError, RecursionError):
        return None


def _at(documents: list[Any], path: Sequence[str]) -> object:
    number, *keys = path
    found: Any = documents[int(number)] if int(number) < len(documents) else None
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _differences(found: object, wanted: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where they differ, but for what is anybody's own. Only as deep as what we ship: the other may name itself inside."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted((wanted.keys() | found.keys()) - _THEIR_OWN):
            yield from _differences(found.get(key), wanted.get(key), (*path, key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for mine, ours in zip(found, wanted, strict=True):
            yield from _differences(mine, ours, path)
    elif not isinstance(found, str | None) or found != wanted:
        yield path


# --- webhooks ---------------------------------------------------------------------------------------------


def delivered(
    check: Check, vendor: str, codes: Sequence[int], *, last: str, page: str, shared: str
) -> Iterator[Finding]:
    """What became of the webhooks of late that tell of approvals.

    Args:
        check: whose finding it is.
        vendor: in words.
        codes: the statuses with which they were answered, newest first; 0 without an answer.
        last: when and how the newest was answered, in words.
        page: where the vendor shows them.
        shared: the variables of what we share with the vendor.
    """
    if not codes:
        remedy = f"When people have been asked and have decided, run this again: {page} shows whether that was told."
        yield check.not_known(f"{vendor} has sent none of late, so whether they arrive is not shown.", remedy)
        return
    arrived = sum(HTTPStatus.OK <= code < HTTPStatus.BAD_REQUEST for code in codes)
    if HTTPStatus.OK <= codes[0] < HTTPStatus.BAD_REQUEST:
        yield check.ok(f"of the last {len(codes)}, {arrived} arrived; the newest: {last}")
        return
    if not codes[0]:
        remedy = f"Let {vendor} reach the address: its DNS, its certificate, a firewall. {page} shows what was said."
    elif codes[0] == HTTPStatus.UNAUTHORIZED:
        remedy = f"Give the webhook the secret that is in {shared} ({page})."
    else:
        remedy = f"{page} shows the answer, and the service's log or a proxy's says why."
    yield check.warning(f"of the last {len(codes)}, {arrived} arrived; the newest did not: {last}.", remedy)
