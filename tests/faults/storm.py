"""A service between far ends where calls go wrong, that is killed again and again; and what came of it."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from champion_gate.store import Store, open_store
from faults import hasty
from faults.far_ends import ALLOWED, FarEnds, far_ends
from faults.figures import Figures
from faults.heard import Heard
from faults.journal import read_journal
from faults.judge import findings
from integration.commands import run_command
from integration.process_world import Served, free_port, until
from integration.silent_relay import SilentRelay, through, to_server

EVER = timedelta(days=3000)
SETTLED_SECONDS = 1200.0
"""After the last fault: what was lost on its way is asked for again only once it cannot arrive any more, and a step that has
failed ten times rests for ten minutes."""
_PUT_OFF = timedelta(seconds=3)
SLOW_SECONDS = 2.0
FORGOTTEN_SECONDS = 30.0
"""After that a run is followed by another, also where no promotion has come of it."""
_LOOKS = 20
"""Each 50 ms."""


@dataclass
class Storm:
    """What a test does to it, and what it finds out.

    Attributes:
        far: calls into the process of the far ends.
        store: for waiting alone; what is judged is read as anybody reads it.
        gates: how many there are.
        trained: the runs that have made versions.
        relay: before PostgreSQL.
        replicas: how many processes the service has; notifications and webhooks go to the first.
    """

    folder: Path
    far: FarEnds
    environ: dict[str, str]
    store: Store
    gates: int
    figures: Figures
    started: list[Served] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    relay: SilentRelay | None = None
    replicas: int = 1
    _running: dict[int, Served] = field(default_factory=dict)
    _hinted: Counter[str] = field(default_factory=Counter)
    _quiet: int = 0
    _latest: dict[int, tuple[str, float]] = field(default_factory=dict)

    # --- the service ---

    def start(self, **environ: str) -> Served:
        """Start what does not run, with these variables too; returns what was started last.

        The first one is waited for: what has ended before a gate was first seen is not its concern.
        """
        for place in range(self.replicas):
            if place not in self._running:
                self._running[place] = self._started(place, environ)
        return self.started[-1]

    def _started(self, place: int, environ: Mapping[str, str]) -> Served:
        given = {**self.environ, **environ}
        if place:
            given["CHAMPION_GATE_PORT"] = str(free_port())
        log = self.folder / f"service-{len(self.started) + 1}.log"
        self.started.append(served := Served(given, log, app=hasty.APP, forked=True))
        return served.wait_until_working() if self.started == [served] else served

    def kill(self, place: int | None = None) -> None:
        """kill -9: of one replica, or of all."""
        for each in list(self._running) if place is None else [place]:
            self._running.pop(each).kill()
            self.figures.kills += 1
        if self.relay is not None:
            self.relay.reset()  # else the server keeps what was silent

    def kill_at(self, shape: str, passing: int = 0, *, after: bool, seconds: float = 120.0) -> bool:
        """Kill it while such a call is on its way, and start it again; returns whether one came in so many seconds.

        Args:
            shape: of the call.
            passing: how many like it pass first.
            after: whether the vendor carries it out.
            seconds: how long it is waited for, with work for the service.
        """
        self.far.hold(shape, passing, after=after)
        deadline = time.monotonic() + seconds
        while not (held := self.far.is_held(0.2)) and time.monotonic() < deadline:
            self.keep_busy()
        if held:
            self.kill()
        self.far.let_go()
        if held:
            self.start()
        return held

    def shake_database(self, chance: random.Random) -> None:
        """Something goes wrong between the service and PostgreSQL."""
        if self.relay is None:
            return
        does: dict[str, Callable[[], object]] = {
            "reset": self.relay.reset,
            "half an answer": self.relay.break_off,
            "silence": self.relay.go_silent,
            "slow bytes": partial(self.relay.slow_down, SLOW_SECONDS),
        }
        name = chance.choice(list(does))
        does[name]()
        self.figures.injected["postgresql", name] += 1

    # --- what happens ---

    def train(self, gate: int = 0) -> None:
        """This gate's job has made a version."""
        self.trained.append(run := self.far.train(gate))
        self._latest[gate] = (run, time.monotonic())

    def keep_busy(self) -> None:
        """Have something trained for each gate of which the latest version has come to its end."""
        for gate in range(self.gates):
            if self._is_idle(gate):
                self.train(gate)

    def _is_idle(self, gate: int) -> bool:
        run, at = self._latest.get(gate, ("", 0.0))
        found = self.store.list_promotions(model=f"prod.ml.m{gate}", limit=1).items
        if found and found[0].job_run_id == run:
            return not found[0].phase.is_open
        return not run or time.monotonic() - at > FORGOTTEN_SECONDS

    def settle(self, seconds: float = SETTLED_SECONDS) -> None:
        """Nothing goes wrong any more: go on until nothing is left to do. Promotions that were put off are hinted."""
        self.far.rage(0)
        if self.relay is not None:
            self.relay.get_well()

        def is_settled() -> bool:
            self._hasten()
            return self._is_settled()

        until(is_settled, self.story, seconds)

    def finish(self, seconds: float = SETTLED_SECONDS) -> None:
        """The same, whatever goes on going wrong, and nothing is hinted."""
        until(self._is_settled, self.story, seconds)

    def _hasten(self) -> None:
        now = datetime.now(UTC)
        soon = self.store.due(now + _PUT_OFF)
        for each in set(self.store.due(now + EVER).promotions) - set(soon.promotions):
            if self._waits_for_operator(each):
                done = run_command("promotions", "retry", each, environ=self.environ, folder=self.folder)
                self.figures.places["asked once more by an operator"] += done.returncode == 0
            else:
                self._try_at_once(each, self.store.hint_promotion)

    def _waits_for_operator(self, promotion: str) -> bool:
        """Whether it was killed so often before it could ask that it asks no more by itself."""
        found = self.store.get_promotion(promotion)
        request = found.request
        return found.phase.is_before_people and request is not None and request.starts >= request.most_starts

    def _is_settled(self) -> bool:
        left = self.store.due(datetime.now(UTC) + EVER)
        # What a worker has in its hands is not due, so it is looked at twice, a while apart.
        is_quiet = not (left.notifications or left.promotions or left.steps) and self._all_are_seen()
        self._quiet = self._quiet + 1 if is_quiet else 0
        return self._quiet > _LOOKS

    def _all_are_seen(self) -> bool:
        rows = self.store.list_notifications(limit=500).items
        return set(self.trained) <= {each.notification.run_id for each in rows}

    def _try_at_once(self, row: str, hint: Callable[[str, datetime], object]) -> None:
        if not self._hinted[row]:
            hint(row, datetime.now(UTC))
        self._hinted[row] = (self._hinted[row] + 1) % _LOOKS

    def story(self) -> str:
        """What is left to do and what was logged last, for whoever reads a failed test."""
        left = self.store.due(datetime.now(UTC) + EVER)
        promotions = [self.store.get_promotion(each) for each in left.promotions]
        steps = [self.store.get_step(each) for each in left.steps]
        notifications = [self.store.get_notification(each) for each in left.notifications]
        return "\n".join(
            [
                *(f"{p.id} {p.phase} due {p.due_at}: {p.reason} {p.retry.last_error}" for p in promotions),
                *(f"{s.id} {s.phase} due {s.due_at}: {s.reason} {s.retry.last_error}" for s in steps),
                *(f"{n.id} {n.phase} due {n.due_at}: {n.reason} {n.retry.last_error}" for n in notifications),
                *self.started[-1].output().splitlines()[-15:],
            ]
        )

    # --- what is found ---

    def heard(self) -> Heard:
        """All that the judge is to know."""
        self.far.close_books()
        self.figures.injected.update(self.far.injected())
        met = {fault for _, fault in self.figures.injected}
        return Heard(
            journal=read_journal(self.folder / "journal.jsonl"),
            ledger=self._told("ledger", "export"),
            promotions=self._listed("promotions"),
            notifications=self._listed("notifications"),
            allowed=frozenset(ALLOWED),
            refused="4xx" in met,
        )

    def judge(self) -> None:
        """Have it judged, and note the figures."""
        heard = self.heard()
        self.figures.judged(heard, found := findings(heard))
        assert not found, "\n".join([*found, f"see {self.folder}"])

    def _listed(self, what: str) -> list[dict[str, object]]:
        (told,) = self._told(what, "list", "--limit", "500", "--json")
        rows: list[dict[str, object]] = told  # type: ignore[assignment]
        return rows

    def _told(self, *command: str) -> list[dict[str, object]]:
        done = run_command(*command, environ=self.environ, folder=self.folder)
        assert done.returncode == 0, done.stderr
        decoder, text, found = json.JSONDecoder(), done.stdout.lstrip(), []
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].lstrip()
        return found


