"""What gates.yaml means, in words that a newcomer understands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from champion_gate.domain.after import After, MoveKind
from champion_gate.domain.gates import (
    Direction,
    Drift,
    Gate,
    MetricRule,
    NewerVersion,
    Rights,
    Validation,
    VersionSource,
)
from champion_gate.domain.notices import Notice
from champion_gate.domain.text import counted
from champion_gate.domain.vendors import Server
from champion_gate.settings.gates import ApiOidc, Gates

_SOURCES = {
    VersionSource.TASK_OUTPUT: "in what its tasks hand back (dbutils.notebook.exit)",
    VersionSource.TAG: "among the versions tagged champion_gate_job_run_id",
    VersionSource.MLFLOW_RUN: "among the versions whose MLflow run belongs to this job run",
    VersionSource.TRUSTED_TAG: "among the versions tagged champion_gate_job_run_id, whoever wrote the tag",
}
_OUTSIDE = "Where somebody outside champion-gate moves the alias, that is put on record"
_DRIFT = {
    Drift.REPORT: f"{_OUTSIDE}.",
    Drift.REOPEN: f"{_OUTSIDE}, and people are asked again about versions that waited for them, once a version.",
    Drift.RESTORE: f"{_OUTSIDE}, and the alias is put back, at most twice in a day and never under a hold.",
}
_UNITS = ((24 * 60, "day"), (60, "hour"), (1, "minute"))


def explain(gates: Gates) -> str:
    """One paragraph for the registry, one for each gate, and one each for further aliases, notices and the API's callers."""
    where = "Unity Catalog" if gates.on_unity_catalog else f"the MLflow registry {gates.registry}"
    lines = [
        f"Model versions are looked up, and aliases set, in {where}. {counted(len(gates.gates), 'gate')}:"
    ]
    servers = gates.servers
    for gate in gates.gates:
        lines += _paragraph(f"gate {gate.name}", _sentences(gate, servers[gate.approval.provider]))
    if gates.aliases:
        lines += _paragraph("aliases", _further(gates))
    if gates.databricks.warehouse is not None:
        who = "who moves an alias outside champion-gate is looked up in system.access.audit, through SQL warehouse"
        lines += _paragraph("databricks", [f"{who} {gates.databricks.warehouse}."])
    if gates.notices:
        lines += _paragraph("notices", map(_notice, gates.notices))
    if gates.api.oidc is not None:
        lines += _paragraph("api", _callers(gates.api.oidc))
    return "\n".join(lines) + "\n"


def _notice(notice: Notice) -> str:
    of = "" if notice.gates is None else f" of {', '.join(notice.gates)}"
    late = "" if notice.waiting is None else f", and of requests that wait for {_duration(notice.waiting)}"
    return f"{notice.name} ({notice.kind.value}) is told{of}: {', '.join(notice.on)}{late}."


def _paragraph(heading: str, sentences: Iterable[str]) -> list[str]:
    # Names and addresses stay whole, for people copy them.
    filled = textwrap.fill(" ".join(sentences), 96, break_long_words=False, break_on_hyphens=False)
    return ["", f"{heading}:", textwrap.indent(filled, "  ")]


def _sentences(gate: Gate, server: Server) -> Iterator[str]:
    failures = ", even with failures in some tasks" if gate.accept_success_with_failures else ""
    asks = f"asks for the alias {gate.alias}{_elsewhere(gate)}"
    if gate.watches_jobs:
        yield (
            f"when {_jobs(gate)} succeeds{failures}, the version of {gate.model} that this run registered "
            f"(looked for {_source(gate.version)}) {asks}."
        )
    if gate.watches_registry:
        yield f"{'W' if gate.watches_jobs else 'w'}hen a version of {gate.model} appears that no watched job made, it {asks}."
    if gate.jobs and not gate.watches_jobs:
        yield f"Runs of {_jobs(gate)} tell of such versions; the sweep finds them too."
    yield from _validation(gate.validation)
    yield from gate.approval.place.explained(server)
    yield from _people(gate, server.title)
    if gate.approval.place.starts_jobs:
        yield (
            f"The job that they let start may ask for the outcome with a token of {server.issuer} for the audience "
            f"{server.oidc.audience}."
        )
    newer = (
        "A newer version that asks for the same alias takes its place."
        if gate.newer_version is NewerVersion.SUPERSEDE
        else "A newer version that asks for the same alias waits beside it."
    )
    yield f"Who has not decided after {_duration(gate.expires_after)} is too late: the request expires. {newer}"
    yield (
        f"An approval that cannot be applied for {_duration(gate.apply_within)}, for a hold or because the registry "
        "does not answer, expires too."
    )
    if gate.promote_to is not None:
        by = "champion-gate itself" if gate.promote_to.job is None else f"job {gate.promote_to.job}"
        yield (
            f"What people approve is copied into {gate.promote_to.model} by {by}, within {_duration(gate.promote_to.timeout)}, and "
            "the copy gets the alias there."
        )
    if gate.challenger is not None:
        yield f"While people decide, the alias {gate.challenger} stands on the version, where it is free or stood for an earlier one."
    if gate.rights is Rights.ASSUME:
        yield "People are asked also after the registry refused to let the service move the alias."
    yield _DRIFT[gate.drift]
    yield from _metrics(gate.metrics)
    yield from _after(gate.after)


