"""Builds the service out of Settings: the one place that picks adapters and reads the environment."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from champion_gate.bootstrap.configuration import load_settings
from champion_gate.bootstrap.core import Core, SystemChance, SystemClock, build_core
from champion_gate.bootstrap.vendors import (
    caller_verifier,
    issuer_sign_in,
    provider_hooks,
    registry_hooks,
    token_verifier,
)
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.steps import AFTER_MOVES, StepKind
from champion_gate.domain.together import Together
from champion_gate.domain.values import UNITY_CATALOG
from champion_gate.errors import ConfigurationError
from champion_gate.flow.ci_outcome import PostedDecision
from champion_gate.flow.context import Waits
from champion_gate.flow.doctor import Rounds
from champion_gate.flow.registry_news import RegistryNewsDesk
from champion_gate.flow.sweep import log_ledger_head
from champion_gate.log import get_logger
from champion_gate.settings.loading import Settings
from champion_gate.store import Store
from champion_gate.store.releases import BEAT_SECONDS

if TYPE_CHECKING:
    from flask import Flask

    from champion_gate.flow.sessions import Sessions
    from champion_gate.web.app import Dashboard
    from champion_gate.web.auth import Access
    from champion_gate.web.health import Check
    from champion_gate.work.background import Background
    from champion_gate.work.worker import HueyWakeUps, Worker

log = get_logger(__name__)

_DATABRICKS_LANE = "databricks"
_REGISTRY_LANE = "registry"
_AT_THE_REGISTRY = frozenset(
    {
        *(StepKind.TAG_VERSION, StepKind.CHALLENGER, StepKind.CHALLENGER_REMOVAL),
        *(StepKind.REOPEN, StepKind.RESTORE),
    }
)
_NOTICES_LANE = "notices"
_DUE_SECONDS = 1.0  # so soon a row is taken up whose time has come, or that another process changed
_BACKLOG = 100  # with so many messages on the queue, what is due waits its turn there already
_OUTCOME_SECONDS = 0.1  # between looks at the row whose outcome a CI job waits for
_HEAD_SECONDS = 86400.0  # daily
_DOCTOR_AFTER_SECONDS = 30.0  # what the start left to do goes first
_DOCTOR_SECONDS = (
    3600.0  # settings pages and certificates change by the week; some calls an hour touch no rate limit
)


@dataclass(frozen=True)
class Service:
    """Everything that one process serves with."""

    app: Flask
    worker: Background
    core: Core


def build_service(
    environ: Mapping[str, str],
    *,
    clock: Clock | None = None,
    databricks: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    waits: Waits | None = None,
    stand_down: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
) -> Service:
    """Build the service; after the fork, for connections and threads do not survive one.

    Args:
        environ: the environment's variables.
        clock: where the time comes from; the machine's by default.
        databricks: settings of the SDK that stand before its own environment variables.
        sleep: pauses between the tries of a call to a vendor; really pauses by default.
        waits: how long is waited for what; as in production by default.
        stand_down: called where this release may not run on the database any more; ends the process by default.

    Raises:
        ConfigurationError: naming every problem; or this release may not run on the database.
    """
    from champion_gate.bootstrap.doctor import CHECKS, service_checkups
    from champion_gate.store import open_store
    from champion_gate.work.background import Background
    from champion_gate.work.worker import HueyWakeUps

    settings = load_settings(environ)
    store = open_store(settings.database_url)
    _check_schema(store)
    wake_ups = HueyWakeUps()
    clock = clock or SystemClock()
    core = build_core(
        settings,
        store=store,
        wake_ups=wake_ups,
        clock=clock,
        databricks=databricks,
        sleep=sleep,
        waits=waits,
    )
    doctor = Rounds(CHECKS, lambda: service_checkups(settings, store), Together())
    app = _app(settings, core, doctor, wake_ups.look)
    heart = _Heart(store, clock, stand_down, settings.gates_sha256)
    _note_gates(core, heart)
    worker = _worker(settings, core, wake_ups, doctor, heart)
    background = Background(
        worker,
        store,
        settings.database_url,
        beat=heart.beat,
        leave=heart.stop,
        warm_up=lambda: _warm_up(settings),
    )
    return Service(app, background, core)


def _worker(settings: Settings, core: Core, wake_ups: HueyWakeUps, doctor: Rounds, heart: _Heart) -> Worker:
    from champion_gate.store.figures import COUNTED_EVERY
    from champion_gate.work.worker import Every, Jobs, Worker

    return Worker(
        wake_ups,
        Jobs(
            notification=core.resolver.resolve,
            promotion=core.promoter.advance,
            step=core.steps.carry_out,
            look=core.sweep.look,
        ),
        lane_of=Lane(core, {gate.name: gate.approval.provider for gate in settings.gates.gates}),
        lane_caps={_DATABRICKS_LANE: 3, _NOTICES_LANE: 1},
        gives_way=core.context.store.are_many_coming,
        timers=[
            Every("sweep", settings.environment.sweep_seconds, lambda: _send_looks(core, wake_ups)),
            Every("due rows", _DUE_SECONDS, lambda: _wake_due(core, wake_ups)),
            Every("heartbeat", BEAT_SECONDS, heart.beat, after=BEAT_SECONDS, until_the_end=True),
            Every("counts", COUNTED_EVERY.total_seconds(), lambda: _count_ended(core), is_awaited=False),
            Every("ledger head", _HEAD_SECONDS, lambda: log_ledger_head(core.context.store)),
            Every("doctor", _DOCTOR_SECONDS, doctor.run, after=_DOCTOR_AFTER_SECONDS, is_awaited=False),
        ],
    )


def _app(settings: Settings, core: Core, doctor: Rounds, look: Callable[[str], None]) -> Flask:
    from champion_gate.web.app import Operations, create_app

    context = core.context
    sessions = _sessions(settings, context.store, context.clock)
    return create_app(
        store=context.store,
        wake_ups=context.wake_ups,
        clock=context.clock,
        access=_access(settings, context.clock, sessions),
        checks=_checks(core),
        findings=doctor.view,
        posted_decision=PostedDecision(
            store=context.store,
            verifier=token_verifier(settings, context.clock),
            wake_ups=context.wake_ups,
            clock=context.clock,
            pause=lambda: time.sleep(_OUTCOME_SECONDS),
        ),
        operations=Operations.on(context),
        dashboard=_dashboard(settings, context.clock, sessions, doctor),
        unwatched=core.resolver.unwatched,
        registry_news=RegistryNewsDesk(context, look).heard,
        meters=context.meters,
        proxy_hops=settings.environment.proxy_hops,
    )


class Lane:
    """Which vendor a job is about to keep busy, so that one that hangs stops nothing else."""

    def __init__(self, core: Core, providers: Mapping[str, str]) -> None:
        self._store = core.context.store
        self._providers = providers

    def __call__(self, kind: str, row_id: str) -> str:
        """The lane of a row, or of one of the sweep's looks."""
        if kind == "notification":
            return _DATABRICKS_LANE
        if kind == "promotion":
            return self._of_promotion(row_id)
        if kind == "step":
            return self._of_step(row_id)
        look, _, subject = row_id.partition(":")
        return {"runs": _DATABRICKS_LANE, "decisions": subject}.get(look, _REGISTRY_LANE)

    def _of_promotion(self, promotion_id: str) -> str:
        promotion = self._store.get_promotion(promotion_id)
        if promotion.request is not None:
            return promotion.request.provider
        return self._providers.get(promotion.gate, _REGISTRY_LANE)

    def _of_step(self, step_id: str) -> str:
        step = self._store.get_step(step_id)
        if step.kind in _AT_THE_REGISTRY:
            return _REGISTRY_LANE
        if step.kind in {*AFTER_MOVES, StepKind.VALIDATE, StepKind.COPY, StepKind.DRIFT_LOOKUP}:
            return _DATABRICKS_LANE
        if step.kind is StepKind.NOTICE:
            return _NOTICES_LANE
        return self._of_promotion(step.promotion_id)


