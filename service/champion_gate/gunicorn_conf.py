"""How gunicorn serves: one process with threads, the workers inside it, and a lean master.

The master imports this module and nothing heavier; the app is built after the fork.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from gunicorn.glogging import Logger

from champion_gate import SILENT_MLFLOW, log
from champion_gate.gunicorn_worker import LONGEST_REQUEST_LINE

_RESERVE_SECONDS = 1
"""What the worker ends earlier than the master would kill it."""
_MEMORY_DIRECTORY = "/dev/shm"  # noqa: S108 - gunicorn makes its file there safely (tempfile.mkstemp)


class JsonLog(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """Gunicorn's log lines in our form."""

    console = False

    def setup(self, cfg: Any) -> None:
        """Leave gunicorn's own outputs out and pass its lines on to ours."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        log.configure(console=self.console)

    def exception(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """What is our fault gets a traceback; a client that was too slow gets a line."""
        if isinstance(sys.exc_info()[1], TimeoutError):
            self.info("A client was too slow, and was hung up on.")
        else:
            super().exception(msg, *args, **kwargs)


class ConsoleLog(JsonLog):
    """The same, for people."""

    console = True


bind = "127.0.0.1:8080"
worker_class = "champion_gate.gunicorn_worker.BoundedWorker"
workers = 1
# One that waits for a slow client costs little; they begin only as they are needed.
threads = 256
timeout = 60  # a worker that hangs is replaced; requests have deadlines of their own
graceful_timeout = 8  # `docker stop` kills after 10
keepalive = 5  # seconds; a new connection costs a proxy little
accesslog = None
limit_request_line = LONGEST_REQUEST_LINE
limit_request_field_size = (
    24 * 1024
)  # a CI job's ID token may have 16 KiB; gunicorn's default is half of that
logger_class = JsonLog
control_socket_disable = True  # by default a socket that all instances of a user share
# The heartbeat file must not wait for a slow disk (gunicorn's FAQ, "How do I avoid Gunicorn excessively blocking").
worker_tmp_dir = _MEMORY_DIRECTORY if os.access(_MEMORY_DIRECTORY, os.W_OK) else None


def command(
    bind_to: str,
    *,
    console: bool = False,
    stop_seconds: int = graceful_timeout,
    app: str = "champion_gate.wsgi:create()",
) -> list[str]:
    """The command line that serves; run it in place of this process, so that nothing heavy stays behind.

    Args:
        bind_to: host:port, or `fd://N` for a socket that is inherited.
        console: log lines for people instead of JSON.
        stop_seconds: how long it may take to stop.
        app: what is served: module and factory.
    """
    log_class = ConsoleLog if console else JsonLog
    return [
        *(sys.executable, "-m", "gunicorn"),
        *("--config", f"python:{__name__}"),
        *("--bind", bind_to),
        *("--graceful-timeout", str(stop_seconds)),
        *("--logger-class", f"{log_class.__module__}.{log_class.__name__}"),
        app,
    ]


def on_starting(_server: Any) -> None:
    """Before anything of ours is imported, whoever started gunicorn."""
    os.environ.update(SILENT_MLFLOW)


def post_worker_init(worker: Any) -> None:
    """Start our workers once the app stands, in the process that serves it."""
    # Ctrl-C ends it as SIGTERM does. Gunicorn's own quick way stops the thread pool inside the signal handler,
    # and hangs for good where the main thread was just handing that pool a connection (gunicorn 27,
    # ThreadWorker.handle_quit; concurrent.futures' lock is not reentrant).
    for each in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(each, worker.handle_exit)
    # The worker's own copy, made by the fork: the master waits the whole time.
    seconds = max(worker.cfg.graceful_timeout - _RESERVE_SECONDS, 1)
    worker.cfg.set("graceful_timeout", seconds)
    background = _service_of(worker).worker
    worker.when_stopping(lambda: background.stop(seconds))
    background.start()


def worker_exit(_server: Any, worker: Any) -> None:
    """Wait for the steps in hand, which are given the same time as the open requests."""
    if worker.booted:  # else it failed to load, or this is the master's own object of it
        worker.finish_stopping()


def _service_of(worker: Any) -> Any:
    return worker.wsgi.extensions["champion_gate"]
