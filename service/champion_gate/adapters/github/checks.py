"""What `champion-gate doctor` looks at in GitHub: credentials, App, webhook, workflow file and variable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from champion_gate.adapters.ci_checks import ADDRESS, SEEN_LATER, CiFile, decoded, delivered
from champion_gate.adapters.github.app import (
    HARMLESS,
    RegisteredApp,
    needed_permissions,
    own_app,
    own_webhook,
    settings_page,
    site_of,
    workflow_template,
)
from champion_gate.adapters.github.models import HookConfig, HookDelivery, github
from champion_gate.adapters.github.settings import GitHubServer
from champion_gate.adapters.github.webhook import EVENTS
from champion_gate.domain.addresses import host_of
from champion_gate.domain.findings import AWAY, Check, Checkup, Finding
from champion_gate.domain.gates import Gate
from champion_gate.domain.names import joined
from champion_gate.domain.text import one_line
from champion_gate.domain.vendors import Host
from champion_gate.errors import VendorNotFoundError, VendorRefusedError, VendorUnavailableError

if TYPE_CHECKING:
    from champion_gate.adapters.github.api import RepositoryApi
    from champion_gate.adapters.github.auth import AppAccess
    from champion_gate.adapters.github.provider import GitHub

_CREDENTIALS = Check(
    "github.credentials",
    "GitHub answers, and takes our App or token",
    "Nobody can be asked, and no decision read, without it.",
    cheap=True,
)
_WEBHOOK = Check("github.webhook", "the App's webhook leads here, and tells of approvals", SEEN_LATER)
_DELIVERIES = Check("github.deliveries", "the App's last webhooks arrived", SEEN_LATER)
_INSTALLATION = Check(
    "github.installation",
    "the App is installed on the gate's repository, and may do what it needs to and no more",
    "What it lacks is refused when people are to be asked; what it has too much, whoever gets its key has too.",
)
_PLAN = Check(
    "github.plan",
    "the repository's plan keeps the rules of environments",
    "In private repositories of GitHub Free, Pro and Team, required reviewers are shown and ignored.",
)
_WORKFLOW = Check(
    "github.workflow",
    "the workflow file on the gate's branch does what the shipped one does",
    "It decides what reviewers are shown, which job waits for them, and whether its run is found.",
)
_VARIABLE = Check(
    "github.variable",
    "the variable CHAMPION_GATE_URL is this service's address",
    "The released job calls there, and ends red where nobody answers.",
)
CHECKS = (_CREDENTIALS, _WEBHOOK, _DELIVERIES, _INSTALLATION, _PLAN, _WORKFLOW, _VARIABLE)

_LEVELS = ("none", "read", "write", "admin")
_SHIPPED = "deploy/github/champion-gate.yml"
_PARTS = (
    *("run-name", "on.workflow_dispatch.inputs", "concurrency", "env", "defaults"),
    *("jobs.present", "jobs.approve"),
)


def checkups(
    provider: GitHub, host: Host, gates: Sequence[Gate], public_url: str | None
) -> Iterator[Checkup]:
    """The checks of one GitHub and the gates that ask there; no call is made yet."""
    from champion_gate.adapters.github.auth import AppAccess  # noqa: PLC0415 - slow to import

    there = _There(provider, cast("GitHubServer", host.server), public_url)
    yield Checkup(_CREDENTIALS, there.credentials)
    app = provider.access if isinstance(provider.access, AppAccess) else None
    if app is not None:
        yield Checkup(_WEBHOOK, partial(there.webhook, app))
        yield Checkup(_DELIVERIES, partial(there.deliveries, app))
    for gate in gates:
        api = provider.api(gate.approval)
        if app is not None:
            yield Checkup(_INSTALLATION, partial(there.installation, app, api), gate.name)
        yield Checkup(_PLAN, partial(there.plan, api), gate.name)
        yield Checkup(_WORKFLOW, partial(there.workflow, api), gate.name)
        yield Checkup(_VARIABLE, partial(there.variable, api), gate.name)


@dataclass(frozen=True)
class _There:
    """One GitHub, as the service uses it."""

    provider: GitHub
    server: GitHubServer
    public_url: str | None

    @property
    def site(self) -> str:
        return site_of(self.server.url)

    def credentials(self) -> Iterator[Finding]:
        from champion_gate.adapters.github.auth import AppAccess, person  # noqa: PLC0415 - slow to import

        access = self.provider.access
        try:
            if isinstance(access, AppAccess):
                app = self._app(access)
                yield _CREDENTIALS.ok(f"our App is {app.slug} of {app.owner.login} at {self.server.url}")
            else:
                who = person(self.provider.client.get(joined("user"), auth=access.auth))
                yield _CREDENTIALS.ok(
                    f"we act by a token of {who.login} at {self.server.url}; GitHub does not tell what a token may do"
                )
        except VendorUnavailableError as error:
            yield _CREDENTIALS.fail(error.message, error.hint or AWAY)
        except VendorRefusedError as refused:
            yield _CREDENTIALS.fail(
                refused.message,
                "Make a new private key on the App's page for CHAMPION_GATE_GITHUB_APP_PRIVATE_KEY, beside its client id in "
                "CHAMPION_GATE_GITHUB_APP_CLIENT_ID; or a new token for CHAMPION_GATE_GITHUB_TOKEN.",
            )

    def _app(self, app: AppAccess) -> RegisteredApp:
        return own_app(self.provider.client, app.as_app)

    # --- the App ----------------------------------------------------------------------------------------------

    def webhook(self, app: AppAccess) -> Iterator[Finding]:
        own = self._app(app)
        page = settings_page(self.site, own.owner, own.slug)
        hook = own_webhook(self.provider.client, app.as_app)
        if self.public_url is None:
            yield _WEBHOOK.not_known(
                f"the App's webhook goes to {one_line(hook.url or 'nobody')}; {ADDRESS} is not set.",
                f"Set {ADDRESS} to the address by which GitHub reaches this service.",
            )
            return
        wanted = f"{self.public_url}/hooks/github"
        problems = _hook_problems(hook, own.events, wanted, page)
        yield from _WEBHOOK.warnings(problems, f"the App tells {wanted} of {', '.join(EVENTS)}")

    def deliveries(self, app: AppAccess) -> Iterator[Finding]:
        path, params = joined("app", "hook", "deliveries"), {"per_page": "50"}
        try:
            answer = self.provider.client.get(path, auth=app.as_app, params=params)
        except VendorNotFoundError:  # there is no webhook
            answer = []
        sent = [one for one in github.many(HookDelivery, answer, "deliveries") if one.event in EVENTS]
        last = f"{sent[0].delivered_at:%Y-%m-%d %H:%M} UTC, {one_line(sent[0].status)}" if sent else ""
        yield from delivered(
            _DELIVERIES,
            "GitHub",
            [one.status_code for one in sent],
            last=last,
            page="The App's page, Advanced, Recent Deliveries",
            shared="CHAMPION_GATE_GITHUB_WEBHOOK_SECRET",
        )

    def installation(self, app: AppAccess, api: RepositoryApi) -> Iterator[Finding]:
        own, repository = self._app(app), api.spot.repository
        try:
            found = app.installation(api.spot)
        except VendorNotFoundError:
            yield _INSTALLATION.fail(
                f"our App {own.slug} is not installed on {repository}.",
                f"Install it there: {self.site}/apps/{own.slug}/installations/new",
            )
            return
        if found.suspended_at is not None:
            yield _INSTALLATION.fail(
                f"our App {own.slug} is suspended on {repository}.", f"Unsuspend it at {found.html_url}."
            )
            return
        page = f"{settings_page(self.site, own.owner, own.slug)}/permissions"
        needed = {"metadata": "read", **needed_permissions(teams=False)}
        granted = found.permissions
        lacking = {name: level for name, level in needed.items() if _rank(granted.get(name)) < _rank(level)}
        allowed = {**HARMLESS, **needed}
        more = {name: level for name, level in granted.items() if _rank(level) > _rank(allowed.get(name))}
        if lacking:
            yield _INSTALLATION.fail(
                f"our App {own.slug} lacks {_listed(lacking)} on {repository}.",
                f"Grant it at {page}, and have the change accepted at {found.html_url}.",
            )
        if more:
            yield _INSTALLATION.warning(
                f"our App {own.slug} has {_listed(more)} on {repository}, which it does not need.",
                f"Take it away at {page}.",
            )
        if not lacking and not more:
            yield _INSTALLATION.ok(f"our App {own.slug} has {_listed(granted)} on {repository}")

    # --- a gate's repository ----------------------------------------------------------------------------------

    def plan(self, api: RepositoryApi) -> Iterator[Finding]:
        repository = api.spot.repository
        if api.repository().private is False:
            yield _PLAN.ok(f"{repository} is public")
        elif host_of(self.server.url) != "api.github.com":
            yield _PLAN.ok(f"{repository} is on GitHub Enterprise")
        else:
            yield _PLAN.not_known(
                f"{repository} is private, and GitHub does not tell us its plan.",
                f"Make sure that {api.spot.owner} is on GitHub Enterprise ({self.site}/organizations/{api.spot.owner}/settings/"
                "billing), or make the repository public.",
            )

    def workflow(self, api: RepositoryApi) -> Iterator[Finding]:
        spot = api.spot
        where = f"{spot.workflow_path} on {spot.ref} of {spot.repository}"
        try:
            found = api.workflow_file()
        except VendorNotFoundError:
            yield _WORKFLOW.fail(f"there is no {where}.", f"Put {_SHIPPED} there.")
            return
        except VendorRefusedError as refused:
            yield _WORKFLOW.not_known(
                f"{where} cannot be read ({refused.message}).",
                f"Compare it with {_SHIPPED} yourself, or give the App or token the permission Contents: read.",
            )
            return
        parts = {("0", *part.split(".")): ("0", *part.split(".")) for part in _PARTS}
        ours = workflow_template().decode()
        ours = ours.replace("audience=champion-gate", f"audience={self.server.oidc.audience}")
        file = CiFile(where, decoded(found.content, "GitHub"), parts)
        yield file.compared(_WORKFLOW, ours, _SHIPPED)

    def variable(self, api: RepositoryApi) -> Iterator[Finding]:
        page = f"{self.site}/{api.spot.repository}/settings/variables/actions"
        wanted = self.public_url
        remedy = f"Set CHAMPION_GATE_URL to {wanted or 'the address of this service'} at {page}."
        if wanted is None:
            yield _VARIABLE.not_known(f"{ADDRESS} is not set.", f"Set {ADDRESS}. {remedy}")
            return
        try:
            found = api.variable("CHAMPION_GATE_URL")
        except VendorRefusedError as refused:
            yield _VARIABLE.not_known(
                f"the variables of {api.spot.repository} cannot be read ({refused.message}).",
                f"See that CHAMPION_GATE_URL is {wanted} at {page}, or give the App or token the permission Variables: read.",
            )
            return
        if found is None:
            yield _VARIABLE.fail(f"{api.spot.repository} has no variable CHAMPION_GATE_URL.", remedy)
        elif found.rstrip("/") != wanted:
            yield _VARIABLE.fail(f"CHAMPION_GATE_URL is {one_line(found)}.", remedy)
        else:
            yield _VARIABLE.ok(f"CHAMPION_GATE_URL is {wanted}")


def _hook_problems(
    hook: HookConfig, events: Sequence[str], wanted: str, page: str
) -> Iterator[tuple[str, str]]:
    if (hook.url or "").rstrip("/") != wanted:
        yield (
            f"the App's webhook goes to {one_line(hook.url or 'nobody')}, not to {wanted}.",
            f"Set Webhook URL to {wanted} and the secret to CHAMPION_GATE_GITHUB_WEBHOOK_SECRET at {page}.",
        )
    elif str(hook.insecure_ssl) not in {"0", "0.0", "None"}:
        found = f"GitHub does not look at the certificate of {wanted}."
        yield found, f"Turn on SSL verification at {page}."
    if missing := [event for event in EVENTS if event not in events]:
        found = f"the App is not told of {', '.join(missing)}."
        yield found, f"Subscribe to these events at {page}/permissions."


def _rank(level: str | None) -> int:
    """How much a permission lets do; one that is not known more than all others."""
    return _LEVELS.index(level or "none") if (level or "none") in _LEVELS else len(_LEVELS)


def _listed(permissions: dict[str, str]) -> str:
    return ", ".join(f"{name}: {level}" for name, level in sorted(permissions.items()))
