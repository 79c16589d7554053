"""A proxy before a vendor that knows HTTP: it hands calls on, holds one up, and lets others go wrong as networks do."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import IO, Any

_LONGEST_LINE = 64 * 1024
_LOST_AT_MOST_SECONDS = 60.0
_NOT_HANDED_ON = {"connection", "content-length", "keep-alive", "transfer-encoding"}
REFUSAL = "A fault on purpose."
"""What a vendor says that refuses a call, or fails, on purpose."""
_HTML = b"<!DOCTYPE html><html><title>Just a moment</title><body>Sign in to go on.</body></html>"

Head = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Call:
    """A request on its way to a vendor."""

    vendor: str
    method: str
    target: str
    headers: Head
    body: bytes

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Answer:
    """What a vendor answered, or is said to have answered."""

    status: int
    headers: Head
    body: bytes


class Line:
    """What lies between the service and one vendor for one call: how a fault gets at both ends.

    Attributes:
        carry_out: has the vendor answer.
        answer: sends an answer to the service.
        cut: ends the service's connection with a reset.
    """

    def __init__(
        self, carry_out: Callable[[], Answer], client: socket.socket, close_door: Callable[[float], None]
    ) -> None:
        self.carry_out = carry_out
        self.close_door = close_door
        self._client = client

    def answer(self, answer: Answer, *, half: bool = False, seconds: float = 0.0) -> None:
        """Send an answer: all of it, half of it, or in pieces over so many seconds."""
        kept = [(name, value) for name, value in answer.headers if name.lower() not in _NOT_HANDED_ON]
        lines = [f"HTTP/1.1 {answer.status} Said", *(f"{name}: {value}" for name, value in kept)]
        lines.append(f"Content-Length: {len(answer.body)}")
        sent = "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.body
        if half:
            self._client.sendall(sent[: len(sent) - len(answer.body) // 2 - 1])
            self.cut()
        elif seconds:
            pieces = 8
            size = -(-len(sent) // pieces)
            for begin in range(0, len(sent), size):
                self._client.sendall(sent[begin : begin + size])
                time.sleep(seconds / pieces)
        else:
            self._client.sendall(sent)

    def cut(self) -> None:
        """Reset the connection."""
        # Nothing lingers: what the service hears is a reset, and no orderly end.
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()
        raise ConnectionAbortedError


@dataclass(frozen=True)
class Fault:
    """One way to go wrong.

    Attributes:
        does: it; the vendor has carried out what was asked if `carry_out` was called.
        weight: how often beside others.
        of: for which calls.
    """

    does: Callable[[Line, Call, random.Random], None]
    weight: float = 1.0
    of: Callable[[Call], bool] = lambda _call: True


def _said(status: int, **headers: str) -> Callable[[Line, Call, random.Random], None]:
    body = json.dumps({"error_code": "FAULT", "message": REFUSAL}).encode()
    told = [("Content-Type", "application/json"), *((k.replace("_", "-"), v) for k, v in headers.items())]
    return lambda line, _call, _chance: line.answer(Answer(status, told, body))


def _one_of(*statuses: int) -> Callable[[Line, Call, random.Random], None]:
    return lambda line, call, chance: _said(chance.choice(statuses))(line, call, chance)


def _html(status: int) -> Callable[[Line, Call, random.Random], None]:
    return lambda line, _call, _chance: line.answer(Answer(status, [("Content-Type", "text/html")], _HTML))


def _carried_out_and_cut(line: Line, _call: Call, _chance: random.Random) -> None:
    line.carry_out()
    line.cut()


def _half(line: Line, _call: Call, _chance: random.Random) -> None:
    line.answer(line.carry_out(), half=True)


def _slow(seconds: float) -> Callable[[Line, Call, random.Random], None]:
    return lambda line, _call, _chance: line.answer(line.carry_out(), seconds=seconds)


def _carried_out_and_502(line: Line, call: Call, chance: random.Random) -> None:
    line.carry_out()
    _said(502)(line, call, chance)


def _silent(seconds: float, *, carried_out: bool) -> Callable[[Line, Call, random.Random], None]:
    def hang(line: Line, _call: Call, _chance: random.Random) -> None:
        if carried_out:
            line.carry_out()
        time.sleep(seconds)
        line.cut()

    return hang


def _refused(line: Line, _call: Call, _chance: random.Random) -> None:
    line.close_door(0.3)
    line.cut()


def _of_other_types(line: Line, _call: Call, chance: random.Random) -> None:
    answer = line.carry_out()
    with suppress(ValueError):
        told = json.loads(answer.body)
        line.answer(Answer(answer.status, answer.headers, json.dumps(retyped(told, chance)).encode()))
        return
    line.answer(answer)


def _is_alias_put(call: Call) -> bool:
    return call.method == "PUT" and "/aliases/" in call.path


def _is_read(call: Call) -> bool:
    return call.method == "GET"


def _is_no_notice(call: Call) -> bool:
    """A receiver that says 200 has taken a notice, whatever else it says."""
    return call.vendor != "notices"


WRITES_MORE = 2
SHORT_SILENCE, LONG_SILENCE = 1.5, 16.0
"""Seconds: of a call that is answered no more, and of one that the service stops waiting for (it reads for 15)."""

FAULTS: dict[str, Fault] = {
    "reset before": Fault(lambda line, *_: line.cut(), 3),
    "reset after": Fault(_carried_out_and_cut, 3),
    "refused": Fault(_refused, 1),
    "half an answer": Fault(_half, 2),
    "slow bytes": Fault(_slow(1.0), 1),
    "silence before": Fault(_silent(SHORT_SILENCE, carried_out=False), 1),
    "silence after": Fault(_silent(SHORT_SILENCE, carried_out=True), 1),
    "longest silence": Fault(_silent(LONG_SILENCE, carried_out=True), 0.1),
    "429": Fault(_said(429), 0.2),
    "429, wait 1 s": Fault(_said(429, Retry_After="1"), 2),
    "4xx": Fault(_one_of(401, 403, 404, 408, 409), 1, _is_read),
    "5xx": Fault(_one_of(500, 502, 503, 504), 3),
    "5xx after": Fault(_carried_out_and_502, 2),
    "HTML with 200": Fault(_html(200), 1, _is_no_notice),
    "HTML with 502": Fault(_html(502), 1),
    "wrong types": Fault(_of_other_types, 2),
    "said and not done": Fault(_said(200), 20, _is_alias_put),
}
"""By the names that the run's table has for them."""