def _warm_up(settings: Settings) -> None:
    """Import the vendors' clients, which takes seconds, before the first notification needs them."""
    from champion_gate.adapters.databricks.connection import import_sdk
    from champion_gate.adapters.mlflow.client import import_mlflow

    if settings.uses_databricks:
        import_sdk()
    if settings.gates.registry != UNITY_CATALOG:
        import_mlflow(with_database=settings.gates.registry.startswith("sqlite:"))


def _send_looks(core: Core, wake_ups: HueyWakeUps) -> None:
    for name in core.sweep.run():
        wake_ups.look(name)


def _wake_due(core: Core, wake_ups: HueyWakeUps) -> None:
    if wake_ups.backlog() < _BACKLOG:
        core.sweep.wake_due()


class _Heart:
    """Says in the rows that this replica is at work, and ends it once its release may not be."""

    def __init__(self, store: Store, clock: Clock, stand_down: Callable[[], None], gates_sha256: str) -> None:
        self._gates_sha256 = gates_sha256
        self._store = store
        self._clock = clock
        self._stand_down = stand_down
        self._id = secrets.token_hex(8)
        self._name = f"{socket.gethostname()}/{os.getpid()}"

    def beat(self) -> None:
        """Say that it is at work; raises ConfigurationError, and stands down, where it may not be."""
        try:
            self._store.beat(self._id, self._name, self._clock.now, self._gates_sha256)
        except ConfigurationError as error:
            log.critical("this release may not run on the database any more", reason=error.message)
            self._stand_down()
            raise

    def stop(self) -> None:
        """Say that it has stopped."""
        self._store.leave(self._id)


