"""MlflowRegistry in front of servers that are dead, slow, broken or hostile: bounded, and told in our errors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from champion_gate.adapters.http.deadline import BoundedCalls, Timeouts
from champion_gate.adapters.mlflow.registry import MlflowRegistry
from champion_gate.errors import (
    ForbiddenError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

QUICK = Timeouts(connect=0.3, read=1, total=2.5)
MODEL = json.dumps(
    {"registered_model": {"name": "churn", "aliases": [{"alias": "Champion", "version": "3"}]}}
)
Answer = Callable[[socket.socket, str], None]


@pytest.fixture(scope="module", autouse=True)
def _mlflow_is_imported() -> None:
    """Or the first call here would spend its small budget on the import."""
    import mlflow  # noqa: F401, PLC0415


@pytest.fixture(autouse=True)
def _mlflow_budgets_of_this_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MLFLOW_HTTP_REQUEST_TIMEOUT",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
        "MLFLOW_ALLOW_HTTP_REDIRECTS",
    ):
        monkeypatch.setenv(name, os.environ.get(name, "1"))


def reply(status: str, body: str, *headers: str) -> bytes:
    data = body.encode()
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + data


class Stub:
    """A server that answers each request with one function of (connection, request line)."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[str] = []
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.uri = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            request = connection.recv(65536).decode()
            if request:  # the adapter's probe connects and says nothing
                self.requests.append(request.splitlines()[0])
                self._answer(connection, self.requests[-1])

    def close(self) -> None:
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join(timeout=5)


@contextmanager
def stub(answer: Answer) -> Iterator[Stub]:
    server = Stub(answer)
    try:
        yield server
    finally:
        server.close()


def answering(data: bytes) -> Answer:
    def answer(connection: socket.socket, _: str) -> None:
        connection.sendall(data)
        connection.close()

    return answer


def hanging(_connection: socket.socket, _request: str) -> None:
    threading.Event().wait(20)


def error_of(call: Callable[[], object]) -> tuple[VendorError, float]:
    begun = time.monotonic()
    with pytest.raises(VendorError) as caught:
        call()
    return caught.value, time.monotonic() - begun


def test_a_dead_server_is_noticed_at_once_and_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    registry = MlflowRegistry(f"http://127.0.0.1:{port}", timeouts=QUICK)

    error, seconds = error_of(lambda: registry.set_alias("churn", "Champion", "1"))

    assert isinstance(error, VendorUnavailableError)
    assert error.retryable
    assert not error.outcome_unknown
    assert seconds < 1


def test_a_host_that_swallows_packets_costs_the_connect_time_out_only() -> None:
    # A full backlog drops further SYNs, as a firewall would.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            registry = MlflowRegistry(f"http://127.0.0.1:{listener.getsockname()[1]}", timeouts=QUICK)
            error, seconds = error_of(registry.check)
        finally:
            for filler in fillers:
                filler.close()

    assert isinstance(error, VendorUnavailableError)
    assert "cannot connect" in error.message
    assert seconds < 1


def test_a_hanging_server_costs_one_read_time_out_and_no_repetition() -> None:
    with stub(hanging) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        registry_error, seconds = error_of(lambda: registry.get_version("churn", "1"))

        assert isinstance(registry_error, VendorUnavailableError)
        assert seconds < 2.4
        assert len(server.requests) == 1


def test_a_server_that_drips_is_cut_off_at_the_total_deadline() -> None:
    def drip(connection: socket.socket, _: str) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n"
        )
        with suppress(OSError):
            while True:
                connection.sendall(b" ")
                threading.Event().wait(0.2)

    with stub(drip) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        error, seconds = error_of(lambda: registry.list_versions("churn"))

    assert isinstance(error, VendorUnavailableError)
    assert "within 2.5 seconds" in error.message
    assert 2 < seconds < 5


