"""What a registry's webhook tells about: only where to look, as with every webhook."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from champion_gate.domain.json_body import Ignored


@dataclass(frozen=True)
class AliasMoved:
    """An alias was set or taken away; where it stands now has to be read."""

    model: str
    alias: str


@dataclass(frozen=True)
class VersionMade:
    """A version was registered; who made it, and of what, has to be read."""

    model: str
    version: str


RegistryNews: TypeAlias = AliasMoved | VersionMade


@dataclass(frozen=True)
class RegistryDelivery:
    """An authentic webhook of a registry.

    Attributes:
        kind: what it is about, such as `model_version.created`; one of a few words.
        id: what the registry calls this delivery, the same for every try of it.
        news: what it tells, or why it tells us nothing.
    """

    kind: str
    id: str
    news: RegistryNews | Ignored


class RegistryHook(Protocol):
    """How a registry's webhooks are checked and read: at `/hooks/<registry's name>`.

    `header` gives the value of a header, whatever its case, or an empty text.
    """

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        """Whether it was signed, minutes ago at most, with one of the secrets that we share with the registry."""
        ...

    def read(self, header: Callable[[str], str], body: bytes) -> RegistryDelivery:
        """What an authentic one says; raises nothing."""
        ...
