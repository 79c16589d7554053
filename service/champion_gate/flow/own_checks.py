"""What the doctor looks at in the service itself: its database, what works on that, and what waits there for a person."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.promotion import Phase
from champion_gate.errors import ConfigurationError, StoreUnavailableError
from champion_gate.flow.after import alias_of, failed_of_latest_moves
from champion_gate.store import Store
from champion_gate.store.releases import Replica

_LATE = timedelta(minutes=15)
"""So long at most a failing call is put off: what is due for longer is not taken up."""
_MOST = 5  # of a kind are told one by one
_RUNS, _FEWEST_RUNS, _NOTIFICATIONS = 5, 3, 500
_MIB = 1024 * 1024
_CLOCK_OFF, _CLOCK_FAR_OFF = timedelta(seconds=5), timedelta(seconds=30)
"""From the second on, an alias's lease need not outlast its write: that is what it is longer by."""
_FULL, _NEARLY_FULL = 20 * _MIB, 200 * _MIB
_OVER_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|afs|ceph|glusterfs|lustre|gpfs|9p|virtiofs|fuse\.(?!fuse-overlayfs).*"
)
_ESCAPED = re.compile(r"\\([0-7]{3})")

DATABASE = Check(
    "service.database",
    "the database can be written, has this release's schema, and loses nothing that was committed",
    "What was answered with 202, and every decision, must be there after a crash and a power cut.",
    cheap=True,
)
DISK = Check(
    "service.disk",
    "the free space and the file system below an SQLite database",
    "A full disk takes no more decisions. Over a network SQLite's locks and its write-ahead log do not hold, so the file breaks.",
    cheap=True,
)
QUEUE = Check(
    "service.queue",
    "whether a running service takes up what is due",
    "What nobody takes up goes on for nobody: notifications, decisions, and the steps around them.",
    cheap=True,
)
HOOKS = Check(
    "service.hooks",
    "whether Databricks' notifications arrive, or the sweep has to find the runs",
    "The sweep finds every run, but up to a minute later. A hook that never arrives is set up wrongly.",
    cheap=True,
)
WAITING = Check(
    "service.waiting",
    "what waits for a person: holds, failed steps, messages that reach nobody, logins with another account, requests that cannot be made",
    "Nobody is told of these by a request for approval.",
    cheap=True,
)
REPLICAS = Check(
    "service.replicas",
    "whether all replicas are of one release, which is the database's, read one gates.yaml, and their clocks go with the database's",
    "Beside an older replica a newer one does not write what that could not read. While they read different gates.yaml, "
    "notifications wait, and so does what would end. A clock that is far off makes leases "
    "too short, so that work is done twice.",
    cheap=True,
)
CHECKS = (DATABASE, DISK, QUEUE, REPLICAS, HOOKS, WAITING)


@dataclass(frozen=True)
class Installation:
    """What the checks of ourselves are told.

    Attributes:
        open: opens the store; raises StoreUnavailableError.
        file: of the database, on SQLite.
        jobs: ids of the watched jobs; None where some are known by their names.
    """

    open: Callable[[], AbstractContextManager[Store]]
    file: Path | None
    clock: Clock
    sweep_seconds: float
    jobs: Collection[str] | None


def checkups(ours: Installation) -> Iterator[Checkup]:
    """The checks of ourselves; nothing is opened yet."""
    if ours.file is not None:
        file = ours.file
        yield Checkup(DISK, lambda: disk(file))
    yield Checkup(DATABASE, lambda: _database(ours))


def _database(ours: Installation) -> Iterator[Finding]:
    """All that the rows tell: where they cannot be read, that is one finding, not five."""
    if ours.file is not None and not ours.file.is_file():  # which opening it would make
        yield DATABASE.not_known(
            f"There is no {ours.file} yet.",
            "`champion-gate serve` makes it, and so does `champion-gate migrate`.",
        )
        return
    try:
        with ours.open() as store:
            yield from _durability(store)
            yield from _queue(store, ours)
            yield from _replicas(store)
            yield from _hooks(store, ours)
            yield from _waiting(store, ours)
    except ConfigurationError as error:
        yield DATABASE.fail("; ".join(error.problems), "Do that; the service starts on no other.")
    except StoreUnavailableError as error:
        yield DATABASE.fail(error.message, error.hint)


