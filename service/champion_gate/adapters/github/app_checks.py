"""What `champion-gate doctor` looks at in GitHub, however people approve there: credentials, App and webhook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from champion_gate.adapters.ci_checks import ADDRESS, SEEN_LATER, delivered
from champion_gate.adapters.github.app import (
    HARMLESS,
    Needed,
    RegisteredApp,
    needed,
    own_app,
    own_webhook,
    settings_page,
    site_of,
)
from champion_gate.adapters.github.models import HookConfig, HookDelivery, github
from champion_gate.adapters.github.settings import GitHubServer, RepositoryPlace
from champion_gate.adapters.http.client import ApiClient
from champion_gate.domain.findings import AWAY, Check, Checkup, Finding
from champion_gate.domain.names import joined
from champion_gate.domain.text import one_line
from champion_gate.domain.vendors import Host
from champion_gate.errors import VendorNotFoundError, VendorRefusedError, VendorUnavailableError

if TYPE_CHECKING:
    from champion_gate.adapters.github.auth import Access, AppAccess

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
CHECKS = (_CREDENTIALS, _WEBHOOK, _DELIVERIES, _INSTALLATION)

_LEVELS = ("none", "read", "write", "admin")


def checkups(
    client: ApiClient,
    access: Access,
    host: Host,
    gates: Sequence[tuple[str, RepositoryPlace]],
    public_url: str | None,
) -> Iterator[Checkup]:
    """The checks of the credentials for one GitHub, and of the App in the repositories of these gates; no call is made yet."""
    from champion_gate.adapters.github.auth import AppAccess  # noqa: PLC0415 - slow to import

    kinds = {place.kind for place in (*host.places, *(place for _, place in gates))}
    there = _There(client, access, cast("GitHubServer", host.server), public_url, needed(kinds, teams=False))
    yield Checkup(_CREDENTIALS, there.credentials)
    if not isinstance(access, AppAccess):
        return
    yield Checkup(_WEBHOOK, partial(there.webhook, access))
    yield Checkup(_DELIVERIES, partial(there.deliveries, access))
    for gate, place in gates:
        yield Checkup(_INSTALLATION, partial(there.installation, access, place), gate)


@dataclass(frozen=True)
class _There:
    """One GitHub, as the service uses it."""

    client: ApiClient
    access: Access
    server: GitHubServer
    public_url: str | None
    needed: Needed

    @property
    def site(self) -> str:
        return site_of(self.server.url)

    def credentials(self) -> Iterator[Finding]:
        from champion_gate.adapters.github.auth import AppAccess, person  # noqa: PLC0415 - slow to import

        access = self.access
        try:
            if isinstance(access, AppAccess):
                app = self._app(access)
                yield _CREDENTIALS.ok(f"our App is {app.slug} of {app.owner.login} at {self.server.url}")
            else:
                who = person(self.client.get(joined("user"), auth=access.auth))
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
        return own_app(self.client, app.as_app)

    # --- the App ----------------------------------------------------------------------------------------------

    def webhook(self, app: AppAccess) -> Iterator[Finding]:
        own = self._app(app)
        page = settings_page(self.site, own.owner, own.slug)
        hook = own_webhook(self.client, app.as_app)
        if self.public_url is None:
            yield _WEBHOOK.not_known(
                f"the App's webhook goes to {one_line(hook.url or 'nobody')}; {ADDRESS} is not set.",
                f"Set {ADDRESS} to the address by which GitHub reaches this service.",
            )
            return
        wanted = f"{self.public_url}/hooks/github"
        problems = _hook_problems(
            hook, [each for each in self.needed.events if each not in own.events], wanted, page
        )
        yield from _WEBHOOK.warnings(problems, f"the App tells {wanted} of {', '.join(self.needed.events)}")

    def deliveries(self, app: AppAccess) -> Iterator[Finding]:
        path, params = joined("app", "hook", "deliveries"), {"per_page": "50"}
        try:
            answer = self.client.get(path, auth=app.as_app, params=params)
        except VendorNotFoundError:  # there is no webhook
            answer = []
        sent = [
            one for one in github.many(HookDelivery, answer, "deliveries") if one.event in self.needed.events
        ]
        last = f"{sent[0].delivered_at:%Y-%m-%d %H:%M} UTC, {one_line(sent[0].status)}" if sent else ""
        yield from delivered(
            _DELIVERIES,
            "GitHub",
            [one.status_code for one in sent],
            last=last,
            page="The App's page, Advanced, Recent Deliveries",
            shared="CHAMPION_GATE_GITHUB_WEBHOOK_SECRET",
        )

    def installation(self, app: AppAccess, place: RepositoryPlace) -> Iterator[Finding]:
        own, repository = self._app(app), place.repository
        try:
            found = app.installation(place)
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
        wanted = {"metadata": "read", **self.needed.permissions}
        granted = found.permissions
        lacking = {name: level for name, level in wanted.items() if _rank(granted.get(name)) < _rank(level)}
        allowed = {**HARMLESS, **wanted}
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


def _hook_problems(
    hook: HookConfig, untold: Sequence[str], wanted: str, page: str
) -> Iterator[tuple[str, str]]:
    if (hook.url or "").rstrip("/") != wanted:
        yield (
            f"the App's webhook goes to {one_line(hook.url or 'nobody')}, not to {wanted}.",
            f"Set Webhook URL to {wanted} and the secret to CHAMPION_GATE_GITHUB_WEBHOOK_SECRET at {page}.",
        )
    elif str(hook.insecure_ssl) not in {"0", "0.0", "None"}:
        found = f"GitHub does not look at the certificate of {wanted}."
        yield found, f"Turn on SSL verification at {page}."
    if untold:
        found = f"the App is not told of {', '.join(untold)}."
        yield found, f"Subscribe to these events at {page}/permissions."


def _rank(level: str | None) -> int:
    """How much a permission lets do; one that is not known more than all others."""
    return _LEVELS.index(level or "none") if (level or "none") in _LEVELS else len(_LEVELS)


def _listed(permissions: dict[str, str]) -> str:
    return ", ".join(f"{name}: {level}" for name, level in sorted(permissions.items()))