def _check_schema(store: Store) -> None:
    """Before anything is served; where the database does not answer, the first heartbeat finds out."""
    try:
        store.check_schema()
    except SQLAlchemyError as error:
        log.warning(
            "the database does not answer; whether this release may run on it is seen later", error=str(error)
        )


def _count_ended(core: Core) -> None:
    """Ahead of the scrapes, which then need not."""
    core.context.store.count_ended(core.context.clock.now())


def _note_gates(core: Core, heart: _Heart) -> None:
    """Before the service listens: a run that ends in its first second, and whose hook is lost, is then found.

    Others hear first that this replica has these gates, so that none of them ignores such a run.
    """
    try:
        heart.beat()
        core.sweep.note_gates()
    except SQLAlchemyError as error:
        log.warning("the database does not answer; the first sweep notes the gates", error=str(error))


def _sessions(settings: Settings, store: Store, clock: Clock) -> Sessions:
    from champion_gate.flow.api_tokens import ApiTokens
    from champion_gate.flow.sessions import Sessions

    people = caller_verifier(settings, clock)
    return Sessions(ApiTokens(store, clock, SystemChance()), people.role_of if people else None)


def _access(settings: Settings, clock: Clock, sessions: Sessions) -> Access:
    from champion_gate.flow.api_tokens import api_caller
    from champion_gate.web.auth import Access

    people = caller_verifier(settings, clock)
    return Access(
        databricks_pairs=settings.hook_pairs,
        provider_hooks=provider_hooks(settings, clock),
        registry_hooks=registry_hooks(settings),
        uses_databricks=settings.uses_databricks,
        ping_secrets=settings.webhook_secrets,
        authenticate=api_caller(sessions.tokens, people.verify if people else None),
        session=sessions.caller,
    )


def _dashboard(settings: Settings, clock: Clock, sessions: Sessions, doctor: Rounds) -> Dashboard | None:
    from champion_gate.web.app import Dashboard

    if not settings.gates.dashboard:
        return None
    return Dashboard(sessions, SystemChance(), issuer_sign_in(settings, clock), doctor.findings)


def _checks(core: Core) -> list[Check]:
    from champion_gate.web.health import Check

    checks = [
        Check("database", core.context.store.check, "Is the disk full, or the database away?"),
        Check(
            "registry",
            core.context.registry.check,
            "Check the registry's address and the service's credentials.",
            is_vendor=True,
        ),
    ]
    for name, provider in core.context.providers.items():
        hint = "Check the address and the App or token of this host."
        checks.append(Check(name, provider.check, hint, is_vendor=True))
    return checks