def test_a_write_without_an_answer_may_have_been_carried_out() -> None:
    def answer(connection: socket.socket, request: str) -> None:
        if request.startswith("GET"):
            connection.sendall(reply("200 OK", MODEL))
            connection.close()
        else:
            threading.Event().wait(20)

    with stub(answer) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        error, _ = error_of(lambda: registry.set_alias("churn", "Champion", "3"))

        assert isinstance(error, VendorUnavailableError)
        assert error.outcome_unknown
        assert [line for line in server.requests if line.startswith("POST")] == [
            "POST /api/2.0/mlflow/registered-models/alias HTTP/1.1"
        ]


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (reply("503 Service Unavailable", "{}"), VendorUnavailableError, True),
        (
            reply("500 Internal Server Error", '{"error_code": "INTERNAL_ERROR"}'),
            VendorUnavailableError,
            True,
        ),
        (reply("429 Too Many Requests", "{}", "Retry-After: 1"), VendorUnavailableError, True),
        (reply("400 Bad Request", '{"error_code": "RESOURCE_EXHAUSTED"}'), VendorUnavailableError, True),
        (reply("403 Forbidden", '{"error_code": "REQUEST_LIMIT_EXCEEDED"}'), VendorUnavailableError, True),
        (reply("200 OK", "<html>log in</html>"), VendorUnavailableError, True),
        (reply("200 OK", "[1, 2]"), VendorUnavailableError, True),
        (
            reply("200 OK", '{"model_version": {"name": "churn", "version": "2"}}'),
            VendorUnavailableError,
            True,
        ),
        (
            reply("200 OK", '{"model_version": {"name": "other", "version": "1"}}'),
            VendorUnavailableError,
            True,
        ),
        (
            reply("200 OK", '{"model_version": {"name": "churn", "version": "1/2"}}'),
            VendorUnavailableError,
            True,
        ),
        (b"no HTTP at all\r\n\r\n", VendorUnavailableError, True),
        (b"", VendorUnavailableError, True),
        (reply("401 Unauthorized", "You are not authenticated."), VendorRefusedError, False),
        (reply("403 Forbidden", "Permission denied"), ForbiddenError, False),
        (reply("404 Not Found", "<html>nginx</html>"), VendorRefusedError, False),
        (reply("400 Bad Request", '{"error_code": "INVALID_PARAMETER_VALUE"}'), VendorRefusedError, False),
        (reply("422 Unprocessable Entity", "no"), VendorRefusedError, False),
        (reply("302 Found", "", "Location: http://127.0.0.1:1/login"), VendorUnavailableError, True),
        (reply("404 Not Found", '{"error_code": "RESOURCE_DOES_NOT_EXIST"}'), VendorNotFoundError, False),
    ],
)
def test_answers_are_told_apart(answer: bytes, kind: type[VendorError], retryable: bool) -> None:
    with stub(answering(answer)) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        error, seconds = error_of(lambda: registry.get_version("churn", "1"))

        assert type(error) is kind
        assert error.retryable is retryable
        assert len(error.message) < 400
        assert len(server.requests) == 1
        assert seconds < 2.4


def test_a_proxys_404_does_not_say_that_there_is_no_champion() -> None:
    with stub(answering(reply("404 Not Found", "<html>nginx</html>"))) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        error, _ = error_of(lambda: registry.get_alias("churn", "Champion"))

    assert type(error) is VendorRefusedError


def test_another_models_answer_is_not_taken_for_an_absent_alias() -> None:
    other = json.dumps({"registered_model": {"name": "other"}})
    with stub(answering(reply("200 OK", other))) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        error, _ = error_of(lambda: registry.get_alias("churn", "Champion"))

    assert isinstance(error, VendorUnavailableError)


NO_SUCH_CALL = (
    "<!doctype html><title>404 Not Found</title><p>The requested URL was not found on the server.</p>"
)


