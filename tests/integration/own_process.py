"""An object that lives in a process of its own: stand-ins that share no interpreter with a test, and outlive what it kills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from typing import Any, TypeVar

T = TypeVar("T")


class _Process(BaseManager):
    """The process."""


@contextmanager
def in_own_process(kind: Callable[..., T], *given: Any) -> Iterator[T]:
    """Make one there. What is called is called there, by any thread; the process ends with the block.

    Args:
        kind: a class of a module; what its public methods take and return is pickled.
        given: what it is made of.
    """
    _Process.register(kind.__name__, kind)
    with _Process(ctx=get_context("spawn")) as process:
        yield getattr(process, kind.__name__)(*given)
