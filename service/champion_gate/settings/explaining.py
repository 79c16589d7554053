"""What gates.yaml means, in words that a newcomer understands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import timedelta

from champion_gate.core.gates import Direction, Gate, MetricRule, NewerVersion, VersionSource
from champion_gate.settings.gates_file import Gates, GitHubServer

_SOURCES = {
    VersionSource.TASK_OUTPUT: "in what its tasks hand back (dbutils.notebook.exit)",
    VersionSource.TAG: "among the versions tagged champion_gate_job_run_id",
    VersionSource.MLFLOW_RUN: "among the versions whose MLflow run belongs to this job run",
}
_UNITS = ((24 * 60, "day"), (60, "hour"), (1, "minute"))


def explain(gates: Gates) -> str:
    """One paragraph for the registry and one for each gate.

    Args:
        gates: checked, as `load_gates` gives them.
    """
    where = "Unity Catalog" if gates.on_unity_catalog else f"the MLflow registry {gates.registry}"
    count = "1 gate" if len(gates.gates) == 1 else f"{len(gates.gates)} gates"
    lines = [f"Model versions are looked up, and aliases set, in {where}. {count}:"]
    for gate in gates.gates:
        sentences = " ".join(_sentences(gate, gates.github_servers[gate.approval.provider]))
        lines += ["", f"gate {gate.name}:", textwrap.indent(textwrap.fill(sentences, 96), "  ")]
    return "\n".join(lines) + "\n"


def _sentences(gate: Gate, server: GitHubServer) -> Iterator[str]:
    failures = ", even with failures in some tasks" if gate.accept_success_with_failures else ""
    yield (
        f"when {_jobs(gate)} succeeds{failures}, the version of {gate.model} that this run registered "
        f"(looked for {_source(gate.version)}) asks for the alias {gate.alias}."
    )
    yield _approval(gate, server)
    yield from _people(gate)
    newer = (
        "A newer version that asks for the same alias takes its place."
        if gate.newer_version is NewerVersion.SUPERSEDE
        else "A newer version that asks for the same alias waits beside it."
    )
    yield f"Who has not decided after {_duration(gate.expires_after)} is too late: the request expires. {newer}"
    yield from _metrics(gate.metrics)


def _jobs(gate: Gate) -> str:
    ids = sorted(gate.job_ids, key=int)
    names = sorted(gate.job_names)
    parts = (
        [f"job {', '.join(ids)}"] if len(ids) == 1 else [f"one of the jobs {', '.join(ids)}"] if ids else []
    )
    parts += [f"any run of the job named '{name}'" for name in names]
    return " or ".join(parts)


def _source(source: VersionSource) -> str:
    if source is not VersionSource.AUTO:
        return _SOURCES[source]
    first, second, third = _SOURCES.values()
    return f"first {first}, then {second}, then {third}"


def _approval(gate: Gate, server: GitHubServer) -> str:
    place, seats = gate.approval.place, gate.approval.seats
    people = (
        f"A reviewer of the environment {seats[0]}"
        if len(seats) == 1
        else f"{len(seats)} different people, one reviewer of each of the environments {', '.join(seats)},"
    )
    pins = [name.replace("_", " ") for name in ("repository_id", "owner_id") if name in place]
    pins += [
        f"id of environment {name.split(':', 1)[1]}" for name in place if name.startswith("environment_id:")
    ]
    pinned = f" (pinned: {', '.join(pins)})" if pins else ""
    must = "approves" if len(seats) == 1 else "approve"
    return (
        f"{people} {must} it in the GitHub repository {place['repository']}{pinned} at {server.url}, in a run "
        f"of the workflow {place['workflow']} on {place['ref']}."
    )


def _people(gate: Gate) -> Iterator[str]:
    if gate.allow_trainer_approval:
        yield "The people who trained the version MAY approve it themselves (allow_trainer_approval)."
    else:
        yield (
            "Nobody who trained the version may approve it; a trainer who is a person and has no entry under "
            "identities keeps the request waiting."
        )
    known = [f"{name} is {' or '.join(logins)}" for name, logins in gate.identities.items() if logins]
    nobody = [name for name, logins in gate.identities.items() if not logins]
    if known:
        yield f"On GitHub, {'; '.join(known)}."
    if nobody:
        yield f"Nobody stands behind {', '.join(nobody)}."


def _metrics(rules: Sequence[MetricRule]) -> Iterator[str]:
    if not rules:
        yield "No metric is required."
        return
    yield "The version is put to people only if " + "; ".join(_metric(rule) for rule in rules) + "."


def _metric(rule: MetricRule) -> str:
    direction = "higher" if rule.better is Direction.HIGHER else "lower"
    wanted = []
    if rule.max_worse is not None:
        wanted.append(f"is at most {rule.max_worse:g} worse than the version that has the alias now")
    if rule.at_least is not None:
        wanted.append(f"is at least {rule.at_least:g}")
    if rule.at_most is not None:
        wanted.append(f"is at most {rule.at_most:g}")
    return f"{rule.name} ({direction} is better) {' and '.join(wanted) or 'is there'}"


def _duration(duration: timedelta) -> str:
    minutes = int(duration.total_seconds()) // 60
    size, name = next((size, name) for size, name in _UNITS if minutes % size == 0)
    count = minutes // size
    return f"{count} {name}{'' if count == 1 else 's'}"
