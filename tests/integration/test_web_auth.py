"""What stands before a view, over real HTTP: 401 and 403, roles, slowing, source addresses, bodies read twice."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Semaphore
from typing import Any

import pytest
import requests
from flask import Flask, Response, jsonify, request

from champion_gate.domain.callers import Role
from champion_gate.flow.api_tokens import ApiTokens, api_caller
from champion_gate.store import Store, open_store
from champion_gate.web import problems
from champion_gate.web.auth import Access, Auth, body, caller, enforce, guarded, undeclared_routes
from champion_gate.web.throttle import Attempts, apply_proxy_hops
from champion_gate_standins.common.server import serve
from integration.gate_world import CountingChance, MovableClock
from integration.process_world import until
from integration.store_databases import SqliteDatabases

pytest_plugins = ("integration.store_fixtures",)

PAIR = ("databricks", "password")


class Secret:
    """A provider's hook that knows one header."""

    def is_authentic(self, header: Callable[[str], str], body: bytes) -> bool:
        return header("X-Secret") == "right" and bool(body)

    def delivery_id(self, header: Callable[[str], str]) -> str:
        return header("X-Delivery")

    def request_id(self, header: Callable[[str], str], body: bytes) -> str:
        return header("X-Request") + body.decode()


class Pause:
    """Counts the answers that are held back, and holds them while it is told to."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.waiting = Semaphore(0)
        self.go = Event()
        self.go.set()

    def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.waiting.release()
        assert self.go.wait(30)


# --- the views behind --------------------------------------------------------------------------------------


@guarded(Auth.BEARER, role=Role.VIEWER)
def read() -> Response:
    known = caller()
    return jsonify([known.actor, known.role, known.authenticated_by, known.address])


@guarded(Auth.BEARER, role=Role.OPERATOR, body_cap=64)
def write() -> Response:
    length = request.content_length
    return jsonify({"parsed": request.get_json(), "raw": body().decode(), "length": length})


@guarded(Auth.BEARER, role=Role.VIEWER)
def bodiless() -> Response:
    return jsonify(len(request.get_data()))


@guarded(Auth.BASIC, body_cap=64)
def basic() -> str:
    return "in"


@guarded(Auth.SIGNATURE, body_cap=64)
def signed(provider: str) -> str:
    return provider


@guarded(Auth.NONE)
def anybody() -> str:
    return "in"


def app_with(access: Access, hops: int = 0) -> Flask:
    app = Flask("test", static_folder=None)
    problems.register(app)
    app.add_url_rule("/read", view_func=read)
    app.add_url_rule("/write", view_func=write, methods=["POST"])
    app.add_url_rule("/bodiless", view_func=bodiless, methods=["POST"])
    app.add_url_rule("/basic", view_func=basic, methods=["POST"])
    app.add_url_rule("/signed", view_func=signed, methods=["POST"], defaults={"provider": "github"})
    app.add_url_rule("/anybody", view_func=anybody)
    enforce(app, access)
    apply_proxy_hops(app, hops)
    return app


@dataclass
class World:
    """What a test acts on."""

    store: Store
    url: str = ""
    clock: MovableClock = field(default_factory=MovableClock)
    pause: Pause = field(default_factory=Pause)
    seconds: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self.tokens = ApiTokens(self.store, self.clock, CountingChance())
        attempts = Attempts(seconds=lambda: self.seconds[0], pause=self.pause)
        self.access = Access((PAIR,), {"github": Secret()}, api_caller(self.tokens), attempts)

    def make(self, role: Role = Role.VIEWER, name: str = "") -> str:
        return self.tokens.create(name or f"a-{role}", role, expires_at=None, created_by="ann")[1]

    def get(self, token: str | None = None, path: str = "/read", **headers: str) -> requests.Response:
        given = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, headers={**given, **headers}, timeout=30)

    def post(self, token: str, data: bytes | Iterator[bytes], path: str = "/write") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return requests.post(self.url + path, data=data, headers=headers, timeout=30)

    def talk(self, *lines: str) -> tuple[int, str]:
        """Send these very header lines; returns status and answer."""
        host, port = self.url.removeprefix("http://").split(":")
        head = "\r\n".join([*lines, "Host: x", "Connection: close", "", ""]).encode()
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(head)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return int(answer.split()[1]), answer.decode()


@contextlib.contextmanager
def serving(databases: SqliteDatabases, hops: int = 0) -> Iterator[World]:
    with open_store(databases.migrated()) as store:
        world = World(store)
        with serve(app_with(world.access, hops)) as world.url:
            yield world
            world.pause.go.set()


def lines(logged: io.StringIO, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in logged.getvalue().splitlines()]
    return [line for line in found if line["message"] == message]


@pytest.fixture
def world(sqlite_databases: SqliteDatabases) -> Iterator[World]:
    with serving(sqlite_databases) as made:
        yield made


def refused(answer: requests.Response, error: str = "") -> bool:
    """Assert that it is 401 in every respect."""
    assert answer.status_code == 401, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_authenticated"
    ending = f', error="{error}"' if error else ""
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="champion-gate"{ending}'
    return True


# --- 401 and 403 -------------------------------------------------------------------------------------------


def test_the_caller_is_known_to_the_view(world: World) -> None:
    text = world.make(name="ci-bot")
    (token,) = world.tokens.list()
    assert world.get(text).json() == ["ci-bot", "viewer", f"API token {token.id}", "127.0.0.1"]
    assert world.tokens.list()[0].last_used_at is not None


def test_an_operator_may_do_what_a_viewer_may(world: World) -> None:
    text = world.make(Role.OPERATOR)
    assert world.get(text).json()[:2] == ["a-operator", "operator"]
    assert world.post(text, b"{}").status_code == 200


def test_a_viewer_is_known_and_may_not_write(world: World, logged: io.StringIO) -> None:
    answer = world.post(world.make(), b"this is no JSON")
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert "WWW-Authenticate" not in answer.headers
    assert "needs the role operator, and a-viewer has the role viewer" in answer.json()["detail"]
    (line,) = lines(logged, "caller not permitted")
    assert (line["actor"], line["role"], line["url"]) == ("a-viewer", "viewer", "/write")
    assert world.pause.taken == []


def test_who_shows_nothing_is_told_how_and_of_no_error(world: World) -> None:
    world.make()
    assert refused(world.get())
    assert "champion-gate tokens create" in world.get().json()["hint"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + "x",
        lambda text: text.upper(),
        lambda text: text[:30] + "?" + text[30:],
        lambda text: f"{text},{text}",
        lambda text: f"{text}, Bearer {text}",
        lambda text: f"{text} {text}",
        lambda text: f'"{text}"',
        lambda text: f"token={text}",
        lambda _: "not.a.token",
        lambda _: "x" * 16_385,
    ],
)
def test_a_wrong_token_is_an_error(world: World, change: Callable[[str], str]) -> None:
    assert refused(world.get(change(world.make())), "invalid_token")


def test_an_expired_and_a_revoked_token_look_alike_to_the_caller(world: World, logged: io.StringIO) -> None:
    revoked = world.make()
    world.tokens.revoke("a-viewer")
    expires_at = world.clock.now() + timedelta(hours=1)
    _, expired = world.tokens.create("short", Role.VIEWER, expires_at=expires_at, created_by="ann")
    assert world.get(expired).status_code == 200
    world.clock.move(hours=1)
    answers = [world.get(text) for text in (revoked, expired)]
    assert all(refused(answer, "invalid_token") for answer in answers)
    assert answers[0].json() == answers[1].json()
    reasons = [line["reason"] for line in lines(logged, "an API token was refused")]
    assert [reason.split(" ", 1)[1] for reason in reasons] == ["was revoked", "has expired"]
    assert revoked not in logged.getvalue()
    assert expired.rpartition("_")[2] not in logged.getvalue()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "{}"},
        {"X-Auth-Token": "{}"},
        {"PRIVATE-TOKEN": "{}"},
        {"Cookie": "token={}; access_token={}; Authorization=Bearer {}"},
        {"Proxy-Authorization": "Bearer {}"},
        {"Authorization": "{}"},
        {"Authorization": "Token {}"},
        {"Authorization": "Bearer{}"},
    ],
)
def test_a_token_in_another_place_is_not_taken(world: World, headers: dict[str, str]) -> None:
    text = world.make()
    assert refused(world.get(**{name: value.replace("{}", text) for name, value in headers.items()}))


def test_a_token_in_the_address_or_as_a_password_is_not_taken(world: World) -> None:
    text = world.make()
    for query in (f"access_token={text}", f"token={text}", f"Authorization=Bearer%20{text}"):
        assert refused(world.get(path=f"/read?{query}"))
    for pair in (("", text), (text, ""), ("token", text), ("a-viewer", text)):
        assert refused(requests.get(f"{world.url}/read", auth=pair, timeout=30))


def test_a_token_in_the_body_is_not_taken(world: World) -> None:
    text = world.make(Role.OPERATOR)
    answer = requests.post(f"{world.url}/write", data={"access_token": text}, timeout=30)
    assert answer.status_code == 413  # it is longer than this view's cap
    answer = requests.post(f"{world.url}/bodiless", data={"access_token": text}, timeout=30)
    assert refused(answer)


def test_two_authorization_headers_admit_nobody_also_if_both_are_right(world: World) -> None:
    text = world.make()
    one = f"Authorization: Bearer {text}"
    assert world.talk("GET /read HTTP/1.1", one)[0] == 200
    assert world.talk("GET /read HTTP/1.1", one, one)[0] == 401
    assert world.talk("GET /read HTTP/1.1", "Authorization: Bearer x", one)[0] == 401
    assert world.talk("GET /read HTTP/1.1", one, "Authorization: Basic eDp4")[0] == 401
    pair = base64.b64encode(b":".join(each.encode() for each in PAIR)).decode()
    basic = f"Authorization: Basic {pair}"
    assert world.talk("POST /basic HTTP/1.1", "Content-Length: 0", basic)[0] == 200
    assert world.talk("POST /basic HTTP/1.1", "Content-Length: 0", basic, basic)[0] == 401


def test_the_schemes_name_may_be_written_in_any_case(world: World) -> None:
    text = world.make()
    for scheme in ("bearer", "BEARER", "Bearer "):
        assert world.get(Authorization=f"{scheme} {text}").status_code == 200


def test_without_anybody_to_authenticate_nobody_gets_in(world: World) -> None:
    with serve(app_with(Access())) as url:
        answer = requests.get(f"{url}/read", headers={"Authorization": "Bearer x"}, timeout=30)
        assert refused(answer, "invalid_token")
        assert requests.post(f"{url}/basic", auth=PAIR, timeout=30).status_code == 401
        assert requests.get(f"{url}/anybody", timeout=30).text == "in"


# --- declaring ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [
        lambda: "open",
        guarded(Auth.BEARER)(lambda: "of no role"),
        guarded(Auth.BASIC, role=Role.VIEWER)(lambda: "of a role that nothing gives"),
        guarded(Auth.NONE, role=Role.VIEWER)(lambda: "open to a role"),
    ],
)
def test_an_app_with_an_undeclared_route_is_not_served(view: Callable[[], str]) -> None:
    app = Flask("test", static_folder=None)
    app.add_url_rule("/declared", "declared", guarded(Auth.NONE)(lambda: "in"))
    assert undeclared_routes(app) == ()
    app.add_url_rule("/forgotten", "forgotten", view)
    assert undeclared_routes(app) == ("/forgotten",)
    with pytest.raises(RuntimeError, match="/forgotten"):
        enforce(app, Access())


def test_a_view_that_loses_its_declaration_later_admits_nobody(world: World) -> None:
    app = app_with(world.access)
    app.view_functions["anybody"] = guarded(Auth.BEARER)(lambda: "of no role")
    with serve(app) as url:
        headers = {"Authorization": f"Bearer {world.make(Role.OPERATOR)}"}
        assert requests.get(f"{url}/anybody", headers=headers, timeout=30).status_code == 401


# --- bodies ------------------------------------------------------------------------------------------------


def test_the_view_and_its_library_both_read_the_body(world: World) -> None:
    text, sent = world.make(Role.OPERATOR), b'{"version": "12"}'
    expected = {"parsed": {"version": "12"}, "raw": sent.decode(), "length": len(sent)}
    assert world.post(text, sent).json() == expected
    assert world.post(text, iter([sent[:5], sent[5:]])).json() == expected  # chunked


def test_the_cap_holds_before_anybody_is_asked_who_they_are(world: World) -> None:
    text = world.make(Role.OPERATOR)
    assert world.post(text, json.dumps("x" * 62).encode()).status_code == 200
    for token in (text, "wrong"):
        assert world.post(token, json.dumps("x" * 63).encode()).status_code == 413
    assert world.post("wrong", b"this is no JSON").status_code == 401


def test_a_view_that_declares_no_body_finds_none(world: World) -> None:
    assert world.post(world.make(), b"{}", "/bodiless").json() == 0


# --- slowing -----------------------------------------------------------------------------------------------


def wrong(world: World, guard: str) -> int:
    """Come with wrong credentials; returns the status."""
    if guard == "bearer":
        return world.get("wrong").status_code
    if guard == "basic":
        return requests.post(f"{world.url}/basic", auth=("databricks", "wrong"), timeout=30).status_code
    headers = {"X-Secret": "wrong"}
    return requests.post(f"{world.url}/signed", b"{}", headers=headers, timeout=30).status_code


@pytest.mark.parametrize("guard", ["bearer", "basic", "signature"])
def test_the_sixth_failure_within_a_minute_is_slowed_whatever_the_guard(
    world: World, guard: str, logged: io.StringIO
) -> None:
    text = world.make()
    for _ in range(5):
        assert wrong(world, guard) == 401
    assert world.pause.taken == []
    assert [wrong(world, guard) for _ in range(2)] == [401, 401]
    assert world.pause.taken == [1.0, 1.0]
    world.seconds[0] += 60
    assert wrong(world, guard) == 401
    assert world.pause.taken == [1.0, 1.0]
    told = lines(logged, "caller refused")
    assert [line["count"] for line in told] == [1, 2, 3, 4, 5, 6, 7, 1]
    assert {line["address"] for line in told} == {"127.0.0.1"}
    assert {line["reason"] for line in told} == {f"{guard} authentication failed"}
    assert "wrong" not in json.dumps(told)
    assert world.get(text).status_code == 200


def test_who_is_right_is_never_slowed_also_while_others_of_the_same_address_wait(world: World) -> None:
    text = world.make(Role.OPERATOR)
    for _ in range(5):
        world.get("wrong")
    world.pause.go.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(world.get, "wrong") for _ in range(4)]
        for _ in waiting:
            assert world.pause.waiting.acquire(timeout=30)
        many: Any = world.get("wrong")
        assert (many.status_code, many.json()["code"]) == (429, "too_many_attempts")
        assert many.headers["Content-Type"] == "application/problem+json"
        assert many.headers["Retry-After"] == "60"
        assert world.get(text).status_code == 200
        assert world.post(text, b"{}").status_code == 200
        assert requests.post(f"{world.url}/basic", auth=PAIR, timeout=30).status_code == 200
        assert not any(each.done() for each in waiting)
        world.pause.go.set()
        assert all(refused(each.result(30), "invalid_token") for each in waiting)
    until(lambda: world.get("wrong").status_code == 401, "no place became free")


def test_who_may_not_do_it_and_who_asks_for_nothing_there_is_does_not_count_as_failing(world: World) -> None:
    text = world.make()
    for _ in range(7):
        assert world.post(text, b"{}").status_code == 403
        assert world.get(path="/nowhere").status_code == 404
    assert world.pause.taken == []


# --- source addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, None, "127.0.0.1"),
        (0, "192.0.2.1", "127.0.0.1"),
        (1, None, "127.0.0.1"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "198.51.100.9, 192.0.2.1", "192.0.2.1"),
        (2, "198.51.100.9, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
        (2, "10.0.0.1", "127.0.0.1"),
        (1, "2001:DB8::1", "2001:db8::1"),
        (1, "[2001:db8::1]:4711", "2001:db8::1"),
        (1, "192.0.2.1:4711", "192.0.2.1"),
        (1, "::ffff:192.0.2.1", "192.0.2.1"),
        (1, "unknown", None),
        (1, "<script>", None),
        (1, '", 192.0.2.1', "192.0.2.1"),
        (1, 'for="198.51.100.9, 192.0.2.1', "192.0.2.1"),
        (2, '"\\, 192.0.2.1, 10.0.0.1', "192.0.2.1"),
        (1, ",,,, 192.0.2.1", "192.0.2.1"),
        (1, "192.0.2.1 198.51.100.9", None),
    ],
)
def test_the_source_address_is_what_that_many_proxies_say(
    sqlite_databases: SqliteDatabases, hops: int, forwarded: str | None, address: str | None
) -> None:
    with serving(sqlite_databases, hops) as world:
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        assert world.get(world.make(), **headers).json()[3] == address


def test_a_stranger_cannot_shake_off_the_slowing_with_a_header(sqlite_databases: SqliteDatabases) -> None:
    for hops, before in ((0, ""), (1, "{}, 192.0.2.1")):
        with serving(sqlite_databases, hops) as world:
            for number in range(6):
                said = (before or "{}").replace("{}", f"198.51.100.{number}")
                world.get("wrong", **{"X-Forwarded-For": said})
            assert world.pause.taken == [1.0]


def test_behind_a_proxy_strangers_slow_only_themselves(sqlite_databases: SqliteDatabases) -> None:
    with serving(sqlite_databases, 1) as world:
        for _ in range(6):
            world.get("wrong", **{"X-Forwarded-For": "192.0.2.1"})
        assert world.pause.taken == [1.0]
        world.get("wrong", **{"X-Forwarded-For": "192.0.2.2"})
        assert world.pause.taken == [1.0]
