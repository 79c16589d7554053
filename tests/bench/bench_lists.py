"""How soon lists answer, and the ledger is checked, with 100,000 promotions and alias changes in the store."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import Table, insert, select

from bench.report import Report
from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.approval import Decider, Decision, ExcludedPerson, Verdict
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.store import Store, migrate, open_store
from champion_gate.store.engine import Database
from champion_gate.store.tables import notifications, promotions, resolutions
from integration.process_world import ProcessWorld, process_world
from integration.store_samples import KEY, LEASE, T0, after, entry, job_run, notification, promotion
from integration.store_samples import request as approval_request

ROWS, CALLS, ROUNDS, BATCH = 100_000, 200, 3, 2_000
MOST = 200
"""The longest part that the API gives out."""
LIST_MS, LEDGER_SECONDS = 100.0, 30.0
NOT_SOON = after(10**9)
"""When open rows are due, so that the service that is asked over HTTP leaves them alone."""
RARE = {
    Phase.FAILED: 10,
    Phase.REQUESTED: 20,
    Phase.PENDING_APPROVAL: 50,
    Phase.APPROVED: 5,
}
"""How many there are of the phases that do not last; the others are ends, in turn."""
ENDS = (Phase.PROMOTED, Phase.REJECTED, Phase.EXPIRED, Phase.SUPERSEDED)
OTHER_MODELS = 40


def model_of(number: int) -> str:
    """Half of all are of one model, as where one job trains every few minutes."""
    return KEY.model if number % 2 else f"main.ml.model_{number % OTHER_MODELS}"


def evidence(size: int = 6 * 1024) -> str:
    """Of the size of a real one."""
    metrics = {f"metric_{number}": number / 7 for number in range(50)}
    text = json.dumps({"metrics": metrics, "note": ""}, separators=(",", ":"))
    return json.dumps({"metrics": metrics, "note": "n" * (size - len(text))}, separators=(",", ":"))


def rows_of(database: Database, table: Table) -> list[dict[str, Any]]:
    """All there are, as they can be inserted again."""
    with database.read() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]  # noqa: SLF001 - its public name


def insert_all(database: Database, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    """In pieces, so that neither memory nor the write-ahead log grows with them."""
    while batch := list(islice(rows, BATCH)):
        with database.write() as connection:
            connection.execute(insert(table), batch)


def fill_promotions(store: Store, database: Database) -> None:
    """One through the store, as it is stored, and the others after its pattern."""
    text = evidence()
    store.create_promotion(
        promotion(
            "template",
            evidence_json=text,
            evidence_sha256=sha256(text.encode()).hexdigest(),
            excluded=(ExcludedPerson("ann@example.com", "job run creator", "ann", "1"),),
            request=approval_request(seats=("champion",), place={"repository": "example/ml-deploy"}),
            decision=Decision(
                Verdict.APPROVED,
                (Decider("2", "bob", "champion", "Looks good."),),
                "bob approved.",
                "github",
                after(500),
            ),
        )
    )
    (template,) = rows_of(database, promotions)
    phases = [phase for phase, count in RARE.items() for _ in range(count)]
    # The rare ones are spread, so that a list of them has to be found everywhere.
    rare = {(ROWS // len(phases)) * place: phase for place, phase in enumerate(phases)}

    def made() -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            phase = rare.get(number, ENDS[number // OTHER_MODELS % len(ENDS)])
            at = after(60 * number)
            yield {
                **template,
                "id": f"p-{number:06}",
                "model": model_of(number),
                "version_number": str(number),
                "phase": phase.value,
                "requested_at": at,
                "updated_at": at,
                "ended_at": None if phase.is_open else at + timedelta(minutes=30),
                "due_at": NOT_SOON if phase.is_open else None,
                "details": template["details"].replace('"version":"2"', f'"version":"{number}"'),
            }

    insert_all(database, promotions, made())


def fill_notifications(store: Store, database: Database) -> None:
    """A notification for each promotion, with what it came to."""
    store.record_notification("hook", notification(), T0)
    taken = store.take_notification(rows_of(database, notifications)[0]["id"], T0, LEASE)
    assert taken is not None
    store.release_notification(
        replace(taken, phase=NotificationPhase.RESOLVED, job_run=job_run(), due_at=None), T0
    )
    (template,) = rows_of(database, notifications)

    def made() -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            at = after(60 * number)
            times = {"first_received_at": at, "last_received_at": at, "job_run_end": at}
            yield {
                **template,
                "id": f"n-{number:06}",
                "run_id": f"r{number}",
                "job_run_id": f"r{number}",
                **times,
            }

    def resolved() -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            yield {
                "notification_id": f"n-{number:06}",
                "gate": "churn",
                "times": 1,
                "phase": NotificationPhase.RESOLVED.value,
                "reason": "Promotion requested.",
                "promotion_id": f"p-{number:06}",
            }

    insert_all(database, notifications, made())
    insert_all(database, resolutions, resolved())


def fill_ledger(store: Store) -> None:
    """An alias change for each promotion."""
    for first in range(0, ROWS, BATCH):
        store.append_ledger(
            [
                entry(
                    f"bob approved v{number}.",
                    model=model_of(number),
                    at=after(60 * number),
                    promotion_id=f"p-{number:06}",
                    facts={"from": str(number - 1), "to": str(number), "source": "promotion"},
                )
                for number in range(first, first + BATCH)
            ]
        )


def fill(url: str) -> None:
    """Make such a store."""
    migrate(url)
    database = Database(url)
    with open_store(url) as store:
        fill_promotions(store, database)
        fill_notifications(store, database)
        fill_ledger(store)
    database.close()


def cursors(store: Store, **filters: Any) -> list[str]:
    """Where each part of 500 of the list ends."""
    found: list[str] = []
    cursor = None
    while True:
        cursor = store.list_promotions(cursor=cursor, limit=500, **filters).cursor
        if cursor is None:
            return found
        found.append(cursor)


def measured(report: Report, what: str, call: Callable[[int], object]) -> None:
    """Report the median and the 99th percentile of many calls; each is given its number."""

    def once() -> list[float]:
        taken = []
        for number in range(CALLS):
            begun = time.perf_counter()
            call(number)
            taken.append(1000 * (time.perf_counter() - begun))
        return sorted(taken)

    # What the machine's other work adds is not ours, so the best of some rounds counts.
    best = min((once() for _ in range(ROUNDS)), key=lambda taken: taken[int(0.99 * CALLS)])
    report.line(f"{what}, median", statistics.median(best), "ms")
    report.line(f"{what}, 99th percentile", best[int(0.99 * CALLS)], "ms", LIST_MS)


def measure_lists(report: Report, store: Store) -> None:
    """Every list, as the API and the command line ask for it."""
    models = [KEY.model, *(f"main.ml.model_{number}" for number in range(0, OTHER_MODELS, 2))]
    everywhere = cursors(store)
    in_one = cursors(store, model=KEY.model, phase=Phase.REJECTED)

    def model(number: int) -> str:
        return models[number % len(models)]

    lists: dict[str, Callable[[int], object]] = {
        "promotions": lambda _: store.list_promotions(),
        f"promotions, {MOST} a part": lambda _: store.list_promotions(limit=MOST),
        "promotions of a model": lambda n: store.list_promotions(model=model(n)),
        "promotions in a phase": lambda n: store.list_promotions(phase=ENDS[n % len(ENDS)]),
        "promotions of a model in a phase": lambda n: store.list_promotions(
            model=model(n), phase=ENDS[n % len(ENDS)]
        ),
        "promotions that failed (10 of all)": lambda _: store.list_promotions(phase=Phase.FAILED),
        "promotions of a model that failed": lambda n: store.list_promotions(
            model=model(n), phase=Phase.FAILED
        ),
        "promotions, deep in the list": lambda n: store.list_promotions(
            cursor=everywhere[n % len(everywhere)]
        ),
        "promotions of a model in a phase, deep": lambda n: store.list_promotions(
            model=KEY.model, phase=Phase.REJECTED, cursor=in_one[n % len(in_one)]
        ),
        "notifications": lambda _: store.list_notifications(),
        "notifications that failed (none)": lambda _: store.list_notifications(
            phase=NotificationPhase.FAILED
        ),
        "ledger": lambda _: store.ledger_lines(),
        "ledger, anywhere": lambda n: store.ledger_lines(before=1 + n * (ROWS // CALLS)),
        "ledger of an alias": lambda n: store.ledger_lines(AliasKey(KEY.registry, model(n), KEY.alias)),
        "ledger of an alias, anywhere": lambda n: store.ledger_lines(KEY, before=1 + n * (ROWS // CALLS)),
        "ledger of a promotion": lambda n: store.ledger_lines(promotion_id=f"p-{n * (ROWS // CALLS):06}"),
    }
    for what, call in lists.items():
        measured(report, what, call)


def measure_work(report: Report, store: Store) -> None:
    """What a worker asks for again and again."""
    asked: dict[str, Callable[[int], object]] = {
        "what is due": lambda _: store.due(NOT_SOON),
        "open promotions of an alias": lambda _: store.open_promotions(KEY),
        "promotions of a version": lambda n: store.promotions_of_version(KEY, str(n)),
        "pending promotions": lambda _: store.pending_promotions(),
        "a promotion's lines of its alias": lambda n: store.ledger_lines(
            KEY, promotion_id=f"p-{2 * n + 1:06}"
        ),
    }
    for what, call in asked.items():
        measured(report, what, call)
    begun = time.perf_counter()
    store.release_all_leases()
    report.line("giving back the leases of the dead, at a start", time.perf_counter() - begun, "s", 1)


def measure_ledger(report: Report, store: Store) -> None:
    """The whole chain."""
    begun = time.perf_counter()
    assert store.verify_ledger() == ROWS
    report.line(f"ledger verify, {ROWS} lines", time.perf_counter() - begun, "s", LEDGER_SECONDS)
    begun = time.perf_counter()
    assert sum(1 for _ in store.ledger_export()) == ROWS
    report.line(f"ledger export, {ROWS} lines", time.perf_counter() - begun, "s", LEDGER_SECONDS)
    begun = time.perf_counter()
    assert sum(1 for _ in store.ledger_export(after(60 * (ROWS - 10)))) == 10
    report.line("ledger export, the last 10 lines", time.perf_counter() - begun, "s", LEDGER_SECONDS)


def measure_http(report: Report, world: ProcessWorld) -> None:
    """The same lists as clients get them, over one connection that is kept open."""
    created = world.run("tokens", "create", "--name", "bench", "--role", "operator", "--json")
    world.serve()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {json.loads(created.stdout)['token']}"

        def get(path: str, _number: int) -> None:
            answer = session.get(f"{world.url}/api/v1{path}", timeout=60)
            assert answer.status_code == 200, answer.text

        lists = {
            "promotions": "/promotions",
            f"promotions, {MOST} a part": f"/promotions?limit={MOST}",
            "promotions of a model": f"/promotions?model={KEY.model}",
            "promotions that failed": "/promotions?phase=failed",
            "promotions of a model in a phase": f"/promotions?model={KEY.model}&phase=rejected",
            "notifications": "/notifications",
            "history of an alias": f"/models/{KEY.model}/aliases/{KEY.alias}/history",
        }
        for what, path in lists.items():
            measured(report, f"HTTP: {what}", partial(get, path))


def main() -> None:
    """Measure and print."""
    report = Report(f"Lists, with {ROWS} promotions, notifications and alias changes")
    with tempfile.TemporaryDirectory() as folder, process_world(Path(folder)) as world:
        url = world.environ["CHAMPION_GATE_DATABASE_URL"]
        begun = time.perf_counter()
        fill(url)
        report.line("filling the store", time.perf_counter() - begun, "s")
        report.line("its file", (Path(folder) / "gate.db").stat().st_size / 1024**2, "MB", digits=0)
        with open_store(url) as store:
            measure_lists(report, store)
            measure_work(report, store)
            measure_ledger(report, store)
        measure_http(report, world)
    report.end()


main()