def _validation(validation: Validation | None) -> Iterator[str]:
    if validation is None:
        return
    given = "".join(f", {name}={value}" for name, value in validation.parameters.items())
    yield (
        f"Before people are asked, job {validation.job} looks at the version (job parameters model_name, model_version{given}). If it "
        f"says no, nobody is asked; a run that takes longer than {_duration(validation.timeout)} is cancelled."
    )


def _elsewhere(gate: Gate) -> str:
    return "" if gate.promote_to is None else f" of {gate.destination}"


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
    first, second, third = (
        _SOURCES[each] for each in (VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN)
    )
    return f"first {first}, then {second}, then {third}"


def _people(gate: Gate, vendor: str) -> Iterator[str]:
    if gate.allow_trainer_approval:
        yield "The people who trained the version MAY approve it themselves (allow_trainer_approval)."
    else:
        yield (
            "Nobody who trained the version may approve it; a trainer who is a person and has no entry under "
            "identities keeps the request waiting."
        )
    known = [
        f"{name} is {' or '.join(each.shown for each in accounts)}"
        for name, accounts in gate.identities.items()
        if accounts
    ]
    nobody = [name for name, accounts in gate.identities.items() if not accounts]
    if known:
        yield f"On {vendor}, {'; '.join(known)}."
    if nobody:
        yield f"Nobody stands behind {', '.join(nobody)}."
    if gate.trainers:
        yield f"Whoever trained it, {', '.join(each.shown for each in gate.trainers)} may never approve."


def _metrics(rules: Sequence[MetricRule]) -> Iterator[str]:
    if not rules:
        yield "No metric is required."
        return
    yield "The version is put to people only if " + "; ".join(_metric(rule) for rule in rules) + "."


def _after(entries: Sequence[After], of: str = "the alias") -> Iterator[str]:
    if not entries:
        return
    told = [
        (
            f"job {each.job} is run"
            if each.job is not None
            else f"the endpoint {each.serving_endpoint} is moved to the version"
        )
        + ("" if set(each.on) == set(MoveKind) else f" (only when {' or '.join(each.on)})")
        for each in entries
    ]
    yield f"When {of} has moved through the gate, {', then '.join(told)}."


def _metric(rule: MetricRule) -> str:
    direction = "higher" if rule.better is Direction.HIGHER else "lower"
    wanted = []
    if rule.max_worse is not None:
        wanted.append(f"is at most {rule.max_worse:g} worse than the version that has the alias now")
    if rule.at_least is not None:
        wanted.append(f"is at least {rule.at_least:g}")
    if rule.at_most is not None:
        wanted.append(f"is at most {rule.at_most:g}")
    where = (
        "" if rule.dataset is None else f" on {f'dataset {rule.dataset}' if rule.dataset else 'no dataset'}"
    )
    if rule.source is not None:
        where = " of the validation"
    return f"{rule.name}{where} ({direction} is better) {' and '.join(wanted) or 'is there'}"


def _further(gates: Gates) -> Iterator[str]:
    names = [f"{each.model}@{each.alias}" for each in gates.aliases if not gates.entries.is_gated(each)]
    if names:
        yield (
            f"operators may change {', '.join(names)} by hand, besides the gates' own aliases. No gate asks for "
            f"{'it' if len(names) == 1 else 'them'}, so nobody is asked for approval there."
        )
    for each in gates.aliases:
        yield from _after(each.after, f"{each.model}@{each.alias}")


def _callers(oidc: ApiOidc) -> Iterator[str]:
    yield (
        f"besides API tokens, tokens that {oidc.issuer} signed for the audience {oidc.audience} are taken, and "
        f"the ledger names people by the claim {oidc.name_claim}."
    )
    for values, role in ((oidc.operator, "an operator"), (oidc.viewer, "a viewer")):
        if values:
            yield f"Whose claim {oidc.role_claim} is or holds {' or '.join(sorted(values))} is {role}."
        else:
            yield f"Nobody is {role} by such a token."
    yield "Everybody else whom it signs for may do nothing here."
    if oidc.client_id is not None:
        yield f"People sign in to the dashboard there, as users of the client {oidc.client_id}."


def _duration(duration: timedelta) -> str:
    minutes = int(duration.total_seconds()) // 60
    size, name = next((size, name) for size, name in _UNITS if minutes % size == 0)
    return counted(minutes // size, name)
