"""Where a request comes from, behind as many trusted proxies as the operator has said there are."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_WITH_PORT = re.compile(r"(\d+\.\d+\.\d+\.\d+):\d+|\[([^\]]+)\](?::\d+)?")


def apply_proxy_hops(app: Flask, hops: int) -> None:
    """Believe the proxies in front about the source address and the scheme, and nobody else.

    Args:
        app: whose requests pass through them.
        hops: how many proxies append to `X-Forwarded-For`; with 0 the header is ignored.
    """
    if not hops:
        return
    fixed = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0, x_port=0, x_prefix=0)

    def believing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # ProxyFix understands quoted strings: a stranger's single quotation mark would hide what proxies append.
        for name in ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"):
            if name in environ:
                environ[name] = environ[name].replace('"', "")
        return fixed(environ, start_response)

    app.wsgi_app = believing  # type: ignore[method-assign]


def source_address() -> str | None:
    """The IP address of the request in hand; None where it has none that can be read (a UNIX socket)."""
    text = (request.remote_addr or "").strip()
    # Some proxies (Azure's Application Gateway) append the port.
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        text = found.group(1) or found.group(2)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
