"""One transaction for what several threads want to write at the same moment: they share its fsync."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy import Connection

from champion_gate.errors import StoreUnavailableError
from champion_gate.store.engine import Database

_SEVERAL = 3  # one or two wait at the same time by chance
_MANY, _MOMENT_SECONDS = 5, 0.1  # at fifty a second the workers would slow each that comes

T = TypeVar("T")
R = TypeVar("R")


class _Waiting(Generic[T, R]):
    """One thread's item, and what came of it."""

    def __init__(self, item: T) -> None:
        self.item = item
        self.results: list[R] = []
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit(Generic[T, R]):
    """Writes items, each durable when `add` returns.

    The first thread to come waits for the writer's turn, and then takes along every item that has come meanwhile.
    Whoever comes after that is the first of the next transaction.

    Attributes:
        under_way: how many are waiting until theirs is committed.
    """

    def __init__(self, database: Database, write: Callable[[Connection, Sequence[T]], Sequence[R]]) -> None:
        """Set up.

        Args:
            database: where to write.
            write: writes items in an open transaction, and returns what each came to, in their order.
        """
        self._database = database
        self._write = write
        self._lock = threading.Lock()
        self.under_way = 0
        self._waiting: list[_Waiting[T, R]] = []
        self._came = deque([-math.inf] * _MANY, maxlen=_MANY)

    @property
    def is_pressed(self) -> bool:
        """Whether several wait until theirs is committed, or came at this moment."""
        return self.under_way >= _SEVERAL or time.monotonic() - self._came[0] < _MOMENT_SECONDS

    def add(self, item: T) -> R:
        """Write the item, and return once it is committed.

        Raises:
            StoreUnavailableError: the database did not take it, or too many wait.
            sqlalchemy.exc.SQLAlchemyError: the same, or it is this item that the database does not take.
        """
        mine: _Waiting[T, R] = _Waiting(item)
        with self._database.place():
            with self._lock:
                self._waiting.append(mine)
                self._came.append(time.monotonic())
                self.under_way += 1
                is_first = len(self._waiting) == 1
            try:
                if is_first:
                    self._write_all()
                mine.done.acquire()
            finally:
                with self._lock:
                    self.under_way -= 1
            if mine.error is not None:
                if is_first:
                    raise mine.error
                raise StoreUnavailableError(
                    "The database did not take it.", hint="Send it again later."
                ) from mine.error
            if not mine.results:  # it may be another one that the database does not take
                with self._database.turn() as connection:
                    mine.results.extend(self._write(connection, [item]))
        return mine.results[0]

    def _write_all(self) -> None:
        taken: list[_Waiting[T, R]] = []
        try:
            with self._database.turn(of_group=True) as connection:
                taken = self._take()
                results = self._write(connection, [each.item for each in taken])
        except BaseException as error:  # noqa: BLE001 - raised again by whom it concerns
            may_be_an_item = len(taken) > 1 and not getattr(error, "connection_invalidated", False)
            taken = taken or self._take()
            if not may_be_an_item:
                for each in taken:
                    each.error = error
        else:
            for each, result in zip(taken, results, strict=True):
                each.results.append(result)
        for each in taken:
            each.done.release()

    def _take(self) -> list[_Waiting[T, R]]:
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken
