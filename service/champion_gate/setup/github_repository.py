"""What a repository has to have so that people can approve in it: environments, a variable, the workflow."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from champion_gate.adapters.github.api import as_listed
from champion_gate.adapters.github.app import workflow_template
from champion_gate.adapters.github.models import Environment
from champion_gate.adapters.github.settings import check_login
from champion_gate.errors import InvalidInputError, VendorNotFoundError
from champion_gate.setup.changes import Change, Plan
from champion_gate.setup.github_api import PullRequest, SetupApi

VARIABLE = "CHAMPION_GATE_URL"

_WAITS_AT_MOST = timedelta(days=30)  # then GitHub ends a run that nobody approved
_PAGES = 10
_WHY = (
    "champion-gate starts this workflow for every model version that asks for an alias. It shows reviewers what they are asked, "
    "and then has champion-gate read their reviews. It holds no secret. This is the template of champion-gate, unchanged."
)


@dataclass(frozen=True)
class Reviewer:
    """Who may approve; `type` is `User` or `Team`."""

    type: str
    id: int
    name: str = field(compare=False)

    def __str__(self) -> str:
        return f"team {self.name}" if self.type == "Team" else self.name


def reviewers_of(api: SetupApi, names: Sequence[str]) -> list[Reviewer]:
    """The people (`login`) and teams (`ORG/team`) of these names, as an environment lists them.

    Raises:
        InvalidInputError: a team of another organization, or an account that is no person.
        VendorNotFoundError: there is none of this name.
    """
    found: list[Reviewer] = []
    for name in names:
        org, slash, slug = name.rpartition("/")
        if slash:
            if org.casefold() != api.spot.owner.casefold():
                raise InvalidInputError(f"{name} is no team of {api.spot.owner}.")
            found.append(Reviewer("Team", int(api.team(slug).id), slug))
            continue
        user = api.user(check_login(name))
        if user.type != "User":
            raise InvalidInputError(f"{name} is an account of type {user.type}, no person.")
        found.append(Reviewer("User", int(user.id), user.login))
    return found


def plan_repository(
    api: SetupApi,
    more: Sequence[Reviewer],
    public_url: str,
    now: datetime,
    say: Callable[[str], None],
) -> tuple[Plan, bool]:
    """What is to be changed in the repository, and whether teams will review."""
    plan = Plan()
    teams = False
    for seat in api.spot.seats:
        found = api.found_environment(seat)
        reviewers = _reviewers(found, more)
        teams = teams or any(each.type == "Team" for each in reviewers)
        if reviewers:
            plan.changes += _environment(api, seat, found, more, now)
        else:
            plan.remarks.append(f"environment {seat} has nobody who may approve: name some with --reviewer.")
    was = api.variable(VARIABLE)
    if was != public_url:
        plan.changes.append(
            Change(
                f"variable {VARIABLE} of {api.spot.repository}",
                tuple(_difference({} if was is None else {VARIABLE: was}, {VARIABLE: public_url})),
                lambda: api.set_variable(VARIABLE, public_url),
                () if was is None else (f"the repository's runs call {was} no more",),
            )
        )
    plan.changes += _workflow(api, plan.remarks, say)
    return plan, teams


# --- environments -----------------------------------------------------------------------------------------


def _environment(
    api: SetupApi,
    seat: str,
    found: Environment | None,
    more: Sequence[Reviewer],
    now: datetime,
) -> Iterator[Change]:
    before = {} if found is None else _as_it_is(api, seat, found)
    wanted = _wanted(api, seat, found, more)
    if before == wanted:
        return

    def make() -> None:
        again = api.found_environment(seat)
        body = _wanted(api, seat, again, more)
        custom = body.pop("branches") != "protected"
        body["reviewers"] = [{"type": one.type, "id": one.id} for one in _reviewers(again, more)]
        policy = {"protected_branches": not custom, "custom_branch_policies": custom}
        api.put_environment(seat, {**body, "deployment_branch_policy": policy})
        if custom:
            api.allow_only(seat, api.spot.ref)

    stops = (*_shut_out(before, wanted), *(_waiting(api, now) if found is not None else ()))
    what = f"environment {seat} of {api.spot.repository}"
    yield Change(what, tuple(_difference(before, wanted)), make, stops)


def _as_it_is(api: SetupApi, seat: str, found: Environment) -> dict[str, object]:
    rules = {rule.type: rule for rule in found.protection_rules}
    reviewed, timer = rules.get("required_reviewers"), rules.get("wait_timer")
    policy = found.deployment_branch_policy
    if policy is None:
        branches: object = "all"
    elif policy.protected_branches:
        branches = "protected"
    else:
        branches = sorted(f"{one.name} ({one.type})" for one in api.branch_policies(seat))
    return {
        "reviewers": _reviewers(found, ()),
        "prevent_self_review": reviewed is not None and reviewed.prevent_self_review is True,
        "can_admins_bypass": found.can_admins_bypass is not False,
        "wait_timer": (timer.wait_timer or 0) if timer is not None else 0,
        "branches": branches,
    }


def _wanted(
    api: SetupApi, seat: str, found: Environment | None, more: Sequence[Reviewer]
) -> dict[str, object]:
    """The same as the service will demand it (`adapters/github/place.py`); others' reviewers and wait timer stay."""
    before = {} if found is None else _as_it_is(api, seat, found)
    return {
        "reviewers": _reviewers(found, more),
        "prevent_self_review": True,
        "can_admins_bypass": False,
        "wait_timer": before.get("wait_timer", 0),
        "branches": "protected" if before.get("branches") == "protected" else [f"{api.spot.ref} (branch)"],
    }


