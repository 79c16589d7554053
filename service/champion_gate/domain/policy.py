"""The rules: which gates a job feeds, what makes a version ineligible, who may decide, and what was decided."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from champion_gate.domain import metrics
from champion_gate.domain.copies import MadeOf
from champion_gate.domain.gates import Account, Gate
from champion_gate.domain.job_runs import (
    GROUP_ROLE,
    LISTED_NAME,
    LISTED_ROLE,
    JobRun,
    RunFacts,
    RunResult,
    Trainer,
)
from champion_gate.domain.judging import Judgement, judge
from champion_gate.domain.metrics import measurements, rule_problems
from champion_gate.domain.promotion import Promotion
from champion_gate.domain.text import one_line
from champion_gate.domain.validation import Reported, figures
from champion_gate.domain.versions import VersionDetails

__all__ = [
    "Judgement",
    "TrainerIdentities",
    "folded_name",
    "gate_of",
    "gates_of_job",
    "identify",
    "ignored_because",
    "ineligible_because",
    "judge",
    "rivals",
]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_PLAIN_YAML_EMAIL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")

# --- which gates, and whether the run counts --------------------------------------------------------------


def gates_of_job(gates: Sequence[Gate], job_id: str, job_name: str) -> tuple[Gate, ...]:
    """The gates that this job feeds.

    A gate that names the job's id goes before one that names it by name, for the same model and alias:
    whoever may edit a job may rename it, and must not get to another gate's approvers by that.

    Args:
        gates: all gates.
        job_id: decimal string.
        job_name: as the Jobs API has it now; empty matches nothing.
    """
    by_id = [gate for gate in gates if job_id in gate.job_ids]
    claimed = {_claim(gate) for gate in by_id}
    return tuple(
        gate
        for gate in gates
        if job_id in gate.job_ids
        or (job_name != "" and job_name in gate.job_names and _claim(gate) not in claimed)
    )


def _claim(gate: Gate) -> tuple[str, str]:
    """The alias that a gate asks for, whose approvers a job must not choose."""
    return gate.destination.casefold(), gate.alias.casefold()


def gate_of(promotion: Promotion, gates: Mapping[str, Gate], registry: str) -> Gate | None:
    """The gate that asked; None if it is not configured any more, or asks for something else by now."""
    gate = gates.get(promotion.gate)
    asked = (promotion.registry, promotion.source_model, promotion.model, promotion.alias)
    if gate is None or (registry, gate.model, gate.destination, gate.alias) != asked:
        return None
    return gate


def rivals(gate: Gate, gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The other gates to the same alias; a job that one of them watches is theirs, also where it is started as a child."""
    return tuple(
        each
        for each in gates
        if each.watches_jobs and each.name != gate.name and _claim(each) == _claim(gate)
    )


def asks_for_same(one: Gate, other: Gate) -> bool:
    """Whether both ask for the same alias."""
    return _claim(one) == _claim(other)


