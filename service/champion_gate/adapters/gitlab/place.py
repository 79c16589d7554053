"""Whether a project's protections make an approval worth something, and what must stay the same until it is read.

What is asked of a place: docs.gitlab.com, "Protected environments", "Deployment approvals", "Protected branches".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from champion_gate.adapters.gitlab.api import ProjectApi
from champion_gate.adapters.gitlab.auth import own_account
from champion_gate.adapters.gitlab.branch import Branch, branch_problems, read_branch
from champion_gate.adapters.gitlab.models import Project, ProtectedEnvironment
from champion_gate.adapters.gitlab.people import AccessRule, People
from champion_gate.adapters.gitlab.settings import GitLabPlace, Protection
from champion_gate.adapters.pins import changed_pins, unpacked
from champion_gate.domain.canonical import canonical
from champion_gate.domain.ports.approval import Person
from champion_gate.errors import VendorNotFoundError, VendorRefusedError

_COMPARED = (
    "project_id",
    "namespace_id",
    "bot_id",
    "source",
    "ref",
    "job",
    "environment",
    "protection",
    "approvers",
)
_RULES = {
    "push": "who may push to the branch",
    "merge": "who may merge into the branch",
    "deployers": "who may deploy to the environment",
    "approval_rules": "who has to approve deployments to the environment",
}


@dataclass(frozen=True)
class Rules:
    """Everything that says who may do what.

    Attributes:
        push, merge: of all protected branches that our ref falls under.
        deployers: who may let the gated job start; empty without a protected environment.
        approvers: the environment's approval rules; empty where playing the job is the approval.
    """

    push: tuple[AccessRule, ...] = ()
    merge: tuple[AccessRule, ...] = ()
    deployers: tuple[AccessRule, ...] = ()
    approvers: tuple[AccessRule, ...] = ()

    def pin(self) -> str:
        """As JSON, in an order that does not depend on GitLab's."""
        pinned = {
            "push": self.push,
            "merge": self.merge,
            "deployers": self.deployers,
            "approval_rules": self.approvers,
        }
        in_order = {key: sorted((rule.pin() for rule in rules), key=repr) for key, rules in pinned.items()}
        return canonical(in_order)


@dataclass(frozen=True)
class Survey:
    """What a look at the place brought.

    Attributes:
        pins: ids to be stored with a request; complete only where there is no problem.
        approver_ids: the people whom the gate names; empty where it names none.
        problems: what makes the place unsafe, each with what to change and where.
        refused: why it could not be looked at, which is one of the problems.
    """

    pins: Mapping[str, str]
    rules: Rules
    approver_ids: frozenset[str]
    problems: tuple[str, ...]
    refused: VendorRefusedError | None = None


def survey(api: ProjectApi, people: People, now: datetime) -> Survey:
    """Look at project, protections and our own account, at all of them at once.

    Raises:
        VendorUnavailableError: GitLab could not be read; a refusal is a problem, not an error.
    """
    spot, problems, rules = api.spot, list[str](), Rules()
    approver_ids: frozenset[str] = frozenset()
    refused: VendorRefusedError | None = None
    pins = {
        "ref": spot.ref,
        "job": spot.job,
        "environment": spot.environment,
        "protection": spot.protection.value,
        "source": api.tokens.source,
    }
    try:
        project, account, opener, there = api.together.outcomes(
            lambda: _project(api),
            lambda: own_account(api, now),
            lambda: _other_account(api),
            lambda: _protections(api),
        )
        found = project()
        pins |= _project_ids(spot, found, problems)
        bot = account()
        # The api token's account cancels pipelines; with its token somebody could also play their jobs.
        own = {each.user_id: each for each in (bot, opener()) if each is not None}
        pins |= {"bot_id": bot.user_id, "bot_login": bot.login, "openers": ",".join(sorted(own))}
        protections = there()
        approver_ids = _approvers(spot, protections.approvers, bot, problems)
        branch = protections.branch()
        problems += branch_problems(spot, branch, people, bot)
        rules = Rules(push=branch.push, merge=branch.merge)
        if spot.protection is Protection.ENVIRONMENT:
            (environment,) = protections.environment
            rules = _environment(spot, environment, rules, problems)
            problems += _self_approval(spot, found, rules)
        for each in own.values():
            problems += _bot_may_decide(spot, people, rules, each)
        problems += [
            f"{_environment_page(spot)}: {each}. Let our read token's account see the group, or name people."
            for each in people.unreadable_groups([*rules.deployers, *rules.approvers])
        ]
        problems += _seats_wanted(spot, rules)
    except VendorRefusedError as error:
        problems.append(f"Project {spot.project} cannot be checked: {error}")
        refused = error
    pins |= {"approvers": ",".join(sorted(approver_ids, key=int)), "rules": rules.pin()}
    return Survey(pins, rules, approver_ids, tuple(problems), refused)


