"""An object that lives in a process of its own: stand-ins that share no interpreter with a test, and outlive what it kills."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.forkserver import ensure_running
from multiprocessing.managers import BaseManager
from typing import Any, TypeVar

T = TypeVar("T")

# Its server forks processes that have imported what the first of them needed, which takes longer than all else.
_CONTEXT = get_context("forkserver")


class _Process(BaseManager):
    """The process."""


@contextmanager
def in_own_process(kind: Callable[..., T], *given: Any) -> Iterator[T]:
    """Make one there. What is called is called there, by any thread; the process ends with the block.

    Args:
        kind: a class of a module; what its public methods take and return is pickled.
        given: what it is made of.
    """
    _begin(kind.__module__)
    _Process.register(kind.__name__, kind)
    with _Process(ctx=_CONTEXT) as process:
        yield getattr(process, kind.__name__)(*given)


def _begin(imported: str) -> None:
    """Start the server if it does not run; it finds modules by the environment alone (multiprocessing/forkserver.py)."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    _CONTEXT.set_forkserver_preload([imported])
    try:
        ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
