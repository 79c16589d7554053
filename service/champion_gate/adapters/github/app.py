"""What our GitHub App has to be, where GitHub shows it, and the workflow that it starts: for who sets it up and who checks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from champion_gate.adapters.github.models import HookConfig, github
from champion_gate.adapters.github.webhook import EVENTS, REVIEW_EVENTS
from champion_gate.adapters.http.auth import Auth
from champion_gate.adapters.http.client import ApiClient
from champion_gate.adapters.http.models import Answered
from champion_gate.adapters.shipped import shipped
from champion_gate.domain.names import joined
from champion_gate.errors import VendorNotFoundError

HARMLESS = {"members": "read", "contents": "read", "actions_variables": "read"}
"""What the App may have besides: a gate whose reviewers are teams needs the first, and `doctor` reads by the others."""


class Account(Answered):
    """An owner; `type` is `User` or `Organization`."""

    login: str
    type: str


class RegisteredApp(Answered):
    """A GitHub App, as it sees itself, or as whoever has just registered it does."""

    slug: str
    owner: Account
    html_url: str
    permissions: dict[str, str]
    events: list[str]


def own_app(client: ApiClient, app: Auth) -> RegisteredApp:
    """Our App, `GET /app`."""
    return github.one(RegisteredApp, client.get(joined("app"), auth=app), "app")


def own_webhook(client: ApiClient, app: Auth) -> HookConfig:
    """Its webhook, `GET /app/hook/config`; one without an address where it has none."""
    try:
        return github.one(HookConfig, client.get(joined("app", "hook", "config"), auth=app), "webhook")
    except VendorNotFoundError:
        return HookConfig()


def workflow_template() -> bytes:
    """The file deploy/github/champion-gate.yml, which packages carry along."""
    return shipped("github/champion-gate.yml")


@dataclass(frozen=True)
class Needed:
    """What the App has to be granted and told of, and no more; GitHub adds `metadata: read` by itself."""

    permissions: Mapping[str, str]
    events: tuple[str, ...]


_NEEDED = {
    # Deployments are not read: without it GitHub sends no webhook of a review.
    "github": Needed({"actions": "write", "deployments": "read"}, EVENTS),
    "github_review": Needed(
        {"contents": "write", "pull_requests": "write", "statuses": "write"},
        REVIEW_EVENTS,
    ),
}


def needed(kinds: Iterable[str], *, teams: bool) -> Needed:
    """What one App needs for these kinds of places together.

    Args:
        kinds: those in which gates ask.
        teams: whether teams review, whose members are then read.
    """
    each = [_NEEDED[kind] for kind in sorted(set(kinds))]
    granted = {name: level for one in each for name, level in one.permissions.items()}
    events = tuple(event for one in each for event in one.events)
    return Needed({**granted, **({"members": "read"} if teams else {})}, events)


def site_of(api_url: str) -> str:
    """The address of GitHub's pages, of that of its API (docs.github.com, "Getting started with the REST API")."""
    scheme, host, path, *_ = urlsplit(api_url)
    if not path.strip("/") and host.startswith("api."):
        host = host.removeprefix("api.")
    return f"{scheme}://{host}"


def settings_page(site: str, owner: Account, slug: str = "") -> str:
    """The page on which an App's owner changes it; without a slug, that of all of the owner's Apps."""
    place = f"organizations/{owner.login}/settings" if owner.type == "Organization" else "settings"
    return f"{site}/{place}/apps/{slug}".rstrip("/")


def app_problems(
    app: RegisteredApp, hook_url: str | None, *, wanted_url: str, wanted_of_it: Needed, page: str
) -> Iterator[str]:
    """In which ways an App is not as it has to be; GitHub lets nobody change permissions and events but on its page."""
    permissions = {"metadata": "read", **wanted_of_it.permissions}
    for name in sorted(permissions.keys() | app.permissions.keys()):
        found, wanted = app.permissions.get(name, "none"), permissions.get(name, "none")
        if found not in {wanted, HARMLESS.get(name)}:
            yield f"{name} is {found}, and has to be {wanted}: change it at {page}/permissions."
    missing = [event for event in wanted_of_it.events if event not in app.events]
    if missing:
        yield f"it does not send the events {', '.join(missing)}: subscribe to them at {page}/permissions."
    if hook_url != wanted_url:
        yield f"its webhook goes to {hook_url or 'nowhere'}, not to {wanted_url}: change it at {page}."
