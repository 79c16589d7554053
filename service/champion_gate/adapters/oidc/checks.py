"""What the doctor finds of how people sign in to the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from champion_gate.adapters.oidc.jwks import is_loopback
from champion_gate.adapters.oidc.people import CALLBACK
from champion_gate.domain.findings import Check, Checkup, Finding

if TYPE_CHECKING:
    from champion_gate.adapters.oidc.sign_in import IssuerSignIn

DASHBOARD = Check(
    "service.dashboard",
    "people can sign in to the dashboard",
    "Browsers keep its cookie over https alone, and an issuer signs in only for clients that it knows.",
    cheap=True,
)
CHECKS = (DASHBOARD,)


def checkups(public_url: str | None, issuer: str | None, sign_in: IssuerSignIn | None) -> Iterator[Checkup]:
    """The check of the dashboard; no call is made yet.

    Args:
        public_url: CHAMPION_GATE_PUBLIC_URL.
        issuer: of api.oidc.
        sign_in: how people sign in there; None where API tokens alone are taken.
    """
    yield Checkup(DASHBOARD, lambda: _findings(public_url, issuer, sign_in))


def _findings(public_url: str | None, issuer: str | None, sign_in: IssuerSignIn | None) -> Iterator[Finding]:
    split = urlsplit(public_url or "https://")
    if split.scheme != "https" and not is_loopback(split.hostname):
        yield DASHBOARD.warning(
            f"{public_url} is no https:// address, so nobody stays signed in there.",
            "Serve it over https, and say so in CHAMPION_GATE_PUBLIC_URL; or say dashboard: false in gates.yaml.",
        )
    elif split.path.strip("/"):
        yield DASHBOARD.warning(
            f"{public_url} has a path, and the dashboard's links lead to the root of its host.",
            "Give the service a host name of its own; or say dashboard: false in gates.yaml.",
        )
    if sign_in is not None:
        sign_in.endpoints()
        yield DASHBOARD.ok(
            f"people sign in at {sign_in.host}, which sends them back to {public_url}{CALLBACK}"
        )
    elif issuer is not None:
        yield DASHBOARD.warning(
            f"People of {issuer} may call the API, and cannot sign in to the dashboard.",
            f"Register a client there with the redirect URI {public_url or '<CHAMPION_GATE_PUBLIC_URL>'}{CALLBACK}, and "
            "name it in gates.yaml: api.oidc.client_id.",
        )
    else:
        yield DASHBOARD.ok("people sign in with API tokens")
