"""How calls to Databricks fail: each time in time, and each time as one of our own errors."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from champion_gate.adapters.databricks.job_runs import DatabricksConnection
from champion_gate.adapters.http.deadline import Timeouts
from champion_gate.errors import (
    ForbiddenError,
    VendorError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)
from champion_gate_standins.databricks.server import Fault
from integration.databricks_fixtures import IMPATIENT, TOKEN, Workspace, workspace

IN_TIME = 5.0  # far less than the 60 seconds without a budget of our own, far more than a busy machine needs
ME = "/api/2.0/preview/scim/v2/Me"


@pytest.fixture
def databricks() -> Iterator[Workspace]:
    with workspace() as found:
        yield found


def get(connection: DatabricksConnection) -> None:
    connection.begin().read(ME)


def put(connection: DatabricksConnection) -> None:
    connection.begin().write("PUT", ME, {"a": 1})


def failure(connection: DatabricksConnection, *, write: bool = False) -> VendorError:
    with pytest.raises(VendorError) as caught:
        (put if write else get)(connection)
    return caught.value


def signed_in(databricks: Workspace, timeouts: Timeouts | None = None) -> DatabricksConnection:
    connection = databricks.connection(timeouts=timeouts)
    get(connection)
    return connection


def calls(databricks: Workspace) -> int:
    return databricks.paths().count(ME)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


def test_nothing_is_sent_before_the_first_call(databricks: Workspace) -> None:
    connection = databricks.connection()
    assert (connection.host, connection.workspace_id) == (None, None)
    assert databricks.standin.requests == []


def test_threads_share_one_client(databricks: Workspace) -> None:
    connection = signed_in(databricks)
    threads = [threading.Thread(target=get, args=[connection]) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls(databricks) == 21
    assert len(databricks.standin.requests) == 22


def test_a_service_principal_signs_in(databricks: Workspace) -> None:
    connection = databricks.as_service_principal()
    get(connection)
    assert connection.workspace_id == databricks.standin.workspace_id


def test_a_wrong_secret_is_final_and_is_not_shown(databricks: Workspace) -> None:
    connection = databricks.as_service_principal(secret="tr0ub4dor")
    error = failure(connection)
    assert isinstance(error, VendorRefusedError)
    assert "credentials" in str(error)
    assert "tr0ub4dor" not in repr(error) + str(error) + repr(connection)


def test_a_failed_construction_is_not_kept(databricks: Workspace) -> None:
    databricks.standin.faults.add(Fault(path="oauth-authorization-server", status=500, times=2))
    connection = databricks.as_service_principal()
    assert isinstance(failure(connection), VendorUnavailableError)
    get(connection)


def test_no_credentials_at_all_is_told(databricks: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # the SDK would ask a Databricks or Azure CLI
    error = failure(databricks.connection(token=None))
    assert "DATABRICKS_" in error.hint


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, VendorRefusedError),
        (401, VendorRefusedError),
        (403, ForbiddenError),
        (404, VendorNotFoundError),
        (405, VendorRefusedError),
        (408, VendorUnavailableError),
        (409, VendorUnavailableError),
        (418, VendorRefusedError),
        (500, VendorUnavailableError),
        (501, VendorUnavailableError),
        (502, VendorUnavailableError),
        (504, VendorUnavailableError),
    ],
)
def test_statuses_become_our_errors(databricks: Workspace, status: int, expected: type[VendorError]) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, status=status, message="because"))
    error = failure(connection)
    assert type(error) is expected or (status == 400 and isinstance(error, expected))
    assert f"GET {ME} answered {status}: because" in str(error)
    assert TOKEN not in str(error)


@pytest.mark.parametrize("code", ["REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "TEMPORARILY_UNAVAILABLE"])
@pytest.mark.parametrize("status", [400, 403])
def test_a_limit_is_known_by_its_code_whatever_its_status(
    databricks: Workspace, status: int, code: str
) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, status=status, error_code=code, message="because"))
    error = failure(connection)
    assert isinstance(error, VendorUnavailableError)
    assert "tried again by itself" in error.hint


def test_an_error_page_of_a_proxy_is_not_repeated_word_by_word(databricks: Workspace) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, status=502, body=b"<html><b>secret-header: x</b></html>"))
    error = failure(connection)
    assert isinstance(error, VendorUnavailableError)
    assert "secret-header" not in str(error)


def test_throttling_that_ends_is_waited_out(databricks: Workspace) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, status=429, retry_after=0, times=1))
    get(connection)
    assert calls(databricks) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_throttling_without_end_stops_within_the_budget_and_tells_when_to_come_back(
    databricks: Workspace, status: int
) -> None:
    connection = signed_in(databricks, IMPATIENT)
    databricks.standin.faults.add(Fault(path=ME, status=status, retry_after=3600))
    with within(IN_TIME):
        error = failure(connection)
    assert isinstance(error, VendorUnavailableError)
    assert error.retry_after == 3600


def test_an_absurd_retry_after_is_capped(databricks: Workspace) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, status=429, retry_after=10**18))
    error = failure(connection)
    assert isinstance(error, VendorUnavailableError)
    assert error.retry_after == 86_400


def test_a_hang_ends_with_the_budget(databricks: Workspace) -> None:
    connection = signed_in(databricks, IMPATIENT)
    databricks.standin.faults.add(Fault(path=ME, hang=threading.Event()))
    with within(IN_TIME):
        error = failure(connection)
    assert isinstance(error, VendorUnavailableError)
    assert not error.outcome_unknown


def test_a_hang_while_signing_in_ends_with_the_budget_and_sends_nothing_afterwards(
    databricks: Workspace,
) -> None:
    connection = databricks.as_service_principal(timeouts=IMPATIENT)
    fault = databricks.standin.faults.add(Fault(path="oidc/v1/token", hang=threading.Event()))
    with within(IN_TIME):
        error = failure(connection, write=True)
    assert isinstance(error, VendorUnavailableError)
    assert fault.hits == 1
    databricks.standin.faults.clear()
    wait_for_calls_to_end()
    assert calls(databricks) == 0


def wait_for_calls_to_end() -> None:
    deadline = time.monotonic() + 10
    for thread in threading.enumerate():
        if thread.name == "databricks-call":
            thread.join(deadline - time.monotonic())
            assert not thread.is_alive()


def test_a_lost_connection_is_tried_again_for_a_read(databricks: Workspace) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, drop=True, times=1))
    get(connection)
    assert calls(databricks) == 3


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path=ME, drop=True),
        Fault(path=ME, status=503),
        Fault(path=ME, status=500),
        Fault(path=ME, body=b"what?"),
    ],
    ids=["dropped", "503", "500", "unreadable"],
)
def test_a_write_is_sent_once_and_its_outcome_is_unknown(databricks: Workspace, fault: Fault) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(fault)
    error = failure(connection, write=True)
    assert isinstance(error, VendorUnavailableError)
    assert error.outcome_unknown
    assert fault.hits == 1


@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_a_refused_write_was_not_carried_out(databricks: Workspace, status: int) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, status=status))
    assert not failure(connection, write=True).outcome_unknown
    assert calls(databricks) == 2


def test_a_write_is_not_begun_without_the_time_to_end_it(databricks: Workspace) -> None:
    connection = signed_in(databricks, Timeouts(connect=5, read=15, total=10))
    assert isinstance(failure(connection, write=True), VendorUnavailableError)
    assert calls(databricks) == 1


def test_redirects_are_not_followed(databricks: Workspace) -> None:
    connection = signed_in(databricks)
    databricks.standin.faults.add(Fault(path=ME, location=f"{databricks.url}/login.html"))
    error = failure(connection)
    assert isinstance(error, VendorUnavailableError)
    assert "redirect" in str(error)
    assert "/login.html" not in databricks.paths()


def test_a_wrong_token_is_final(databricks: Workspace) -> None:
    error = failure(databricks.connection(token="wrong"))
    assert isinstance(error, VendorRefusedError)
    assert "Invalid access token" in str(error)


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with workspace() as gone:
        connection = gone.connection(timeouts=IMPATIENT)
    with within(IN_TIME):
        assert isinstance(failure(connection), VendorUnavailableError)


@contextmanager
def trickling() -> Iterator[tuple[Workspace, Callable[[], None]]]:
    """A server whose answers never end until the function is called."""
    stop = threading.Event()

    def trickle(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not stop.wait(0.05):
                client.sendall(b" ")

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=trickle, args=[server.accept()[0]]).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield Workspace.at(f"http://127.0.0.1:{server.getsockname()[1]}"), stop.set
        finally:
            stop.set()
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_an_answer_that_trickles_ends_with_the_budget() -> None:
    with trickling() as (databricks, _), within(IN_TIME):
        error = failure(databricks.connection(timeouts=IMPATIENT))
    assert isinstance(error, VendorUnavailableError)
    assert "in time" in str(error)


def test_calls_that_hang_use_up_their_own_threads_and_no_more() -> None:
    with trickling() as (databricks, stop):
        connection = databricks.connection(timeouts=Timeouts(connect=5, read=5, total=1))
        threads = [threading.Thread(target=failure, args=[connection]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "too many" in str(failure(connection))
        stop()
        wait_for_calls_to_end()
        assert "too many" not in str(failure(connection))
