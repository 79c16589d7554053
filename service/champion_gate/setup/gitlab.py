"""`champion-gate setup gitlab`: what a project needs so that an approval there is worth something.

Routes and fields: docs.gitlab.com, "Projects API", "Protected branches API", "Protected environments API", "Pipeline trigger tokens API",
"Project access tokens API", "Project webhooks API"; gitlab-org/gitlab!231325 for `signing_token`, which is never told again, and
silently ignored where the instance does not sign. Whoever is no member of the project is silently left out of a protection.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from champion_gate.adapters.gitlab.api import LIMITS, person
from champion_gate.adapters.gitlab.auth import is_shown_as
from champion_gate.adapters.gitlab.models import ProtectedBranch, ProtectedEnvironment, Trigger, gitlab
from champion_gate.adapters.gitlab.people import AccessRule
from champion_gate.adapters.gitlab.settings import GitLabPlace, GitLabServer, Protection
from champion_gate.adapters.http.auth import HeaderTokens
from champion_gate.adapters.http.client import ApiClient
from champion_gate.domain.names import joined
from champion_gate.domain.ports import Person
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import ConflictError, VendorNotFoundError, VendorRefusedError
from champion_gate.settings.env_file import read_env_file, rotated, set_variables
from champion_gate.setup.changes import Change, Plan, needing

_READ, _TRIGGER, _API = (f"{PREFIX}GITLAB_{name}_TOKEN" for name in ("READ", "TRIGGER", "API"))
_SIGNING, _WEBHOOK = f"{PREFIX}GITLAB_SIGNING_TOKEN", f"{PREFIX}GITLAB_WEBHOOK_TOKEN"
_NAME = "champion-gate"
_MAINTAINER = 40
_LIFETIME = timedelta(days=364)  # GitLab allows a year
_LONGEST_LIST = 10  # of requests that wait
_EVENTS = ("job_events", "pipeline_events", "deployment_events")
_SETTINGS: Mapping[str, object] = {
    "ci_pipeline_variables_minimum_override_role": "no_one_allowed",
    "restrict_user_defined_variables": True,  # where it is off, the role above is not looked at
    "ci_forward_deployment_enabled": False,
    "allow_pipeline_trigger_approve_deployment": False,
}
"""Of a project: those that its GitLab and its tier do not tell are left."""
_NEEDS = "It takes the role Maintainer in the project, and a token with the scope api: let somebody who has both run this."
_PREMIUM = "Protected environments take GitLab Premium. Elsewhere write `protection: branch` in gates.yaml."


@dataclass(frozen=True)
class Service:
    """What is to be set up.

    Attributes:
        url: of the service, as others reach it, without a slash at the end.
        env_file: its variables.
        token: makes secrets of 64 hexadecimal digits.
        now: UTC.
    """

    url: str
    env_file: Path
    token: Callable[[], str]
    now: datetime

    @property
    def variables(self) -> dict[str, str]:
        """As they are now."""
        return read_env_file(self.env_file)

    @property
    def hook(self) -> str:
        """Where it takes webhooks."""
        return f"{self.url}/hooks/gitlab"

    def signing_token(self) -> str:
        """A fresh one of 32 bytes, as GitLab takes it."""
        return f"whsec_{base64.b64encode(bytes.fromhex(self.token())).decode()}"


def client_of(server: GitLabServer) -> ApiClient:
    """Calls to a GitLab; nothing is called yet."""
    return ApiClient(
        vendor="GitLab",
        base_url=f"{server.url}/api/v4",
        headers={"Accept": "application/json", "User-Agent": _NAME},
        ca_file=server.ca_file,
        limits=LIMITS,
    )


class ProjectSetup:
    """One project, as the person whose token it is."""

    def __init__(
        self,
        client: ApiClient,
        token: str,
        spots: Sequence[GitLabPlace],
        service: Service,
        *,
        alone: bool = True,
    ) -> None:
        """Nothing is called yet.

        Args:
            client: calls to its GitLab.
            token: the person's.
            spots: where gates ask in it.
            service: what is set up.
            alone: whether it is the only project; what is made in one starts and reads nothing in another.
        """
        self._client = client
        self._auth = HeaderTokens("PRIVATE-TOKEN", [token])
        self._spots = spots
        self._project = str(spots[0].project)
        self._service = service
        self._alone = alone
        self._where = f"project {self._project}"

    def me(self) -> Person:
        """Whose token it is."""
        return person(self._client.get(joined("user"), auth=self._auth))

    def add_to(self, plan: Plan, me: Person) -> None:
        """Add what has to change, and say what has to be done by hand.

        Raises:
            VendorError: something cannot be read.
            ConflictError: several webhooks post to the service.
        """
        known = self._service.variables
        self._add_settings(plan)
        for ref in dict.fromkeys(spot.ref for spot in self._spots):
            self._add_branch(plan, ref)
        for spot in {spot.environment: spot for spot in self._spots}.values():
            if spot.protection is Protection.ENVIRONMENT:
                self._add_environment(plan, me, spot)
        self._add_webhook(plan, known)
        if self._alone and not known.get(_API):
            self._add_trigger(plan, known.get(_TRIGGER, ""), me)
        if self._alone and not known.get(_READ):
            told = (f"+ {_NAME}: read_api, Maintainer, for {_LIFETIME.days} days; into {_READ}",)
            plan.changes.append(Change(f"access token of {self._where}", told, self._make_read_token))
        if not (self._alone or (known.get(_API) and known.get(_READ))):
            plan.remarks.append(
                f"Gates name several projects, and a project's tokens reach no other: make {_API} and {_READ} by hand, of an "
                "account that is a Maintainer of all of them."
            )

    def rotate(self, plan: Plan, restarted: Callable[[], object]) -> None:
        """Add a new secret of the webhook, and a new token to read with, each beside the one before.

        Raises:
            ConflictError: there is no such webhook, or no secret of it.
        """
        known, hook = self._service.variables, self._hook()
        name = next((each for each in (_SIGNING, _WEBHOOK) if known.get(each)), None)
        if hook is None or name is None:
            raise ConflictError(
                f"There is no webhook of ours in {self._where}.", hint="Run this without --rotate first."
            )
        new = self._service.signing_token() if name == _SIGNING else self._service.token()
        values = rotated(known, name, new)

        def keep() -> None:
            set_variables(self._service.env_file, values)
            restarted()

        def send() -> None:
            key = "signing_token" if name == _SIGNING else "token"
            try:
                self._send("PUT", "hooks", str(hook["id"]), body={"url": self._service.hook, key: new})
            except VendorRefusedError:
                before = {each: known.get(each, "") for each in values}
                set_variables(self._service.env_file, before)
                raise

        told = f"+ {_NAME}: read_api, Maintainer, for {_LIFETIME.days} days; into {_READ}, the one before into its twin"
        plan.changes += [
            Change(f"access token of {self._where}", (told,), self._make_read_token),
            Change(
                f"secret in {self._service.env_file}", (f"+ {name}", f"+ {name}_PREVIOUS (the old one)"), keep
            ),
            Change(f"webhook of {self._where}", ("+ the new secret",), send),
        ]
        plan.remarks.append(
            f"When all is well, revoke the older access token {_NAME} (Settings, Access tokens), and take the lines that end "
            "with _PREVIOUS out. The trigger token is left: requests that wait are tied to its owner."
        )

    # --- calls ------------------------------------------------------------------------------------------------

    def _get(self, *parts: str, **params: str) -> Any:
        return self._client.get(self._path(*parts), auth=self._auth, params=params)

    def _listed(self, *parts: str, **params: str) -> list[dict[str, Any]]:
        pages = self._client.get_pages(
            self._path(*parts), auth=self._auth, read=_objects, params={**params, "per_page": "100"}
        )
        return [each for page in pages for each in page]

    def _send(self, method: str, *parts: str, body: Mapping[str, object]) -> dict[str, Any]:
        with needing(_NEEDS):
            answer = self._client.send(method, self._path(*parts), auth=self._auth, body=body).json()
        return answer if isinstance(answer, dict) else {}

    def _path(self, *parts: str) -> str:
        return joined("projects", self._project, *parts)

    # --- the project and its branch ---------------------------------------------------------------------------

    def _add_settings(self, plan: Plan) -> None:
        now = self._get()
        wanted = {name: to for name, to in _SETTINGS.items() if name in now and now[name] != to}
        if not wanted:
            return
        lines = [
            line for name, to in wanted.items() for line in (f"- {name}: {now[name]}", f"+ {name}: {to}")
        ]
        make = partial(self._send, "PUT", body=wanted)
        plan.changes.append(Change(f"settings of {self._where}", tuple(lines), make))

    def _add_branch(self, plan: Plan, ref: str) -> None:
        try:
            found = gitlab.one(ProtectedBranch, self._get("protected_branches", ref), "protected branch")
        except VendorNotFoundError:
            body = {"name": ref, "push_access_level": _MAINTAINER, "merge_access_level": _MAINTAINER}
            told = ("+ push and merge: Maintainers",)
            make = partial(self._send, "POST", "protected_branches", body=body)
            plan.changes.append(Change(f"protected branch {ref} of {self._where}", told, make))
            return
        if any(
            AccessRule.of(each).admits_developers
            for each in (*found.push_access_levels, *found.merge_access_levels)
        ):
            plan.remarks.append(
                f"Every Developer may change the branch {ref} of {self._where}: allow Maintainers alone (Settings, Repository, "
                "Protected branches)."
            )

    # --- the environment --------------------------------------------------------------------------------------

    def _add_environment(self, plan: Plan, me: Person, spot: GitLabPlace) -> None:
        name = spot.environment
        where = f"protected environment {name} of {self._where}"
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
            rules = ids if spot.approvals > 1 else {}
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
                    f"Everybody of a role may deploy to {name} of {self._where}, the owner of the trigger token too: take the role "
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
                f"gates.yaml wants {spot.approvals} approvals, and {spot.environment} of {self._where} would demand "
                f"{demanded}: name as many approvers as approvals, or make the rules by hand (Settings, CI/CD, Protected environments)."
            )

    def _protect(
        self, method: str, spot: GitLabPlace, body: Mapping[str, object], ids: Mapping[str, str]
    ) -> None:
        """Those whom GitLab leaves out without a word are named."""
        parts = ("protected_environments", *([] if method == "POST" else [spot.environment]))
        try:
            self._send(method, *parts, body=body)
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
                hint=f"Make them members of {self._where}, and run this again.",
            )

    def _environment(self, spot: GitLabPlace) -> ProtectedEnvironment | None:
        try:
            answer = self._get("protected_environments", spot.environment)
        except VendorNotFoundError:
            return None
        return gitlab.one(ProtectedEnvironment, answer, "protected environment")

    def _user(self, login: str) -> str:
        listed = self._client.get(joined("users"), auth=self._auth, params={"username": login})
        found = [person(each) for each in _objects(listed)]
        if len(found) != 1:
            raise ConflictError(
                f"Nobody at GitLab has the username {login}.", hint="Correct it in gates.yaml."
            )
        return found[0].user_id

    def _waiting(self, spot: GitLabPlace) -> Iterator[str]:
        """The pipelines whose approval a changed protection makes void."""
        listed = self._listed("pipelines", ref=spot.ref, status="manual")
        for each in listed[:_LONGEST_LIST]:
            yield f"pipeline {each.get('id')} waits: {each.get('name') or each.get('web_url')}; it has to be asked for afresh"
        if len(listed) > _LONGEST_LIST:
            yield f"and {len(listed) - _LONGEST_LIST} more"

    # --- tokens -----------------------------------------------------------------------------------------------

    def _make_read_token(self) -> None:
        expires = f"{self._service.now + _LIFETIME:%Y-%m-%d}"
        body = {"name": _NAME, "scopes": ["read_api"], "access_level": _MAINTAINER, "expires_at": expires}
        try:
            token = self._make("access_tokens", body)
        except VendorRefusedError as refused:
            refused.hint = (
                f"{_NEEDS} Where there are no project access tokens (GitLab.com Free), put a Maintainer's personal access token "
                f"with the scope read_api into {_READ}."
            )
            raise
        self._keep(_READ, token)

    def _add_trigger(self, plan: Plan, ours: str, me: Person) -> None:
        triggers = gitlab.many(Trigger, self._listed("triggers"), "triggers")
        if ours and any(is_shown_as(ours, each.token) for each in triggers):
            return
        told = (f"+ {_NAME}, of {me.login}; into {_TRIGGER}",)
        plan.changes.append(Change(f"pipeline trigger token of {self._where}", told, self._make_trigger))
        plan.remarks.append(
            f"champion-gate will ask as {me.login}, whose approval then never counts. If that should be another account, run this "
            "with a token of that one."
        )

    def _make_trigger(self) -> None:
        """It has no twin: the one before stays valid until somebody deletes it."""
        token = self._make("triggers", {"description": _NAME})
        set_variables(self._service.env_file, {_TRIGGER: token})

    def _make(self, kind: str, body: Mapping[str, object]) -> str:
        set_variables(self._service.env_file, {})  # a token that cannot be kept is not made
        made = self._send("POST", kind, body=body).get("token")
        if not isinstance(made, str) or not made:
            raise ConflictError(
                f"GitLab told no token of the {kind} of {self._where}.",
                hint="Delete it there, and run this again.",
            )
        return made

    def _keep(self, name: str, value: str) -> None:
        set_variables(self._service.env_file, rotated(self._service.variables, name, value))

    # --- the webhook ------------------------------------------------------------------------------------------

    def _hook(self) -> dict[str, Any] | None:
        found = [each for each in self._listed("hooks") if each.get("url") == self._service.hook]
        if len(found) > 1:
            raise ConflictError(
                f"{len(found)} webhooks of {self._where} post to {self._service.hook}.",
                hint="Delete all but one.",
            )
        return found[0] if found else None

    def _add_webhook(self, plan: Plan, known: Mapping[str, str]) -> None:
        hook = self._hook()
        wanted = {**dict.fromkeys(_EVENTS, True), "enable_ssl_verification": True}
        if hook is None:
            told = (f"+ posts {', '.join(_EVENTS)} to {self._service.hook}",)
            make = partial(self._write_hook, "POST", (), {**wanted, "push_events": False})
            plan.changes.append(Change(f"webhook of {self._where}", told, make))
            return
        changed = {name: to for name, to in wanted.items() if hook.get(name) is not to}
        has_secret = bool(known.get(_SIGNING if hook.get("signing_token_present") else _WEBHOOK))
        if changed or not has_secret:
            lines = [f"+ {name}" for name in changed] + ([] if has_secret else ["+ a new secret"])
            make = partial(self._write_hook, "PUT", (str(hook["id"]),), changed, secret=not has_secret)
            plan.changes.append(Change(f"webhook of {self._where}", tuple(lines), make))

    def _write_hook(
        self, method: str, parts: tuple[str, ...], body: Mapping[str, object], *, secret: bool = True
    ) -> None:
        """A GitLab that does not sign takes no signing token, and says so by not having one afterwards."""
        url = {"url": self._service.hook}
        if not secret:
            self._send(method, "hooks", *parts, body={**url, **body})
            return
        set_variables(self._service.env_file, {})  # a secret that cannot be kept is not given away
        signing, plain = self._service.signing_token(), self._service.token()
        made = self._send(method, "hooks", *parts, body={**url, **body, "signing_token": signing})
        if made.get("signing_token_present") is True:
            self._keep(_SIGNING, signing)
            return
        self._send("PUT", "hooks", str(made.get("id") or ""), body={**url, "token": plain})
        self._keep(_WEBHOOK, plain)


def _levels(deployers: Mapping[str, str], approvers: Mapping[str, str]) -> dict[str, object]:
    levels: dict[str, object] = {
        "deploy_access_levels": [{"user_id": int(each)} for each in deployers.values()]
    }
    rules = [{"user_id": int(each), "required_approvals": 1} for each in approvers.values()]
    return {**levels, **({"approval_rules": rules} if rules else {})}


def _objects(page: object) -> list[dict[str, Any]]:
    return [each for each in page if isinstance(each, dict)] if isinstance(page, list) else []
