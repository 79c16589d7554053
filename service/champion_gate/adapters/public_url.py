"""What the doctor finds at our public address, and how far this machine's clock is from others'."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import requests
import urllib3

from champion_gate.adapters.http.answer import causes_of, why_not_sent
from champion_gate.adapters.http.deadline import Deadline, new_session, read_environment
from champion_gate.adapters.oidc.tokens import LEEWAY
from champion_gate.domain import ping
from champion_gate.domain.addresses import host_of
from champion_gate.domain.findings import Check, Checkup, Finding
from champion_gate.domain.ports.runtime import Clock

_CONNECT_SECONDS, _SECONDS = 5.0, 15.0
_SOON = timedelta(days=14)
_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)

CERTIFICATE = Check(
    "service.certificate",
    "the certificate of our public address",
    "Databricks, webhooks and CI jobs send nothing to an address whose certificate they cannot verify.",
    cheap=True,
)
PING = Check(
    "service.ping",
    "a signed question to our public address is answered by this installation",
    "Job notifications, webhooks and CI jobs' decisions come to that address. Without them everything waits for the sweep.",
    cheap=True,
)
CLOCK = Check(
    "service.clock",
    "this machine's clock, beside those of the systems around",
    f"Tokens are for minutes: those of CI jobs are refused beyond {LEEWAY.seconds} seconds, those that we sign too.",
    cheap=True,
)
CHECKS = (CERTIFICATE, PING, CLOCK)

_CERTIFICATE_REMEDIES = {
    9: "Look at this machine's clock; else wait until the certificate's time begins.",
    10: "Renew it, and find out why that did not happen by itself.",
    **dict.fromkeys(
        (62, 64),
        "Get a certificate that names this host, or write the name that it holds into CHAMPION_GATE_PUBLIC_URL.",
    ),
}
"""By OpenSSL's X509_V_ERR_… (openssl/x509_vfy.h): not yet valid, expired, another host or IP address."""
_CHAIN = (
    "Let the server send the whole chain (fullchain.pem). Where a private certificate authority signs, name its file in "
    "REQUESTS_CA_BUNDLE, and see that Databricks and the CI jobs trust it too."
)
_ANSWERS: Mapping[int, tuple[str, str]] = {
    HTTPStatus.UNAUTHORIZED: (
        "Something answers there that does not know this installation's hook password.",
        "Is it another installation? Else restart the service: it was started with other secrets.",
    ),
    HTTPStatus.NOT_FOUND: (
        "There is no champion-gate of this release there.",
        "Check the address with its path, and that the proxy passes /hooks/… on; else upgrade the service.",
    ),
    **dict.fromkeys(
        (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT),
        (
            "A proxy answers, and does not reach the service.",
            "Start the service; if it runs, check where the proxy sends POST /hooks/….",
        ),
    ),
}
_ELSEWHERE = "Check the address, and where the proxy in front of the service sends POST /hooks/…."


def checkups(
    public_url: str | None,
    asked: ping.Ping,
    nonce: Callable[[], str],
    clock: Clock,
    hosts: Mapping[str, str | None],
) -> Iterator[Checkup]:
    """The checks of the public address and of the clock; no call is made yet.

    Args:
        public_url: CHAMPION_GATE_PUBLIC_URL.
        asked: what the service must know too.
        nonce: makes unguessable texts, never the same twice.
        clock: this machine's.
        hosts: addresses of systems around, whose `Date` headers are looked at, and the certificate authorities to trust
            there, as a file where they are private.
    """
    yield Checkup(PING, lambda: _ping(public_url, asked, nonce().encode(), clock))
    yield Checkup(CLOCK, lambda: _clocks(hosts, clock))


# --- the public address ------------------------------------------------------------------------------------


