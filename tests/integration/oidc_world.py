"""An issuer of ID tokens over TLS, with a local certificate authority, and the verifier in front of it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import trustme
from flask import Flask
from werkzeug.serving import make_server

from champion_gate.adapters.github.id_token import TABLE as GITHUB
from champion_gate.adapters.gitlab.id_token import TABLE as GITLAB
from champion_gate.adapters.oidc.ci_jobs import Issuer, OidcVerifier
from champion_gate.domain.approval import VerifiedToken
from champion_gate_standins.common.faults import Faults
from champion_gate_standins.common.issuer import Issuer as IssuerStandIn
from claims_samples import github, github_claims
from integration.gate_providers import issuers_key
from integration.github_world import QUICK, MovableClock
from integration.serving import running

AUDIENCE = "champion-gate.example.com"
KEYS_PATH = "/.well-known/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"


@contextmanager
def serve_tls(
    app: Flask,
    authority: trustme.CA,
    *names: str,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Iterator[str]:
    """Run the app over TLS on a free loopback port until the block ends; yields its origin.

    Args:
        app: the app.
        authority: signs its certificate.
        names: whom the certificate names, if not the server.
        not_before, not_after: when it is valid; for long by default.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = names or ("127.0.0.1",)
    authority.issue_cert(*names, not_before=not_before, not_after=not_after).configure_cert(context)
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=context)
    server.daemon_threads = True  # type: ignore[attr-defined]
    with running(server):
        yield f"https://127.0.0.1:{server.server_port}"


@dataclass
class World:
    """What a test acts on.

    Attributes:
        there: the issuer's keys and what it publishes.
        faults: how to make it misbehave; `requests` is all that it was asked.
        here: the verifier under test; the issuer is that of provider "github".
    """

    there: IssuerStandIn
    faults: Faults
    here: OidcVerifier
    clock: MovableClock
    url: str
    ca_file: str
    pauses: list[float] = field(default_factory=list)

    def token(self, *, lifetime: int = 300, not_before: int = 600, **overrides: Any) -> str:
        """The token of the gated job of `claims_samples.github()`, changed in what is given."""
        return self.there.sign(
            {**github_claims(), "aud": AUDIENCE}, lifetime=lifetime, not_before=not_before, **overrides
        )

    def verify(self, token: str) -> VerifiedToken:
        """Verify it for that promotion."""
        return self.here.verify(token, github())

    @property
    def asked(self) -> int:
        """How many calls the issuer has seen."""
        return len(self.faults.requests)


@contextmanager
def oidc_world(tmp_path: Path, *, path: str = "") -> Iterator[World]:
    """An issuer at `https://127.0.0.1:PORT` and this path, which provider "github" trusts.

    Provider "gitlab" trusts another issuer, at which nobody answers.
    """
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    clock, pauses, origin = MovableClock(), list[float](), list[str]()
    there = IssuerStandIn(
        clock.now,
        lambda: origin[0],
        discovery=f"{path}{DISCOVERY_PATH}",
        keys=f"{path}{KEYS_PATH}",
    )
    app = Flask("issuer")
    app.register_blueprint(there.blueprint)
    faults = Faults(app.wsgi_app)
    app.wsgi_app = faults  # type: ignore[method-assign]
    with serve_tls(app, authority) as served:
        origin.append(served)
        url = there.url = f"{served}{path}"
        here = OidcVerifier(
            {
                "github": Issuer(url, AUDIENCE, GITHUB, str(ca_file)),
                "gitlab": Issuer("https://gitlab.invalid", AUDIENCE, GITLAB),
            },
            clock=clock,
            timeouts=QUICK,
            sleep=pauses.append,
        )
        there.rotate(issuers_key())
        try:
            yield World(there, faults, here, clock, url, str(ca_file), pauses)
        finally:
            faults.clear()
            here.close()
