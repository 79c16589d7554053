"""Registers our GitHub App: the person's browser carries a manifest to GitHub and a code back, which is exchanged once.

docs.github.com, "Registering a GitHub App from a manifest", and of the REST API "Create a GitHub App from a manifest": GitHub
makes key and webhook secret, and tells them once. No route of the service takes part.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import Field

from champion_gate.adapters.github.app import Account, Needed, RegisteredApp, settings_page
from champion_gate.adapters.github.models import github
from champion_gate.adapters.http.auth import Auth, NoAuth
from champion_gate.adapters.http.client import ApiClient
from champion_gate.domain.names import joined
from champion_gate.errors import (
    InvalidInputError,
    VendorNotFoundError,
    VendorRefusedError,
    VendorUnavailableError,
)

HOOK_PATH = "/hooks/github"
SECONDS = 900.0
"""How long a person may take for a page; the code is good for an hour."""

_LONGEST_NAME = 34  # GitHub's form for a new App takes no longer one
_CODE = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PAUSE = 3.0
_NOWHERE = "https://127.0.0.1/"
"""Where the browser of another machine ends: without a certificate for it, nothing is sent to anybody there."""


class MadeApp(RegisteredApp):
    """A new App, with what GitHub tells of it once."""

    client_id: str
    pem: str = Field(repr=False)
    webhook_secret: str | None = Field(repr=False)


class Registration:
    """One try to register an App."""

    def __init__(
        self, site: str, owner: Account, public_url: str, needed: Needed, *, chance: Callable[[], str]
    ) -> None:
        self._site = site
        self._owner = owner
        self._public_url = public_url
        self._needed = needed
        self._state = chance()
        self._path = f"/{chance()}"

    def code_by_browser(self, say: Callable[[str], None], seconds: float = SECONDS) -> str:
        """Listen on 127.0.0.1 until a browser of this machine comes back from GitHub.

        Everybody on this machine reaches the port: the page, whose form holds the state, lies under a path that cannot be guessed.

        Args:
            say: tells the person which page to open.
            seconds: how long they may take.

        Raises:
            VendorUnavailableError: nobody came in time.
        """
        codes: SimpleQueue[str] = SimpleQueue()
        with _listening(lambda base, path: self._answer(base, path, codes)) as base:
            say(f"Open {base}{self._path} in a browser on this machine, and press `Create GitHub App` there.")
            try:
                return codes.get(timeout=seconds)
            except Empty:
                raise VendorUnavailableError(
                    "GitHub", f"no browser came back from it within {seconds:g} s.", hint="Run it again."
                ) from None

    def code_by_hand(self, say: Callable[[str], None], ask: Callable[[str], str]) -> str:
        """The code out of the address on which the browser of another machine ends.

        Raises:
            InvalidInputError: what was pasted is no answer to this try.
        """
        page = base64.b64encode(self._form(_NOWHERE).encode()).decode()
        say("Open this address in a browser, and press `Create GitHub App` there:")
        say(f"data:text/html;base64,{page}")
        say("The browser then fails to open a page of 127.0.0.1: that is right. Paste its address here.")
        return self._code(urlsplit(ask("address")).query)

    def _answer(self, base: str, target: str, codes: SimpleQueue[str]) -> tuple[int, str]:
        path, query = urlsplit(target).path, urlsplit(target).query
        if path == self._path:
            return HTTPStatus.OK, self._form(f"{base}{self._path}/done")
        if path != f"{self._path}/done":
            return HTTPStatus.NOT_FOUND, "Nothing is here."
        try:
            codes.put(self._code(query))
        except InvalidInputError as error:
            return HTTPStatus.BAD_REQUEST, escape(str(error))
        return HTTPStatus.OK, "champion-gate has what it needs. Go back to the terminal."

    def _code(self, query: str) -> str:
        given = {name: values[0] for name, values in parse_qs(query, max_num_fields=20).items()}
        if not hmac.compare_digest(given.get("state", "").encode(), self._state.encode()):
            raise InvalidInputError("This is no answer to the form of this try: its state is another one.")
        if not _CODE.fullmatch(given.get("code", "")):
            raise InvalidInputError("This answer of GitHub's holds no code.")
        return given["code"]

    def _form(self, redirect_url: str) -> str:
        action = f"{settings_page(self._site, self._owner, 'new')}?{urlencode({'state': self._state})}"
        manifest = {
            "name": f"champion-gate-{self._owner.login}"[:_LONGEST_NAME].rstrip("-"),
            "url": self._public_url,
            "description": "Asks people before a trained model version becomes Champion",
            "hook_attributes": {"url": self._public_url + HOOK_PATH, "active": True},
            "redirect_url": redirect_url,
            "public": False,
            "default_permissions": self._needed.permissions,
            "default_events": self._needed.events,
        }
        return (
            '<!doctype html><meta charset="utf-8"><title>champion-gate</title>'
            f'<form action="{escape(action)}" method="post">'
            f'<input type="hidden" name="manifest" value="{escape(json.dumps(manifest))}">'
            "<button>Go on to GitHub</button></form><script>document.forms[0].submit()</script>"
        )


def exchange(client: ApiClient, code: str, owner: Account, site: str) -> MadeApp:
    """The App that was made, with its secrets, for a code; GitHub gives them once.

    Raises:
        VendorRefusedError: the code was used or is too old, or the App belongs to somebody else.
        VendorUnavailableError: GitHub was not heard; then the code may be used up.
    """
    left = f"An App without its key may be left at {settings_page(site, owner)}: delete it there, and run it again."
    try:
        answer = client.post(joined("app-manifests", code, "conversions"), auth=NoAuth())
    except VendorNotFoundError:
        raise VendorRefusedError("GitHub", "the code was used before, or is too old.", hint=left) from None
    except VendorUnavailableError as error:
        raise VendorUnavailableError("GitHub", error.message, hint=left, outcome_unknown=True) from error
    made = github.one(MadeApp, answer.json(), "app")
    if made.owner.login.casefold() != owner.login.casefold():
        page = settings_page(site, made.owner, made.slug)
        raise VendorRefusedError(
            "GitHub",
            f"the App was made for {made.owner.login}, and has to belong to {owner.login}.",
            hint=f"Delete it at {page}/advanced, sign in as {owner.login}, and run it again.",
        )
    return made


def is_installed(client: ApiClient, app: Auth, repository: str) -> bool:
    """Whether the App is installed on a repository (OWNER/NAME)."""
    try:
        client.get(joined("repos", *repository.split("/"), "installation"), auth=app)
    except VendorNotFoundError:
        return False
    return True


def wait_until_installed(
    client: ApiClient, app: Auth, repository: str, *, sleep: Callable[[float], None], seconds: float = SECONDS
) -> None:
    """Look now and then until the App is installed on a repository (OWNER/NAME).

    Raises:
        VendorUnavailableError: it was not within this time.
    """
    for _ in range(int(seconds / _PAUSE)):
        if is_installed(client, app, repository):
            return
        sleep(_PAUSE)
    raise VendorUnavailableError(
        "GitHub", f"the App is still not installed on {repository}.", hint="Install it, and run this again."
    )


# --- the listener -----------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    timeout = 5.0  # seconds for a request; browsers open connections that they may never use
    server: _Server

    def do_GET(self) -> None:
        # A page of somebody's whose name leads to 127.0.0.1 too names that as its host.
        ours = f"http://{self.headers.get('Host')}" == self.server.base
        status, page = self.server.answer(self.server.base, self.path) if ours else (HTTPStatus.NOT_FOUND, "")
        body = page.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing: addresses hold the code."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Callable[[str, str], tuple[int, str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.base = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of a browser that went away."""


@contextmanager
def _listening(answer: Callable[[str, str], tuple[int, str]]) -> Iterator[str]:
    """Answer GETs on a free port of 127.0.0.1 until the block ends; the address is given.

    Args:
        answer: (that address, path and query) -> status and page.
    """
    with _Server(answer) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.05), daemon=True)
        thread.start()
        try:
            yield server.base
        finally:
            server.shutdown()
            thread.join()
