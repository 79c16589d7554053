"""`promotions watch`: what it tells, on real rows, while promotions come and go."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest
from click.testing import CliRunner

from champion_gate.bootstrap.local import local_api
from champion_gate.cli import cli
from champion_gate.cli.client import Client, InProcess
from champion_gate.cli.watching import Watch
from champion_gate.domain.callers import Role
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase, ended
from champion_gate.errors import NotAuthenticatedError, NotFoundError, StoreUnavailableError
from champion_gate.store import Store
from integration.commands import clean_environ, command_line
from integration.gate_world import api_token
from integration.process_world import PATIENCE, ProcessWorld, process_world, until
from integration.store_databases import sqlite_store
from integration.store_samples import LEASE, after, promotion, step

Step = Callable[[Store], None]


class Over(BaseException):
    """The test has seen enough."""


@pytest.fixture
def store() -> Iterator[Store]:
    with sqlite_store() as (_, opened):
        yield opened


def watched(
    store: Store,
    steps: Sequence[Step],
    *,
    one: str | None = None,
    as_json: bool = True,
    away: Sequence[BaseException | None] = (),
) -> str | None:
    """Watch while the world goes on: one step in each pause. Answers how the one promotion ended.

    Args:
        store: the rows.
        steps: what happens meanwhile.
        one: watch this promotion alone.
        as_json: print JSON.
        away: what opening the database meets, look by look; None and afterwards: nothing.
    """
    following, errors = iter(steps), iter(away)

    @contextmanager
    def opens() -> Iterator[Client]:
        error = next(errors, None)
        if error is not None:
            raise error
        yield Client(InProcess(local_api(store)))

    def pause() -> None:
        step = next(following, None)
        if step is None:
            raise Over
        step(store)

    watch = Watch(opens, as_json=as_json, pause=pause)
    with contextlib.suppress(Over):
        if one is None:
            watch.all()
        return watch.one(one)
    return None


def appears(promotion_id: str, seconds: float, **changes: Any) -> Step:
    def step(store: Store) -> None:
        made = promotion(
            promotion_id,
            requested_at=after(seconds),
            updated_at=after(seconds),
            alias=f"alias-{promotion_id}",
            **changes,
        )
        assert store.create_promotion(made) is not None

    return step


def becomes(promotion_id: str, phase: Phase, reason: str, seconds: float) -> Step:
    def step(store: Store) -> None:
        taken = store.take_promotion(promotion_id, after(seconds), LEASE)
        assert taken is not None
        ended = None if phase.is_open else after(seconds)
        due = after(seconds) if phase.is_open else None
        store.save_promotion(
            replace(taken, phase=phase, reason=reason, ended_at=ended, due_at=due),
            after(seconds),
            release=True,
        )

    return step


def both_of(*steps: Step) -> Step:
    def step(store: Store) -> None:
        for each in steps:
            each(store)

    return step


def nothing(_store: Store) -> None:
    """Nothing happens."""


def told(printed: str) -> list[tuple[str, str | None, str]]:
    """(id, phase before, phase now) of every line."""
    lines = [json.loads(line) for line in printed.splitlines()]
    return [
        (line["promotion"]["id"], line["before"] and line["before"]["phase"], line["promotion"]["phase"])
        for line in lines
    ]


# --- what is told ------------------------------------------------------------------------------------------


def test_what_is_open_comes_first_and_then_every_change_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    appears("p-1", 1)(store)
    watched(
        store,
        [
            nothing,
            becomes("p-1", Phase.PENDING_APPROVAL, "waits for reviewer-1", 2),
            nothing,
            appears("p-2", 3),
            becomes("p-1", Phase.REJECTED, "no", 4),
            nothing,
        ],
    )
    assert told(capsys.readouterr().out) == [
        ("p-1", None, "requested"),
        ("p-1", "requested", "pending_approval"),
        ("p-2", None, "requested"),
        ("p-1", "pending_approval", "rejected"),
    ]


def test_a_new_reason_alone_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    appears("p-1", 1)(store)
    watched(store, [becomes("p-1", Phase.REQUESTED, "on hold by ann because audit", 2)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1]["before"] == {"phase": "requested", "reason": "A job run made it."}
    assert lines[1]["promotion"]["reason"] == "on hold by ann because audit"


def test_what_had_ended_before_is_not_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    appears("p-1", 1)(store)
    becomes("p-1", Phase.CANCELLED, "no", 2)(store)
    watched(store, [nothing, nothing])
    assert capsys.readouterr().out == ""


def test_one_that_comes_and_ends_between_two_looks_is_told(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    watched(store, [both_of(appears("p-1", 1), becomes("p-1", Phase.INELIGIBLE, "f1 is too low", 2))])
    assert told(capsys.readouterr().out) == [("p-1", None, "ineligible")]


def test_old_open_ones_are_told_of_however_many_are_newer(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    appears("p-old", 1)(store)
    appears("p-older", 0)(store)
    for number in range(230):
        appears(f"p-{number}", 2 + number)(store)
        becomes(f"p-{number}", Phase.CANCELLED, "no", 3 + number)(store)
    watched(
        store,
        [
            becomes("p-old", Phase.PENDING_APPROVAL, "waits", 500),
            becomes("p-old", Phase.EXPIRED, "nobody decided", 501),
            nothing,
        ],
    )
    assert told(capsys.readouterr().out) == [
        ("p-older", None, "requested"),
        ("p-old", None, "requested"),
        ("p-old", "requested", "pending_approval"),
        ("p-old", "pending_approval", "expired"),
    ]


def test_many_that_appear_at_once_are_all_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    appears("p-first", 0)(store)
    new = [appears(f"p-{number}", 1 + number) for number in range(230)]
    ends = [becomes(f"p-{number}", Phase.CANCELLED, "no", 500 + number) for number in range(230)]
    watched(store, [both_of(*new, *ends), nothing])
    lines = told(capsys.readouterr().out)
    assert lines[0] == ("p-first", None, "requested")
    assert sorted(lines[1:]) == sorted((f"p-{number}", None, "cancelled") for number in range(230))


def test_an_old_failed_one_that_is_taken_up_again_is_told(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    appears("p-old", 0)(store)
    becomes("p-old", Phase.FAILED, "GitHub refused", 1)(store)
    for number in range(120):
        appears(f"p-{number}", 2 + number)(store)
        becomes(f"p-{number}", Phase.CANCELLED, "no", 3 + number)(store)

    def taken_up(store: Store) -> None:
        assert store.retry_promotion("p-old", after(600), "taken up again by ann")

    watched(store, [taken_up, nothing])
    assert told(capsys.readouterr().out) == [("p-old", None, "requested")]


def planned(store: Store) -> None:
    store.plan_step(step())


def succeeds(store: Store) -> None:
    taken = store.take_step("f-1", after(3), LEASE)
    assert taken is not None
    store.save_step(ended(taken, StepPhase.SUCCEEDED, "It is cancelled.", after(3)), release=True)


def test_with_an_id_its_steps_are_told_too(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    appears("p-1", 1)(store)
    watched(store, [planned, nothing, succeeds], one="p-1", as_json=False)
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "p-1 step f-1: planned: next look 2025-03-01 12:00:00Z",
        "p-1 step f-1: succeeded: It is cancelled.",
    ]


def test_a_line_for_people_begins_with_the_time_and_obeys_nothing(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    appears("p-1", 1)(store)
    watched(
        store, [becomes("p-1", Phase.PENDING_APPROVAL, "a\x1b[2J\n2025 p-2 all is well", 2)], as_json=False
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first == "2025-03-01 12:00:01Z p-1 main.ml.churn v2 for alias-p-1: requested: A job run made it."
    assert second == (
        "2025-03-01 12:00:02Z p-1 main.ml.churn v2 for alias-p-1: requested -> pending_approval: "
        "a\\x1b[2J\\n2025 p-2 all is well"
    )


# --- one promotion -----------------------------------------------------------------------------------------


def test_one_promotion_is_followed_to_its_end(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    both_of(appears("p-1", 1), appears("p-2", 2))(store)
    steps = [becomes("p-2", Phase.CANCELLED, "no", 3), nothing, becomes("p-1", Phase.SUPERSEDED, "p-2", 4)]
    assert watched(store, steps, one="p-1") == "superseded"
    assert told(capsys.readouterr().out) == [
        ("p-1", None, "requested"),
        ("p-1", "requested", "superseded"),
    ]


def test_one_that_has_ended_is_told_at_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    both_of(appears("p-1", 1), becomes("p-1", Phase.CANCELLED, "no", 2))(store)
    assert watched(store, [], one="p-1") == "cancelled"
    assert told(capsys.readouterr().out) == [("p-1", None, "cancelled")]


def test_one_that_there_is_not(store: Store) -> None:
    with pytest.raises(NotFoundError):
        watched(store, [], one="p-nobody")


# --- a service or database that is away --------------------------------------------------------------------

AWAY = StoreUnavailableError("The database is away.")


def test_while_nothing_answers_it_goes_on_and_says_so_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    appears("p-1", 1)(store)
    watched(
        store,
        [nothing, nothing, becomes("p-1", Phase.CANCELLED, "no", 2), nothing],
        away=[None, AWAY, AWAY, AWAY],
    )
    printed = capsys.readouterr()
    assert told(printed.out) == [("p-1", None, "requested"), ("p-1", "requested", "cancelled")]
    assert printed.err.count("The database is away.") == 1
    assert "answers again" in printed.err


def test_one_that_nothing_can_be_asked_of_to_begin_with_is_an_error(store: Store) -> None:
    with pytest.raises(StoreUnavailableError):
        watched(store, [nothing], away=[AWAY])


def test_what_time_does_not_mend_ends_the_watching(store: Store) -> None:
    with pytest.raises(NotAuthenticatedError):
        watched(store, [nothing, nothing], away=[None, NotAuthenticatedError("The token is revoked.")])


# --- the command itself ------------------------------------------------------------------------------------


class Watching:
    """`promotions watch` as a process of its own."""

    def __init__(self, world: ProcessWorld, *arguments: str, **environ: str) -> None:
        self.output = world.folder / f"watch-{len(arguments)}-{len(environ)}.txt"
        self.errors = self.output.with_suffix(".err")
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command_line("promotions", "watch", "--interval", "200ms", *arguments),
                cwd=world.folder,
                env=clean_environ({**world.environ, **environ, "PYTHONFAULTHANDLER": "1"}),
                stdout=output,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def sees(self, text: str) -> None:
        """Return once it has printed this."""
        until(
            lambda: text in self.output.read_text(), lambda: self.output.read_text() + self.errors.read_text()
        )

    def ends(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def ends_by_ctrl_c(self) -> int:
        """Its exit code after Ctrl-C, pressed again where Python drops it: it does in finalizers and callbacks."""
        for _ in range(3):
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(PATIENCE / 3)
        self.process.send_signal(signal.SIGABRT)  # it tells where it is
        self.process.wait()
        raise AssertionError(self.errors.read_text())


@pytest.mark.part("rest")
def test_it_follows_a_promotion_from_both_sides_through_a_restart_of_the_service(tmp_path: Path) -> None:
    with process_world(tmp_path) as world:
        served = world.serve()
        version = world.train()
        pending = world.wait_for(Phase.PENDING_APPROVAL, version)
        token = api_token(world.environ["CHAMPION_GATE_DATABASE_URL"], Role.VIEWER)
        over_api = {"CHAMPION_GATE_API_URL": world.url, "CHAMPION_GATE_TOKEN": token}
        with (
            Watching(world, pending.id) as local,
            Watching(world, pending.id, "--json", **over_api) as api,
            Watching(world, **over_api) as everything,
        ):
            for each in (local, api, everything):
                each.sees(pending.id)
            served.kill()
            until(lambda: "the service at" in api.errors.read_text(), "it has noticed nothing")
            world.serve()
            world.approve(pending)
            world.wait_for(Phase.PROMOTED, version)
            assert (local.ends(), api.ends()) == (0, 0)
            everything.sees("promoted")
            assert everything.ends_by_ctrl_c() == 130
            assert "-> promoted: " in local.output.read_text().splitlines()[-1]
            last = json.loads(api.output.read_text().splitlines()[-1])
            assert last["promotion"]["phase"] == "promoted"
            for each in (api, everything):
                assert each.errors.read_text().count("the service at") == 1
                assert "Traceback" not in each.errors.read_text()
            assert local.errors.read_text() == ""


@pytest.mark.parametrize(
    "interval", ["2", "0s", "-1s", "1d", "100ms", "61m", "soon", "9999999s", "\N{ARABIC-INDIC DIGIT ONE}s"]
)
def test_an_interval_that_is_none_is_refused(interval: str) -> None:
    done = CliRunner().invoke(cli, ["promotions", "watch", f"--interval={interval}"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "500ms" in done.stderr
