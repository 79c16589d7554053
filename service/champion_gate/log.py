"""Logging: one JSON object a line, with the ids of the work in hand on every line, secrets blotted out."""

from __future__ import annotations

import logging
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from champion_gate.domain.secrets import BLOT, without_secrets
from champion_gate.domain.text import one_line

EXTRA_FIELDS = frozenset(
    {
        "action",
        "actor",
        "alias",
        "attempts",
        "code",
        "count",
        "due_at",
        "error",
        "step",
        "gate",
        "hash",
        "job_id",
        "kind",
        "lane",
        "left_out",
        "look",
        "model",
        "notification",
        "number",
        "phase",
        "promotion",
        "provider",
        "reason",
        "registry",
        "run_id",
        "seconds",
        "status",
        "url",
        "version",
    }
)
"""What the standard library's `extra={…}` may carry into a line; everything else is left out."""

_SECRET_KEY = re.compile(r"password|passwd|secret|token|authorization|private_key|credential", re.IGNORECASE)
_SAME_FAILURE_SECONDS = 60.0  # an outage is to be one line a minute, not one a try
_MOST_FAILURES = 1000  # remembered; a bound for memory
_WORK = ("notification", "promotion", "step", "look")
_OURS = frozenset({"level", "logger", "time"})  # put on each line here, whatever came before
_OF_SEVERAL_LINES = frozenset({"exception", "stack"})
_QUIET = ("huey", "werkzeug", "urllib3", "alembic", "databricks", "mlflow", "sqlalchemy")


def redact(value: Any, key: str = "") -> Any:
    """Blot out whatever looks like a secret; the second wall, behind not logging secrets at all.

    Args:
        value: anything that is about to be logged; what JSON does not know is turned into its repr.
        key: the name under which it is logged; telling names are blotted out whatever they hold.

    Returns:
        The value without secrets, made of dicts, lists, strings, numbers, booleans and None.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if key and _SECRET_KEY.search(key):
        return BLOT
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {redact(str(name)): redact(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return without_secrets(repr(value))


def unit_of_work(**ids: str) -> AbstractContextManager[None]:
    """Put ids on every line that is logged until the block ends, in this thread.

    Args:
        **ids: e.g. promotion="…", notification="…", gate="…".
    """
    return structlog.contextvars.bound_contextvars(**ids)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes fields as keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def configure(
    *,
    console: bool = False,
    level: str = "INFO",
    stream: TextIO | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Send every log line of this process, ours and the libraries', to one place in one form.

    May be called again: the last call holds.

    Args:
        console: lines for people instead of JSON.
        level: the least level that is shown, by its standard name.
        stream: where to write; None is standard output.
        monotonic: seconds that only grow.
    """
    # Without `wrap_for_formatter` as the last step, structlog would render before redaction.
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    output = _Output(stream)
    output.setFormatter(_formatter(console=console))
    output.addFilter(_Repeated(monotonic))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Output)]:
        root.removeHandler(old)
    root.addHandler(output)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


class _Repeated(logging.Filter):
    """Lets the same failure through once a minute, with how often it was left out.

    While a database is away every thread meets that several times a second, each time with its whole trace.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._shown: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is shown (the standard library's contract)."""
        fields: dict[str, Any] = record.msg if isinstance(record.msg, dict) else {"event": record.msg}
        kind = _exception_kind(record, fields)
        if kind is None:
            return True
        of_what = (str(fields.get(each)) for each in ("event", *_WORK))
        key, now = (record.name, kind, *of_what), self._monotonic()
        with self._lock:
            since, left_out = self._shown.get(key, (-math.inf, 0))
            if now - since < _SAME_FAILURE_SECONDS:
                self._shown[key] = (since, left_out + 1)
                return False
            if len(self._shown) >= _MOST_FAILURES:
                self._shown.clear()
            self._shown[key] = (now, 0)
        if left_out and isinstance(record.msg, dict):
            record.msg = {**fields, "left_out": left_out}
        elif left_out:
            record.left_out = left_out
        return True


def _exception_kind(record: logging.LogRecord, fields: dict[str, Any]) -> type[BaseException] | None:
    found: Any = record.exc_info or fields.get("exc_info")
    if found is True:
        found = sys.exc_info()
    if isinstance(found, BaseException):
        return type(found)
    return found[0] if isinstance(found, tuple) else None


class _Output(logging.StreamHandler[TextIO]):
    """Writes to what is standard output at that moment, unless a stream was named."""

    def __init__(self, stream: TextIO | None) -> None:
        logging.Handler.__init__(self)
        self._named = stream

    @property
    def stream(self) -> TextIO:
        return self._named or sys.stdout

    @stream.setter
    def stream(self, value: TextIO) -> None:
        self._named = value


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]


def _formatter(*, console: bool) -> structlog.stdlib.ProcessorFormatter:
    last: list[Processor] = (
        [
            _visible_line,
            structlog.dev.ConsoleRenderer(colors=False, event_key="message", timestamp_key="time"),
        ]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.ExtraAdder(allow=EXTRA_FIELDS)],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            _redact_line,
            *last,
        ],
    )


def _redact_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    return {key: value if key in _OURS else redact(value, key) for key, value in line.items()}


def _visible_line(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """What others wrote must neither begin a line of its own nor be obeyed by a terminal; JSON sees to that."""
    return {key: _visible(key, value) for key, value in line.items()}


def _visible(key: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value  # the renderer shows its repr, which escapes
    if key not in _OF_SEVERAL_LINES:
        return one_line(value, len(value))
    return "\n".join(f"  {one_line(each, len(each))}" for each in value.split("\n"))
