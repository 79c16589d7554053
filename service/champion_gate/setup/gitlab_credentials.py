"""`champion-gate setup gitlab`: the projects' tokens and webhooks, whose secrets go into the service's variables.

Routes and fields: docs.gitlab.com, "Pipeline trigger tokens API", "Project access tokens API", "Project webhooks API";
gitlab-org/gitlab!231325 for `signing_token`, which is never told again, and silently ignored where the instance does not sign.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from champion_gate.adapters.gitlab.auth import is_shown_as
from champion_gate.adapters.gitlab.models import Trigger, gitlab
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import ConflictError, VendorRefusedError
from champion_gate.settings.env_file import read_env_file, rotate_variable, set_variables
from champion_gate.setup.changes import Change, Plan
from champion_gate.setup.gitlab_calls import NEEDS, ProjectCalls

_READ, _TRIGGER, _API = (f"{PREFIX}GITLAB_{name}_TOKEN" for name in ("READ", "TRIGGER", "API"))
_SIGNING, _WEBHOOK = f"{PREFIX}GITLAB_SIGNING_TOKEN", f"{PREFIX}GITLAB_WEBHOOK_TOKEN"
_NAME = "champion-gate"
_MAINTAINER = 40
_LIFETIME = timedelta(days=364)  # GitLab allows a year
_EVENTS = ("job_events", "pipeline_events", "deployment_events")


@dataclass(frozen=True)
class Service:
    """What is to be set up.

    Attributes:
        url: of the service, as others reach it, without a slash at the end.
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