def _twice(line: Line, _call: Call, _chance: random.Random) -> None:
    line.carry_out()
    line.answer(line.carry_out())


def _late(line: Line, _call: Call, chance: random.Random) -> None:
    """What is told after it has come in the meantime."""
    time.sleep(chance.uniform(0.5, 2.0))
    line.answer(line.carry_out())


HOOK_FAULTS: dict[str, Fault] = {
    "hook lost": Fault(lambda line, *_: line.cut(), 2),
    "hook doubled": Fault(_twice, 2),
    "hook late": Fault(_late, 2),
    "hook not answered": Fault(_carried_out_and_cut, 1),
}
"""What befalls notifications and webhooks on their way to the service."""


def retyped(value: Any, chance: random.Random) -> Any:
    """The JSON with one of its values replaced by one of another type."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        return {**value, key: retyped(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.9:
        at = chance.randrange(len(value))
        return [*value[:at], retyped(value[at], chance), *value[at + 1 :]]
    return chance.choice(
        [each for each in (17, "x", [None], {"x": 1}, None) if type(each) is not type(value)]
    )


@dataclass
class Hold:
    """One call that is to be held up, until it is let go.

    Attributes:
        shape: of the call, see `shape_of`.
        passing: how many of this shape pass first.
        after: whether the vendor carries it out first, so that the service does not hear of it.
        answered: whether it is answered once it is let go; else its connection is cut.
        call: that is held up.
        held: set once it is.
        let_go: ends it.
    """

    shape: str
    passing: int = 0
    after: bool = False
    answered: bool = False
    call: Call | None = None
    held: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)


@dataclass
class Weather:
    """What goes wrong between the service and all vendors; shared by their proxies.

    Attributes:
        chance: where the choices come from.
        rate: of the reads that meet a fault, from 0 to 1; twice as many of the writes do.
        names: job or other id -> what it is called in shapes.
        shapes: of the calls that have come, oldest first.
        injected: how often which fault met which vendor: (vendor, fault) -> count.
        hold: what is held up.
        faults: what there is, by name.
        only: those that are drawn; all where it is empty.
    """

    chance: random.Random
    rate: float = 0.0
    names: dict[str, str] = field(default_factory=dict)
    shapes: list[str] = field(default_factory=list)
    injected: Counter[tuple[str, str]] = field(default_factory=Counter)
    hold: Hold | None = None
    faults: Mapping[str, Fault] = field(default_factory=lambda: FAULTS)
    only: Sequence[str] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def meets(self, call: Call) -> Fault | Hold | None:
        """What happens to a call."""
        with self._lock:
            shape = shape_of(call, self.names)
            self.shapes.append(shape)
            if self.hold is not None and self.hold.shape == shape:
                self.hold.passing -= 1
                if self.hold.passing == -1:
                    return self.hold
            if self.chance.random() >= self.rate * (1 if _is_read(call) else WRITES_MORE):
                return None
            fitting = {
                name: each
                for name, each in self.faults.items()
                if (not self.only or name in self.only) and each.of(call)
            }
            if not fitting:
                return None
            (name,) = self.chance.choices(list(fitting), [each.weight for each in fitting.values()])
            self.injected[call.vendor, name] += 1
            return fitting[name]


def shape_of(call: Call, names: dict[str, str]) -> str:
    """A call without what tells one promotion from another: vendor, method, path, and which job is run."""
    path = re.sub(
        r"\bp-[a-z0-9]+(?:-[0-9a-f]{12})?|[0-9a-f]{12,}|(?<![a-z])v?\d+|(?<=[._-][a-z])\d+", "#", call.path
    )
    job = re.search(rb'"job_id": ?"?(\d+)', call.body)
    named = f" {names.get(job[1].decode(), 'a job')}" if job else ""
    return f"{call.vendor} {call.method} {path}{named}"


class FaultProxy:
    """Listens on a loopback port and hands on to a vendor, unless the weather has it otherwise."""

    def __init__(
        self,
        vendor: str,
        port: int,
        weather: Weather,
        told: Callable[[Call, Answer], None] = lambda _call, _answer: None,
    ) -> None:
        """Begin.

        Args:
            vendor: its name in the figures.
            port: where it listens on loopback.
            weather: what goes wrong.
            told: of each call that was answered there.
        """
        self._told = told
        self._vendor = vendor
        self._behind = port
        self._weather = weather
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._door = threading.Lock()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._closed = True
        self._shut()

    def _shut(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _close_door(self, seconds: float) -> None:
        """Refuse connections for so long."""
        if not self._door.acquire(blocking=False):
            return
        try:
            self._shut()
            time.sleep(seconds)
            if not self._closed:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
                threading.Thread(target=self._accept, daemon=True).start()
        finally:
            self._door.release()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        behind = HTTPConnection("127.0.0.1", self._behind, timeout=60)
        with suppress(OSError, ValueError, HTTPException), client, client.makefile("rb") as sent:
            while (call := _read_call(self._vendor, sent)) is not None:
                self._hand_on(call, client, behind)
                if ("connection", "close") in ((k.lower(), v.lower()) for k, v in call.headers):
                    break
        behind.close()

    def _hand_on(self, call: Call, client: socket.socket, behind: HTTPConnection) -> None:
        def carry_out() -> Answer:
            answer = _exchanged(behind, call)
            self._told(call, answer)
            return answer

        line = Line(carry_out, client, self._close_door)
        met = self._weather.meets(call)
        if met is None:
            line.answer(line.carry_out())
        elif isinstance(met, Hold):
            answer = line.carry_out() if met.after else None
            met.call = call
            met.held.set()
            met.let_go.wait(_LOST_AT_MOST_SECONDS)
            if met.answered:
                line.answer(answer or line.carry_out())
            else:
                line.cut()
        else:
            met.does(line, call, self._weather.chance)


def _read_call(vendor: str, sent: IO[bytes]) -> Call | None:
    words = sent.readline(_LONGEST_LINE).decode("latin-1").split()
    if len(words) != 3:
        return None
    headers = []
    while line := sent.readline(_LONGEST_LINE).rstrip(b"\r\n"):
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    named = {name.lower(): value for name, value in headers}
    body = sent.read(int(named.get("content-length", 0)))
    return Call(vendor, words[0], words[1], headers, body)


def _exchanged(behind: HTTPConnection, call: Call) -> Answer:
    headers = {name: value for name, value in call.headers if name.lower() not in _NOT_HANDED_ON}
    behind.request(call.method, call.target, call.body or None, headers)
    answer = behind.getresponse()
    return Answer(answer.status, answer.getheaders(), answer.read())
