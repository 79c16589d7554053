"""Calls that do not need each other go out together: what people wait for is the longest of them, not the sum."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Generic, TypeVar, overload

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
T = TypeVar("T")

THREADS = 16
"""As many as connections are kept to one vendor: more would only wait for those."""


class Together:
    """A bounded number of threads for calls to vendors.

    No call waits for a thread: where none is free, the caller makes it itself, after its first. So a vendor
    that hangs makes others slower, never stuck, and a call may itself make several together. The threads are
    daemons, which hold up no exit.

    Args:
        threads: how many calls are under way at a time, besides those of the callers themselves.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._free = threading.BoundedSemaphore(threads)

    @overload
    def all(self, first: Callable[[], A], second: Callable[[], B], /) -> tuple[A, B]: ...
    @overload
    def all(
        self, first: Callable[[], A], second: Callable[[], B], third: Callable[[], C], /
    ) -> tuple[A, B, C]: ...
    def all(self, *calls: Callable[[], object]) -> tuple[object, ...]:
        """Make calls that may go out in any order, and wait for all of them.

        Args:
            calls: each with a deadline of its own.

        Returns:
            What they return, in the order in which they stand here.

        Raises:
            Exception: of those that failed, what the first in this order raised, as if they had gone one by one.
        """
        return tuple(self.each(calls))

    def each(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """`all`, for calls of one kind."""
        return [outcome() for outcome in self.each_outcome(calls)]

    @overload
    def outcomes(
        self, first: Callable[[], A], second: Callable[[], B], /
    ) -> tuple[Callable[[], A], Callable[[], B]]: ...
    @overload
    def outcomes(
        self, first: Callable[[], A], second: Callable[[], B], third: Callable[[], C], /
    ) -> tuple[Callable[[], A], Callable[[], B], Callable[[], C]]: ...
    @overload
    def outcomes(
        self,
        first: Callable[[], A],
        second: Callable[[], B],
        third: Callable[[], C],
        fourth: Callable[[], D],
        /,
    ) -> tuple[Callable[[], A], Callable[[], B], Callable[[], C], Callable[[], D]]: ...
    def outcomes(self, *calls: Callable[[], object]) -> tuple[Callable[[], object], ...]:
        """`all`, where what one came to decides whether another matters.

        Returns:
            For each call, in the order in which they stand here, a function that returns what it returned, or
            raises what it raised. Nothing is called anew.
        """
        return tuple(self.each_outcome(calls))

    def each_outcome(self, calls: Sequence[Callable[[], T]]) -> list[Callable[[], T]]:
        """`outcomes`, for calls of one kind."""
        made = [_Call(call) for call in calls]
        own = [*made[:1], *(each for each in made[1:] if not self._begin(each))]
        for each in own:
            each.run()
        for each in made:
            each.done.wait()
        return [each.outcome for each in made]

    def _begin(self, call: _Call[T]) -> bool:
        """Have a thread make it, if one is free."""
        if not self._free.acquire(blocking=False):
            return False
        context = copy_context()  # what is logged meanwhile bears the ids of the work in hand

        def run() -> None:
            try:
                context.run(call.run)
            finally:
                self._free.release()

        try:
            threading.Thread(target=run, name="together", daemon=True).start()
        except RuntimeError:  # the machine gives no more threads
            self._free.release()
            return False
        return True


class _Call(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: T
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:  # noqa: BLE001 - raised again where the calls were made
            self._error = error
        finally:
            self.done.set()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result
