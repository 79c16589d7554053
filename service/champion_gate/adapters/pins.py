"""What was stored of a place when a request opened, and whether the place is still so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping


def changed_pins(names: Iterable[str], stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Which of these pins are others now, each as a sentence."""
    return [
        f"{name} was {stored.get(name, 'not stored')} when approval was asked for and is {now[name]} now."
        for name in names
        if stored.get(name) != now[name]
    ]


def unpacked(pin: str) -> Mapping[str, object]:
    """A pin that holds a JSON object; empty where it cannot be read."""
    try:
        found = json.loads(pin)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
