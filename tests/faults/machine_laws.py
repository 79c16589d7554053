"""What must hold of promotions and aliases whatever happens: judged from what the vendors saw, and from what people did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from champion_gate.domain.aliases import AliasKey
from champion_gate.domain.ledger.chain import LedgerKind, LedgerLine
from champion_gate.domain.notifications import StoredNotification
from champion_gate.domain.promotion import Phase, Promotion
from champion_gate.domain.steps import Step, StepKind
from champion_gate_standins.github.state import Run
from faults.machine_world import MachineWorld, Write

_APPLY_WITHIN = timedelta(days=7)
_ENDS = {
    *(Phase.PROMOTED, Phase.INELIGIBLE, Phase.REJECTED, Phase.EXPIRED),
    *(Phase.SUPERSEDED, Phase.CANCELLED, Phase.STALE),
}
_WITHOUT_PEOPLE = {Phase.EXPIRED, Phase.SUPERSEDED, Phase.CANCELLED, Phase.STALE}
_BEFORE_PEOPLE = {Phase.PENDING_APPROVAL, Phase.INELIGIBLE, Phase.FAILED, *_WITHOUT_PEOPLE}
_AFTER_PEOPLE = {Phase.PROMOTED, Phase.STALE, Phase.CANCELLED, Phase.EXPIRED, Phase.FAILED}
_EDGES = {
    Phase.REQUESTED: {Phase.VALIDATING, *_BEFORE_PEOPLE},
    Phase.VALIDATING: _BEFORE_PEOPLE,
    Phase.PENDING_APPROVAL: {Phase.APPROVED, Phase.REJECTED, *_WITHOUT_PEOPLE},
    Phase.APPROVED: {Phase.COPYING, *_AFTER_PEOPLE},
    Phase.COPYING: _AFTER_PEOPLE,
}
"""Which phase may follow which. From `failed` it goes on only on an operator's word."""
_OURS = {"promotion", "manual", "rollback", "challenger", "late"}
"""Sources of moves that somebody had the gate make."""


@dataclass(frozen=True)
class Approval:
    """An approval that GitHub took.

    Attributes:
        login: whose.
        shown: what the run bears in which it was given: the promotion, and the beginning of its evidence's hash.
        is_asked: whether the gate waited for it then, and nobody had ordered it not to.
    """

    login: str
    at: datetime
    shown: str
    is_asked: bool


