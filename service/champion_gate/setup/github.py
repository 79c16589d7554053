"""Makes at GitHub what the service needs there: its App, and in each repository environments, a variable and the workflow."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from champion_gate.adapters.github.api import RepositoryApi
from champion_gate.adapters.github.app import (
    Account,
    Needed,
    RegisteredApp,
    app_problems,
    needed,
    own_app,
    own_webhook,
    settings_page,
    site_of,
)
from champion_gate.adapters.github.auth import AppAccess, new_access
from champion_gate.adapters.github.calls import new_client
from champion_gate.adapters.github.place import survey, unreadable_teams
from champion_gate.adapters.github.review.provider import GitHubReview
from champion_gate.adapters.github.review.settings import GitHubReviewPlace
from champion_gate.adapters.github.review.surroundings import SurroundingsApi
from champion_gate.adapters.github.secrets import GitHubApp, GitHubSecrets, GitHubToken
from champion_gate.adapters.github.settings import GitHubPlace, GitHubServer
from champion_gate.adapters.http.auth import Auth
from champion_gate.domain.gates import ApprovalTarget
from champion_gate.domain.names import joined
from champion_gate.domain.ports.runtime import Clock
from champion_gate.domain.together import Together
from champion_gate.domain.vendors import PREFIX
from champion_gate.errors import ConfigurationError, GateError, InvalidInputError, UnsafeTargetError
from champion_gate.settings.env_file import read_env_file, rotate_variable, set_variables
from champion_gate.settings.gates import Gates
from champion_gate.setup.changes import Change, Plan
from champion_gate.setup.github_api import SetupApi, SetupCalls
from champion_gate.setup.github_app import (
    HOOK_PATH,
    Registration,
    exchange,
    is_installed,
    wait_until_installed,
)
from champion_gate.setup.github_repository import plan_repository, reviewers_of
from champion_gate.setup.github_review import plan_reviews

_KEY = f"{PREFIX}GITHUB_APP_PRIVATE_KEY"
_CLIENT_ID = f"{PREFIX}GITHUB_APP_CLIENT_ID"
_SECRET = f"{PREFIX}GITHUB_WEBHOOK_SECRET"
_LARGEST_KEY = 64 * 1024
_RESTART = "the service has to be restarted with both: before, it refuses webhooks, and looks for decisions by itself."


@dataclass(frozen=True)
class Service:
    """What the service is given.

    Attributes:
        public_url: its address; None where it was not given.
    """

    gates: Gates
    secrets: GitHubSecrets
    public_url: str | None
    env_file: Path


@dataclass(frozen=True)
class Tools:
    """How a setup speaks with the person, and what it gets from outside.

    Attributes:
        chance: a text that nobody can guess, another one each time.
        ask: asks for a line; None where a browser of this machine comes back by itself.
    """

    clock: Clock
    sleep: Callable[[float], None]
    chance: Callable[[], str]
    say: Callable[[str], None]
    ask: Callable[[str], str] | None = None


class GitHubSetup:
    """The setup of the GitHub at the top of gates.yaml, as a person.

    Raises:
        ConfigurationError: the service's address or credentials cannot be used, or no gate asks there.
    """

    def __init__(self, service: Service, token: str, tools: Tools) -> None:
        servers = service.gates.servers
        top = servers.get("github") or servers.get("github_review")
        places = [gate.approval.place for gate in service.gates.gates]
        if not isinstance(top, GitHubServer):
            raise ConfigurationError(["gates: none of them asks for approval at the GitHub of gates.yaml"])
        if service.public_url is None:
            raise ConfigurationError(
                [f"{PREFIX}PUBLIC_URL: is missing; expected the address by which GitHub reaches the service"]
            )
        self._service, self._tools = service, tools
        self._public_url, self._top = service.public_url, top
        self._site = site_of(top.url)
        self._client = new_client(
            top.url, top.api_version, ca_file=top.ca_file, timeouts=None, sleep=tools.sleep
        )
        self._together = Together()
        person = new_access(self._client, GitHubToken(token), tools.clock)
        self._repositories = [
            SetupApi(self._client, person, place, self._together) for place in _places(places, top)
        ]
        self._reviewed = [
            (
                SetupCalls(self._client, person, place, self._together),
                SurroundingsApi(self._client, person, place, self._together),
            )
            for place in _reviewed(places, top)
        ]
        self._credentials = _credentials(service.secrets, top)

    # --- what is needed -------------------------------------------------------------------------------------

    def plan(self, reviewers: Sequence[str]) -> Plan:
        """What is to be changed so that people can approve.

        Args:
            reviewers: who is to approve in each environment, besides those that are there: `login` or `ORG/team`.
        """
        plan, teams = Plan(), any(each.spot.teams for each, _ in self._reviewed)
        for api in self._repositories:
            more = reviewers_of(api, reviewers)
            found, has_teams = plan_repository(
                api, more, self._public_url, self._tools.clock.now(), self._tools.say
            )
            plan.changes += found.changes
            plan.remarks += found.remarks
            teams = teams or has_teams
        for one, around in self._reviewed:
            plan.changes += plan_reviews(one, around, plan.remarks)
        kinds = [each.spot.kind for each in self._all]
        first = self._plan_app(plan.remarks, needed(kinds, teams=teams))
        plan.changes[:0] = first
        return plan

    def what_is_left(self) -> Iterator[str]:
        """What the service will still find wrong, as it looks itself."""
        if self._credentials is None:
            return
        access = new_access(self._client, self._credentials, self._tools.clock)
        for one in self._repositories:
            there = RepositoryApi(self._client, access, one.spot, self._together)
            looked = survey(there)
            yield from (*looked.problems, *unreadable_teams(there, looked))
        review = GitHubReview(
            url=self._top.url,
            credentials=self._credentials,
            clock=self._tools.clock,
            api_version=self._top.api_version,
            ca_file=self._top.ca_file,
            sleep=self._tools.sleep,
            together=self._together,
        )
        for api, _ in self._reviewed:
            try:
                review.check_place(ApprovalTarget(review.name, api.spot), timedelta(days=1))
            except UnsafeTargetError as unsafe:
                yield from unsafe.problems or (str(unsafe),)

    @property
    def _all(self) -> list[SetupCalls[Any]]:
        return [*self._repositories, *(api for api, _ in self._reviewed)]

    def _plan_app(self, remarks: list[str], wanted: Needed) -> Iterator[Change]:
        owner = self._all[0].home().owner
        if isinstance(self._credentials, GitHubToken):
            remarks.append(f"{PREFIX}GITHUB_TOKEN is given: it stands in the place of an App.")
            return
        if self._credentials is None:
            yield Change(
                f"GitHub App of {owner.login}",
                (
                    *(f"+ {name}: {level}" for name, level in wanted.permissions.items()),
                    f"+ webhook: {self._public_url}{HOOK_PATH}",
                    f"+ its key and secrets: in {self._service.env_file}",
                ),
                lambda: self._register(owner, wanted),
            )
        else:
            remarks += self._check_app(self._credentials, wanted)
        for api in self._all:
            name = api.spot.repository
            if self._credentials is not None and is_installed(self._client, self._as_app(), name):
                continue
            if api.spot.owner.casefold() == owner.login.casefold():
                yield Change(
                    f"installation of the App on {name}", ("+ installed",), partial(self._install, name)
                )
            else:
                remarks.append(
                    f"{name} is not of {owner.login}, whose App can be installed there only once it is public."
                )

    def _check_app(self, credentials: GitHubApp, wanted: Needed) -> Iterator[str]:
        app, hook = self._app(), own_webhook(self._client, self._as_app())
        problems = app_problems(
            app,
            hook.url,
            wanted_url=self._public_url + HOOK_PATH,
            wanted_of_it=wanted,
            page=settings_page(self._site, app.owner, app.slug),
        )
        return (f"GitHub App {app.slug} ({credentials.client_id}): {problem}" for problem in problems)

    def _register(self, owner: Account, wanted: Needed) -> None:
        tools = self._tools
        read_env_file(self._service.env_file)  # before a code is used up for nothing
        one_try = Registration(self._site, owner, self._public_url, wanted, chance=tools.chance)
        code = one_try.code_by_hand(tools.say, tools.ask) if tools.ask else one_try.code_by_browser(tools.say)
        made = exchange(self._client, code, owner, self._site)
        secret = {} if made.webhook_secret is None else {_SECRET: made.webhook_secret}
        given = {_CLIENT_ID: made.client_id, _KEY: _on_one_line(made.pem), **secret}
        try:
            set_variables(self._service.env_file, given)
        except GateError:
            page = settings_page(self._site, made.owner, made.slug)
            tools.say(
                f"The App {made.slug} was made, but its key could not be kept: delete it at {page}/advanced."
            )
            raise
        self._credentials = GitHubApp(made.client_id, made.pem)

    def _install(self, repository: str) -> None:
        page = f"{self._app().html_url}/installations/new"
        self._tools.say(f"Open {page} and install the App on {repository}, and on no more than it needs.")
        wait_until_installed(self._client, self._as_app(), repository, sleep=self._tools.sleep)

    # --- rotation -------------------------------------------------------------------------------------------

    def plan_rotation(self, key: Path | None, restarted: Callable[[], object]) -> Plan:
        """A new webhook secret; or, where a file is given, the new key in it.

        Args:
            key: a key that was made on the App's page: GitHub makes none by its API.
            restarted: waits until the service has been restarted with the new secret and the one before.

        Raises:
            ConfigurationError: there is no App.
            InvalidInputError: the file cannot be used.
            VendorRefusedError: it is no key of our App.
        """
        if not isinstance(self._credentials, GitHubApp):
            raise ConfigurationError([f"{_CLIENT_ID}: there is no App whose secrets could be rotated"])
        pem = self._credentials.private_key if key is None else _read_key(key)
        old, self._credentials = self._credentials, GitHubApp(self._credentials.client_id, pem)
        app, file = self._app(), self._service.env_file  # refused where the key is not of this App
        page = settings_page(self._site, app.owner, app.slug)
        if key is None:
            again = f"the App's key is renewed by hand: make one at {page}, and give its file with --rotate --key FILE."
            make = partial(self._rotate_secret, restarted)
            return self._rotation(_SECRET, "webhook secret", app, make, [_RESTART, again])
        if pem.strip() == old.private_key.strip():
            return Plan()
        then = f"restart the service, then delete the old key at {page}, and {_KEY}_PREVIOUS in {file}."
        make = partial(rotate_variable, file, _KEY, _on_one_line(pem))
        return self._rotation(_KEY, "private key", app, make, [then])

    def _rotation(
        self, name: str, what: str, app: RegisteredApp, make: Callable[[], None], remarks: list[str]
    ) -> Plan:
        new = f"+ a new one in {name}, the one before in {name}_PREVIOUS of {self._service.env_file}"
        return Plan([Change(f"{what} of the App {app.slug}", (new,), make)], remarks)

    def _rotate_secret(self, restarted: Callable[[], object]) -> None:
        """First GitHub signs with what the file has, also where an earlier rotation broke off; so one of the two always fits."""
        present = read_env_file(self._service.env_file).get(_SECRET)
        if present:
            self._set_secret(present)
        new = self._tools.chance()
        rotate_variable(self._service.env_file, _SECRET, new)
        restarted()
        self._set_secret(new)

    def _set_secret(self, secret: str) -> None:
        path = joined("app", "hook", "config")
        self._client.send("PATCH", path, auth=self._as_app(), body={"secret": secret}, repeatable=True)

    # --- our App --------------------------------------------------------------------------------------------

    def _as_app(self) -> Auth:
        if not isinstance(self._credentials, GitHubApp):
            raise ConfigurationError([f"{_CLIENT_ID}: there is no App"])
        return AppAccess(self._client, [self._credentials], self._tools.clock).as_app

    def _app(self) -> RegisteredApp:
        return own_app(self._client, self._as_app())


def _places(places: Sequence[object], top: GitHubServer) -> list[GitHubPlace]:
    """Each place at this server once, with the environments of all gates that ask there."""
    found: dict[tuple[str, str, str], GitHubPlace] = {}
    for place in places:
        if isinstance(place, GitHubPlace) and place.provider(top) == "github":
            key = (place.repository.lower(), place.workflow, place.ref)
            before = found[key].environments if key in found else ()
            more = {name.casefold(): name for name in (*place.environments, *before)}
            found[key] = place.model_copy(update={"environments": tuple(more.values())})
    return list(found.values())


def _reviewed(places: Sequence[object], top: GitHubServer) -> list[GitHubReviewPlace]:
    """Each repository and base in whose pull requests people approve at this server, once a gate."""
    found = [each for each in places if isinstance(each, GitHubReviewPlace)]
    return [each for each in found if each.server(top) == top]


def _credentials(secrets: GitHubSecrets, top: GitHubServer) -> GitHubApp | GitHubToken | None:
    names = ("github_app_client_id", "github_app_private_key", "github_token")
    if not any(secrets.text(name) for name in names):
        return None
    problems: list[str] = []
    hosts = secrets.hosts({"github": top}, [], None, problems)
    if problems:
        raise ConfigurationError(problems)
    return hosts["github"].credentials  # type: ignore[no-any-return]


def _on_one_line(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def _read_key(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_KEY + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} cannot be read as a key.") from error
    if len(data) > _LARGEST_KEY:
        raise InvalidInputError(f"{path} is larger than a key.")
    return text
