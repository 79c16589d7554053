"""Whether a repository's branch and environments protect an approval, and the ids that must stay the same until it is read.

What is asked of an environment: facts of docs.github.com, "Deployments and environments" (required reviewers,
self-review, administrators' bypass, deployment branches). Of a branch: "Available rules for rulesets".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from champion_gate.adapters.github import models
from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.calls import P, RepositoryCalls
from champion_gate.adapters.github.models import BranchPolicy, BranchRule, ProtectionRule, github
from champion_gate.adapters.github.settings import GitHubPlace
from champion_gate.adapters.pins import changed_pins, unpacked
from champion_gate.domain.canonical import canonical
from champion_gate.domain.ports.approval import Person
from champion_gate.errors import VendorNotFoundError, VendorRefusedError

_MINUTE = timedelta(minutes=1)
_COMPARED = ("repository_id", "owner_id", "bot_id", "workflow_id", "workflow_path", "ref")


@dataclass(frozen=True)
class Environment:
    """One environment as it is now.

    Attributes:
        teams: id -> slug of the teams named as reviewers.
        rules: everything else that protects it, in a form that can be compared.
        waits: how long its timer holds a job, from the job's creation on.
    """

    seat: str
    number: str
    user_ids: frozenset[str]
    teams: Mapping[str, str]
    rules: tuple[str, ...]
    waits: timedelta

    def pin(self) -> Mapping[str, object]:
        """What must stay the same. A team's slug may change, its id may not."""
        return {
            "id": self.number,
            "users": sorted(self.user_ids, key=int),
            "teams": sorted(self.teams, key=int),
            "rules": list(self.rules),
        }


@dataclass(frozen=True)
class _Seen:
    """What GitHub tells of an environment; `policies` are those of its branches, where it has some of its own."""

    environment: models.Environment
    policies: Callable[[], list[BranchPolicy]]


@dataclass(frozen=True)
class Survey:
    """What a look at the place brought.

    Attributes:
        pins: ids to be stored with a request; complete only where there is no problem.
        problems: what makes the place unsafe, each with what to change and where.
        refused: why it could not be looked at, which is one of the problems.
    """

    pins: Mapping[str, str]
    environments: tuple[Environment, ...]
    problems: tuple[str, ...]
    refused: VendorRefusedError | None = None


def survey(api: RepositoryApi) -> Survey:
    """Look at repository, workflow, branch and environments, at all of them at once.

    Raises:
        VendorUnavailableError: GitHub could not be read; a refusal is a problem, not an error.
    """
    problems: list[str] = []
    pins = {"ref": api.spot.ref, "workflow_path": api.spot.workflow_path}
    environments: list[Environment] = []
    refused: VendorRefusedError | None = None
    try:
        api.sign_in()  # once, not by each of the calls
        repository, account, workflow, there = api.together.outcomes(
            api.repository, api.own_account, api.workflow, lambda: _branch_and_environments(api)
        )
        pins |= repository_ids(api, repository, problems)
        bot = account()
        pins |= {"bot_id": bot.user_id, "bot_login": bot.login}
        pins |= _workflow(api, workflow, problems)
        rules, seen = there()
        problems += _branch_problems(api, rules)
        for seat, one in zip(api.spot.seats, seen, strict=True):
            environments += _environment(api, seat, one, bot, problems)
    except VendorRefusedError as error:
        problems.append(f"{api.spot.repository} cannot be checked: {error}")
        refused = error
    pinned = {environment.seat: environment.pin() for environment in environments}
    pins["environments"] = canonical(pinned)
    return Survey(pins, tuple(environments), tuple(problems), refused)


def unreadable_teams(api: RepositoryApi, looked: Survey) -> Iterator[str]:
    """Reviewing teams whose members cannot be read: an approval by one of them could not be told from others'."""
    teams = [(each.seat, slug) for each in looked.environments for slug in each.teams.values()]
    checked = api.together.each_outcome([partial(api.check_team, slug) for _, slug in teams])
    for (seat, slug), check in zip(teams, checked, strict=True):
        try:
            check()
        except VendorRefusedError as refused:
            yield (
                f"{_where(api.spot, seat)}: who is in the team {slug} cannot be read "
                f"({refused.message}). Give the App or token the organization permission Members: read, or "
                "name people instead."
            )


def too_long_waits(api: RepositoryApi, looked: Survey, expires_after: timedelta) -> Iterator[str]:
    """Environments whose timer lets no job start before the request expires."""
    for environment in looked.environments:
        if environment.waits >= expires_after:
            yield (
                f"{_where(api.spot, environment.seat)}: its wait timer of {environment.waits // _MINUTE} minutes is "
                f"no shorter than the gate's `expires_after`, {expires_after // _MINUTE} minutes: no approval could "
                "ever count. Shorten the timer, or lengthen `expires_after` in gates.yaml."
            )