class Credentials:
    """The tokens and webhooks of the projects in which gates ask. The service knows one secret for all the webhooks."""

    def __init__(self, projects: Sequence[ProjectCalls], service: Service) -> None:
        """Nothing is called yet; `projects` are not empty."""
        self._projects = projects
        self._service = service
        self._alone = len(projects) == 1  # what is made in one project starts and reads nothing in another

    def add_to(self, plan: Plan) -> None:
        """Add what has to change, and say what has to be done by hand.

        Raises:
            VendorError: something cannot be read.
            ConflictError: several webhooks post to the service.
        """
        known = self._service.variables
        for calls in self._projects:
            self._add_webhook(plan, calls, known)
        if self._alone and not known.get(_API):
            self._add_trigger(plan, self._projects[0], known.get(_TRIGGER, ""))
        if self._alone and not known.get(_READ):
            self._add_read_token(plan, self._projects[0], "")
        if not (self._alone or (known.get(_API) and known.get(_READ))):
            plan.remarks.append(
                f"Gates name several projects, and a project's tokens reach no other: make {_API} and {_READ} by hand, of an "
                "account that is a Maintainer of all of them."
            )

    def rotate(self, plan: Plan, restarted: Callable[[], object]) -> None:
        """Add a new secret of the webhooks, and a new token to read with, each beside the one before.

        Raises:
            ConflictError: a project has no such webhook, or there is no secret.
        """
        known, hooks = self._service.variables, [(calls, self._hook(calls)) for calls in self._projects]
        name = next((each for each in (_SIGNING, _WEBHOOK) if known.get(each)), None)
        missing = [calls.where for calls, hook in hooks if hook is None or name is None]
        if name is None or missing:
            raise ConflictError(
                f"There is no webhook of ours in {', '.join(missing)}.",
                hint="Run this without --rotate first.",
            )
        new = self._service.signing_token() if name == _SIGNING else self._service.token()

        def send(calls: ProjectCalls, hook: Mapping[str, Any], secret: str) -> None:
            key = "signing_token" if name == _SIGNING else "token"
            calls.send("PUT", "hooks", str(hook["id"]), body={"url": self._service.hook, key: secret})

        there = [(calls, hook) for calls, hook in hooks if hook is not None]

        def keep() -> None:
            """First GitLab gets what the file has, also where an earlier rotation broke off; so one of the two always fits."""
            for calls, hook in there:
                send(calls, hook, self._service.variables[name])
            self._keep(name, new)
            restarted()

        if self._alone:
            self._add_read_token(plan, self._projects[0], ", the one before into its twin")
        else:
            plan.remarks.append(f"Renew {_API} and {_READ} by hand: gates name several projects.")
        told = (f"+ {name}", f"+ {name}_PREVIOUS (the old one)")
        plan.changes.append(Change(f"secret in {self._service.env_file}", told, keep))
        plan.changes += [
            Change(f"webhook of {calls.where}", ("+ the new secret",), partial(send, calls, hook, new))
            for calls, hook in there
        ]
        plan.remarks.append(
            f"When all is well, revoke the older access token {_NAME} (Settings, Access tokens), and take the lines that end "
            "with _PREVIOUS out. The trigger token is left: requests that wait are tied to its owner."
        )

    # --- tokens -----------------------------------------------------------------------------------------------

    def _add_read_token(self, plan: Plan, calls: ProjectCalls, more: str) -> None:
        told = (f"+ {_NAME}: read_api, Maintainer, for {_LIFETIME.days} days; into {_READ}{more}",)
        make = partial(self._make_read_token, calls)
        plan.changes.append(Change(f"access token of {calls.where}", told, make))

    def _make_read_token(self, calls: ProjectCalls) -> None:
        expires = f"{self._service.now + _LIFETIME:%Y-%m-%d}"
        body = {"name": _NAME, "scopes": ["read_api"], "access_level": _MAINTAINER, "expires_at": expires}
        try:
            token = self._make(calls, "access_tokens", body)
        except VendorRefusedError as refused:
            refused.hint = (
                f"{NEEDS} Where there are no project access tokens (GitLab.com Free), put a Maintainer's personal access token "
                f"with the scope read_api into {_READ}."
            )
            raise
        self._keep(_READ, token)

    def _add_trigger(self, plan: Plan, calls: ProjectCalls, ours: str) -> None:
        triggers, me = gitlab.many(Trigger, calls.listed("triggers"), "triggers"), calls.me()
        if ours and any(is_shown_as(ours, each.token) for each in triggers):
            return
        told = (f"+ {_NAME}, of {me.login}; into {_TRIGGER}",)
        make = partial(self._make_trigger, calls)
        plan.changes.append(Change(f"pipeline trigger token of {calls.where}", told, make))
        plan.remarks.append(
            f"champion-gate will ask as {me.login}, whose approval then never counts. If that should be another account, run this "
            "with a token of that one."
        )

    def _make_trigger(self, calls: ProjectCalls) -> None:
        """It has no twin: the one before stays valid until somebody deletes it."""
        token = self._make(calls, "triggers", {"description": _NAME})
        set_variables(self._service.env_file, {_TRIGGER: token})

    def _make(self, calls: ProjectCalls, kind: str, body: Mapping[str, object]) -> str:
        set_variables(self._service.env_file, {})  # a token that cannot be kept is not made
        made = calls.send("POST", kind, body=body).get("token")
        if not isinstance(made, str) or not made:
            raise ConflictError(
                f"GitLab told no token of the {kind} of {calls.where}.",
                hint="Delete it there, and run this again.",
            )
        return made

    def _keep(self, name: str, value: str) -> None:
        rotate_variable(self._service.env_file, name, value)

    # --- the webhook ------------------------------------------------------------------------------------------

    def _hook(self, calls: ProjectCalls) -> dict[str, Any] | None:
        found = [each for each in calls.listed("hooks") if each.get("url") == self._service.hook]
        if len(found) > 1:
            raise ConflictError(
                f"{len(found)} webhooks of {calls.where} post to {self._service.hook}.",
                hint="Delete all but one.",
            )
        return found[0] if found else None

    def _add_webhook(self, plan: Plan, calls: ProjectCalls, known: Mapping[str, str]) -> None:
        hook = self._hook(calls)
        wanted = {**dict.fromkeys(_EVENTS, True), "enable_ssl_verification": True}
        if hook is None:
            told = (f"+ posts {', '.join(_EVENTS)} to {self._service.hook}",)
            make = partial(self._write_hook, calls, "POST", (), {**wanted, "push_events": False})
            plan.changes.append(Change(f"webhook of {calls.where}", told, make))
            return
        changed = {name: to for name, to in wanted.items() if hook.get(name) is not to}
        signs, signing = bool(hook.get("signing_token_present")), bool(known.get(_SIGNING))
        has_secret = signs if signing else not signs and bool(known.get(_WEBHOOK))
        if changed or not has_secret:
            lines = [f"+ {name}" for name in changed] + ([] if has_secret else ["+ a new secret"])
            make = partial(self._write_hook, calls, "PUT", (str(hook["id"]),), changed, secret=not has_secret)
            plan.changes.append(Change(f"webhook of {calls.where}", tuple(lines), make))

    def _write_hook(
        self,
        calls: ProjectCalls,
        method: str,
        parts: tuple[str, ...],
        body: Mapping[str, object],
        *,
        secret: bool = True,
    ) -> None:
        """A GitLab that does not sign takes no signing token, and says so by not having one afterwards."""
        url = {"url": self._service.hook}
        if not secret:
            calls.send(method, "hooks", *parts, body={**url, **body})
            return
        known = self._service.variables
        set_variables(self._service.env_file, {})  # a secret that cannot be kept is not given away
        signing = known.get(_SIGNING) or self._service.signing_token()
        plain = known.get(_WEBHOOK) or self._service.token()
        made = calls.send(method, "hooks", *parts, body={**url, **body, "signing_token": signing})
        if made.get("signing_token_present") is True:
            self._keep(_SIGNING, signing)
            return
        calls.send("PUT", "hooks", str(made.get("id") or ""), body={**url, "token": plain})
        self._keep(_WEBHOOK, plain)