def watching(gate: Gate, gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The gates to this alias that ask about the versions of jobs; it may be one of them."""
    return (*((gate,) if gate.watches_jobs else ()), *rivals(gate, gates))


def ignored_because(run: JobRun | RunFacts, gate: Gate) -> str | None:
    """Why this ended run is nothing to this gate; None if its result is one that the gate accepts, or not known."""
    if run.result is None or run.result is RunResult.SUCCEEDED:
        return None
    said = one_line(run.result_detail) or run.result.value
    if run.result is RunResult.SUCCEEDED_WITH_FAILURES:
        if gate.accept_success_with_failures:
            return None
        return (
            f"Job run {run.run_id} succeeded with failures ({said}), which gate {gate.name!r} does not"
            " accept (accept_success_with_failures)."
        )
    if run.result is RunResult.RUNNING:
        return f"Job run {run.run_id} has not ended yet ({said})."
    if run.result is RunResult.UNSUCCESSFUL:
        return f"Job run {run.run_id} did not succeed ({said})."
    return f"Job run {run.run_id} ended with a result that is not known to be a success ({said})."


# --- eligible or not --------------------------------------------------------------------------------------


def ineligible_because(
    gate: Gate,
    candidate: VersionDetails,
    champion: VersionDetails | None,
    reported: Reported | None = None,
    *,
    is_validated: bool = True,
    made_of: MadeOf | None = None,
) -> str | None:
    """Why nobody is asked about this version; None if it may be asked.

    Args:
        gate: its metric rules apply.
        candidate: the version that asks for the alias.
        champion: the version that holds it; None only after a successful read that found no alias.
        reported: what validations said; None where there was none.
        is_validated: whether the gate's validation, if it has one, is over; before, what it is to report is not judged.
        made_of: the approved version of which the Champion is a copy, as far as that is known.
    """
    problems: list[str] = []
    if champion is not None:
        number, held = candidate.version.number, _held(candidate, champion, made_of)
        copy = "" if gate.promote_to is None else "A copy of "
        if number == held:
            return (
                f"{copy}{'version' if copy else 'Version'} {number} of {gate.model} is {gate.alias} already."
            )
        if held is not None and number < held:
            which = f"a copy of which is {gate.alias}" if copy else f"which is {gate.alias}"
            problems.append(f"version {number} is older than version {held}, {which} now")
    for rule in gate.metrics:
        if rule.source is not None and not is_validated:
            continue
        ours, theirs = figures(rule, candidate, champion, reported)
        compared = None if theirs is None else theirs.on(rule.dataset)
        problems += rule_problems(rule, ours.on(rule.dataset), compared)
    if not problems:
        return None
    text = "; ".join(problems)
    return f"{text[0].upper()}{text[1:]}."


def _held(candidate: VersionDetails, champion: VersionDetails, made_of: MadeOf | None) -> int | None:
    """The number that the alias stands on among the candidate's own model's; None where it stands on none of them."""
    if champion.version.model == candidate.version.model:
        return champion.version.number
    if made_of is None or made_of.model != candidate.version.model:
        return None
    is_another = (
        made_of.version == candidate.version.version and made_of.version_id != candidate.version.version_id
    )
    return None if is_another else int(made_of.version)


def unread_because(gate: Gate, candidate: VersionDetails, champion: VersionDetails | None) -> str:
    """Which numbers that the gate's rules ask for could not be read; empty where none is missing for that."""
    rules = [rule for rule in gate.metrics if rule.source is None]
    needed = [(candidate, rule) for rule in rules]
    if champion is not None:
        needed += [(champion, rule) for rule in rules if rule.max_worse is not None]
    whys = (
        metrics.unread_because(details)
        for details, rule in needed
        if measurements(details, rule.name).on(rule.dataset).value is None
    )
    return next(filter(None, whys), "")


# --- who may decide ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainerIdentities:
    """Who the people behind a version are at the provider.

    Attributes:
        logins: the trainer and whose account must not decide; where trainers may approve, those of `trainers`.
        missing: whole sentences, one for each trainer of whom that cannot be told; while there is one
            nobody is asked.
        nobody: trainers who are no person and stand for none, to be shown to the reviewer.
    """

    logins: tuple[tuple[Trainer, Account], ...]
    missing: tuple[str, ...]
    nobody: tuple[str, ...]


def identify(gate: Gate, trainers: Sequence[Trainer]) -> TrainerIdentities:
    """Map the trainers of a version to logins through the gate's `identities` (names match in any case).

    A name with "@" is a person, and a group is people: they must be mapped. A UUID is a service principal: no
    person, but may be mapped to people. Any other name ("root", "spark") needs an entry, if only an empty one.
    A name that is absent or unreadable is not a person who may be ignored.

    Args:
        gate: `allow_trainer_approval` there lets everybody decide but whom `trainers` lists, and then nobody
            is missing.
        trainers: everybody behind the version; none at all counts as unknown.
    """
    entries = _folded(gate.identities)
    logins: dict[tuple[str, str, str | None], tuple[Trainer, Account]] = {}
    missing: dict[str, str] = {}
    nobody: dict[str, str] = {}
    for trainer in trainers:
        if trainer.role == LISTED_ROLE and gate.trainers:
            continue
        name = (trainer.name or "").strip()
        if not name or not name.isprintable():
            missing.setdefault(f"role {trainer.role}", _unreadable(trainer))
            continue
        key = folded_name(name)
        mapped = entries.get(key)
        if mapped:
            for named in mapped:
                logins.setdefault((key, named.login.casefold(), named.user_id), (trainer, named))
        elif "@" not in name and trainer.role != GROUP_ROLE and (mapped is not None or _UUID.fullmatch(name)):
            nobody.setdefault(key, name)
        else:
            missing.setdefault(key, _unmapped(gate, trainer.role, name))
    if not trainers:
        missing[""] = "It is not known who trained this version, so nobody can be kept from deciding on it."
    if gate.allow_trainer_approval:
        return TrainerIdentities(_listed(gate), (), tuple(nobody.values()))
    return TrainerIdentities(
        (*logins.values(), *_listed(gate)), tuple(missing.values()), tuple(nobody.values())
    )


def is_somebody(gate: Gate, trainer: Trainer) -> bool:
    """Whether a trainer is more than a service principal of which `identities` says nothing."""
    return folded_name(trainer.name) in _folded(gate.identities) or not _UUID.fullmatch(
        (trainer.name or "").strip()
    )


def _listed(gate: Gate) -> tuple[tuple[Trainer, Account], ...]:
    """The people of `trainers`, who may not decide whoever trained the version."""
    return tuple((listed_trainer(), account) for account in gate.trainers)


def listed_trainer() -> Trainer:
    """In whose name the people of `trainers` are kept from deciding, and remembered."""
    return Trainer(LISTED_ROLE, LISTED_NAME)


def folded_name(name: str | None) -> str:
    """A trainer's name as it is compared."""
    return (name or "").strip().casefold()


def _folded(identities: Mapping[str, tuple[Account, ...]]) -> dict[str, tuple[Account, ...]]:
    """The entries by folded name; those that differ only in case are taken together."""
    folded: dict[str, tuple[Account, ...]] = {}
    for name, accounts in identities.items():
        key = folded_name(name)
        named = (replace(each, login=each.login.strip()) for each in accounts)
        folded[key] = folded.get(key, ()) + tuple(each for each in named if each.login)
    return folded


def _unreadable(trainer: Trainer) -> str:
    said = f"cannot be read ({one_line(trainer.name)!r})" if trainer.name else "was not told"
    return f"The {trainer.role} of this version {said}, so this person cannot be kept from deciding on it."


def _unmapped(gate: Gate, role: str, name: str) -> str:
    written = name if _PLAIN_YAML_EMAIL.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    if role == GROUP_ROLE:
        return (
            f"It is not known who is in the group {name} ({role}), and an empty list would keep none of them from"
            f" deciding: add `identities: {{{written}: [<login of each member at the provider>]}}` to gate"
            f" {gate.name!r}."
        )
    line = f"identities: {{{written}: <login at the provider>}}"
    if "@" in name:
        return f"No login at the provider is known for {name} ({role}): add `{line}` to gate {gate.name!r}."
    return (
        f"It is not known who stands behind {name} ({role}): add `{line}` to gate {gate.name!r},"
        f" or `identities: {{{written}: []}}` if nobody does."
    )