def _ping(url: str | None, asked: ping.Ping, nonce: bytes, clock: Clock) -> Iterator[Finding]:
    if url is None:
        yield PING.not_known(
            "CHAMPION_GATE_PUBLIC_URL is not set.", "Set it to the address that Databricks and CI jobs call."
        )
        return
    if not asked.secrets:
        yield PING.not_known(
            "There is no secret of a webhook to sign with.", "`champion-gate setup mlflow` makes one."
        )
        return
    session = new_session()
    read_environment(session, url)
    try:
        with session, Deadline(_SECONDS) as deadline:
            response = session.post(
                f"{url}{ping.PATH}",
                data=nonce,
                headers={ping.SIGNATURE: asked.question(nonce)},
                timeout=(_CONNECT_SECONDS, _SECONDS),
                allow_redirects=False,
                stream=True,
            )
            life = _life(deadline.watched)
            said = response.raw.read(2 * ping.LONGEST + 1, decode_content=True)
    except _ERRORS as error:
        yield _unreachable(url, error)
        return
    if life is not None:
        yield _days_left(*life, clock)
    if response.status_code == HTTPStatus.OK and ping.is_answer(said, asked.expected(nonce)):
        yield PING.ok(f"{url} leads here")
        return
    other = f"It was answered with {response.status_code}, and not by this installation."
    found, remedy = _ANSWERS.get(response.status_code, (other, _ELSEWHERE))
    yield PING.fail(f"{url}: {found}", remedy)


def _unreachable(url: str, error: Exception) -> Finding:
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            remedy = _CERTIFICATE_REMEDIES.get(cause.verify_code, _CHAIN)
            return CERTIFICATE.fail(f"{url}: {cause.verify_message}.", remedy)
    late = isinstance(error, requests.Timeout | TimeoutError)
    why, _ = why_not_sent(error) or ("it did not answer in time" if late else "the connection broke", "")
    return PING.not_known(
        f"{url} cannot be asked from here: {why}.",
        f"Start the service, if it does not run yet. Then try `curl {url}/livez` from outside: some networks let no machine "
        "reach its own public address. If that fails too, look at the address, DNS, firewall and proxy.",
    )


def _life(connected: socket.socket | None) -> tuple[datetime, datetime] | None:
    """From when until when the peer's certificate is valid; None without TLS."""
    found = connected.getpeercert() if isinstance(connected, ssl.SSLSocket) else None
    if not found:
        return None
    begins, ends = (ssl.cert_time_to_seconds(str(found[name])) for name in ("notBefore", "notAfter"))
    return datetime.fromtimestamp(begins, UTC), datetime.fromtimestamp(ends, UTC)


def _days_left(begins: datetime, ends: datetime, clock: Clock) -> Finding:
    left = ends - clock.now()
    text = f"it is valid until {ends:%Y-%m-%d %H:%M} UTC, for {left.days} more days"
    # Some are made for six days only.
    if left > min(_SOON, (ends - begins) / 6):
        return CERTIFICATE.ok(text)
    return CERTIFICATE.warning(f"{text}.", _CERTIFICATE_REMEDIES[10])


# --- the clock ---------------------------------------------------------------------------------------------


def _clocks(hosts: Mapping[str, str | None], clock: Clock) -> Iterator[Finding]:
    found = {host_of(host): _ahead(host, ca_file, clock) for host, ca_file in hosts.items()}
    ahead = {host: skew for host, skew in found.items() if skew is not None}
    if not ahead:
        yield CLOCK.not_known(
            "No system around tells its time.", "Run it again when one of them answers this machine."
        )
        return
    for host, skew in ahead.items():
        seconds = round(skew.total_seconds())
        apart = f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'}" if seconds else "as"
        text = f"it is {apart} that of {host}"
        if abs(skew) > LEEWAY:
            remedy = "Let NTP set this machine's clock (`timedatectl`), or theirs where all others agree with ours."
            yield CLOCK.fail(f"{text}.", remedy)
        else:
            yield CLOCK.ok(text)


def _ahead(host: str, ca_file: str | None, clock: Clock) -> timedelta | None:
    """By how much our clock is ahead of a server's, to a second; None where it does not tell.

    Any answer will do (RFC 9110, 6.6.1), so no credentials are sent.
    """
    session = new_session()
    session.verify = ca_file or True
    read_environment(session, host)
    before = clock.now()
    try:
        with session, Deadline(_CONNECT_SECONDS):
            answer = session.head(host, timeout=(_CONNECT_SECONDS, _CONNECT_SECONDS), allow_redirects=False)
        theirs = parsedate_to_datetime(answer.headers["Date"])
        return before + (clock.now() - before) / 2 - theirs.astimezone(UTC)
    except (*_ERRORS, KeyError, ValueError, TypeError):
        return None