def changes(stored: Mapping[str, str], now: Survey) -> list[str]:
    """In which ways the place is not what it was when the request opened."""
    if now.problems:
        return []
    found = changed_pins(_COMPARED, stored, now.pins)
    before, after = unpacked(stored.get("rules", "")), unpacked(now.pins["rules"])
    return found + [
        f"{words[0].upper()}{words[1:]} changed since approval was asked for "
        f"(from {before.get(key)} to {after[key]}). Change it back, or cancel and ask afresh."
        for key, words in _RULES.items()
        if before.get(key) != after[key]
    ]


def moved(stored: Mapping[str, str], now: Survey) -> str | None:
    """That the project was transferred since the request opened; nothing fits its pins then, not even its jobs' tokens."""
    before, after = stored.get("namespace_id"), now.pins.get("namespace_id")
    if now.pins.get("project_id") != stored.get("project_id") or None in {before, after} or before == after:
        return None
    return f"Project {stored['project_id']} was in namespace {before} when approval was asked for and is in {after} now."


def _project(api: ProjectApi) -> Project:
    try:
        return api.project()
    except VendorNotFoundError as missing:
        raise VendorRefusedError(
            "GitLab",
            f"there is no project {api.spot.project}, or our read token does not show it.",
            hint="Correct its number in gates.yaml, or make the token's account a member.",
        ) from missing


def _project_ids(spot: GitLabPlace, found: Project, problems: list[str]) -> dict[str, str]:
    path = found.path_with_namespace
    ids = {"project_id": found.id, "namespace_id": found.namespace.id, "project_path": path}
    if ids["project_id"] != str(spot.project):
        problems.append(f"GitLab answered about project {ids['project_id']} instead of {spot.project}.")
    if found.archived is not False:
        problems.append(f"{path} is archived: no pipeline runs there.")
    if found.ci_pipeline_variables_minimum_override_role != "no_one_allowed":
        problems.append(
            f"{path}: set `Minimum role to use pipeline variables` to `No one allowed` (Settings, CI/CD, "
            "Variables): whoever runs the job could lead its token elsewhere by a proxy of theirs."
        )
    problems += [
        f"{path}: gates.yaml demands {key} {wanted}, and GitLab says {ids[key]}. "
        "It was moved; if that is wanted, change the number in gates.yaml."
        for key, wanted in spot.wanted_ids.items()
        if ids[key] != wanted
    ]
    return ids | {"ci_config_ref_uri": _ci_config(found, path, spot, problems)}


def _ci_config(found: Project, path: str, spot: GitLabPlace, problems: list[str]) -> str:
    """Which file a job's token names as its configuration: `HOST/PATH//FILE@refs/heads/BRANCH`.

    The host is that of GitLab's own address, which need not be the one by which we call it.
    """
    address = found.web_url.partition("://")[2]
    file = found.ci_config_path or ".gitlab-ci.yml"
    if "@" in file or "://" in file:
        problems.append(
            f"{path}: its CI/CD configuration file is {file}, which lies outside the project. "
            "Keep it inside (Settings, CI/CD, General pipelines)."
        )
    return f"{address}//{file}@refs/heads/{spot.ref}"


def _other_account(api: ProjectApi) -> Person | None:
    """The account of the api token where a trigger token starts pipelines; else that is the one that starts them."""
    return api.opener() if api.tokens.api is not None and api.tokens.trigger is not None else None


@dataclass(frozen=True)
class _Protections:
    """What reading each of them came to.

    Attributes:
        environment: none, where the gate does without its protection.
        approvers: in the order in which the gate names them.
    """

    branch: Callable[[], Branch]
    environment: Sequence[Callable[[], ProtectedEnvironment]]
    approvers: Sequence[Callable[[], Person]]


def _protections(api: ProjectApi) -> _Protections:
    protected = [api.protected_environment] if api.spot.protection is Protection.ENVIRONMENT else []
    branch, environment, approvers = api.together.outcomes(
        lambda: read_branch(api),
        lambda: api.together.each_outcome(protected),
        lambda: api.together.each_outcome([partial(api.account, named) for named in api.spot.approvers]),
    )
    return _Protections(branch, environment(), approvers())


