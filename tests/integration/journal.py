"""What the gate asks of vendors: every call in the order in which it arrives, and how the rows stood then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from flask import Flask, Response, request

from champion_gate_standins.common.server import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NOT_MODIFIED = 304


@dataclass(eq=False)
class Call:
    """One call.

    Attributes:
        line: method, path and query.
        begun, ended: when it arrived and when its answer was ready, on `time.perf_counter`.
        saw: what the journal's `look` said when it arrived.
        status: of the answer; 0 before there is one.
    """

    line: str
    begun: float
    saw: str
    ended: float = 0.0
    status: int = 0


def counted(calls: Iterable[Call]) -> int:
    """How many calls there are, without those that were answered 304, which vendors do not count."""
    return sum(call.status != NOT_MODIFIED for call in calls)


class Journal:
    """Writes down the calls to all vendors that it is put in front of.

    Attributes:
        calls: in the order in which they arrived.
        delay: seconds for which each answer is held up; what goes out together is then seen to overlap.
        look: says how the world stands when a call arrives.
    """

    def __init__(self, *, delay: float = 0.0, look: Callable[[], str] = str) -> None:
        self.calls: list[Call] = []
        self.delay = delay
        self.look = look
        self._never = threading.Event()

    def listen(self, *apps: Flask) -> None:
        """Write down from now on what these are asked."""
        for app in apps:
            app.wsgi_app = self._before(app.wsgi_app)  # type: ignore[assignment,method-assign]

    @property
    def counted(self) -> int:
        """How many calls there were that vendors count."""
        return counted(self.calls)

    def _before(self, app: WSGIApplication) -> WSGIApplication:
        def listening(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            query = environ.get("QUERY_STRING")
            path = environ.get("PATH_INFO", "") + (f"?{query}" if query else "")
            call = Call(f"{environ['REQUEST_METHOD']} {path}", time.perf_counter(), self.look())
            self.calls.append(call)

            def start(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
                call.status = int(status.split(maxsplit=1)[0])
                return start_response(status, headers, exc_info)

            answer = app(environ, start)
            if self.delay:
                self._never.wait(self.delay)
            call.ended = time.perf_counter()
            return answer

        return listening


@contextmanager
def forwarded(url: str, journal: Journal) -> Iterator[str]:
    """An address whose calls are written down and passed on to a server that is none of ours."""
    app, session = Flask(__name__), requests.Session()

    def forward(path: str) -> Response:
        headers = {name: request.headers[name] for name in ("Content-Type",) if name in request.headers}
        answer = session.request(
            request.method,
            f"{url}/{path}",
            params=request.query_string.decode(),
            data=request.get_data(),
            headers=headers,
            timeout=60,
        )
        return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])

    methods = ["GET", "POST", "PATCH", "DELETE"]
    app.add_url_rule("/<path:path>", view_func=forward, methods=methods)
    journal.listen(app)
    with session, serve(app) as address:
        yield address
