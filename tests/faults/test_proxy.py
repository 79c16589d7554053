"""The proxy does to calls what it says, and carries out what it says."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests
from flask import Flask

from champion_gate_standins.common.server import serve
from faults.proxy import FAULTS, HOOK_FAULTS, Call, FaultProxy, Hold, Weather, retyped, shape_of

pytestmark = pytest.mark.part("rest")

PATH = "/models/main.ml.m7/aliases/Champion"
BODY = {"version_num": 2, "long": "x" * 1000}


class World:
    """A vendor that counts what it has carried out, and the proxy before it."""

    def __init__(self, stack: ExitStack, weather: Weather) -> None:
        self.carried_out = 0
        self.weather = weather
        app = Flask("vendor")
        app.route(PATH, methods=["GET", "PUT"])(self._carry_out)
        port = int(stack.enter_context(serve(app)).rpartition(":")[2])
        self.proxy = FaultProxy("vendor", port, weather)
        stack.callback(self.proxy.close)

    def _carry_out(self) -> dict[str, object]:
        self.carried_out += 1
        return BODY

    def call(self, method: str = "PUT") -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"{self.proxy.url}{PATH}", json={"version_num": 2}, timeout=0.5)


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, Weather(random.Random(1)))


def test_without_faults_it_hands_everything_on(world: World) -> None:
    assert world.call().json() == BODY
    assert world.weather.shapes == ["vendor PUT /models/main.ml.m#/aliases/Champion"]


@pytest.mark.parametrize(
    ("fault", "comes", "carried_out"),
    [
        ("reset before", requests.ConnectionError, 0),
        ("reset after", requests.ConnectionError, 1),
        ("refused", requests.ConnectionError, 0),
        ("half an answer", requests.RequestException, 1),
        ("slow bytes", 200, 1),
        ("silence before", requests.ReadTimeout, 0),
        ("silence after", requests.ReadTimeout, 1),
        ("longest silence", requests.ReadTimeout, 1),
        ("429", 429, 0),
        ("429, wait 1 s", 429, 0),
        ("5xx", 500, 0),
        ("5xx after", 502, 1),
        ("HTML with 200", 200, 0),
        ("HTML with 502", 502, 0),
        ("wrong types", 200, 1),
        ("said and not done", 200, 0),
    ],
)
def test_each_fault_is_what_it_is_called(
    world: World, fault: str, comes: int | type[Exception], carried_out: int
) -> None:
    world.weather.rate, world.weather.only = 1.0, (fault,)
    if isinstance(comes, int):
        assert world.call().status_code // 100 == comes // 100
    else:
        with pytest.raises(comes):
            world.call()
    assert world.carried_out == carried_out
    assert world.weather.injected == {("vendor", fault): 1}


def test_reads_alone_are_refused(world: World) -> None:
    world.weather.rate, world.weather.only = 1.0, ("4xx",)
    assert world.call("PUT").status_code == 200
    assert world.call("GET").status_code // 100 == 4


def test_each_fault_has_its_test() -> None:
    (mark,) = test_each_fault_is_what_it_is_called.pytestmark  # type: ignore[attr-defined] # pytest's own
    assert {each[0] for each in mark.args[1]} | {"4xx"} == set(FAULTS)


def test_a_post_is_lost_or_doubled(world: World) -> None:
    world.weather.faults, world.weather.rate = HOOK_FAULTS, 1.0
    world.weather.only = ("hook doubled",)
    assert world.call().status_code == 200
    assert world.carried_out == 2
    world.weather.only = ("hook lost",)
    with pytest.raises(requests.ConnectionError):
        world.call()
    assert world.carried_out == 2


@pytest.mark.parametrize("after", [False, True])
def test_a_call_is_held_up_until_it_is_let_go(world: World, *, after: bool) -> None:
    shape = "vendor PUT /models/main.ml.m#/aliases/Champion"
    world.weather.hold = hold = Hold(shape, passing=1, after=after)
    assert world.call().status_code == 200
    failed: list[Exception] = []

    def call() -> None:
        try:
            world.call()
        except requests.RequestException as error:
            failed.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert hold.held.wait(10)
    hold.let_go.set()
    thread.join(10)
    assert len(failed) == 1
    assert world.carried_out == 1 + after


def test_shapes_tell_jobs_apart_and_not_promotions() -> None:
    def shape(path: str, body: bytes = b"") -> str:
        return shape_of(Call("x", "POST", path, [], body), {"91": "copy"})

    assert shape("/repos/example/ml/pulls/17") == shape("/repos/example/ml/pulls/9")
    assert shape("/a/p-abcxyz-0123456789ab") == shape("/a/p-defuvw-ba9876543210")
    assert shape("/a/p-abc9ieh.md") == shape("/a/p-9a8b7c6d5e4f3210.md")
    assert shape("/jobs/run-now", b'{"job_id": 91}') == "x POST /jobs/run-now copy"


def test_one_value_gets_another_type() -> None:
    value = {"a": [1, "two", {"b": None}], "c": 3.5}
    chance = random.Random(7)
    assert all(retyped(value, chance) != value for _ in range(50))
