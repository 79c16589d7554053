"""The places where people approve: gates.yaml -> ApprovalTarget, and the rules between a place's keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from champion_gate.domain.gates import Account, ApprovalTarget
from champion_gate.settings.gates_model import (
    GateEntry,
    GitHubApprovalEntry,
    GitHubEntry,
    GitLabApprovalEntry,
)
from champion_gate.settings.gates_servers import provider_of
from champion_gate.settings.gates_values import is_github_login

_SYSTEMS = ("github", "gitlab")


def target_of(gate: GateEntry, top: GitHubEntry) -> ApprovalTarget:
    """What the adapter of the gate's CI/CD system reads: the place, and one seat for each approval."""
    github, gitlab = gate.approval.github, gate.approval.gitlab
    key = provider_of(gate, top)
    if github is not None:
        return ApprovalTarget(key, _github_place(github), tuple(github.environments))
    if gitlab is not None:
        return ApprovalTarget(key, _gitlab_place(gitlab), _seats(gitlab))
    raise AssertionError("choice_problems lets no gate without a place pass")


def _github_place(github: GitHubApprovalEntry) -> dict[str, str]:
    place = {"repository": github.repository, "workflow": github.workflow, "ref": github.ref}
    if github.repository_id is not None:
        place["repository_id"] = str(github.repository_id)
    if github.owner_id is not None:
        place["owner_id"] = str(github.owner_id)
    for environment, number in github.environment_ids.items():
        place[f"environment_id:{environment}"] = str(number)
    return place


def _gitlab_place(gitlab: GitLabApprovalEntry) -> dict[str, str]:
    place = {
        "project": str(gitlab.project),
        "ref": gitlab.ref,
        "job": gitlab.job,
        "environment": gitlab.environment,
        "protection": gitlab.protection,
    }
    if gitlab.approvers:
        place["approvers"] = ",".join(map(str, gitlab.approvers))
    if gitlab.bot is not None:
        place["bot"] = gitlab.bot
    if gitlab.namespace_id is not None:
        place["namespace_id"] = str(gitlab.namespace_id)
    return place


def _seats(gitlab: GitLabApprovalEntry) -> tuple[str, ...]:
    """The names under which people read of each approval."""
    if gitlab.approvals == 1:
        return (gitlab.environment,)
    return tuple(f"{gitlab.environment} ({n}/{gitlab.approvals})" for n in range(1, gitlab.approvals + 1))


def has_one_place(gate: GateEntry) -> bool:
    """Whether the gate names one CI/CD system."""
    return (gate.approval.github is None) != (gate.approval.gitlab is None)


def named_systems(raw_gates: object) -> frozenset[str]:
    """The CI/CD systems that gates name, as far as a file that is wrong elsewhere can be read."""
    return frozenset(key for _, approval in _approvals(raw_gates) for key in _SYSTEMS if key in approval)


def choice_problems(raw_gates: object) -> Iterator[str]:
    """One line for each gate that does not name exactly one CI/CD system.

    Args:
        raw_gates: the value of `gates`, as it was read.
    """
    for path, approval in _approvals(raw_gates):
        given = [key for key in _SYSTEMS if key in approval]
        if len(given) > 1:
            yield f"{path}: found github and gitlab; expected one of them (for two systems write two gates)"
        elif not given and not approval:
            yield f"{path}: found no keys; expected one key, github or gitlab"
        elif not given:
            yield f"{path}: has no key github or gitlab; expected one of them"
        elif approval[given[0]] is None:
            yield f"{path}.{given[0]}: found nothing; expected keys with values below them"


def _approvals(raw_gates: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    for index, raw_gate in enumerate(raw_gates if isinstance(raw_gates, list) else []):
        approval = raw_gate.get("approval") if isinstance(raw_gate, dict) else None
        if isinstance(approval, dict):
            yield f"gates[{index}].approval", approval


def place_problems(path: str, gate: GateEntry) -> Iterator[str]:
    """What is wrong between the keys of one gate's place, each as a line with its path.

    Args:
        path: of the gate.
        gate: right by itself.
    """
    if gate.approval.github is not None:
        yield from _environment_problems(f"{path}.approval.github", gate.approval.github)
        yield from _github_login_problems(f"{path}.identities", gate.identities)
        yield from _github_login_problems(path, {"trainers": gate.trainers})
    if gate.approval.gitlab is not None:
        yield from _people_problems(f"{path}.approval.gitlab", gate.approval.gitlab)


def _environment_problems(path: str, github: GitHubApprovalEntry) -> Iterator[str]:
    yield from twice(f"{path}.environments", github.environments, "GitHub")
    for name in github.environment_ids:
        if name not in github.environments:
            yield f"{path}.environment_ids.{name}: is none of the environments {', '.join(github.environments)}"
    if github.ca_file is not None and github.url is None:
        yield f"{path}.ca_file: stands without url; expected it in github: at the top of the file"


def _github_login_problems(path: str, identities: Mapping[str, Sequence[Account]]) -> Iterator[str]:
    for name, accounts in identities.items():
        for account in accounts:
            if not is_github_login(account.login):
                yield f"{path}.{name}: found {account.login!r}; expected a person's GitHub login such as octo-login"


def _people_problems(path: str, gitlab: GitLabApprovalEntry) -> Iterator[str]:
    yield from twice(f"{path}.approvers", [each.login for each in gitlab.approvers], "GitLab")
    if gitlab.approvals > 1 and gitlab.protection == "branch":
        yield (
            f"{path}.approvals: found {gitlab.approvals}; expected 1, because with protection: branch the one "
            "click of whoever starts the job is all there is; several approvals take protection: environment"
        )
    bot = (gitlab.bot or "").casefold()
    usable = [each for each in gitlab.approvers if each.login.casefold() != bot]
    if len(usable) < len(gitlab.approvers):
        yield f"{path}.approvers: names {gitlab.bot}, who asks (bot) and whose approval never counts"
    if gitlab.approvers and len(usable) < gitlab.approvals:
        yield (
            f"{path}.approvers: names {len(usable)} who can approve, and approvals demands {gitlab.approvals} "
            "different people; expected at least as many"
        )


def twice(path: str, names: Sequence[str], vendor: str) -> Iterator[str]:
    """One line for each name of a list at this path that stands there before, in whatever case."""
    folded = [name.casefold() for name in names]
    for index, name in enumerate(folded):
        if name in folded[:index]:
            yield f"{path}[{index}]: found {names[index]!r} a second time ({vendor} ignores case); keep one"
