"""Which network addresses a tool may reach: those of the public internet.

The lists follow IANA's special-purpose address registries (RFC 6890 and its updates), written out because what `ipaddress`
calls global differs between Python releases.
"""

from __future__ import annotations

import ipaddress
import socket

# Refused unless the person who set the tool up named the host: this machine and the networks around it.
_PRIVATE = [
    ipaddress.ip_network(one)
    for one in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7")
]
# Refused always: nobody's hosts, everybody's hosts, and the addresses at which clouds hand out credentials.
_NEVER = [
    ipaddress.ip_network(one)
    for one in (
        *("0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "100.100.100.200/32", "fd00:ec2::/32"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),  # Teredo, documentation, 6to4
    )
]
_GLOBAL6 = ipaddress.ip_network("2000::/3")  # all of IPv6 that is in use; IPv4-mapped and NAT64 addresses lie outside
_ISATAP = (0x00005EFE, 0x02005EFE)  # the middle of an interface id that carries an IPv4 address (RFC 5214)


def resolve(host: str, port: int) -> list[str]:
    """Every address of a host name. Raises `OSError` when there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(f"{where[0]}%{where[3]}" if len(where) == 4 and where[3] else str(where[0]) for *_, where in found))


def allowed(address: str, *, private: bool = False) -> bool:
    """Whether an address may be connected to; with `private`, loopback and private networks too."""
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(one, ipaddress.IPv6Address) and one.scope_id:
        return False
    if any(one in network for network in _NEVER):
        return False
    if any(one in network for network in _PRIVATE):
        return private
    if isinstance(one, ipaddress.IPv4Address):
        return True
    return one in _GLOBAL6 and (int(one) >> 32) & 0xFFFFFFFF not in _ISATAP
