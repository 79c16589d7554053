"""Workers: Huey's consumer threads inside this process, capped by lane, and the sweep's timers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from huey.consumer import Consumer

from champion_gate.errors import GateError, NotFoundError
from champion_gate.log import get_logger, unit_of_work
from champion_gate.work.queue import HueyWakeUps

__all__ = ["Every", "HueyWakeUps", "Jobs", "Lanes", "Worker"]

log = get_logger(__name__)

_HEALTH_SECONDS = 10.0  # a consumer's thread that died is replaced by then
_LONGEST_WAY_SECONDS, _WAY_SECONDS = 1.0, 0.02

Job = tuple[str, str]
"""A kind and an id."""


@dataclass(frozen=True)
class Jobs:
    """What to call for each kind of wake-up; each may run twice and has one effect.

    Attributes:
        notification, promotion, step: take a row's id.
        look: takes the name of one of the sweep's looks at a vendor.
    """

    notification: Callable[[str], object]
    promotion: Callable[[str], object]
    step: Callable[[str], object]
    look: Callable[[str], object]

    def of(self, kind: str) -> Callable[[str], object] | None:
        """The job for a kind; None where there is no such kind."""
        known = {
            "notification": self.notification,
            "promotion": self.promotion,
            "step": self.step,
            "look": self.look,
        }
        return known.get(kind)


@dataclass(frozen=True)
class Every:
    """Something that a thread of its own does again and again.

    Attributes:
        seconds: pause between the end of one run and the start of the next.
        after: seconds before the first run.
        is_awaited: whether a stop waits until a run has ended.
        until_the_end: whether it goes on during a stop, as long as something is in hand.
    """

    name: str
    seconds: float
    run: Callable[[], object]
    after: float = 0.0
    is_awaited: bool = True
    until_the_end: bool = False


class Lanes:
    """How many threads may be busy with one vendor at a time, and one with one row.

    A job that finds its lane full waits here without a thread. What waits here is only in memory: after
    a crash the sweep finds it. A sweep over many gates sends thousands of looks at once: they and the rows
    take turns, so that neither waits for all of the others.
    """

    def __init__(self, caps: Mapping[str, int], default_cap: int) -> None:
        """Set up.

        Args:
            caps: lane -> threads.
            default_cap: threads of every other lane.
        """
        self._caps = dict(caps)
        self._default_cap = default_cap
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._running: set[Job] = set()
        self._again: set[Job] = set()
        self._waiting: dict[tuple[str, bool], dict[Job, None]] = {}

    def enter(self, lane: str, job: Job) -> bool:
        """Take a place; False means that the job now waits, once however often it came."""
        with self._lock:
            if job in self._running:
                self._again.add(job)
                return False
            if self._busy[lane] >= self._caps.get(lane, self._default_cap):
                self._waiting.setdefault((lane, _is_look(job)), {})[job] = None
                return False
            self._busy[lane] += 1
            self._running.add(job)
            return True

    def is_waiting(self, kind: str, row_id: str) -> bool:
        """Whether this job is here and has not begun."""
        job = (kind, row_id)
        with self._lock:
            return any(job in waiting for waiting in self._waiting.values())

    def running(self) -> tuple[Job, ...]:
        """What is being done now."""
        with self._lock:
            return tuple(sorted(self._running))

    def leave(self, lane: str, job: Job) -> tuple[Job, ...]:
        """Give the place back, and return the jobs that are to be put on the queue again."""
        with self._lock:
            self._busy[lane] -= 1
            self._running.discard(job)
            ready = []
            others, alike = (self._waiting.get((lane, kind)) for kind in (not _is_look(job), _is_look(job)))
            if waiting := others or alike:
                first = next(iter(waiting))
                del waiting[first]
                ready.append(first)
            if job in self._again:
                self._again.discard(job)
                ready.append(job)
            return tuple(ready)


def _is_look(job: Job) -> bool:
    return job[0] == "look"


class Worker:
    """Takes wake-ups off the queue and does what they ask for, until it is stopped.

    Nothing that goes wrong here loses work: the row keeps what is to be done, and the sweep finds it.
    """

    def __init__(
        self,
        wake_ups: HueyWakeUps,
        jobs: Jobs,
        *,
        lane_of: Callable[[str, str], str],
        lane_caps: Mapping[str, int],
        timers: Sequence[Every],
        gives_way: Callable[[], bool] = lambda: False,
        default_cap: int = 2,
        threads: int = 9,
    ) -> None:
        """Set up; `start` begins.

        Args:
            wake_ups: with the queue to take from.
            jobs: what to call.
            lane_of: (kind, id) -> the vendor that the job is about to keep busy.
            lane_caps: lane -> threads at a time.
            timers: the sweep, and whatever else is to happen regularly.
            gives_way: whether something is more urgent at this moment; a job waits up to a second for it.
            default_cap: threads at a time of a lane that `lane_caps` does not name.
            threads: consumer threads; more than the caps of the lanes that may hang at the same time.
        """
        self._wake_ups = wake_ups
        self._jobs = jobs
        self._lane_of = lane_of
        self._lanes = Lanes(lane_caps, default_cap)
        self._timers = tuple(timers)
        self._threads = threads
        self._gives_way = gives_way
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._timer_threads: list[threading.Thread] = []
        self._last_threads: list[threading.Thread] = []
        self._consumer: _Consumer | None = None

    def start(self) -> None:
        """Start all threads; after the fork, because threads do not survive one."""
        if self._consumer is not None:
            raise RuntimeError("this worker has been started already")
        self._wake_ups.deliver_to(self._work, self._lanes.is_waiting)
        # Huey's scheduler has nothing to do here.
        self._consumer = _Consumer(
            self._wake_ups.queue, workers=self._threads, periodic=False, scheduler_interval=60
        )
        self._consumer.start()
        health = Every("consumer threads", _HEALTH_SECONDS, self._consumer.check_worker_health)
        for timer in (*self._timers, health):
            thread = threading.Thread(target=self._tick, args=(timer,), name=timer.name, daemon=True)
            if timer.is_awaited:
                (self._last_threads if timer.until_the_end else self._timer_threads).append(thread)
            thread.start()

    def stop(self, seconds: float = 20.0) -> bool:
        """Take nothing new, and wait for the steps in hand.

        Args:
            seconds: how long to wait altogether; what takes longer is left to its lease and the sweep.

        Returns:
            Whether everything has come to its end.
        """
        if self._consumer is None:
            return True
        deadline = time.monotonic() + seconds
        self._stopping.set()
        self._consumer.stop()
        if in_hand := self._in_hand():
            log.info("stopping; waiting for steps in hand", seconds=seconds, kind=in_hand)
        threads = (*self._timer_threads, *self._consumer.threads())
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        self._ended.set()
        for thread in self._last_threads:
            thread.join(max(deadline - time.monotonic(), 0))
        ended = not any(thread.is_alive() for thread in (*threads, *self._last_threads))
        if not ended:
            log.warning(
                "stopped in the middle of a step; the sweep will take it up again",
                seconds=seconds,
                kind=self._in_hand(),
            )
        return ended

    def _in_hand(self) -> str:
        return ", ".join(f"{kind} {row_id}" for kind, row_id in self._lanes.running())

    def _work(self, kind: str, row_id: str) -> None:
        run = self._jobs.of(kind)
        if run is None:
            log.error("a wake-up of an unknown kind was dropped", kind=kind)
            return
        self._give_way()
        with unit_of_work(**{kind: row_id}):
            try:
                lane = self._lane_of(kind, row_id)
            except NotFoundError:
                return  # another installation's, or it has been restored from a backup since
            except Exception:  # the database may be away
                log.exception("no lane for a wake-up; the sweep will find the row")
                return
            if not self._lanes.enter(lane, (kind, row_id)):
                return
            try:
                _run(run, row_id)
            finally:
                ready = self._lanes.leave(lane, (kind, row_id))
        for job in ready:
            self._wake_ups.send(*job)

    def _give_way(self) -> None:
        """Let what is more urgent have the interpreter, which one thread has at a time; not for ever."""
        until = time.monotonic() + _LONGEST_WAY_SECONDS
        while self._gives_way() and time.monotonic() < until:
            if self._stopping.wait(_WAY_SECONDS):
                return

    def _tick(self, timer: Every) -> None:
        over = self._ended if timer.until_the_end else self._stopping
        over.wait(timer.after)
        while not over.is_set():
            try:
                timer.run()
            except Exception:  # the next run may go better
                log.exception("a timer's run failed", action=timer.name)
            over.wait(timer.seconds)


class _Consumer(Consumer):  # type: ignore[misc]  # huey is untyped
    """Huey's consumer as a guest: the signals belong to whoever serves."""

    def _set_signal_handlers(self) -> None:
        pass

    def threads(self) -> tuple[threading.Thread, ...]:
        """The consumer's own threads."""
        return (self.scheduler, *(thread for _, thread in self.worker_threads))


def _run(run: Callable[[str], object], row_id: str) -> None:
    try:
        run(row_id)
    except GateError as error:
        log.warning(
            "a step failed; its row says when it is tried again", code=error.code, error=error.message
        )
    except Exception:  # whatever it is, the next job must not suffer
        log.exception("a step failed unexpectedly; the sweep will try it again")
