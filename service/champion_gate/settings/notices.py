"""The secrets of notices: the address of each, and what signs its messages."""

from __future__ import annotations

import base64
import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from champion_gate.domain.addresses import is_loopback
from champion_gate.domain.notices import Notice, NoticeKind
from champion_gate.domain.vendors import PRINTABLE, label, missing

_LONGEST = 4000
_SHORTEST_KEY, _LONGEST_KEY = 24, 64  # bytes; Standard Webhooks, "Signature scheme"
_NAME = re.compile(r"notice_[a-z][a-z0-9_]{0,39}_(?:url|secret|secret_previous)")
_INSTALL = "pip install 'apprise>=1.9,<3'"  # the extra "apprise" of pyproject.toml


def is_notice_variable(name: str) -> bool:
    """Whether a variable, without our prefix and in lower case, is of the form of those of notices."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Receiver:
    """A notice and its secrets.

    Attributes:
        url: where messages go.
        secrets: what signs them, the present one first; none but of kind webhook.
    """

    notice: Notice
    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


def receivers(
    notices: Sequence[Notice], given: Mapping[str, SecretStr], problems: list[str]
) -> tuple[Receiver, ...]:
    """Give each notice its secrets.

    Args:
        notices: as gates.yaml has them.
        given: the variables of notices, by their names without our prefix and in lower case.
        problems: takes one line for each problem; none repeats a secret.
    """
    known = {f"notice_{each.name}_{end}" for each in notices for end in ("url", "secret", "secret_previous")}
    problems += [
        f"{label(name)}: belongs to no notice in gates.yaml; add one, or take the variable away"
        for name in sorted(given.keys() - known)
    ]
    found = []
    for notice in notices:
        texts = {
            end: secret.get_secret_value()
            for end in ("url", "secret", "secret_previous")
            if (secret := given.get(f"notice_{notice.name}_{end}")) is not None
        }
        wrong = list(_problems(notice, texts))
        problems += wrong
        if not wrong:
            signing = [texts[end] for end in ("secret", "secret_previous") if end in texts]
            found.append(Receiver(notice, texts["url"], tuple(dict.fromkeys(signing))))
    return tuple(found)


def _problems(notice: Notice, texts: Mapping[str, str]) -> Iterator[str]:
    url = f"notice_{notice.name}_url"
    if "url" not in texts:
        yield missing(url)
    elif wanted := _unfit(notice, texts["url"]):
        yield f"{label(url)}: found a text (not shown); expected {wanted}"
    if notice.kind is NoticeKind.WEBHOOK and "secret" not in texts:
        yield f"{missing(f'notice_{notice.name}_secret')}: whsec_ and 24 to 64 bytes as base64, which the receiver has too"
    for end in ("secret", "secret_previous"):
        if end not in texts:
            continue
        name = label(f"notice_{notice.name}_{end}")
        if notice.kind is not NoticeKind.WEBHOOK:
            yield f"{name}: is given, and a notice of kind {notice.kind.value} signs nothing; take it away"
        elif not _signs(texts[end]):
            yield f"{name}: found a text (not shown); expected whsec_ and 24 to 64 bytes as base64"


def extra_problem(path: str, notice: Notice) -> str | None:
    """What is missing on this machine for a notice of gates.yaml; None where nothing is."""
    if notice.kind is not NoticeKind.APPRISE or importlib.util.find_spec("apprise") is not None:
        return None
    return f"{path}.kind: found 'apprise', which is not installed; expected slack, teams or webhook, or first: {_INSTALL}"


def _unfit(notice: Notice, text: str) -> str | None:
    """What is expected in place of an address; None where it is one."""
    if not PRINTABLE.fullmatch(text) or len(text) > _LONGEST:
        return "an address without white space"
    if notice.kind is NoticeKind.APPRISE:
        return (
            None if "://" in text else "an address of Apprise's, such as mailtos://user:password@example.com"
        )
    try:
        there = urlsplit(text)
        host, _ = there.hostname or "", there.port
    except ValueError:
        host = ""
    if not host or there.username is not None or there.fragment or "\\" in text:
        return "an address such as https://host.example.com/path, without user name and #"
    is_here = there.scheme == "http" and notice.private and is_loopback(host)
    if there.scheme == "https" or is_here:
        return None
    return "an https:// address (http:// only on this machine itself, and with private: true)"


def _signs(secret: str) -> bool:
    kind, _, text = secret.partition("_")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return False
    return kind == "whsec" and _SHORTEST_KEY <= len(key) <= _LONGEST_KEY
