"""Stores with a long history: promotions, their notifications, and a line of the ledger for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from itertools import islice
from typing import Any

from sqlalchemy import Table, insert, select

from champion_gate.domain.approval import Decider, Decision, ExcludedPerson, Verdict
from champion_gate.domain.notifications import NotificationPhase
from champion_gate.domain.promotion import Phase
from champion_gate.domain.steps import StepPhase, ended
from champion_gate.store import Store, open_store
from champion_gate.store.engine import Database
from champion_gate.store.tables import notifications, promotions, resolutions, steps
from integration.store_samples import (
    KEY,
    LEASE,
    T0,
    after,
    append_ledger,
    entry,
    job_run,
    notification,
    promotion,
    step,
)
from integration.store_samples import request as approval_request

BATCH = 2_000
EVIDENCE_BYTES = 6 * 1024
NOT_SOON = after(10**9)
"""When open rows are due, so that a service leaves them alone."""
RARE = {Phase.FAILED: 10, Phase.REQUESTED: 20}
"""How many there are of phases that do not last; the others are ends, in turn."""
ENDS = (Phase.PROMOTED, Phase.REJECTED, Phase.EXPIRED, Phase.SUPERSEDED)
OTHER_MODELS = 40
FIRST_VERSION = 1_000_000
"""Beyond the versions that the registry of the test has."""


def fill(url: str, rows: int) -> None:
    """Put so many of each into a migrated store. Half of all are of one model, as where one job trains every few minutes."""
    database = Database(url)
    with open_store(url) as store:
        _fill_promotions(store, database, rows)
        _fill_steps(store, database, rows)
        _fill_notifications(store, database, rows)
        _fill_ledger(store, rows)
    database.close()


def _model(number: int) -> str:
    return KEY.model if number % 2 else f"main.ml.model_{number % OTHER_MODELS}"


def _evidence() -> str:
    document = {"metrics": {f"metric_{number}": number / 7 for number in range(50)}, "note": ""}
    document["note"] = "n" * (EVIDENCE_BYTES - len(json.dumps(document)))
    return json.dumps(document)


def _fill_promotions(store: Store, database: Database, rows: int) -> None:
    text = _evidence()
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
    (template,) = _rows(database, promotions)
    with database.write() as connection:
        connection.execute(promotions.delete())
    phases = [phase for phase, count in RARE.items() for _ in range(count)]
    # The rare ones are spread, so that a list of them has to be found everywhere; they are of the other models.
    rare = {2 * (rows // 2 // len(phases)) * place: phase for place, phase in enumerate(phases)}

    def made(number: int) -> dict[str, Any]:
        phase, at = rare.get(number, ENDS[number // OTHER_MODELS % len(ENDS)]), after(60 * number)
        version = str(FIRST_VERSION + number)
        return {
            **template,
            "id": f"p-{number:06}",
            "model": _model(number),
            "version_number": version,
            "phase": phase.value,
            "requested_at": at,
            "updated_at": at,
            "ended_at": None if phase.is_open else at + timedelta(minutes=30),
            "due_at": NOT_SOON if phase.is_open else None,
            "details": template["details"].replace('"version":"2"', f'"version":"{version}"'),
        }

    _insert(database, promotions, rows, made)


def _fill_steps(store: Store, database: Database, rows: int) -> None:
    """One that has ended for each promotion: steps stay to be seen."""
    store.plan_step(step(promotion_id="p-000000"))
    taken = store.take_step(_rows(database, steps)[0]["id"], T0, LEASE)
    assert taken is not None
    store.save_step(ended(taken, StepPhase.SUCCEEDED, "Done.", after(1)), release=True)
    (template,) = _rows(database, steps)
    with database.write() as connection:
        connection.execute(steps.delete())

    def made(number: int) -> dict[str, Any]:
        return {**template, "id": f"s-{number:06}", "promotion_id": f"p-{number:06}"}

    _insert(database, steps, rows, made)


def _fill_notifications(store: Store, database: Database, rows: int) -> None:
    store.record_notification("hook", notification(), T0)
    taken = store.take_notification(_rows(database, notifications)[0]["id"], T0, LEASE)
    assert taken is not None
    store.release_notification(
        replace(taken, phase=NotificationPhase.RESOLVED, job_run=job_run(), due_at=None), T0
    )
    (template,) = _rows(database, notifications)

    def made(number: int) -> dict[str, Any]:
        at, run = after(60 * number), f"r{number}"
        times = {"first_received_at": at, "last_received_at": at, "job_run_end": at}
        return {**template, "id": f"n-{number:06}", "run_id": run, "job_run_id": run, **times}

    def resolved(number: int) -> dict[str, Any]:
        return {
            "notification_id": f"n-{number:06}",
            "gate": "churn",
            "times": 1,
            "phase": NotificationPhase.RESOLVED.value,
            "reason": "Promotion requested.",
            "promotion_id": f"p-{number:06}",
        }

    _insert(database, notifications, rows, made)
    _insert(database, resolutions, rows, resolved)


def _fill_ledger(store: Store, rows: int) -> None:
    for first in range(0, rows, BATCH):
        append_ledger(
            store,
            [
                entry(
                    f"bob approved v{number}.",
                    model=_model(number),
                    at=after(60 * number),
                    promotion_id=f"p-{number:06}",
                    facts={"from": str(number - 1), "to": str(number), "source": "promotion"},
                )
                for number in range(first, min(first + BATCH, rows))
            ],
        )


def _rows(database: Database, table: Table) -> list[dict[str, Any]]:
    """All there are, as they can be inserted again."""
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def _insert(database: Database, table: Table, rows: int, made: Callable[[int], dict[str, Any]]) -> None:
    """In pieces, so that neither memory nor the write-ahead log grows with them."""
    numbers: Iterator[int] = iter(range(rows))
    while batch := list(islice(numbers, BATCH)):
        with database.write() as connection:
            connection.execute(insert(table), [made(number) for number in batch])