def _durability(store: Store) -> Iterator[Finding]:
    store.check()
    settings = store.durability()
    unsafe = [each for each in settings if not each.is_safe]
    for each in unsafe:
        yield DATABASE.fail(
            f"{each.name} is {each.value}: what was committed may be lost.",
            "Run `champion-gate migrate`, which turns it on; some file systems do not take it."
            if each.name == "journal_mode"
            else f"ALTER SYSTEM SET {each.name} = on; SELECT pg_reload_conf(); and look for it in ALTER ROLE and "
            "ALTER DATABASE too.",
        )
    if not unsafe:
        yield DATABASE.ok(", ".join(f"{each.name} is {each.value}" for each in settings))


def disk(
    file: Path,
    *,
    free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    mounts: Path = Path("/proc/self/mounts"),
) -> Iterator[Finding]:
    """What is below a file; each Finding is about its space or its kind.

    Args:
        file: need not be there yet.
        free: the free bytes of a folder's file system.
        mounts: as proc(5) describes /proc/PID/mounts.
    """
    folder = file.absolute().parent
    left, kind = free(folder), _file_system(folder, mounts)
    found = f"{left // _MIB} MiB are free at {folder} ({kind})"
    if _OVER_NETWORK.fullmatch(kind):
        remedy = "Put the file on a disk of this machine (a block volume), or take PostgreSQL."
        yield DISK.fail(f"{folder} is on {kind}, which is shared with other machines.", remedy)
    if left < _FULL:
        yield DISK.fail(f"{found}.", "Make room, or enlarge the volume.")
    elif left < _NEARLY_FULL:
        yield DISK.warning(f"{found}.", "Make room, or enlarge the volume, before it is full.")
    elif not _OVER_NETWORK.fullmatch(kind):
        yield DISK.ok(found)


