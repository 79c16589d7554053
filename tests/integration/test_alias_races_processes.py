"""Commands on the local database, callers of the API and the workers, all at one alias: one story, in several processes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import requests

from champion_gate.domain.promotion import Phase
from champion_gate_standins.databricks.server import Fault
from integration.commands import clean_environ, command_line
from integration.gate_world import api_token
from integration.process_world import PATIENCE, ProcessWorld, process_world, until

API_NAME = "release-bot"
BUSY_EXIT_CODE = 4
ALIAS = "Champion"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ProcessWorld]:
    """A service whose Champion is v1, and the versions 2 and 3 that nobody has asked about."""
    with process_world(tmp_path) as made:
        for _ in range(2):
            made.models.train(made.job_id, "1", {"f1": 0.9})
        made.serve()
        yield made


@dataclass
class Race:
    """What the writers of one race do, and what they were told: every success is one that the ledger must bear out."""

    world: ProcessWorld
    token: str
    left: ExitStack

    def command(self, *arguments: str, reason: str) -> subprocess.Popen[str]:
        """Start a command on the local database, in a process of its own."""
        what, *rest = arguments
        line = command_line("alias", what, self.world.models.model, ALIAS, *rest)
        process = subprocess.Popen(
            [*line, "--reason", reason, "--override-hold"],
            cwd=self.world.folder,
            env=clean_environ(self.world.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.left.enter_context(process)
        self.left.callback(process.kill)
        return process

    def put(self, version: str, reason: str) -> bool:
        """Order a version over the API. False where another writer was at the alias for too long."""
        answer = requests.put(
            f"{self.world.url}/api/v1/models/{self.world.models.model}/aliases/{ALIAS}",
            json={"version": version, "reason": reason, "override_hold": True},
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=PATIENCE,
        )
        assert answer.ok or answer.json().get("code") == "alias_busy", answer.text
        return answer.ok

    def keep_putting(self, versions: str, running: Callable[[], bool]) -> list[str]:
        """Order one version after the other for as long as `running`; the reasons of those that succeeded."""
        done: list[str] = []
        count = 0
        while running():
            count += 1
            reason = f"api {versions} {count}"
            if self.put(versions[count % len(versions)], reason):
                done.append(reason)
            time.sleep(0.05)
        return done


@pytest.fixture
def run(world: ProcessWorld) -> Iterator[Race]:
    token = api_token(world.environ["CHAMPION_GATE_DATABASE_URL"], name=API_NAME)
    with ExitStack() as left:
        yield Race(world, token, left)


def ended_well(command: subprocess.Popen[str]) -> bool:
    """Wait for a command. False where it was told that the alias is busy."""
    _, complaint = command.communicate(timeout=PATIENCE)
    assert "Traceback" not in complaint
    assert command.returncode in {0, BUSY_EXIT_CODE}, complaint
    return command.returncode == 0


def assert_one_story(world: ProcessWorld) -> None:
    """Every line begins where the one before it ended, the registry was written once for each, and stands where the last one says."""
    moves = world.moves()
    for earlier, later in pairwise(moves):
        assert later[0] == earlier[1], moves
    assert moves[-1][1] == world.models.champion(), moves
    ours = [move for move in moves if move[2] != "outside champion-gate"]
    assert moves[-len(ours) :] == ours, moves
    written = [None if number is None else str(number) for number in world.alias_writes()]
    assert written == [to for _, to, _ in ours]


@pytest.mark.part("rest")
def test_commands_in_processes_of_their_own_and_callers_of_the_api(world: ProcessWorld, run: Race) -> None:
    commands = {
        f"command {number}": run.command("set", version, reason=f"command {number}")
        for number, version in enumerate("23")
    }

    def running() -> bool:
        return any(command.poll() is None for command in commands.values())

    with ThreadPoolExecutor(2) as threads:
        callers = [threads.submit(run.keep_putting, versions, running) for versions in ("123", "32")]
        succeeded = {reason for reason, command in commands.items() if ended_well(command)}
        by_api = {reason for caller in callers for reason in caller.result()}
    assert succeeded, "no command was carried out"
    assert by_api, "nothing was carried out over the API"
    assert_one_story(world)
    # A success without a line was one that stood there already: it wrote nothing. What has a line has one only.
    told = [line.entry.reason for line in world.ledger() if line.entry.facts.get("source") == "manual"]
    assert len(told) == len(set(told))
    assert set(told) <= succeeded | by_api


@pytest.mark.part("rest")
def test_a_manual_change_a_rollback_and_a_promotion_race_in_different_processes(
    world: ProcessWorld, run: Race
) -> None:
    assert run.put("2", "to have a version before")
    version = world.train(f1=0.95)
    pending = world.wait_for(Phase.PENDING_APPROVAL, version)
    rollback = run.command("rollback", reason="v2 is slow")
    change = run.command("set", "3", reason="v3 is known to be good")
    # The webhook of the approval reaches the service while the two commands start and write.
    world.approve(pending)
    assert ended_well(rollback) | ended_well(change)

    def at_rest() -> bool:
        with world.store() as store:
            promotion = store.get_promotion(pending.id)
            held = store.known_alias(pending.alias_key)
        waits = promotion.phase is Phase.APPROVED and held is not None and held.hold is not None
        return waits or not promotion.phase.is_open

    until(at_rest, world.story)
    assert_one_story(world)
    with world.store() as store:
        ended = store.get_promotion(pending.id).phase
    won = [actor for _, to, actor in world.moves() if to == version]
    assert won == (["reviewer-1"] if ended is Phase.PROMOTED else []), world.story()


@pytest.mark.part("rest")
def test_what_a_command_left_unfinished_is_finished_by_the_next_writer_in_another_process(
    world: ProcessWorld, run: Race
) -> None:
    world.databricks.faults.add(Fault(f"/aliases/{ALIAS}$", method="PUT", times=1, lose_answer=True))
    command = run.command("set", "2", reason="its answer is lost")
    assert not ended_well(command)
    assert run.put("3", "the next writer")
    assert_one_story(world)
    assert [move[:2] for move in world.moves()][-2:] == [("1", "2"), ("2", "3")]
