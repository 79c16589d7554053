"""Connections to PostgreSQL, on which nothing waits for ever.

A server can go silent without a word: after a failover behind one address, or behind a NAT that forgot the
connection. Then neither the kernel's keep-alives nor the server's own time-outs help in every case (a proxy
acknowledges what it never hands on), so each call's answer is waited for on this side too.
"""

from __future__ import annotations

import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

_T = TypeVar("_T")

# postgresql.org/docs/current/libpq-connect.html: seconds, but `tcp_user_timeout` milliseconds.
_TCP = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up, and closes itself, when the server does not answer."""

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Wait for what `gen` reads; an answer that does not come closes the connection.

        Raises:
            psycopg.OperationalError: no answer within `answer_seconds`, or within `timeout` seconds where given.
        """
        begun = time.monotonic()
        bound = self.answer_seconds if timeout is None else timeout
        try:
            return super().wait(gen, interval, bound)
        except psycopg.OperationalError:
            if timeout is None and bound is not None and time.monotonic() - begun >= bound:
                self.pgconn.finish()
            raise


def connect(conninfo: str = "", *, answer_seconds: float, **parameters: Any) -> BoundedConnection:
    """Connect, with bounds on what the server may do for us and on how long it is waited for.

    Args:
        conninfo: as libpq takes it; what it sets itself stays.
        answer_seconds: how long a statement's answer is waited for. A statement may take four fifths of it, a
            lock two; an idle transaction is ended by the server after it, so that a frozen process holds no lock
            for ever.
        parameters: more of `conninfo`, by name.

    Raises:
        psycopg.OperationalError: the server cannot be reached, or refuses.
    """
    given = {**_TCP, **conninfo_to_dict(conninfo), **parameters}
    connection = BoundedConnection.connect(**given)
    connection.answer_seconds = answer_seconds
    limits = {
        "statement_timeout": 0.8 * answer_seconds,
        "lock_timeout": 0.4 * answer_seconds,
        "idle_in_transaction_session_timeout": answer_seconds,
    }
    # Not in `options`, which PgBouncer refuses.
    connection.autocommit = True
    names = ", ".join(
        f"set_config('{name}', '{int(1000 * seconds)}ms', false)" for name, seconds in limits.items()
    )
    connection.execute(f"SELECT {names}".encode())
    connection.autocommit = False
    return connection
