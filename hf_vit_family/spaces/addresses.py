# Copyright 2026 The hf_vit_family authors. Licensed under the Apache License, Version 2.0.
"""Where a visitor's link may lead: public hosts of the web, told by the addresses that their names resolve to."""

import ipaddress
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

# what a hosted Space can reach
PORTS = frozenset({80, 443, 8080})
MAX_LENGTH = 2000  # characters of a link
_SCHEMES = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[A-Za-z0-9:._-]+")
_GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# Azure's service for its own machines, relays of 6to4, and documentation, which Python 3.11 takes for public
_SPECIAL = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.88.99.0/24", "3fff::/20")))


@dataclass(frozen=True)
class Target:
    """A link in its parts.

    Attributes:
        scheme: `"http"` or `"https"`.
        host: name or address, without brackets, in ASCII.
        port: its port.
        path: path and query as they are sent.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Host and port as the `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _SCHEMES[self.scheme] else f"{host}:{self.port}"


def parse_link(link: str) -> Target:
    """A link's parts; resolves nothing.

    Raises:
        ValueError: no link of the web, a name and password in it, or a port that is not of the web.
    """
    link = link.strip()
    if len(link) > MAX_LENGTH:
        raise ValueError(f"The link has {len(link):,} characters; expected at most {MAX_LENGTH:,}.")
    if not link:
        raise ValueError("There is no link; expected https://host/picture.")
    shown = short(link)
    try:
        parts = urlsplit(link)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{shown} is no link that can be read; expected https://host/picture.") from None
    if parts.scheme not in _SCHEMES or not host or _FORBIDDEN.search(link):
        raise ValueError(f"{shown} is no link of the web; expected https://host/picture.")
    if "@" in parts.netloc:
        raise ValueError(f"{shown} holds a user name; expected a link that needs none.")
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise ValueError(f"{shown} names no host that can be looked up; expected https://host/picture.")
    port = _SCHEMES[parts.scheme] if port is None else port
    if port not in PORTS:
        raise ValueError(f"{shown} asks for port {port}; expected {', '.join(map(str, sorted(PORTS)))}.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return Target(parts.scheme, host, port, f"{path}?{query}" if query else path)


def public_address(target: Target, seconds: float) -> str:
    """The address to connect to.

    Args:
        target: where a link leads.
        seconds: how long to wait for the name to be resolved.

    Returns:
        The first of its addresses; connecting to the name instead would resolve it once more, to another one perhaps.

    Raises:
        ValueError: the name does not resolve, or to any address that is not public.
    """
    found: list[str] = []
    resolver = threading.Thread(target=_resolve, args=(target, found), daemon=True)
    resolver.start()
    resolver.join(max(0.0, seconds))
    addresses = list(found)
    if not addresses:
        raise ValueError(f"The host {short(target.host)} cannot be found.")
    if not all(is_public(address) for address in addresses):
        raise ValueError(
            f"The host {short(target.host)} is at an address of a private network or of this machine; "
            "expected a public one."
        )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet: none of this machine, a local network or a special use.

    Addresses of IPv6 that stand for one of IPv4 (mapped, 6to4, Teredo, NAT64) are none.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # with a zone: `fe80::1%eth0`
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and (
        parsed not in _GLOBAL_IPV6 or parsed.sixtofour is not None or parsed.teredo is not None
    ):
        return False
    if any(parsed in network for network in _SPECIAL):
        return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def short(text: str) -> str:
    """A link or host as messages show it: in one line, and not too long."""
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def _resolve(target: Target, found: list[str]) -> None:
    try:
        entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    found.extend(str(entry[4][0]) for entry in entries)