@dataclass
class Laws:
    """Watches a world.

    Attributes:
        approvals: by run.
        refused: runs that people rejected, cancelled or deleted.
        trainers: version -> logins of the people behind it.
        ordered: where an operator's order that is being carried out may put the alias; None where there is none.
        retried: how often operators took each promotion or step up again.
        cancelled: promotions that operators cancelled.
        acknowledged: versions of whose runs the gate was told.
        troubled: whether vendors have ever been unwell, or the gate has stood still.
        has_held: whether there has ever been a hold.
        moves: where the alias stood, one after the other, whoever moved it.
        broken: what was found while the gate was at work.
    """

    there: MachineWorld
    approvals: dict[str, list[Approval]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    trainers: dict[str, set[str]] = field(default_factory=dict)
    ordered: set[str | None] | None = None
    retried: Counter[str] = field(default_factory=Counter)
    cancelled: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    troubled: bool = False
    has_held: bool = False
    moves: list[tuple[datetime, str | None]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _phases: dict[str, Phase] = field(default_factory=dict)
    _ended: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=list)

    # --- while the gate is at work ---

    def wrote(self, write: Write) -> None:
        """Judge a write that the registry has just carried out."""
        self.writes.append(write)
        if write.alias == "Champion":
            self.moved(write.to)
            why = self._why_not(write)
        else:
            why = self._why_no_challenger(write)
        if why:
            self.broken.append(f"{write}: {why}")

    def moved(self, to: str | None) -> None:
        """The alias stands there from now on."""
        self.moves.append((self.there.world.clock.now(), to))

    def stored(self) -> None:
        """Judge how promotions have changed since the last write."""
        for promotion in self.there.world.promotions():
            before = self._phases.get(promotion.id)
            self._phases[promotion.id] = now = promotion.phase
            if before is None and now is not Phase.REQUESTED:
                self.broken.append(f"{promotion.id} begins as {now}")
            if before is None or before is now:
                continue
            again = before is Phase.FAILED and now in _EDGES and self.retried[promotion.id]
            if now not in _EDGES.get(before, set()) and not again:
                self.broken.append(f"{promotion.id} went from {before} to {now}")

    def _why_not(self, write: Write) -> str | None:
        """Why Champion must not have been put there."""
        if self.ordered is not None and write.to in self.ordered:
            return None
        asking = [p for p in self.there.world.promotions() if p.phase.is_applied]
        theirs = [p for p in asking if p.target.version == write.to]
        if len(theirs) != 1:
            return f"no approved promotion asks for it: {[(p.id, p.phase) for p in asking]}"
        return next(self._objections(theirs[0], write), None)

    def _objections(self, promotion: Promotion, write: Write) -> Iterator[str]:
        request, now = promotion.request, self.there.world.clock.now()
        if request is None or request.external_id is None or promotion.evidence_json is None:
            yield "nobody was asked"
            return
        digest = sha256(promotion.evidence_json.encode()).hexdigest()
        shown, allowed = f"{promotion.id}-{digest[:12]}", self.allowed(promotion)
        given = self.approvals.get(request.external_id, [])
        if not [a for a in given if a.login in allowed and a.shown == shown and a.at <= request.expires_at]:
            yield f"of {allowed} nobody approved {shown} in time: {given}"
        if write.before not in {promotion.champion_version, write.to}:
            yield f"it was to replace {promotion.champion_version}"
        lines = self.lines(promotion.alias_key)
        if self.is_held(promotion.alias_key):
            yield "the alias is on hold"
        if self._own(lines, promotion):
            yield "its approval has been spent"
        since = [line for line in lines if line.number > request.ledger_line]
        if [line for line in since if _is_move_away(line, promotion)]:
            yield "the alias has been elsewhere meanwhile"
        order, approved_at = promotion.end_request, promotion.approved_at
        if approved_at is None:
            yield "it was not approved"
            return
        if order is not None and order.phase is Phase.CANCELLED and order.at > approved_at:
            yield "it was cancelled after it had been approved"
        released = [line.entry.at for line in lines if line.entry.kind is LedgerKind.RELEASE]
        if now > max([approved_at, *released]) + _APPLY_WITHIN:
            yield "it has waited too long"

    def _why_no_challenger(self, write: Write) -> str | None:
        asking = [p.version.version for p in self.there.world.promotions() if p.phase.is_open]
        return None if write.to is None or write.to in asking else "it does not ask"

    # --- after each step ---

    def check(self) -> None:
        """Everything that holds at any time."""
        assert not self.broken, self.broken
        if not self.there.has_changed:
            return
        self.there.has_changed = False
        promotions = self.there.world.promotions()
        self._check_no_fault_of_ours(promotions)
        self._check_ended(promotions)
        asking = Counter(
            (p.alias_key, p.source_model, p.version.version) for p in promotions if p.phase.is_open
        )
        assert set(asking.values()) <= {1}, asking
        self._check_ledger(promotions)
        self._check_done_once(promotions)

    def _check_no_fault_of_ours(self, promotions: tuple[Promotion, ...]) -> None:
        world = self.there.world
        rows: list[Promotion | StoredNotification | Step] = [*promotions, *world.notifications()]
        rows += [*world.after_moves(), *(step for p in promotions for step in world.store.steps_of(p.id))]
        for row in rows:
            assert "internal error" not in f"{row.reason} {row.retry.last_error}", row

    def _check_ended(self, promotions: tuple[Promotion, ...]) -> None:
        for p in promotions:
            if p.phase not in _ENDS:
                assert p.id not in self._ended
                continue
            now = (p.phase, p.reason, p.decision, p.ended_at, p.evidence_sha256, p.champion_version, p.copied)
            assert self._ended.setdefault(p.id, now) == now

    def _check_ledger(self, promotions: tuple[Promotion, ...]) -> None:
        store = self.there.world.store
        store.verify_ledger()
        lines = list(reversed(store.ledger_lines(limit=None)))
        hashes = [line.hash for line in lines]
        assert hashes[: len(self._lines)] == self._lines
        self._lines = hashes
        for alias in ("Champion", "Challenger"):
            self._check_story(alias, [line for line in lines if line.entry.alias == alias])
        for p in promotions:
            own = self._own(lines, p)
            assert len(own) <= 1, own
            assert bool(own) or p.phase is not Phase.PROMOTED, p
            assert not own or p.phase not in _ENDS - {Phase.PROMOTED}, (p.phase, own)

    def _check_story(self, alias: str, lines: list[LedgerLine]) -> None:
        """Each move begins where the one before it ended, and those of ours were made, in this order."""
        moves = [line.entry.facts for line in lines if line.entry.kind is LedgerKind.ALIAS_CHANGE]
        assert [m["from"] for m in moves[1:]] == [m["to"] for m in moves[:-1]], moves
        made = [write.to for write in self.writes if write.alias == alias]
        for move in moves:
            if move["source"] in _OURS and move["to"] in made:
                del made[: made.index(move["to"]) + 1]
            elif move["source"] in _OURS:
                # An order whose write was lost looks carried out once somebody has moved the alias there by hand.
                assert move["source"] == "manual", (move, self.writes)
                assert move["to"] in [where for _, where in self.moves], (move, self.moves)

    def _check_done_once(self, promotions: tuple[Promotion, ...]) -> None:
        """No step has its effect twice, but where an operator wanted that."""
        databricks = self.there.world.databricks
        asked = Counter(run.promotion_id for run in self.there.world.github.runs)
        for shown, times in asked.items():
            assert times <= 1 + self.retried[shown.rpartition("-")[0]], asked
        if not self.there.jobs:
            return
        validation, copy, batch = self.there.jobs
        steps = [step for p in promotions for step in self.there.world.store.steps_of(p.id)]
        for job, kind in ((validation, StepKind.VALIDATE), (copy, StepKind.COPY)):
            of_kind = [step for step in steps if step.kind is kind]
            again = sum(self.retried[step.id] + self.retried[step.promotion_id] for step in of_kind)
            assert len(databricks.starts.runs_of(job)) <= len(of_kind) + again, of_kind
        after = [step for step in self.there.world.after_moves() if step.kind is StepKind.JOB]
        again = sum(self.retried[step.id] for step in after)
        assert len(databricks.starts.runs_of(batch)) <= len(after) + again

    # --- what is asked of it ---

    def allowed(self, promotion: Promotion) -> set[str]:
        """Who may approve."""
        return {"reviewer-1", "reviewer-2"} - self.trainers[promotion.version.version]

    def is_held(self, key: AliasKey) -> bool:
        """Whether a hold keeps the alias where it is."""
        kinds = {LedgerKind.HOLD, LedgerKind.RELEASE}
        told = [line.entry.kind for line in self.lines(key) if line.entry.kind in kinds]
        return told[-1:] == [LedgerKind.HOLD]

    def lines(self, key: AliasKey) -> list[LedgerLine]:
        """The alias's lines, oldest first."""
        return list(reversed(self.there.world.store.ledger_lines(key, limit=None)))

    def approve(self, run: Run, login: str) -> None:
        """Note that GitHub took an approval."""
        asked = [
            p for p in self.there.world.promotions() if p.request and p.request.external_id == str(run.id)
        ]
        is_asked = any(p.phase is Phase.PENDING_APPROVAL and p.end_request is None for p in asked)
        at = self.there.world.clock.at_the_vendors()
        self.approvals.setdefault(str(run.id), []).append(Approval(login, at, run.promotion_id, is_asked))

    @staticmethod
    def _own(lines: list[LedgerLine], promotion: Promotion) -> list[LedgerLine]:
        """The moves that it made."""
        return [
            line
            for line in lines
            if line.entry.promotion_id == promotion.id
            and line.entry.kind is LedgerKind.ALIAS_CHANGE
            and line.entry.facts.get("source") == "promotion"
        ]


def _is_move_away(line: LedgerLine, promotion: Promotion) -> bool:
    return (
        line.entry.kind is LedgerKind.ALIAS_CHANGE
        and line.entry.promotion_id != promotion.id
        and line.entry.facts.get("source") != "first_seen"
        and line.entry.facts.get("from") == promotion.champion_version
    )
