"""What every part of the flow works with: the gates, the rows, the vendors, time and chance, and how long it waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from champion_gate.domain.aliases import ManagedAliases
from champion_gate.domain.gates import Gate
from champion_gate.domain.notice_messages import Messages
from champion_gate.domain.notices import Notice
from champion_gate.domain.ports.approval import ApprovalProvider
from champion_gate.domain.ports.notices import NoticeSender
from champion_gate.domain.ports.registry import ModelRegistry
from champion_gate.domain.ports.runtime import Chance, Clock, WakeUps
from champion_gate.domain.ports.workspace import AuditLog, JobRuns, Jobs, Serving
from champion_gate.domain.together import Together
from champion_gate.flow.identities import Identities
from champion_gate.meters import Meters
from champion_gate.store import Store
from champion_gate.store.releases import names


@dataclass(frozen=True)
class Waits:
    """How long is waited for what: the one place for it, for tests of real processes too."""

    lease_seconds: float = 90.0
    """A row is whose who took it; outlasts any one call to a vendor (60 s), between which it is leased anew. Whoever was
    killed keeps it for so long, and all that it had begun is to be done by others within two minutes."""
    alias_lease_seconds: float = 90.0
    """Outlasts the total deadline of the registry's write (60 s)."""
    alias_looks_seconds: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Between looks at an alias that stands where it should not: registries read from replicas that lag."""
    alias_busy_seconds: float = 0.1
    """Between an operator's tries to take an alias that a writer holds."""

    request_appears: timedelta = timedelta(seconds=100)
    """A vendor lists a run that it was asked for by then, or not at all: only then may it be asked again."""
    request_search: timedelta = timedelta(seconds=5)
    """Between looks for a request that has not appeared yet."""
    request_search_seldom: timedelta = timedelta(minutes=15)
    """Between looks for one that was opened as often as it may be."""
    request_gone: timedelta = timedelta(minutes=10)
    """A request that is not found for so long is gone: a vendor that forgets it for a moment ends nothing."""
    version_gone: timedelta = timedelta(minutes=10)
    """So too a version: registries lag, and may hide one for a moment."""

    numbers: timedelta = timedelta(minutes=10)
    """Numbers that cannot be read are looked for again so long, before the version is judged without them."""
    recheck: timedelta = timedelta(minutes=2)
    """Between looks at what an operator is expected to mend at once: an unsafe place, a missing identity."""
    recheck_seldom: timedelta = timedelta(minutes=10)
    """Between looks at what may take long: a hold, a person who is not told, what holds up an approval."""

    look: timedelta = timedelta(hours=1)
    """At least so long between looks at a request that waits for people, twice that at most: webhooks and the sweep's lists
    tell of decisions, of moves of the alias and of newer versions at once. What is left to a look is a place or a
    version that was changed meanwhile, of which nobody could make use before that is seen."""
    look_soon: timedelta = timedelta(seconds=5)
    """While people's decision is taking effect at the vendor."""
    look_after_write: timedelta = timedelta(seconds=30)
    """While a write that was sent may still arrive."""
    cancel: timedelta = timedelta(minutes=10)
    """For how long an operator's order to cancel waits for a vendor that cannot be read."""

    copy_arrives: timedelta = timedelta(seconds=100)
    """A copy that an MLflow registry was asked for is there by then, or never: only then is it asked again."""
    run_look: timedelta = timedelta(seconds=5)
    """Between the first looks at a run that has not ended, or whose version is not there; later ones are rarer."""
    run_look_longest: timedelta = timedelta(minutes=2)
    job_look: timedelta = timedelta(seconds=15)
    """Between looks at a job that the gate started; also before it is looked at for the first time."""
    endpoint_look: timedelta = timedelta(seconds=30)
    """Between looks at a serving endpoint, of which an update takes minutes."""
    late_update: timedelta = timedelta(minutes=5)
    """So long an endpoint is watched after a step whose update was not answered: it may be carried out yet."""
    audit_look: timedelta = timedelta(minutes=5)
    """Between looks for who moved an alias outside the gate: the audit log is minutes late."""
    audit_answer: timedelta = timedelta(seconds=15)
    """Between looks whether a question to it is answered."""
    audit: timedelta = timedelta(hours=2)
    """What it does not tell by then, it is not asked any more."""
    notice_pace: timedelta = timedelta(seconds=1)
    """Between two messages to one receiver: Slack takes no more of a webhook."""
    turn: timedelta = timedelta(seconds=5)
    """Between looks whether the step before has ended."""
    same_gates: timedelta = timedelta(seconds=30)
    """Between looks at what would end, while replicas read different gates.yaml."""


@dataclass(frozen=True)
class Context:
    """What the parts of the flow are made of; they are stateless, so each makes the others that it needs.

    Attributes:
        gates: name -> gate, as configured now.
        providers: key -> where people approve.
        audit: who changes aliases outside; None where that cannot be looked up.
        notices: who is told of what.
        notice_senders: name of a notice -> where it is sent.
        gates_sha256: of the gates.yaml that `gates` and all else come from.
    """

    gates: Mapping[str, Gate]
    store: Store
    registry: ModelRegistry
    job_runs: JobRuns
    jobs: Jobs
    serving: Serving
    providers: Mapping[str, ApprovalProvider]
    managed: ManagedAliases
    identities: Identities
    wake_ups: WakeUps
    clock: Clock
    chance: Chance
    sleep: Callable[[float], None]
    together: Together
    audit: AuditLog | None = None
    waits: Waits = field(default_factory=Waits)
    meters: Meters = field(default_factory=Meters)
    notices: tuple[Notice, ...] = ()
    notice_senders: Mapping[str, NoticeSender] = field(default_factory=dict)
    messages: Messages = field(default_factory=lambda: Messages(None))
    gates_sha256: str = ""

    def replicas_differ(self) -> str | None:
        """Why nothing may end by this gates.yaml at the moment: a replica reads another one. None where none does.

        Any replica takes any row, so what this one does not know may be another's to do.
        """
        others = self.store.replicas_with_other_gates(self.gates_sha256)
        if not others:
            return None
        return (
            f"Replicas read different gates.yaml: another one than here is read by {names(others)}. It goes on by itself once "
            "all read the same. If that stays so, restart those with the older file: champion-gate doctor tells them apart."
        )
