"""Which addresses images may be fetched from: those of the public internet, and hosts that are allowed by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# The IANA special-purpose address registries, and of IPv6 the addresses that carry an IPv4 address, which is reached by
# a gateway that does not know what is private here. The first match counts.
V4 = {
    IPv4Network(network): kind
    for network, kind in {
        "0.0.0.0/8": "an unspecified",
        "10.0.0.0/8": "a private",
        "100.64.0.0/10": "a carrier-grade NAT",
        "127.0.0.0/8": "a loopback",
        "168.63.129.16/32": "a cloud provider's internal",  # Azure's wire server; public by its number only
        "169.254.0.0/16": "a link-local",
        "172.16.0.0/12": "a private",
        "192.0.0.0/24": "a reserved",
        "192.0.2.0/24": "a documentation",
        "192.88.99.0/24": "a 6to4 relay",
        "192.168.0.0/16": "a private",
        "198.18.0.0/15": "a benchmarking",
        "198.51.100.0/24": "a documentation",
        "203.0.113.0/24": "a documentation",
        "224.0.0.0/4": "a multicast",
        "240.0.0.0/4": "a reserved",
    }.items()
}
V6 = {
    IPv6Network(network): kind
    for network, kind in {
        "::/128": "an unspecified",
        "::1/128": "a loopback",
        "::ffff:0:0/96": "an IPv4-mapped",
        "::/96": "an IPv4-compatible",
        "64:ff9b::/96": "a NAT64",
        "64:ff9b:1::/48": "a NAT64",
        "2001::/32": "a Teredo",
        "2001::/23": "a reserved",
        "2001:db8::/32": "a documentation",
        "3fff::/20": "a documentation",
        "2002::/16": "a 6to4",
        "fc00::/7": "a private",
        "fe80::/10": "a link-local",
        "fec0::/10": "a site-local",
        "ff00::/8": "a multicast",
    }.items()
}
PUBLIC_V6 = IPv6Network("2000::/3")  # all that has been given out for the public internet; the rest is reserved

NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # what the C library takes for (a part of) an address

ENTRY = re.compile(
    r"(?P<bare>[^:\[\]]*:[^\[\]]*:[^\[\]]*)|(\[(?P<v6>[^\]]*:[^\]]*)\]|(?P<name>[^:\[\]]+))(:(?P<port>[0-9]{1,5}))?"
)


def private(address: Address) -> str | None:
    """Why an address is not of the public internet, "a loopback address"; None when it is."""
    networks: dict[IPv4Network, str] | dict[IPv6Network, str] = V4 if isinstance(address, IPv4Address) else V6
    kind = next((kind for network, kind in networks.items() if address in network), None)
    if kind is None and isinstance(address, IPv6Address) and address not in PUBLIC_V6:
        kind = "a reserved"
    return kind and f"{kind} address"


def host(text: str) -> Address | str:
    """The host of a URL: an address, or a name in small letters without the dot at its end.

    Raises ValueError for what is neither, and for an address in any other form than the usual one (127.1, 0x7f.0.0.1,
    2130706433): the C library would find an address in it.
    """
    if ":" in text:
        address = IPv6Address(text)
        if address.scope_id is not None:
            raise AddressValueError("an address with a zone")
        return address
    name = text.lower().removesuffix(".")
    if NUMBER.fullmatch(name.rpartition(".")[2]):
        return IPv4Address(text)
    if not NAME.fullmatch(name):
        raise ValueError("neither a name nor an address")
    return name


class AllowedHosts:
    """Hosts that may be fetched from whatever their address is.

    An entry is a host as it stands in URLs, a name or an address, and allows all its ports or, as `host:port`, one. A
    name allows no address and no other name, an address no name that resolves to it, and neither a redirect from it.
    IPv6 addresses with a port are in brackets. Raises ValueError for an entry that is something else.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = frozenset(map(_entry, entries))

    def allow(self, host: Address | str, port: int) -> bool:
        """Whether this host, as `host()` gives it, is listed."""
        return (host, None) in self._entries or (host, port) in self._entries


def _entry(text: str) -> tuple[Address | str, int | None]:
    match = ENTRY.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        name, port = match["v6"] or match["bare"] or match["name"], match["port"]
        if port is not None and not 1 <= int(port) <= 65535:
            raise ValueError
        return host(name), None if port is None else int(port)
    except ValueError:
        raise ValueError(f"{text!r} is no host: give a name or an address, and :port if it is to be one") from None
