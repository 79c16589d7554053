"""Addresses of the systems around us: https, no credentials inside, one spelling for each host."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_UNSAFE = re.compile(r"[\s\\\x00-\x1f\x7f]")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_DEFAULT_PORTS = {"https": 443, "http": 80}


def web_address(text: str) -> str:
    """Return an address with a lower-case host, without default port and trailing slash.

    Args:
        text: `https://host[:port][/path]`, or `http://` on a loopback host.

    Raises:
        ValueError: saying in words what is wrong, without repeating the text (it may hold a password).
    """
    parts = _split(text)
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address without a user name or password in it")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("an address without ? and #")
    if any(part in {".", ".."} for part in parts.path.split("/")) or "%" in parts.path:
        raise ValueError("an address without . or .. or % in its path")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("an https:// address (http:// only for this machine itself, e.g. 127.0.0.1)")
    return f"{parts.scheme}://{_host_and_port(parts)}{parts.path.rstrip('/')}"


def host_of(address: str) -> str:
    """The `host[:port]` of an address that `web_address` returned, or of a bare `host[:port]`."""
    return _host_and_port(_split(address if "://" in address else f"https://{address}"))


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(text: str) -> SplitResult:
    expected = "an address such as https://host.example.com"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if _UNSAFE.search(text) or parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise ValueError(expected)
    if not _HOST.fullmatch(_bracketed(parts.hostname)):
        raise ValueError(expected)
    return parts


def _host_and_port(parts: SplitResult) -> str:
    host = _bracketed(parts.hostname or "")
    return host if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{host}:{parts.port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
