"""`champion-gate setup gitlab`: what protects an approval in a project.

Routes and fields: docs.gitlab.com, "Projects API", "Protected branches API", "Protected environments API". Whoever is no member of
the project is silently left out of a protection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from champion_gate.adapters.gitlab.models import ProtectedBranch, ProtectedEnvironment, gitlab
from champion_gate.adapters.gitlab.people import AccessRule
from champion_gate.adapters.gitlab.settings import GitLabPlace, Protection
from champion_gate.domain.ports.approval import Person
from champion_gate.errors import ConflictError, VendorNotFoundError
from champion_gate.setup.changes import Change, Plan
from champion_gate.setup.gitlab_calls import ProjectCalls

_MAINTAINER = 40
_LONGEST_LIST = 10  # of requests that wait
_SETTINGS: Mapping[str, object] = {
    "ci_pipeline_variables_minimum_override_role": "no_one_allowed",
    "restrict_user_defined_variables": True,  # where it is off, the role above is not looked at
    "ci_forward_deployment_enabled": False,
    "allow_pipeline_trigger_approve_deployment": False,
}
"""Of a project: those that its GitLab and its tier do not tell are left."""
_PREMIUM = "Protected environments take GitLab Premium. Elsewhere write `protection: branch` in gates.yaml."


class Protections:
    """The settings, branch and environments of one project."""

    def __init__(self, calls: ProjectCalls, spots: Sequence[GitLabPlace]) -> None:
        """Nothing is called yet; `spots` are where gates ask in it."""
        self._calls = calls
        self._spots = spots

    def add_to(self, plan: Plan) -> None:
        """Add what has to change, and say what has to be done by hand.

        Raises:
            VendorError: something cannot be read.
        """
        self._add_settings(plan)
        for ref in dict.fromkeys(spot.ref for spot in self._spots):
            self._add_branch(plan, ref)
        for spot in {spot.environment: spot for spot in self._spots}.values():
            if spot.protection is Protection.ENVIRONMENT:
                self._add_environment(plan, self._calls.me(), spot)

    # --- the project and its branch ---------------------------------------------------------------------------

    def _add_settings(self, plan: Plan) -> None:
        now = self._calls.get()
        wanted = {name: to for name, to in _SETTINGS.items() if name in now and now[name] != to}
        if not wanted:
            return
        lines = [
            line for name, to in wanted.items() for line in (f"- {name}: {now[name]}", f"+ {name}: {to}")
        ]
        make = partial(self._calls.send, "PUT", body=wanted)
        loses = (
            f"these settings hold for every pipeline and deployment of {self._calls.where}, not only for ours"
        )
        plan.changes.append(Change(f"settings of {self._calls.where}", tuple(lines), make, stops=(loses,)))

    def _add_branch(self, plan: Plan, ref: str) -> None:
        try:
            found = gitlab.one(
                ProtectedBranch, self._calls.get("protected_branches", ref), "protected branch"
            )
        except VendorNotFoundError:
            body = {"name": ref, "push_access_level": _MAINTAINER, "merge_access_level": _MAINTAINER}
            told = ("+ push and merge: Maintainers",)
            make = partial(self._calls.send, "POST", "protected_branches", body=body)
            plan.changes.append(Change(f"protected branch {ref} of {self._calls.where}", told, make))
            return
        if any(
            AccessRule.of(each).admits_developers
            for each in (*found.push_access_levels, *found.merge_access_levels)
        ):
            plan.remarks.append(
                f"Every Developer may change the branch {ref} of {self._calls.where}: allow Maintainers alone (Settings, Repository, "
                "Protected branches)."
            )

    # --- the environment --------------------------------------------------------------------------------------

    def _add_environment(self, plan: Plan, me: Person, spot: GitLabPlace) -> None:
        name = spot.environment
        where = f"protected environment {name} of {self._calls.where}"
        ids = {named.login: self._user(named.login) for named in spot.approvers}
        now = self._environment(spot)
        if not ids:
            plan.remarks.append(
                f"Say in gates.yaml, under approvers, who may approve; only then can {name} be protected here."
            )
        if me.user_id in ids.values():
            plan.remarks.append(
                f"{me.login} is among the approvers: nobody approves what their own token asks for."
            )
        if now is None:
            rules = ids if 1 < spot.approvals == len(ids) else {}
            self._remark_rules(plan, spot, len(rules))
            if ids:
                body = {"name": name, **_levels(ids, rules)}
                told = tuple(f"+ may deploy: {login}" for login in ids) + tuple(
                    f"+ has to approve: {login}" for login in rules
                )
                make = partial(self._protect, "POST", spot, body, ids)
                plan.changes.append(Change(where, told, make))
            return
        self._remark_rules(plan, spot, sum(each.required_approvals for each in now.approval_rules or []))
        deployers = [AccessRule.of(each) for each in now.deploy_access_levels]
        for each in deployers:
            if each.kind == "role" and 0 < each.number <= _MAINTAINER:
                plan.remarks.append(
                    f"Everybody of a role may deploy to {name} of {self._calls.where}, the owner of the trigger token too: take the role "
                    "off (Settings, CI/CD, Protected environments)."
                )
        there = {each.number for each in deployers if each.kind == "user"}
        missing = {login: user_id for login, user_id in ids.items() if int(user_id) not in there}
        if missing:
            told = tuple(f"+ may deploy: {login}" for login in missing)
            body = _levels(missing, {})
            make = partial(self._protect, "PUT", spot, body, missing)
            plan.changes.append(Change(where, told, make, stops=tuple(self._waiting(spot))))

    def _remark_rules(self, plan: Plan, spot: GitLabPlace, demanded: int) -> None:
        if max(demanded, 1) != spot.approvals:
            plan.remarks.append(
                f"gates.yaml wants {spot.approvals} approvals, and {spot.environment} of {self._calls.where} would demand "
                f"{demanded}: name as many approvers as approvals, or make the rules by hand (Settings, CI/CD, Protected environments)."
            )

    def _protect(
        self, method: str, spot: GitLabPlace, body: Mapping[str, object], ids: Mapping[str, str]
    ) -> None:
        """Those whom GitLab leaves out without a word are named."""
        parts = ("protected_environments", *([] if method == "POST" else [spot.environment]))
        try:
            self._calls.send(method, *parts, body=body)
        except VendorNotFoundError as missing:
            missing.hint = _PREMIUM
            raise
        now = self._environment(spot)
        levels = now.deploy_access_levels if now else []
        left_out = [
            login for login, user_id in ids.items() if int(user_id) not in {each.user_id for each in levels}
        ]
        if left_out:
            raise ConflictError(
                f"GitLab left {', '.join(left_out)} out of the protected environment {spot.environment}.",
                hint=f"Make them members of {self._calls.where}, and run this again.",
            )

    def _environment(self, spot: GitLabPlace) -> ProtectedEnvironment | None:
        try:
            answer = self._calls.get("protected_environments", spot.environment)
        except VendorNotFoundError:
            return None
        return gitlab.one(ProtectedEnvironment, answer, "protected environment")

    def _user(self, login: str) -> str:
        found = self._calls.users(login)
        if len(found) != 1:
            raise ConflictError(
                f"Nobody at GitLab has the username {login}.", hint="Correct it in gates.yaml."
            )
        return found[0].user_id

    def _waiting(self, spot: GitLabPlace) -> Iterator[str]:
        """The pipelines whose approval a changed protection makes void."""
        listed = self._calls.listed("pipelines", ref=spot.ref, status="manual")
        for each in listed[:_LONGEST_LIST]:
            yield f"pipeline {each.get('id')} waits: {each.get('name') or each.get('web_url')}; it has to be asked for afresh"
        if len(listed) > _LONGEST_LIST:
            yield f"and {len(listed) - _LONGEST_LIST} more"


def _levels(deployers: Mapping[str, str], approvers: Mapping[str, str]) -> dict[str, object]:
    levels: dict[str, object] = {
        "deploy_access_levels": [{"user_id": int(each)} for each in deployers.values()]
    }
    rules = [{"user_id": int(each), "required_approvals": 1} for each in approvers.values()]
    return {**levels, **({"approval_rules": rules} if rules else {})}
