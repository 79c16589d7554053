"""Connections to public addresses alone: a name that somebody gave us must not lead into our own network."""

from __future__ import annotations

import ipaddress
import socket

from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError

PRIVATE = (
    "its host name leads to an address of a private network, or of this machine",
    "If that is where it should go: private: true on this entry of gates.yaml.",
)
"""What kept a call from being sent, and what a person can do."""

_GLOBAL = ipaddress.ip_network("2000::/3")  # RFC 4291, 2.4, and IANA's registry: nothing else is given out
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_IPV4 = 0xFFFFFFFF


class PrivateAddressError(NewConnectionError):
    """A connection was made to an address that is not public, and closed before anything was sent."""


class PublicOnly(HTTPConnection):
    """Looks at the address that it is really connected to: one that was only resolved may be another by then."""

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        if is_public(connected.getpeername()[0]):
            return connected
        connected.close()
        raise PrivateAddressError(self, PRIVATE[0])


def is_public(address: str) -> bool:
    """Whether an IP address is one of the whole Internet, also where it is an IPv4 address in IPv6's clothes."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & _IPV4)
        if inner is not None:
            return is_public(str(inner))
        if found not in _GLOBAL:
            return False
    return found.is_global and not found.is_multicast
