"""Makes checks, as many at a time as there are threads, and says what each found or why it could not be made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from champion_gate.adapters.http.deadline import BoundedCalls, GivenUpError
from champion_gate.domain.findings import Check, Checkup, Finding, Verdict
from champion_gate.domain.together import THREADS, Together
from champion_gate.errors import (
    ConfigurationError,
    GateError,
    UnexpectedError,
    UnsafeTargetError,
    VendorRefusedError,
)
from champion_gate.log import get_logger

log = get_logger(__name__)

_CHECK_SECONDS = 30.0
_ALL_SECONDS = 900.0
_REFUSALS = (VendorRefusedError, UnsafeTargetError, ConfigurationError)
"""What nobody's waiting mends; whatever else went wrong says nothing of what was looked at."""
_WORST_FIRST = (Verdict.FAIL, Verdict.WARNING, Verdict.NOT_KNOWN, Verdict.OK)
_LOOK = "`champion-gate doctor` says what was found and what to do; so does the service's log."


def examine(
    checkups: Iterable[Checkup],
    together: Together,
    *,
    seconds: float = _CHECK_SECONDS,
    told: Callable[[Checkup], object] = lambda _: None,
) -> list[Finding]:
    """Make the checks, and return what was found in their order.

    Args:
        checkups: none needs another.
        together: the threads.
        seconds: how long each may take; what it found until then counts.
        told: is called after each check, in any thread.
    """
    given = list(checkups)
    found: dict[int, list[Finding]] = {}
    waiting = deque(enumerate(given))
    bounded = BoundedCalls("champion-gate", slots=2 * THREADS)

    def work() -> None:
        while True:
            try:
                at, checkup = waiting.popleft()
            except IndexError:
                return
            found[at] = _findings(checkup, bounded, seconds)
            told(checkup)

    try:
        # On another thread: Ctrl-C waits for no check.
        bounded.run(lambda _: together.each([work] * min(THREADS, len(given))), seconds=_ALL_SECONDS)
    finally:
        waiting.clear()
        for checkup in given:
            checkup.clean_up()
    return [finding for at in range(len(given)) for finding in found[at]]


def _findings(checkup: Checkup, bounded: BoundedCalls, seconds: float) -> list[Finding]:
    check, found = checkup.check, list[Finding]()

    def collect(_: object) -> None:
        for finding in checkup.run():
            found.append(finding)  # one by one: what was found before an error counts

    def ended() -> Iterator[Finding]:
        try:
            bounded.run(collect, seconds=seconds)
            if not found:
                yield check.not_known("there was nothing to look at", "See what else failed.")
        except GivenUpError:
            yield check.not_known(
                f"it had not ended after {seconds:g} seconds.",
                "Run it again; does what it asks answer at all?",
            )
        except GateError as error:
            yield of_error(check, error)
        except Exception as error:  # a fault of ours hides no other check
            log.exception("check failed", kind=check.key)
            yield of_error(check, UnexpectedError.of(error))

    last = list(ended())
    return [replace(each, gate=each.gate or checkup.gate) for each in (*found, *last)]


def of_error(check: Check, error: GateError) -> Finding:
    """What it means for a check that it could not be made: refused is FAIL, anything else is not known.

    What is refused to all calls alike says nothing of what was looked at; the check of the credentials tells it.
    """
    verdict = check.fail if isinstance(error, _REFUSALS) and not concerns_all(error) else check.not_known
    return verdict(error.message, error.hint or "Run it again later.")


def concerns_all(error: GateError) -> bool:
    """Whether it is said to every call alike, also where it was wrapped into what it means for a place."""
    refused = error.__cause__ if isinstance(error, UnsafeTargetError) else error
    return isinstance(refused, VendorRefusedError) and refused.concerns_all


class Rounds:
    """Quick checks that the running service makes again and again; what they found is at hand."""

    def __init__(
        self, kinds: Iterable[Check], checkups: Callable[[], Iterable[Checkup]], together: Together
    ) -> None:
        """Set up; nothing is looked at yet.

        Args:
            kinds: all that there are.
            checkups: makes them for each round: what they read once they do not read again.
            together: threads that nothing else needs.
        """
        self._titles = {check.key: check.title for check in kinds}
        self._make = checkups
        self._together = together
        self._bad: tuple[Finding, ...] = ()

    def run(self) -> None:
        """Make all checks once, and log what is not right."""
        found = examine(self._make(), self._together)
        self._bad = tuple(each for each in found if each.verdict is not Verdict.OK)
        for each in self._bad:
            log.warning(
                "doctor: not ok",
                kind=each.check,
                status=each.verdict.value,
                gate=each.gate,
                error=each.found,
                reason=each.remedy,
            )

    def findings(self) -> tuple[Finding, ...]:
        """What the last round found that is not right, with all its words: for people who are known."""
        return self._bad

    def view(self) -> list[dict[str, str]]:
        """One for each check that is not all right, its worst verdict; no names of models, people or hosts, for anybody may read it."""
        worst: dict[str, Verdict] = {}
        for each in self._bad:
            worst[each.check] = min(worst.get(each.check, each.verdict), each.verdict, key=_WORST_FIRST.index)
        return [
            {"check": key, "verdict": verdict.value, "what": self._titles[key], "remedy": _LOOK}
            for key, verdict in worst.items()
        ]