@pytest.mark.parametrize(
    ("answer", "models"),
    [
        (reply("404 Not Found", NO_SUCH_CALL), frozenset()),
        (
            reply("404 Not Found", "<html>nginx</html>"),
            VendorRefusedError,
        ),  # a proxy's: the server was not asked
        (reply("403 Forbidden", '{"error_code": "PERMISSION_DENIED"}'), None),
    ],
)
def test_a_server_of_before_logged_models_has_none(
    answer: bytes, models: frozenset[str] | type[VendorRefusedError] | None
) -> None:
    version = {
        "name": "churn",
        "version": "3",
        "run_id": "r1",
        "source": "s3://b/r1/model",
        "status": "READY",
    }
    info = {"run_id": "r1", "run_uuid": "r1", "experiment_id": "1", "status": "FINISHED"}
    run = {"info": info, "data": {"metrics": [{"key": "f1", "value": 0.9, "timestamp": 1, "step": 0}]}}
    answers = {
        "model-versions/get": reply("200 OK", json.dumps({"model_version": version})),
        "runs/get": reply("200 OK", json.dumps({"run": run})),
        "logged-models/search": answer,
    }

    def scripted(connection: socket.socket, request: str) -> None:
        connection.sendall(next(said for path, said in answers.items() if path in request))
        connection.close()

    with stub(scripted) as server:
        registry = MlflowRegistry(server.uri, timeouts=QUICK)
        asked = registry.get_version("churn", "3")
        if models is VendorRefusedError:
            with pytest.raises(VendorRefusedError) as refused:
                registry.get_details(asked)
            assert refused.value.concerns_all
            return
        details = registry.get_details(asked)
    assert details.training_run is not None
    assert details.training_run.logged_models == models


def test_an_endless_list_of_versions_comes_to_an_end() -> None:
    page = json.dumps({"model_versions": [], "next_page_token": "again"})
    with stub(answering(reply("200 OK", page))) as server:
        registry = MlflowRegistry(server.uri, timeouts=Timeouts(connect=1, read=1, total=30))
        error, _ = error_of(lambda: registry.list_versions("churn"))

        assert isinstance(error, VendorUnavailableError)
        assert len(server.requests) <= 100


def test_hanging_calls_take_no_more_than_their_slots() -> None:
    calls = BoundedCalls("MLflow", slots=2)
    release = threading.Event()
    begun: list[int] = []

    def hang(number: int) -> None:
        def work(_: Callable[[], None]) -> None:
            begun.append(number)
            release.wait(20)

        with suppress(VendorUnavailableError):
            calls.run(work, seconds=0.3)

    threads = [threading.Thread(target=hang, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(VendorUnavailableError, match="was not sent") as caught:
        calls.run(lambda _: begun.append(99), seconds=0.3, writes=True)
    release.set()

    assert sorted(begun) == [0, 1]
    assert not caught.value.outcome_unknown
    assert calls.run(lambda _: "free again", seconds=20) == "free again"


def test_a_write_that_was_given_up_before_it_began_is_never_sent() -> None:
    calls = BoundedCalls("MLflow")
    given_up, ended = threading.Event(), threading.Event()
    written: list[str] = []

    def work(stop_if_abandoned: Callable[[], None]) -> None:
        try:
            given_up.wait(20)
            stop_if_abandoned()
            written.append("too late")
        finally:
            ended.set()

    with pytest.raises(VendorUnavailableError):
        calls.run(work, seconds=0.2, writes=True)
    given_up.set()

    assert ended.wait(20)
    assert written == []


@pytest.mark.part("rest")
def test_nobody_but_the_registry_is_called_and_nothing_is_printed() -> None:
    script = """
import sys
called = set()
def audit(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        called.add(args[1][:2])
    if event == "socket.getaddrinfo":
        called.add((args[0], args[1]))
sys.addaudithook(audit)
from champion_gate.adapters.mlflow.registry import MlflowRegistry
assert "mlflow" not in sys.modules
registry = MlflowRegistry(sys.argv[1])
assert "mlflow" not in sys.modules
assert registry.get_alias("churn", "Champion") == "3"
print(sorted({(host, int(port)) for host, port in called}))
"""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "CI", "GITHUB_", "PYTEST_", "DO_NOT_TRACK"))
    }
    with stub(answering(reply("200 OK", MODEL))) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, server.uri],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        port = int(server.uri.rsplit(":", 1)[1])

    assert done.stderr == ""
    assert done.stdout.strip() == f"[('127.0.0.1', {port})]"
