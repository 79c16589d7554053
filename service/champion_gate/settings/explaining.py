"""What gates.yaml means, in words that a newcomer understands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from champion_gate.domain.gates import Account, Direction, Gate, MetricRule, NewerVersion, VersionSource
from champion_gate.settings.gates_api import ApiOidc
from champion_gate.settings.gates_file import Gates
from champion_gate.settings.gates_servers import kind_of

_SOURCES = {
    VersionSource.TASK_OUTPUT: "in what its tasks hand back (dbutils.notebook.exit)",
    VersionSource.TAG: "among the versions tagged champion_gate_job_run_id",
    VersionSource.MLFLOW_RUN: "among the versions whose MLflow run belongs to this job run",
    VersionSource.TRUSTED_TAG: "among the versions tagged champion_gate_job_run_id, whoever wrote the tag",
}
_BRANCH_ONLY = (
    "Only the protected branch guards this gate (protection: branch). What that cannot promise: GitLab itself "
    "lets every Maintainer start the job, those who trained the version and the account that starts the pipelines "
    "among them; a start that does not count here ends the request, but GitLab does not prevent it. Whoever "
    "has that account's token can act as it. One click is all there is: no second person, no comment, no reject "
    "button (cancelling the pipeline rejects), and nothing in the job's token proves that the job was protected."
)
_UNITS = ((24 * 60, "day"), (60, "hour"), (1, "minute"))


def explain(gates: Gates) -> str:
    """One paragraph for the registry, one for each gate, and one each for further aliases and the API's callers.

    Args:
        gates: checked, as `load_gates` gives them.
    """
    where = "Unity Catalog" if gates.on_unity_catalog else f"the MLflow registry {gates.registry}"
    count = "1 gate" if len(gates.gates) == 1 else f"{len(gates.gates)} gates"
    lines = [f"Model versions are looked up, and aliases set, in {where}. {count}:"]
    for gate in gates.gates:
        lines += _paragraph(f"gate {gate.name}", _sentences(gate, gates))
    if gates.further_aliases:
        lines += _paragraph("aliases", _further(gates))
    if gates.api_oidc is not None:
        lines += _paragraph("api", _callers(gates.api_oidc))
    return "\n".join(lines) + "\n"


def _paragraph(heading: str, sentences: Iterable[str]) -> list[str]:
    # Names and addresses stay whole, for people copy them.
    filled = textwrap.fill(" ".join(sentences), 96, break_long_words=False, break_on_hyphens=False)
    return ["", f"{heading}:", textwrap.indent(filled, "  ")]


def _sentences(gate: Gate, gates: Gates) -> Iterator[str]:
    provider = gate.approval.provider
    in_gitlab = kind_of(provider) == "gitlab"
    failures = ", even with failures in some tasks" if gate.accept_success_with_failures else ""
    yield (
        f"when {_jobs(gate)} succeeds{failures}, the version of {gate.model} that this run registered "
        f"(looked for {_source(gate.version)}) asks for the alias {gate.alias}."
    )
    if in_gitlab:
        yield from _gitlab_approval(gate, gates.gitlab_servers[provider].url)
    else:
        yield _github_approval(gate, gates.github_servers[provider].url)
    yield from _people(gate, "GitLab" if in_gitlab else "GitHub")
    oidc = gates.oidc[provider]
    yield (
        f"The job that they let start may ask for the outcome with a token of {oidc.issuer} for the audience "
        f"{oidc.audience}."
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
    first, second, third = (
        _SOURCES[each] for each in (VersionSource.TASK_OUTPUT, VersionSource.TAG, VersionSource.MLFLOW_RUN)
    )
    return f"first {first}, then {second}, then {third}"


def _github_approval(gate: Gate, url: str) -> str:
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
        f"{people} {must} it in the GitHub repository {place['repository']}{pinned} at {url}, in a run "
        f"of the workflow {place['workflow']} on {place['ref']}."
    )


def _gitlab_approval(gate: Gate, url: str) -> Iterator[str]:
    place, count = gate.approval.place, len(gate.approval.seats)
    job, environment = place["job"], place["environment"]
    pinned = " (pinned: namespace id)" if "namespace_id" in place else ""
    where = f"in the GitLab project {place['project']}{pinned} at {url}, in a pipeline on {place['ref']}"
    if place["protection"] == "branch":
        yield f"A Maintainer approves it by starting the manual job {job} {where}."
        yield from _only(place)
        yield _BRANCH_ONLY
        return
    if count == 1:
        yield (
            f"Somebody whom the protected environment {environment} admits approves it {where}: by starting the "
            f"manual job {job} or, where the environment has an approval rule, by approving its deployment before."
        )
    else:
        yield (
            f"{count} different people whom the approval rules of the protected environment {environment} name "
            f"approve its deployment {where}; then the manual job {job} has to be started."
        )
    yield from _only(place)


def _only(place: Mapping[str, str]) -> Iterator[str]:
    """Who else has a say in it."""
    if "approvers" in place:
        named = [_account(Account.of(each)) for each in place["approvers"].split(",")]
        yield f"Nobody counts but {', '.join(named)}."
    if "bot" in place:
        yield f"The pipelines are started as {place['bot']}, whose approval never counts."


def _people(gate: Gate, vendor: str) -> Iterator[str]:
    if gate.allow_trainer_approval:
        yield "The people who trained the version MAY approve it themselves (allow_trainer_approval)."
    else:
        yield (
            "Nobody who trained the version may approve it; a trainer who is a person and has no entry under "
            "identities keeps the request waiting."
        )
    known = [
        f"{name} is {' or '.join(map(_account, accounts))}"
        for name, accounts in gate.identities.items()
        if accounts
    ]
    nobody = [name for name, accounts in gate.identities.items() if not accounts]
    if known:
        yield f"On {vendor}, {'; '.join(known)}."
    if nobody:
        yield f"Nobody stands behind {', '.join(nobody)}."
    if gate.trainers:
        yield f"Whoever trained it, {', '.join(map(_account, gate.trainers))} may never approve."


def _account(account: Account) -> str:
    return account.login if account.user_id is None else f"{account.login} (account {account.user_id})"


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
    where = (
        "" if rule.dataset is None else f" on {f'dataset {rule.dataset}' if rule.dataset else 'no dataset'}"
    )
    return f"{rule.name}{where} ({direction} is better) {' and '.join(wanted) or 'is there'}"


def _further(gates: Gates) -> Iterator[str]:
    names = [f"{each.model}@{each.alias}" for each in gates.further_aliases]
    yield (
        f"operators may change {', '.join(names)} by hand, besides the gates' own aliases. No gate asks for "
        f"{'it' if len(names) == 1 else 'them'}, so nobody is asked for approval there."
    )


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


def _duration(duration: timedelta) -> str:
    minutes = int(duration.total_seconds()) // 60
    size, name = next((size, name) for size, name in _UNITS if minutes % size == 0)
    count = minutes // size
    return f"{count} {name}{'' if count == 1 else 's'}"
