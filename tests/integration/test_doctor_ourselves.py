"""What the doctor says of the service itself, and what of all its quick checks `/readyz` shows."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
import trustme
from flask import Flask, Response

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import SystemClock
from champion_gate.bootstrap.doctor import CHECKS, Asked, checkups, service_checkups
from champion_gate.domain.findings import Checkup, Finding, Verdict
from champion_gate.domain.ledger.entries import AFTER
from champion_gate.domain.ports.approval import Person
from champion_gate.domain.steps import StepKind, StepPhase
from champion_gate.domain.together import Together
from champion_gate.errors import VendorUnavailableError
from champion_gate.flow.doctor import Rounds, examine
from champion_gate.flow.own_checks import disk
from champion_gate.store import Store, open_store
from champion_gate.web.app import create_app
from champion_gate.web.auth import Access
from champion_gate.work.queue import HueyWakeUps
from champion_gate_standins.common.server import serve
from champion_gate_standins.databricks.server import Fault
from integration.doctor_world import DoctorWorld, doctor_world
from integration.oidc_world import serve_tls
from integration.process_world import free_port
from integration.store_databases import PostgresqlDatabases, path_of
from integration.store_samples import KEY, append_ledger, entry, hold, notification, promotion, step

pytest_plugins = ("integration.store_fixtures",)

pytestmark = pytest.mark.spread(2)

FAIL, WARNING, UNKNOWN = Verdict.FAIL, Verdict.WARNING, Verdict.NOT_KNOWN
PASSWORD = "CHAMPION_GATE_DATABRICKS_HOOK_PASSWORD"
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


@dataclass
class Ourselves:
    """A service where all is right, and its doctor.

    Attributes:
        stack: what is to end with the test.
        folder: of the test.
    """

    world: DoctorWorld
    folder: Path
    stack: ExitStack
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environ = dict(self.world.environ)

    @property
    def file(self) -> Path:
        """The database's."""
        return path_of(self.environ["CHAMPION_GATE_DATABASE_URL"])

    def doctor(self, store: Store | None = None) -> list[Finding]:
        """What the checks of the service itself find; they open the database, unless it is given."""
        together, settings = Together(), load_settings(self.environ)
        every = checkups(Asked(settings, settings.gates.gates, together, store=store))
        return examine([each for each in every if each.check.key.startswith("service.")], together)

    def address(self, url: str) -> None:
        """Have it think that this is its public address."""
        self.environ["CHAMPION_GATE_PUBLIC_URL"] = url

    def execute(self, statement: str) -> None:
        """Change a copy of its SQLite file, which takes the place of the one that is open."""
        self.world.store.checkpoint()
        file = shutil.copy(self.file, self.folder)
        self.environ["CHAMPION_GATE_DATABASE_URL"] = f"sqlite:///{file}"
        with sqlite3.connect(self.file) as connection:
            connection.execute(statement)
        connection.close()

    def secret_file(self, name: str, days: int) -> None:
        """Keep a secret in a file that was written so many days ago."""
        folder = self.folder / "secrets"
        folder.mkdir()
        file = folder / name
        file.write_text(self.environ.pop(name))
        written = (NOW - days * DAY).timestamp()
        os.utime(file, (written, written))
        self.environ["CHAMPION_GATE_SECRETS_DIR"] = str(folder)

    def hold(self) -> None:
        lock = self.world.store.lock_alias(KEY, NOW, 60)
        assert lock is not None
        self.world.store.set_hold(lock, NOW, hold())

    def notify(self, *sources: str) -> None:
        """Have one run after the other be told of, each by one of these."""
        for run, source in enumerate(sources, 1):
            told = notification(job_id=self.world.job_id, run_id=str(run))
            self.world.store.record_notification(source, told, NOW + timedelta(seconds=run))

    def replicas(self, *of: str, ahead: timedelta = timedelta()) -> None:
        """Have replicas of these releases be at work, whose clocks are ahead by so much."""
        for release in of:
            self.world.store.beat(release, f"gate-{release}", lambda: datetime.now(UTC) + ahead)
            with sqlite3.connect(self.file) as connection:
                connection.execute("UPDATE replicas SET release = ? WHERE id = ?", (release, release))
            connection.close()

    def gates(self, *sha256: str) -> None:
        """Have replicas be at work that read these gates.yaml."""
        for each in sha256:
            self.world.store.beat(each, f"gate-{each}", lambda: datetime.now(UTC), each)

    def rename(self) -> None:
        """Have a login stand for another account."""
        for number in ("7", "8"):
            person = Person(number, "octo-trainer")
            self.world.store.remember_login("github", "octo-trainer", person, NOW)

    def fail_a_step(self) -> None:
        planned = step(
            promotion_id="",
            kind=StepKind.JOB,
            config={"registry": KEY.registry, "model": KEY.model, "alias": KEY.alias, "job": "9"},
        )
        store = self.world.store
        store.plan_step(planned)
        append_ledger(store, [entry(facts={"from": "1", "to": "2", AFTER: [planned.id]})])
        taken = store.take_step(planned.id, NOW, 60)
        assert taken is not None
        store.save_step(replace(taken, phase=StepPhase.FAILED), release=True)

    def request(self, hours: float) -> None:
        """Have a promotion wait for so long before anybody is asked."""
        at = datetime.now(UTC) - timedelta(hours=hours)
        waits = promotion(
            requested_at=at, updated_at=at, due_at=NOW, reason="The place for approval is not safe: no rule."
        )
        assert self.world.store.create_promotion(waits) is not None

    def serve_tls(self, *names: str, trusted: bool = True, **life: datetime) -> None:
        """Put TLS before the service, and trust who signs that."""
        url = self.environ["CHAMPION_GATE_PUBLIC_URL"]
        proxy = Flask("proxy")

        @proxy.post("/hooks/ping")
        def passed_on() -> bytes:
            from flask import request  # noqa: PLC0415 - of this app alone

            return requests.post(
                f"{url}{request.path}", data=request.get_data(), headers=dict(request.headers), timeout=10
            ).content

        authority = trustme.CA()
        file = self.folder / "ca.pem"
        (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(file))
        self.stack.enter_context(pytest.MonkeyPatch.context()).setenv("REQUESTS_CA_BUNDLE", str(file))
        self.address(self.stack.enter_context(serve_tls(proxy, authority, *names, **life)))

    def set_clocks(self, by: timedelta) -> None:
        """Have the vendors' clocks be ahead of ours."""

        def later(response: Response) -> Response:
            response.date = datetime.now(UTC) + by
            return response

        for there in (self.world.databricks, self.world.github):
            there.app.after_request(later)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ourselves]:
    with doctor_world(tmp_path) as world, ExitStack() as stack:
        yield Ourselves(world, tmp_path, stack)


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong, and what is said of it: by which check, part of what to do, the verdict."""

    put: Callable[[Ourselves], object]
    check: str
    remedy: str
    verdict: Verdict = FAIL


WRONG = {
    "no address": Wrong(
        lambda ours: ours.environ.pop("CHAMPION_GATE_PUBLIC_URL"), "service.ping", "Set it", UNKNOWN
    ),
    "nobody there": Wrong(
        lambda ours: ours.address(f"http://127.0.0.1:{free_port()}"), "service.ping", "firewall", UNKNOWN
    ),
    "not ours": Wrong(
        lambda ours: ours.address(ours.environ["GITHUB"]), "service.ping", "Check the address with its path"
    ),
    "another installation": Wrong(
        lambda ours: ours.environ.update({PASSWORD: "another-password-of-ours"}),
        "service.ping",
        "restart the service",
    ),
    "expired": Wrong(
        lambda ours: ours.serve_tls(not_before=NOW - 90 * DAY, not_after=NOW - DAY),
        "service.certificate",
        "Renew it",
    ),
    "about to expire": Wrong(
        lambda ours: ours.serve_tls(not_before=NOW - 80 * DAY, not_after=NOW + 10 * DAY),
        "service.certificate",
        "Renew it",
        WARNING,
    ),
    "another name": Wrong(
        lambda ours: ours.serve_tls("gate.example.com"), "service.certificate", "names this host"
    ),
    "no chain": Wrong(lambda ours: ours.serve_tls(trusted=False), "service.certificate", "fullchain.pem"),
    "clock": Wrong(lambda ours: ours.set_clocks(timedelta(minutes=2)), "service.clock", "timedatectl"),
    "no WAL": Wrong(
        lambda ours: ours.execute("PRAGMA journal_mode = DELETE"), "service.database", "champion-gate migrate"
    ),
    "schema": Wrong(
        lambda ours: ours.execute("UPDATE alembic_version SET version_num = '0001'"),
        "service.database",
        "Do that",
    ),
    "no tables": Wrong(
        lambda ours: ours.environ.update(CHAMPION_GATE_DATABASE_URL=f"sqlite:///{ours.folder}/gates.yaml"),
        "service.database",
        "CHAMPION_GATE_DATABASE_URL",
    ),
    "no database": Wrong(
        lambda ours: ours.environ.update(CHAMPION_GATE_DATABASE_URL=f"sqlite:///{ours.folder}/none.db"),
        "service.database",
        "champion-gate serve",
        UNKNOWN,
    ),
    "no sweep": Wrong(
        lambda ours: ours.execute("UPDATE clock SET noted_at = '2025-01-31T12:00:00.000000Z'"),
        "service.queue",
        "Start the service",
    ),
    "nobody takes it up": Wrong(
        lambda ours: ours.world.store.record_notification("cli", notification(), NOW - timedelta(hours=1)),
        "service.queue",
        "restart the service",
        WARNING,
    ),
    "two releases": Wrong(
        lambda ours: ours.replicas("0.0.9", "0.1.0"), "service.replicas", "Finish the upgrade", WARNING
    ),
    "two gates.yaml": Wrong(
        lambda ours: ours.gates("", "0123456789"), "service.replicas", "read the older file", WARNING
    ),
    "newer schema": Wrong(
        lambda ours: ours.execute("UPDATE alembic_version SET version_num = '9999'"),
        "service.replicas",
        "run the newer release here too",
        WARNING,
    ),
    "replica's clock": Wrong(
        lambda ours: ours.replicas("0.1.0", ahead=timedelta(seconds=10)), "service.replicas", "NTP", WARNING
    ),
    "replica's clock far off": Wrong(
        lambda ours: ours.replicas("0.1.0", ahead=timedelta(seconds=-40)), "service.replicas", "NTP"
    ),
    "no hooks": Wrong(
        lambda ours: ours.notify(*("hook", *5 * ["sweep"])),
        "service.hooks",
        "champion-gate setup databricks",
        WARNING,
    ),
    "former secret": Wrong(
        lambda ours: ours.environ.update({f"{PASSWORD}_PREVIOUS": "the-password-before"}),
        "service.secrets",
        "remove them",
        WARNING,
    ),
    "old secret": Wrong(lambda ours: ours.secret_file(PASSWORD, 400), "service.secrets", "--rotate", WARNING),
    "hold": Wrong(
        Ourselves.hold, "service.waiting", "champion-gate alias release main.ml.churn Champion", WARNING
    ),
    "failed step": Wrong(
        Ourselves.fail_a_step,
        "service.waiting",
        "champion-gate steps list main.ml.churn Champion",
        WARNING,
    ),
    "another account": Wrong(
        Ourselves.rename,
        "service.waiting",
        "champion-gate identities accept github octo-trainer --id 8",
        WARNING,
    ),
    "nobody is asked": Wrong(
        lambda ours: ours.request(hours=2), "service.waiting", "champion-gate promotions cancel p-1", WARNING
    ),
}
QUICK = (
    "another installation",
    "expired",
    "no WAL",
    "no sweep",
    "two releases",
    "no hooks",
    "nobody is asked",
)


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in QUICK else [pytest.mark.part("rest")]) for each in WRONG]
)
def test_says_what_is_wrong_with_the_service_and_what_to_do(ours: Ourselves, name: str) -> None:
    wrong = WRONG[name]
    wrong.put(ours)
    found = ours.doctor()
    bad = [each for each in found if each.verdict is not Verdict.OK]
    assert {(each.check, each.verdict) for each in bad} == {(wrong.check, wrong.verdict)}, found
    assert wrong.remedy in bad[0].remedy
    assert all(each.why for each in bad)


def test_nothing_is_wrong_that_is_as_it_should_be(ours: Ourselves) -> None:
    ours.serve_tls()
    ours.notify("sweep", "sweep", "hook")
    ours.request(hours=0.1)
    ours.secret_file(PASSWORD, 30)
    found = ours.doctor()
    assert {each.check for each in found} == {each.key for each in CHECKS if each.key.startswith("service.")}
    assert [each for each in found if each.verdict is not Verdict.OK] == []


@pytest.mark.parametrize(
    ("mount", "free", "verdict"),
    [
        ("ext4", 10**10, Verdict.OK),
        ("nfs4", 10**10, FAIL),
        ("fuse.sshfs", 10**10, FAIL),
        ("ext4", 10**8, WARNING),
        ("ext4", 10**7, FAIL),
    ],
)
def test_the_disk_below_the_database(tmp_path: Path, mount: str, free: int, verdict: Verdict) -> None:
    mounts = tmp_path / "mounts"
    folder = tmp_path / "with blank"
    folder.mkdir()
    point = str(folder).replace(" ", "\\040")
    mounts.write_text(f"/dev/a / xfs rw 0 0\nserver:/a {point} {mount} rw 0 0\n")
    (found,) = disk(folder / "gate.db", free=lambda _: free, mounts=mounts)
    assert found.verdict is verdict
    assert mount in found.found or "MiB" in found.found


@pytest.mark.part("rest")
def test_postgresql_must_lose_nothing_either(
    ours: Ourselves, postgresql_databases: PostgresqlDatabases
) -> None:
    url = postgresql_databases.emptied()
    bad = {}
    for setting in ("on", "off"):
        sign = "&" if "?" in url else "?"
        with open_store(f"{url}{sign}options=-csynchronous_commit%3D{setting}") as store:
            store.note_time(lambda: datetime.now(UTC))
            ours.environ["CHAMPION_GATE_DATABASE_URL"] = url
            bad[setting] = {each.remedy for each in ours.doctor(store) if each.verdict is not Verdict.OK}
    # The tests' server is in no need of fsync.
    assert all("SET synchronous_commit = on" not in each for each in bad["on"])
    (more,) = bad["off"] - bad["on"]
    assert "ALTER SYSTEM SET synchronous_commit = on" in more


# --- the ping ----------------------------------------------------------------------------------------------


def test_only_the_doctor_gets_an_answer_to_a_ping(ours: Ourselves) -> None:
    url = f"{ours.environ['CHAMPION_GATE_PUBLIC_URL']}/hooks/ping"

    def status(body: str, signature: str | None) -> int:
        headers = {} if signature is None else {"X-Champion-Gate-Signature": signature}
        return requests.post(url, data=body, headers=headers, timeout=10).status_code

    assert [status("a", None), status("a", "0" * 64), status("a", "é"), status("a" * 65, None)] == [
        401,
        401,
        401,
        413,
    ]


# --- /readyz -----------------------------------------------------------------------------------------------


def test_readyz_shows_what_is_not_right_and_no_names(ours: Ourselves) -> None:
    store, (identity, *_) = ours.world.store, CHECKS
    ours.hold()
    settings = load_settings(ours.environ)
    quick = service_checkups(settings, store)
    assert all(each.check.cheap for each in quick)
    answer = VendorUnavailableError("Databricks", "main.ml.churn said dapi0123456789abcdef")

    def refused() -> Iterator[Finding]:
        yield identity.warning("main.ml.churn is not as it was.", "GRANT EXECUTE ON main.ml.churn TO ann")
        raise answer

    mine = [each for each in quick if each.check.key.startswith("service.")]
    rounds = Rounds(CHECKS, lambda: [Checkup(identity, refused, "churn"), *mine], Together())
    app = create_app(
        store=store,
        wake_ups=HueyWakeUps(),
        clock=SystemClock(),
        access=Access(),
        checks=(),
        findings=rounds.view,
    )
    with serve(app) as url:
        before = requests.get(f"{url}/readyz", timeout=10)
        rounds.run()
        after = requests.get(f"{url}/readyz", timeout=10)
    assert (before.status_code, after.status_code, "doctor" in before.json()) == (200, 200, False)
    shown = after.json()["doctor"]
    assert [(each["check"], each["verdict"]) for each in shown] == [
        (identity.key, "warning"),
        ("service.waiting", "warning"),
    ]
    assert all(each["what"] and "champion-gate doctor" in each["remedy"] for each in shown)
    assert [word for word in ("churn", "dapi", "GRANT") if word in after.text] == []


def test_each_round_looks_anew(ours: Ourselves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", ours.environ["DATABRICKS_TOKEN"])
    settings, world, key = load_settings(ours.environ), ours.world, "databricks.identity"

    def looked() -> list[Checkup]:
        return [each for each in service_checkups(settings, world.store) if each.check.key == key]

    rounds, seen = Rounds(CHECKS, looked, Together()), list[list[str]]()
    for status in (None, 401, None):
        world.databricks.faults.clear()
        if status is not None:
            world.databricks.faults.add(Fault("scim/v2/Me", status=status))
        rounds.run()
        seen.append([each["check"] for each in rounds.view()])
    assert seen == [[], [key], []]