def _approvers(
    spot: GitLabPlace, found: Sequence[Callable[[], Person]], bot: Person, problems: list[str]
) -> frozenset[str]:
    """The ids of the people whom the gate names as `approvers`."""
    ids = set()
    for named, account in zip(spot.approvers, found, strict=True):
        login = named.login
        try:
            ids.add(account().user_id)
        except VendorNotFoundError:
            problems.append(f"`approvers` names {login}, whom nobody knows at GitLab.")
        except VendorRefusedError as refused:
            problems.append(f"`approvers` names {login}: {refused}")
    if ids and ids <= {bot.user_id}:
        problems.append(f"`approvers` names nobody but {bot.login}, who asks. Add somebody else.")
    return frozenset(ids)


# --- the environment --------------------------------------------------------------------------------------


def _environment(
    spot: GitLabPlace,
    read: Callable[[], ProtectedEnvironment],
    branch: Rules,
    problems: list[str],
) -> Rules:
    where = _environment_page(spot)
    try:
        found = read()
    except VendorNotFoundError:
        problems.append(
            f"{where}: it is not protected, or the project's tier has no protected environments. "
            "Protect it (GitLab Premium), or set `protection: branch`."
        )
        return branch
    if found.name != spot.environment:
        problems.append(f"{where}: GitLab answered about {found.name} instead.")
        return branch
    deployers = tuple(AccessRule.of(entry) for entry in found.deploy_access_levels)
    approvers = tuple(_approval_rules(found, deployers))
    strange = {rule.strange_because for rule in (*deployers, *approvers)} - {None}
    problems += [f"{where}: {each}." for each in sorted(filter(None, strange))]
    if all(rule.kind == "role" and not rule.number for rule in deployers):
        problems.append(f"{where}: nobody is allowed to deploy to it.")
    if any(rule.admits_developers for rule in deployers):
        problems.append(
            f"{where}: every Developer may deploy to it. Allow Maintainers, or name people or groups."
        )
    if any(rule.admits_developers for rule in approvers):
        problems.append(f"{where}: every Developer may approve. Name people, groups or Maintainers.")
    return Rules(branch.push, branch.merge, deployers, approvers)


def _approval_rules(found: ProtectedEnvironment, deployers: Sequence[AccessRule]) -> Iterator[AccessRule]:
    """Who has to approve, and how often; rules that demand nothing are left out.

    With the older, unified setting whoever may deploy may approve, so many times in all
    (docs.gitlab.com, "Protected environments API", required_approval_count).
    """
    rules = [AccessRule.of(entry) for entry in found.approval_rules or []]
    yield from (rule for rule in rules if rule.approvals > 0)
    unified = found.required_approval_count or 0
    if unified > 0 and not any(rule.approvals for rule in rules):
        for index, rule in enumerate(deployers):
            yield AccessRule(rule.kind, rule.number, rule.inherited, unified if index == 0 else 0)


def _self_approval(spot: GitLabPlace, project: Project, rules: Rules) -> Iterator[str]:
    """With this setting on, whoever starts a pipeline may approve its deployment; ours are started by a token."""
    if rules.approvers and project.allow_pipeline_trigger_approve_deployment is not False:
        yield (
            f"{_environment_page(spot)}: turn off `Allow pipeline triggerer to approve deployment`: "
            "who has our token could approve what it asks for."
        )


def _seats_wanted(spot: GitLabPlace, rules: Rules) -> Iterator[str]:
    """Each approval that GitLab demands is a seat, filled by a person of its own."""
    demanded = sum(rule.approvals for rule in rules.approvers)
    if len(spot.seats) == max(demanded, 1):
        return
    if demanded:
        yield (
            f"{_environment_page(spot)}: it demands {demanded} approvals, and gates.yaml {len(spot.seats)}. "
            "Make the numbers equal."
        )
    else:
        yield (
            f"gates.yaml demands {len(spot.seats)} approvals, and there is one click: who plays the job. "
            "Several take approval rules on the protected environment (GitLab Premium)."
        )


def _bot_may_decide(spot: GitLabPlace, people: People, rules: Rules, bot: Person) -> Iterator[str]:
    """Whether our own account could let the job start.

    With a protected branch only, it always could: who may start a pipeline there may play its jobs. Its
    click is then never believed.
    """
    if spot.protection is Protection.ENVIRONMENT and people.fulfils(rules.deployers, bot.user_id):
        yield (
            f"{_environment_page(spot)}: {bot.login}, with whose token we ask, may deploy to it. "
            "Give it the role Developer and add it to `Allowed to merge` of the branch, or let deploy "
            "only people that you name."
        )


def _environment_page(spot: GitLabPlace) -> str:
    return (
        f"Environment {spot.environment} of project {spot.project} (Settings, CI/CD, Protected environments)"
    )
