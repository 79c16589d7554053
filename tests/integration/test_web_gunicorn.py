"""The app under gunicorn, as it is served: a real process, raw sockets, real signals."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests
from flask import Flask

from champion_gate import gunicorn_conf
from champion_gate.domain.aliases import LONGEST_REASON
from champion_gate.store import open_store
from champion_gate.store.schema import migrate
from champion_gate.web.api.requests import LONGEST_NAME
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.web.hooks import DATABRICKS_BODY_CAP
from champion_gate.work.queue import HueyWakeUps
from champion_gate.work.worker import Every, Jobs, Worker

AUTHORIZATION = "Authorization: Basic " + base64.b64encode(b"databricks:password").decode()
NOTIFICATION = json.dumps(
    {
        "event_type": "jobs.on_success",
        "workspace_id": 1,
        "run": {"run_id": 2},
        "job": {"job_id": 3, "name": "x"},
    }
).encode()


# --- what gunicorn loads out of this very file -----------------------------------------------------------


def create() -> Flask:
    """A service whose only job says that it has begun, and ends when `go` appears."""
    place = Path(os.environ["PLACE"])
    url = f"sqlite:///{place / 'gate.db'}"
    store, wake_ups = open_store(url), HueyWakeUps()
    clock = SimpleNamespace(now=lambda: datetime.now(UTC))

    def work(row_id: str) -> None:
        (place / "begun").write_text(row_id)
        while not (place / "go").exists():
            time.sleep(0.01)
        (place / "done").write_text(row_id)

    worker = Worker(
        wake_ups,
        Jobs(work, work, work, work),
        lane_of=lambda _, __: "x",
        lane_caps={},
        timers=[Every("sweep", 60, lambda: (place / "swept").write_text(str(os.getpid())))],
    )
    access = Access(databricks_pairs=(("databricks", "password"),))
    app = create_app(store=store, wake_ups=wake_ups, clock=clock, access=access, checks=())
    app.extensions["champion_gate"] = SimpleNamespace(worker=worker)
    return app


# --- the process -----------------------------------------------------------------------------------------


def until(true: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    place: Path
    port: int = 0
    workers: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        return (self.place / "output").read_text()

    def talk(self, *lines: str, body: bytes = b"") -> bytes:
        """Send a request as it stands, and return all that comes back before the connection closes."""
        head = "\r\n".join([*lines, "Host: x", "Connection: close", "", ""]).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            answer = b""
            with contextlib.suppress(OSError):  # refused before we had said everything
                connection.sendall(head + body)
            while piece := connection.recv(65536):
                answer += piece
        return answer


def run(place: Path, app: str, *, console: bool = False, **environ: str) -> subprocess.Popen[bytes]:
    command = gunicorn_conf.command("127.0.0.1:0", console=console)
    command[-1:] = ["--pythonpath", str(Path(__file__).parent), app]
    with (place / "output").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=place,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(place), "PLACE": str(place), **environ},
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def stoppable(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


@contextlib.contextmanager
def serving(tmp_path: Path) -> Iterator[Served]:
    migrate(f"sqlite:///{tmp_path / 'gate.db'}")
    process = run(tmp_path, "test_web_gunicorn:create()")
    serves = Served(process, tmp_path)

    def listens() -> bool:
        assert process.poll() is None, serves.output()
        return bool(re.search(r"Listening at: http://127.0.0.1:\d+", serves.output()))

    try:
        until(listens, "gunicorn does not listen")
        found = re.search(r"127\.0\.0\.1:(\d+)", serves.output())
        assert found
        serves.port = int(found.group(1))
        until((tmp_path / "swept").exists, "the worker does not start")
        serves.workers = [child.pid for child in psutil.Process(process.pid).children()]
        yield serves
    finally:
        (tmp_path / "go").touch()
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def chunked(size: int) -> bytes:
    piece = b" " * 8192
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for _ in range(size // len(piece))) + b"0\r\n\r\n"


def test_a_body_without_a_declared_length_has_the_same_cap(served: Served) -> None:
    for line in (AUTHORIZATION, "X-Nobody: 1"):
        answer = served.talk(
            "POST /hooks/databricks HTTP/1.1",
            line,
            "Transfer-Encoding: chunked",
            body=chunked(DATABRICKS_BODY_CAP + 8192),
        )
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b'"code": "too_large"' in answer


def test_an_endless_body_is_cut_off(served: Served) -> None:
    answer = served.talk(
        "POST /hooks/databricks HTTP/1.1", AUTHORIZATION, "Transfer-Encoding: chunked", body=chunked(1 << 20)
    )
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_notification_is_taken(served: Served) -> None:
    body = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        20,
        NOTIFICATION[:20],
        len(NOTIFICATION) - 20,
        NOTIFICATION[20:],
    )
    answer = served.talk(
        "POST /hooks/databricks HTTP/1.1", AUTHORIZATION, "Transfer-Encoding: chunked", body=body
    )
    assert answer.startswith(b"HTTP/1.1 202 ")


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabcdeX", b"-1\r\n"])
def test_a_malformed_body_is_a_problem_of_the_sender(served: Served, body: bytes) -> None:
    answer = served.talk(
        "POST /hooks/databricks HTTP/1.1",
        AUTHORIZATION,
        "Transfer-Encoding: chunked",
        body=body + b"\r\n" * 4,
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("second", [AUTHORIZATION, "authorization: Bearer x", "Authorization:"])
def test_two_authorization_headers_admit_nobody(served: Served, second: str) -> None:
    length = f"Content-Length: {len(NOTIFICATION)}"
    for headers in ((AUTHORIZATION, second), (second, AUTHORIZATION)):
        answer = served.talk("POST /hooks/databricks HTTP/1.1", *headers, length, body=NOTIFICATION)
        assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "target",
    ["//hooks/databricks", "///hooks/databricks", "/%2Fhooks/databricks", "http://x//hooks/databricks"],
)
def test_a_path_has_one_spelling(served: Served, target: str) -> None:
    length = f"Content-Length: {len(NOTIFICATION)}"
    answer = served.talk(f"POST {target} HTTP/1.1", AUTHORIZATION, length, body=NOTIFICATION)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in answer


def test_a_length_over_the_cap_is_refused_before_the_body_comes(served: Served) -> None:
    answer = served.talk("POST /hooks/databricks HTTP/1.1", AUTHORIZATION, "Content-Length: 99999999")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_the_longest_names_and_reason_of_the_schema_can_be_sent_in_a_request_line(served: Served) -> None:
    name, reason = "%F0%9F%A6%9D" * LONGEST_NAME, "%F0%9F%A6%9D" * LONGEST_REASON
    answer = served.talk(f"DELETE /api/v1/models/{name}/aliases/{name}?reason={reason} HTTP/1.1")
    assert answer.startswith(b"HTTP/1.1 404 ")  # no API is served here
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        (["GET /livez?" + "x" * (1 << 16) + " HTTP/1.1"], 414, "uri_too_long"),
        (["GET /livez HTTP/1.1", "X-Long: " + "x" * (1 << 16)], 431, "request_header_fields_too_large"),
        (["GET /livez HTTP/1.1", "X Y: z"], 400, "bad_request"),
        (["GET /livez HTTP/1.1", "Expect: a miracle"], 417, "expectation_failed"),
        (["GET /livez HTTP/1.1", "Transfer-Encoding: gzip"], 400, "bad_request"),
    ],
)
def test_what_gunicorn_itself_refuses_is_a_problem_too(
    served: Served, lines: list[str], status: int, code: str
) -> None:
    head, _, body = served.talk(*lines).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Type: application/problem+json" in head
    told = json.loads(body)
    assert (told["status"], told["code"]) == (status, code)
    assert told["detail"]


def test_the_step_in_hand_is_finished_when_the_service_is_told_to_stop(stoppable: Served) -> None:
    answer = requests.post(
        f"{stoppable.url}/hooks/databricks", NOTIFICATION, auth=("databricks", "password"), timeout=20
    )
    assert answer.status_code == 202
    until((stoppable.place / "begun").exists, "nobody was woken")
    stoppable.process.send_signal(signal.SIGTERM)
    until(lambda: "Handling signal: term" in stoppable.output(), "the signal was not seen")
    assert not (stoppable.place / "done").exists()
    (stoppable.place / "go").touch()
    assert stoppable.process.wait(30) == 0
    assert (stoppable.place / "done").read_text() == answer.json()["notification"]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", stoppable.port), timeout=5)
    assert not any(psutil.pid_exists(pid) for pid in stoppable.workers)


def test_one_process_serves_and_works_and_the_master_does_neither(served: Served) -> None:
    assert served.workers == [int((served.place / "swept").read_text())]
    assert psutil.Process(served.process.pid).num_threads() == 1


def test_every_line_of_the_log_is_json_and_none_goes_elsewhere(stoppable: Served) -> None:
    stoppable.talk("GET /nowhere?token=hunter2 HTTP/1.1")
    stoppable.process.send_signal(signal.SIGTERM)
    stoppable.process.wait(30)
    lines = [json.loads(line) for line in stoppable.output().splitlines()]
    assert {"message", "time", "level"} <= set(lines[0])
    assert "hunter2" not in stoppable.output()
    assert not (stoppable.place / ".gunicorn").exists()


@pytest.mark.part("rest")
def test_lines_for_people_when_asked(tmp_path: Path) -> None:
    process = run(tmp_path, "champion_gate.wsgi:create()", console=True)
    assert process.wait(30) != 0
    assert not (tmp_path / "output").read_text().startswith("{")


def test_a_service_that_cannot_be_built_stops_instead_of_trying_for_ever(tmp_path: Path) -> None:
    process = run(tmp_path, "champion_gate.wsgi:create()")
    assert process.wait(30) != 0
    output = (tmp_path / "output").read_text()
    assert "CHAMPION_GATE_" in output
    assert "Traceback" not in output


@pytest.mark.part("rest")
def test_the_master_imports_nothing_heavy() -> None:
    heavy = {"flask", "sqlalchemy", "huey", "pydantic", "databricks", "mlflow"}
    code = f"import sys, champion_gate.gunicorn_conf; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)
    assert done.stdout.split() == []