def _reviewers(found: Environment | None, more: Sequence[Reviewer]) -> list[Reviewer]:
    rules = found.protection_rules if found is not None else []
    there = [
        Reviewer(entry.type or "", int(entry.reviewer.id), entry.reviewer.name)
        for rule in rules
        if rule.type == "required_reviewers"
        for entry in rule.reviewers or ()
    ]
    return there + [one for one in more if one not in there]


def _shut_out(before: Mapping[str, object], wanted: Mapping[str, object]) -> Iterator[str]:
    """The branches from which nobody deploys there any more."""
    had, stay = before.get("branches"), wanted["branches"]
    if had == "all":
        yield "from other branches nobody can deploy to it any more"
    elif isinstance(had, list) and isinstance(stay, list):
        yield from (f"from {one} nobody can deploy to it any more" for one in had if one not in stay)


def _waiting(api: SetupApi, now: datetime) -> Iterator[str]:
    """The workflow's runs that wait for people: of each the environment must be what it was when they were asked."""
    try:
        runs, whole = api.newest_runs(now - _WAITS_AT_MOST, as_listed, most=_PAGES)
    except VendorNotFoundError:
        return  # no workflow, so no runs
    for run in runs:
        if run.status == "waiting":
            yield f"{run.title} waits for people, and may have to be asked for anew: {run.url}"
    if not whole:
        yield f"of the workflow's runs only the newest {len(runs)} were looked at: older ones may wait too."


# --- the workflow -----------------------------------------------------------------------------------------


def _workflow(api: SetupApi, remarks: list[str], say: Callable[[str], None]) -> Iterator[Change]:
    """A pull request where the file on the gate's branch is not the template; its branch is named after what it holds."""
    template, spot = workflow_template(), api.spot
    there = api.file(spot.workflow_path, spot.ref)
    if there is not None and there[0] == template:
        return
    branch = f"champion-gate-workflow-{hashlib.sha256(spot.ref.encode() + template).hexdigest()[:12]}"
    known = api.pull_request(branch, spot.ref)
    proposed = api.file(spot.workflow_path, branch) if known is not None else None
    if known is not None and proposed is not None and proposed[0] == template:
        remarks.append(_unmerged(known))
        return
    title = f"{'Add' if there is None else 'Renew'} the workflow in which people approve for champion-gate"

    def make() -> None:
        opened = api.pull_request(branch, spot.ref)
        if opened is None:
            api.make_branch(branch, spot.ref)
        now = api.file(spot.workflow_path, branch)
        if now is None or now[0] != template:
            api.put_file(spot.workflow_path, template, branch, title, None if now is None else now[1])
        opened = opened or api.open_pull_request(branch, spot.ref, title, _WHY)
        say(_unmerged(opened))

    yield Change(
        f"pull request to {spot.ref} of {spot.repository}",
        tuple(
            _difference(
                {} if there is None else {spot.workflow_path: "another file"},
                {spot.workflow_path: "the template"},
            )
        ),
        make,
    )


def _unmerged(request: PullRequest) -> str:
    return f"{request.html_url} waits to be merged: before that nobody can be asked."


def _difference(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name, new in after.items():
        old = before.get(name)
        if old != new:
            yield from () if old is None else (f"- {name}: {_shown(old)}",)
            yield f"+ {name}: {_shown(new)}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