def changes(stored: Mapping[str, str], now: Survey) -> list[str]:
    """In which ways the place is not what it was when the request opened."""
    if now.problems:
        return []
    found = changed_pins(_COMPARED, stored, now.pins)
    before = stored_environments(stored)
    for environment in now.environments:
        was, is_now = before.get(environment.seat), environment.pin()
        if was is None:
            found.append(f"Nothing was stored about environment {environment.seat}.")
            continue
        for key, value in is_now.items():
            if was.get(key) != value:
                found.append(
                    f"Environment {environment.seat}: its {key} changed since approval was asked for "
                    f"(from {was.get(key)} to {value}). Change them back, or cancel and ask afresh."
                )
    return found


def moved(stored: Mapping[str, str], now: Survey) -> str | None:
    """That the repository was transferred since the request opened; nothing fits its pins then, not even its jobs' tokens."""
    number, before, after = stored.get("repository_id"), stored.get("owner_id"), now.pins.get("owner_id")
    if now.pins.get("repository_id") != number or None in {before, after} or before == after:
        return None
    return f"Repository {number} belonged to owner {before} when approval was asked for and belongs to {after} now."


def stored_environments(stored: Mapping[str, str]) -> Mapping[str, Mapping[str, object]]:
    """Seat -> what was pinned of its environment; empty where the pins cannot be read."""
    pinned = unpacked(stored.get("environments", ""))
    return {seat: pin for seat, pin in pinned.items() if isinstance(pin, dict)}


def _branch_and_environments(
    api: RepositoryApi,
) -> tuple[Callable[[], list[BranchRule]], list[Callable[[], _Seen]]]:
    rules, seen = api.together.outcomes(
        api.branch_rules,
        lambda: api.together.each_outcome([partial(_look, api, seat) for seat in api.spot.seats]),
    )
    return rules, seen()


def _look(api: RepositoryApi, seat: str) -> _Seen:
    found = api.environment(seat)
    policy = found.deployment_branch_policy
    if policy is None or policy.protected_branches or not policy.custom_branch_policies:
        return _Seen(found, list)
    (policies,) = api.together.each_outcome([partial(api.branch_policies, seat)])
    return _Seen(found, policies)


def repository_ids(
    api: RepositoryCalls[P], read: Callable[[], models.Repository], problems: list[str]
) -> dict[str, str]:
    """The repository's and its owner's numbers; what is not as gates.yaml has it is a problem."""
    spot = api.spot
    try:
        found = read()
    except VendorNotFoundError as missing:
        raise VendorRefusedError(
            "GitHub",
            f"there is no repository {spot.repository}, or our credentials do not show it.",
            hint="Correct its name in gates.yaml, or give the App or token access to it.",
        ) from missing
    ids = {"repository_id": found.id, "owner_id": found.owner.id}
    if found.full_name.lower() != spot.repository.lower():
        problems.append(f"{spot.repository} is {found.full_name} now: write that name in gates.yaml.")
    if found.archived is not False or found.disabled is True:
        problems.append(f"{spot.repository} is archived or disabled: nobody can be asked there.")
    problems += [
        f"{spot.repository}: gates.yaml demands {key} {wanted}, and GitHub says {ids[key]}. "
        "Another repository bears this name now; if that is wanted, change the number in gates.yaml."
        for key, wanted in spot.wanted_ids.items()
        if key in ids and ids[key] != wanted
    ]
    return ids


def _workflow(api: RepositoryApi, read: Callable[[], models.Workflow], problems: list[str]) -> dict[str, str]:
    spot = api.spot
    try:
        found = read()
    except VendorNotFoundError:
        problems.append(
            f"{spot.repository} has no workflow {spot.workflow_path} on its default branch: "
            "copy deploy/github/champion-gate.yml there."
        )
        return {}
    if found.path != spot.workflow_path:
        problems.append(
            f"{spot.repository}: workflow {spot.workflow} is {found.path}, not {spot.workflow_path}."
        )
    if found.state != "active":
        problems.append(
            f"{spot.repository}: workflow {spot.workflow} is {found.state}: enable it on the Actions page."
        )
    return {"workflow_id": found.id}


