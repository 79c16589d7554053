"""What follows a move of an alias through the gate: steps in order, each only while the alias stands where the move put it.

Nothing that fails here undoes the move.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from champion_gate.domain.after import GIVEN_PARAMETERS, After, MoveKind
from champion_gate.domain.aliases import AliasIntent, AliasKey, ChangeSource, ManagedAliases
from champion_gate.domain.canonical import canonical, sha256_of
from champion_gate.domain.jobs import JobOutcome, RunState, not_ours_because
from champion_gate.domain.ledger.chain import LedgerKind
from champion_gate.domain.ledger.entries import named, steps_behind
from champion_gate.domain.serving import (
    Endpoint,
    Standing,
    UpdateState,
    for_the_record,
    standing,
    trouble,
    versions_of,
)
from champion_gate.domain.steps import Step, StepKind, StepPhase, ended
from champion_gate.errors import ConflictError, NotFoundError, VendorError
from champion_gate.flow.context import Context
from champion_gate.store import Store

_KINDS = {
    ChangeSource.PROMOTION: MoveKind.PROMOTED,
    ChangeSource.ROLLBACK: MoveKind.ROLLED_BACK,
    ChangeSource.MANUAL: MoveKind.SET,
    ChangeSource.RESTORE: MoveKind.SET,
}
MOST_UPDATES = 5
"""So often an endpoint is updated by one step, where somebody else's updates undo it."""
_MOVES = 10
"""So many moves back, updates are looked for that were not answered."""
_GIVEN = "parameters"
"""Under this key a step knows what its job was started with."""


def steps_after(managed: ManagedAliases, key: AliasKey, intent: AliasIntent) -> list[Step]:
    """What a move that was carried out makes necessary, in order; nothing where the alias was taken away."""
    kind = _KINDS.get(intent.source)
    if intent.to_version is None or kind is None:
        return []
    wanted = [each for each in managed.after(key) if kind in each.on]
    # A writer's number alone is no name: who finishes another's write and then makes its own has one for both.
    move = sha256_of(canonical([key.registry, key.model, key.alias, intent.fence, intent.at.isoformat()]))
    ids = [f"after-{move[:16]}-{index}" for index in range(len(wanted))]
    moved = {"registry": key.registry, "model": key.model, "alias": key.alias, "version": intent.to_version}
    return [
        Step(
            id=step_id,
            promotion_id=intent.promotion_id or "",
            kind=StepKind.JOB if each.job is not None else StepKind.ENDPOINT,
            config={**moved, "on": kind.value, "behind": ids[:index], **_settings(each)},
            planned_at=intent.at,
            due_at=intent.at,
            position=index,
        )
        for index, (step_id, each) in enumerate(zip(ids, wanted, strict=True))
    ]


def _settings(entry: After) -> dict[str, Any]:
    seconds = {"timeout_seconds": entry.timeout.total_seconds()}
    if entry.job is not None:
        return {"job": str(entry.job), "parameters": dict(entry.parameters), **seconds}
    return {"serving_endpoint": entry.serving_endpoint, **seconds}


def steps_of_latest_move(store: Store, key: AliasKey) -> tuple[Step, ...]:
    """What follows the latest move of an alias, in order; nothing where somebody outside made it."""
    return store.steps_named(
        steps_behind(store.ledger_lines(key, kind=LedgerKind.ALIAS_CHANGE, limit=1)) or []
    )


def steps_of_alias(store: Store, key: AliasKey) -> tuple[Step, ...]:
    """What follows the latest move of an alias, and whatever else of it failed that belongs to no promotion."""
    latest = steps_of_latest_move(store, key)
    known = {step.id for step in latest}
    failed = (step for step in store.failed_of_aliases(key) if step.id not in known)
    return (*latest, *failed)