@contextmanager
def storm(
    folder: Path,
    provider: str,
    database_url: str,
    *,
    gates: int = 3,
    seed: str = "",
    gate: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    replicas: int = 1,
) -> Iterator[Storm]:
    """So many gates, a service that is still to be started, and nothing that goes wrong yet.

    Args:
        folder: for the journal, gates.yaml and logs.
        provider: one of `far_ends.ALL_PROVIDERS`.
        database_url: of a migrated database without rows.
        gates: how many.
        seed: of what is left to chance.
        gate: more keys of each gate.
        environ: more variables of the service.
        replicas: how many processes the service has.
    """
    relay = SilentRelay(lambda: to_server(database_url)) if database_url.startswith("postgresql") else None
    port, figures = free_port(), Figures(f"{provider}, {database_url.partition(':')[0].partition('+')[0]}")
    with (
        far_ends(provider, gates, folder / "journal.jsonl", port, seed) as far,
        open_store(database_url) as store,
    ):
        file = far.gates()
        file["gates"] = [{**each, **(gate or {})} for each in file["gates"]]
        (folder / "gates.yaml").write_text(json.dumps(file))
        given = {
            **far.environ(),
            "CHAMPION_GATE_CONFIG": f"{folder}/gates.yaml",
            "CHAMPION_GATE_DATABASE_URL": through(relay, database_url) if relay else database_url,
            "CHAMPION_GATE_PORT": str(port),
            "CHAMPION_GATE_SWEEP_SECONDS": "2",
            **(environ or {}),
        }
        made = Storm(folder, far, given, store, gates, figures, relay=relay, replicas=replicas)
        try:
            yield made
        finally:
            for each in made.started:
                each.kill()
            if relay is not None:
                relay.close()
            figures.end()