def _branch_problems(api: RepositoryApi, read: Callable[[], list[BranchRule]]) -> Iterator[str]:
    """What is missing in the rules of the gate's branch, and where to add it.

    One person alone must not be able to change it: its workflow decides what reviewers are shown and which job is gated.
    Only rulesets are looked at: every credential of ours may read them (Metadata: read), and they exist wherever
    required reviewers do; classic branch protection is shown to administrators alone. Who is on a ruleset's bypass
    list is not told to us.

    Raises:
        VendorRefusedError: the rules are not shown to us.
        VendorUnavailableError: they could not be read.
    """
    page = f"Branch {api.spot.ref} of {api.spot.repository} (Settings, Rules, Rulesets)"
    try:
        rules = read()
    except VendorNotFoundError as missing:
        yield f"{page}: its rules cannot be read ({missing.message})."
        return
    kinds = {rule.type for rule in rules}
    if "update" not in kinds and not any(map(_asks_another, rules)):
        yield (
            f"{page}: whoever may write could change the workflow alone. In an active ruleset turn on `Require a pull "
            "request before merging` with at least one approval, or `Restrict updates`; classic branch protection "
            "is not seen."
        )
    if "deletion" not in kinds:
        yield f"{page}: whoever may write could delete it and make it anew. Turn on `Restrict deletions` in a ruleset."


def _asks_another(rule: BranchRule) -> bool:
    if rule.type != "pull_request":
        return False
    count = rule.parameters.required_approving_review_count if rule.parameters else None
    return github.told(count, "rules.parameters.required_approving_review_count") > 0


def _environment(
    api: RepositoryApi, seat: str, read: Callable[[], _Seen], bot: Person, problems: list[str]
) -> list[Environment]:
    where = _where(api.spot, seat)
    try:
        seen = read()
    except VendorNotFoundError:
        problems.append(
            f"{api.spot.repository} has no environment {seat}: make it under Settings, Environments, "
            "with required reviewers. (A workflow that names it would make it without protection.)"
        )
        return []
    found = seen.environment
    if found.name.lower() != seat.lower():
        problems.append(f"{where}: GitHub answered about {found.name} instead.")
        return []
    number, wanted = found.id, api.spot.wanted_ids.get(f"environment_id:{seat}")
    if wanted not in {None, number}:
        problems.append(
            f"{where}: gates.yaml demands environment id {wanted}, and GitHub says {number}. It was deleted "
            "and made anew; if that is wanted, change the number in gates.yaml."
        )
    rules = found.protection_rules
    reviewed = [rule for rule in rules if rule.type == "required_reviewers"]
    if len(reviewed) != 1 or not reviewed[0].reviewers:
        problems.append(
            f"{where}: it has no required reviewers. Add at least one "
            "(in private repositories this takes GitHub Enterprise)."
        )
        return []
    users, teams = _reviewers(where, reviewed[0], problems)
    if users <= {bot.user_id} and not teams:
        problems.append(f"{where}: nobody but {bot.login}, who asks, could approve. Add another reviewer.")
    if reviewed[0].prevent_self_review is not True:
        problems.append(f"{where}: turn on `Prevent self-review`.")
    if found.can_admins_bypass is not False:
        problems.append(
            f"{where}: turn off `Allow administrators to bypass configured protection rules`; "
            "a bypass cannot be told from an approval."
        )
    described = {*_branches(api, seat, seen, problems), *map(_described, rules)}
    waits = sum(github.told(rule.wait_timer, "wait_timer") for rule in rules if rule.type == "wait_timer")
    return [Environment(seat, number, users, teams, tuple(sorted(described)), waits * _MINUTE)]


def _reviewers(
    where: str, rule: ProtectionRule, problems: list[str]
) -> tuple[frozenset[str], dict[str, str]]:
    users: set[str] = set()
    teams: dict[str, str] = {}
    for entry in rule.reviewers or ():
        reviewer = entry.reviewer
        if entry.type == "User":
            users.add(reviewer.id)
        elif entry.type == "Team":
            teams[reviewer.id] = github.told(reviewer.slug, "reviewer.slug")
        else:
            problems.append(f"{where}: a reviewer of the unknown type {entry.type!r}.")
    return frozenset(users), teams


def _branches(api: RepositoryApi, seat: str, seen: _Seen, problems: list[str]) -> list[str]:
    where, ref = _where(api.spot, seat), api.spot.ref
    policy = seen.environment.deployment_branch_policy
    if policy is not None and policy.protected_branches:
        return ["branches: protected"]
    if policy is not None and policy.custom_branch_policies:
        allowed = [(one.name, one.type) for one in seen.policies()]
        if allowed == [(ref, "branch")]:
            return [f"branches: {ref}"]
    problems.append(
        f"{where}: restrict its deployment branches to protected branches, or to exactly the branch {ref}."
    )
    return []


def _described(rule: ProtectionRule) -> str:
    return f"wait_timer: {rule.wait_timer}" if rule.type == "wait_timer" else rule.type


def _where(spot: GitHubPlace, seat: str) -> str:
    return f"Environment {seat} of {spot.repository} (Settings, Environments)"