def failed_of_latest_moves(store: Store) -> list[Step]:
    """The steps that have failed behind a move after which the alias has not moved."""
    failed = store.failed_after_moves()
    latest = {key: steps_of_latest_move(store, key) for key in {alias_of(step) for step in failed}}
    return [step for step in failed if step.id in {each.id for each in latest[alias_of(step)]}]


def alias_of(step: Step) -> AliasKey:
    """The alias whose move it follows."""
    return AliasKey(step.config["registry"], step.config["model"], step.config["alias"])


class AfterMoves:
    """Carries out such steps, as far as they go now; whoever calls holds their rows."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._registry = context.registry
        self._jobs = context.jobs
        self._serving = context.serving
        self._clock = context.clock
        self._chance = context.chance
        self._waits = context.waits

    # --- jobs ---

    def run_job(self, taken: Step) -> Step:
        """Run a Databricks job once, and wait for its end; one that is under way when the alias moves on is left running."""
        if taken.external_id is not None:
            return self._look_at_run(taken, self._jobs.read(taken.external_id, with_tasks=False))
        if taken.phase is StepPhase.PLANNED and (waits := self._not_its_turn(taken)) is not None:
            return waits
        gone = self._moved_on(taken)
        if gone and not taken.token:
            return self._ended(taken, StepPhase.SKIPPED, f"Not begun: {gone}")
        if gone:
            why = f"A start of it was not answered, and none is made any more: {gone}"
            return self._ended(taken, StepPhase.OVERTAKEN, why)
        return self._start_job(taken)

    def _start_job(self, taken: Step) -> Step:
        """Store the token, then start the run of it: the same one where that was done before."""
        if _GIVEN not in taken.known:
            taken = self._store.save_step(
                replace(
                    taken,
                    phase=StepPhase.RUNNING,
                    known={_GIVEN: self._parameters(taken)},
                    token=taken.token or self._chance.token(),
                    started_at=self._clock.now(),
                    starts=taken.starts + 1,
                )
            )
        started = self._jobs.start(taken.config["job"], taken.known[_GIVEN], taken.token)
        begun = replace(taken, external_id=started.run_id, url=started.url, reason="The job runs.")
        return self._due(begun, self._waits.job_look)

    def _parameters(self, taken: Step) -> dict[str, str]:
        """Of those that the gate gives, the ones that the job defines: what Databricks makes of others is not documented."""
        facts, own = taken.config, taken.config["parameters"]
        given = dict(
            zip(
                GIVEN_PARAMETERS,
                (facts["model"], facts["version"], facts["alias"], taken.promotion_id),
                strict=True,
            )
        )
        defined = self._jobs.describe(facts["job"]).parameters
        unknown = sorted(own.keys() - set(defined))
        if unknown:
            raise ConflictError(
                f"Job {facts['job']} does not define the parameters {', '.join(unknown)}.",
                hint="Define them in the job, or take them out of `after` in gates.yaml.",
            )
        return {**{name: value for name, value in given.items() if name in defined}, **own}

    def _look_at_run(self, taken: Step, run: RunState) -> Step:
        given, we = taken.known.get(_GIVEN, taken.config["parameters"]), self._jobs.principal()
        why = not_ours_because(run, taken.config["job"], given, we=we, planned_at=taken.planned_at)
        if why is not None:
            return self._ended(taken, StepPhase.FAILED, f"The job's run cannot be told: {why}")
        seen = replace(taken, url=run.url or taken.url)
        told = {"run_id": run.run_id, "outcome": run.outcome, "code": run.code, "message": run.message}
        words = f"{run.code}: {run.message}" if run.message else run.code
        gone = self._moved_on(taken)
        meanwhile = f"Meanwhile {gone} " if gone else ""
        if run.outcome is None:
            if self._is_over(taken):
                why = f"{meanwhile}Not ended within its time-out, and left running: {words}"
                return self._ended(seen, StepPhase.FAILED, why, told)
            left = ", and is left running" if gone else ""
            runs = f"{meanwhile}The job runs ({words}){left}."
            return self._due(replace(seen, reason=runs), self._waits.job_look)
        if run.outcome is JobOutcome.SUCCEEDED:
            return self._ended(seen, StepPhase.SUCCEEDED, f"{meanwhile}The job succeeded.", told)
        said = "The job failed" if run.outcome is JobOutcome.FAILED else "The job could not run"
        return self._ended(seen, StepPhase.FAILED, f"{meanwhile}{said}: {words}", told)

    # --- endpoints ---

    def move_endpoint(self, taken: Step) -> Step:
        """Move a serving endpoint to the version, and wait until it serves it.

        An update that is under way, whoever made it, is waited for and then looked at again.
        """
        if taken.phase is StepPhase.PLANNED and (waits := self._not_its_turn(taken)) is not None:
            return waits
        if gone := self._moved_on(taken):
            if not taken.starts:
                return self._ended(taken, StepPhase.SKIPPED, f"Not begun: {gone}")
            why = f"Its update may go on, and is followed by the next: {gone}"
            return self._ended(taken, StepPhase.OVERTAKEN, why, _kept(taken))
        if taken.phase is StepPhase.PLANNED and (waits := self._update_on_its_way(taken)) is not None:
            return waits
        endpoint = self._serving.read(taken.config["serving_endpoint"])
        begun = taken.started_at or self._clock.now()
        return self._look_at_endpoint(
            replace(taken, phase=StepPhase.RUNNING, url=endpoint.url, started_at=begun), endpoint
        )

    def _update_on_its_way(self, taken: Step) -> Step | None:
        """The step as it waits for what an earlier move may just be sending: the endpoint does not show that yet."""
        aim = alias_of(taken), taken.config["serving_endpoint"]
        own = {taken.id, *taken.config["behind"]}
        for step in self._store.open_endpoint_steps():
            is_earlier = step.id not in own and taken.id not in step.config["behind"]
            is_begun = step.phase is StepPhase.RUNNING or step.lease
            if is_earlier and is_begun and (alias_of(step), step.config["serving_endpoint"]) == aim:
                return self._due(replace(taken, reason=f"Waits for step {step.id}."), self._waits.turn)
        return None

    def _look_at_endpoint(self, seen: Step, endpoint: Endpoint) -> Step:
        model, version = seen.config["model"], seen.config["version"]
        stands = standing(endpoint, model, version)
        if stands is Standing.ARRIVED:
            return self._arrived(seen, endpoint)
        is_ours = versions_of(endpoint.pending or {}, model) in ({version}, set())
        failed = stands is Standing.UPDATE_FAILED and seen.starts > 0 and is_ours
        if failed or self._is_over(seen):
            came_to = "was cancelled" if endpoint.update is UpdateState.UPDATE_CANCELED else "failed"
            why = f"The update {came_to}" if failed else f"Not there within its time-out ({stands.value})"
            words = f"{why}: {trouble(endpoint) or 'Databricks says no more'}"
            return self._ended(seen, StepPhase.FAILED, words, _kept(seen))
        if stands in {Standing.ELSEWHERE, Standing.UPDATE_FAILED}:
            return self._update(seen, endpoint)
        whose = "another" if stands is Standing.BUSY else "its"
        return self._due(replace(seen, reason=f"Waits for {whose} update."), self._waits.endpoint_look)

    def _update(self, seen: Step, endpoint: Endpoint) -> Step:
        """Store what the endpoint served, for the record, then send the update."""
        answered = seen.known.get("updates", 0)
        if answered >= MOST_UPDATES:
            why = f"Updated {MOST_UPDATES} times, and somebody else's updates undid it."
            return self._ended(seen, StepPhase.FAILED, why, _kept(seen))
        before = _kept(seen) or {
            "config_before": for_the_record(endpoint.config),
            "config_version_before": endpoint.config_version,
        }
        stored = self._store.save_step(
            replace(seen, starts=seen.starts + 1, result_json=canonical(before), reason="The update is sent.")
        )
        facts = stored.config
        try:
            renamed = self._serving.move(endpoint, facts["model"], facts["version"])
        except VendorError as error:
            if not error.outcome_unknown:  # no update of ours is under way, so none of ours can fail
                self._store.save_step(replace(stored, starts=seen.starts))
            raise
        result = canonical({**before, "renamed": {**before.get("renamed", {}), **renamed}})
        sent = replace(stored, result_json=result, known={**seen.known, "updates": answered + 1})
        return self._due(sent, self._waits.endpoint_look)

    def _arrived(self, seen: Step, endpoint: Endpoint) -> Step:
        version = named(seen.config["version"])
        if (other := self._unanswered_before(seen)) is not None:
            why = f"The endpoint serves {version}, and is watched for some minutes: an update of step {other.id} was not answered."
            return self._due(replace(seen, reason=why), self._waits.endpoint_look)
        if not seen.starts:
            return self._ended(seen, StepPhase.SUCCEEDED, f"The endpoint served {version} already.")
        result = {**_kept(seen), "config_version_after": endpoint.config_version}
        return self._ended(seen, StepPhase.SUCCEEDED, f"The endpoint serves {version}.", result)

    def _unanswered_before(self, seen: Step) -> Step | None:
        """The step of an earlier move whose update of this endpoint, to another version, may be carried out yet."""
        since, facts = self._clock.now() - self._waits.late_update, seen.config
        moves = self._store.ledger_lines(alias_of(seen), kind=LedgerKind.ALIAS_CHANGE, limit=_MOVES)
        for step in self._store.steps_named([each for move in moves for each in steps_behind([move]) or []]):
            if step.kind is not StepKind.ENDPOINT or step.ended_at is None or step.ended_at <= since:
                continue
            is_here = step.config["serving_endpoint"] == facts["serving_endpoint"]
            is_unanswered = step.starts > step.known.get("updates", 0)
            if is_here and is_unanswered and step.config["version"] != facts["version"]:
                return step
        return None

    # --- both ---

    def _not_its_turn(self, taken: Step) -> Step | None:
        """The step as it waits for those before it; None where none is open."""
        for step_id in reversed(taken.config["behind"]):
            if self._is_open(step_id):
                return self._due(replace(taken, reason=f"Waits for step {step_id}."), self._waits.turn)
        return None

    def _is_open(self, step_id: str) -> bool:
        try:
            return self._store.get_step(step_id).phase.is_open
        except NotFoundError:
            return False

    def _moved_on(self, taken: Step) -> str:
        """Where the alias stands instead, in words; empty while it stands where the move put it, and has not moved since."""
        key, wanted = alias_of(taken), taken.config["version"]
        if key.registry != self._registry.name:
            return f"the registry {key.registry} is not configured any more."
        version = self._registry.get_alias(key.model, key.alias)
        if version != wanted:
            return f"{key.alias} stands on {named(version)} now."
        latest = steps_behind(self._store.ledger_lines(key, kind=LedgerKind.ALIAS_CHANGE, limit=1))
        if latest is not None and taken.id not in latest:
            return f"{key.alias} has moved again since."
        return ""

    def _is_over(self, taken: Step) -> bool:
        begun = taken.started_at or self._clock.now()
        return self._clock.now() >= begun + timedelta(seconds=taken.config["timeout_seconds"])

    def _due(self, step: Step, pause: timedelta) -> Step:
        return replace(step, due_at=self._clock.now() + pause)

    def _ended(
        self, step: Step, phase: StepPhase, reason: str, result: Mapping[str, Any] | None = None
    ) -> Step:
        kept = canonical(result) if result else None
        told = replace(step, result_json=kept, result_sha256=None if kept is None else sha256_of(kept))
        return ended(told, phase, reason, self._clock.now())


def _kept(step: Step) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(step.result_json or "{}")
    return kept