def _file_system(folder: Path, mounts: Path) -> str:
    """Its type, such as `ext4`; `unknown` where this system does not tell."""
    try:
        lines = [line.split(" ") for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:
        return "unknown"
    resolved, found, deepest = folder.resolve(), "unknown", -1
    for _, point, kind, *_ in lines:
        at = Path(_ESCAPED.sub(lambda octal: chr(int(octal.group(1), 8)), point))
        if (
            resolved.is_relative_to(at) and len(at.parts) >= deepest
        ):  # of two at one point the later one shows
            found, deepest = kind, len(at.parts)
    return found


def _queue(store: Store, ours: Installation) -> Iterator[Finding]:
    now, last = ours.clock.now(), store.last_sweep()
    if last is None:
        yield QUEUE.not_known(
            "No service has worked on this database yet.", "Start it: `champion-gate serve`."
        )
        return
    if now - last > 3 * timedelta(seconds=ours.sweep_seconds) + timedelta(minutes=1):
        yield QUEUE.fail(
            f"The last sweep began at {last:%Y-%m-%d %H:%M} UTC.",
            "Start the service. If it runs, its log says what keeps the sweep.",
        )
        return
    late = store.due(now - _LATE)
    rows = [
        *(f"notification {each}" for each in late.notifications),
        *(f"promotion {each}" for each in late.promotions),
        *(f"step {each}" for each in late.steps),
    ]
    if rows:
        yield QUEUE.warning(
            f"Nobody takes up what has been due for {_LATE.seconds // 60} minutes: {_some(rows)}.",
            "The log says whether a vendor hangs, whose work waits for it. Else restart the service.",
        )
    else:
        yield QUEUE.ok(f"the last sweep began at {last:%H:%M:%S} UTC, and nothing is overdue")


def _replicas(store: Store) -> Iterator[Finding]:
    found = store.replicas()
    told = ", ".join(f"{each.name} is of release {each.release}" for each in found)
    bad = list(_clocks(found))
    if len({each.release for each in found}) > 1:
        bad.append(
            REPLICAS.warning(
                f"Replicas of different releases are at work: {told}.",
                "Finish the upgrade: start the older ones anew with the newer release.",
            )
        )
    if len({each.gates_sha256 for each in found}) > 1:
        which = ", ".join(f"{each.name} reads {each.gates_sha256[:8] or 'one untold'}" for each in found)
        bad.append(
            REPLICAS.warning(
                f"Replicas read different gates.yaml, told by the sha256, and notifications wait: {which}.",
                "While a change of it is rolled out, that is so for a moment. Else start those anew that read the older file.",
            )
        )
    if (schema := store.newer_schema()) is not None:
        bad.append(
            REPLICAS.warning(
                f"The database has schema {schema} of a newer release than this one, which may still run on it.",
                "Finish the upgrade: run the newer release here too.",
            )
        )
    yield from bad or [REPLICAS.ok(told or "none is at work")]


def _clocks(found: Sequence[Replica]) -> Iterator[Finding]:
    for each in found:
        off = each.clock - each.seen_at
        if abs(off) < _CLOCK_OFF:
            continue
        verdict = REPLICAS.fail if abs(off) >= _CLOCK_FAR_OFF else REPLICAS.warning
        which = "ahead of" if off > timedelta() else "behind"
        yield verdict(
            f"The clock of {each.name} is {abs(off).total_seconds():.0f} s {which} the database's.",
            "Have both machines keep the time by NTP, as systemd-timesyncd or chrony does.",
        )


def _hooks(store: Store, ours: Installation) -> Iterator[Finding]:
    told = {
        job: sources[:_RUNS]
        for job, sources in store.told_by(_NOTIFICATIONS).items()
        if len(sources) >= _FEWEST_RUNS and (ours.jobs is None or job in ours.jobs)
    }
    silent = [job for job, sources in told.items() if "hook" not in sources]
    for job in silent[:_MOST]:
        yield HOOKS.warning(
            f"No hook has told of the last {len(told[job])} runs of job {job}; the sweep found them all.",
            "`champion-gate setup databricks` attaches the notification destination to the job. If it is there, "
            "look at its address, user name and password, and at service.ping.",
        )
    if not silent:
        yield HOOKS.ok("the sweep does not find what hooks should have told")


def _waiting(store: Store, ours: Installation) -> Iterator[Finding]:
    told = [*_at_aliases(store), *_untold(store), *_before_people(store, ours)]
    yield from told or [WAITING.ok("nothing, besides requests for approval")]


def _at_aliases(store: Store) -> Iterator[Finding]:
    for key, hold in list(store.holds().items())[:_MOST]:
        yield WAITING.warning(
            f"{key.model}@{key.alias} is {hold}.",
            f"When it may move again: champion-gate alias release {shlex.join((key.model, key.alias))} --reason WHY",
        )
    failed = failed_of_latest_moves(store)
    for key in list(dict.fromkeys(map(alias_of, failed)))[:_MOST]:
        yield WAITING.warning(
            f"What follows the move of {key.model}@{key.alias} failed.",
            f"champion-gate steps list {shlex.join((key.model, key.alias))} says why; then champion-gate steps retry, or skip.",
        )


def _untold(store: Store) -> Iterator[Finding]:
    """By each notice: what was given up, and what is tried again."""
    given_up = {step.config["notice"]: step for step in store.failed_notices()}
    for name, step in given_up.items():
        yield WAITING.warning(
            f"Messages of notice {name} were given up, such as {step.id}: {step.reason}",
            "Mend what it says, and send each again: champion-gate steps retry ID; or champion-gate steps skip ID --reason WHY",
        )
    for name, step in {step.config["notice"]: step for step in store.failing_notices()}.items():
        yield WAITING.warning(
            f"Messages of notice {name} are not taken, and tried again for a day: {step.retry.last_error}",
            f"To try it now: champion-gate notices test {name}",
        )


def _before_people(store: Store, ours: Installation) -> Iterator[Finding]:
    others = [each for each in store.remembered_logins() if each.other_id is not None]
    for login in others[:_MOST]:
        yield WAITING.warning(
            f"{login.login} at {login.provider} is account {login.other_id} now, and was {login.user_id}.",
            "Find out who that is, and write their login of today in gates.yaml; or, if it is right: champion-gate "
            f"identities accept {login.provider} {login.login} --id {login.other_id} --reason WHY",
        )
    before = ours.clock.now() - _LATE
    requested = store.list_promotions(phase=Phase.REQUESTED, limit=10 * _MOST).items
    for each in [each for each in requested if each.requested_at < before][:_MOST]:
        yield WAITING.warning(
            f"Nobody is asked about {each.version.model} v{each.version.version} (promotion {each.id}): "
            f"{each.retry.last_error or each.reason}",
            f"Mend what it says. To give it up: champion-gate promotions cancel {each.id} --reason WHY",
        )


def _some(rows: list[str]) -> str:
    more = len(rows) - _MOST
    return ", ".join(rows[:_MOST]) + (f" and {more} more" if more > 0 else "")
