"""Host names to addresses, all of them checked: what this gives is what is connected to."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

from streamapp.media.addresses import Address, AllowedHosts, host, private
from streamapp.media.errors import FetchError


class CheckedResolver(AbstractResolver):
    """Gives the addresses of a name when all of them may be fetched from.

    It is asked once for each connection, by the connection itself: a name whose answer changes is checked by the very
    answer that is used. One private address among several is enough to refuse: which is tried first is chance.
    """

    def __init__(self, resolver: AbstractResolver, allowed: AllowedHosts) -> None:
        self._resolver = resolver
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises FetchError (permanent) for one that may not be fetched from, and OSError."""
        found = await self._resolver.resolve(host, port, family)
        for entry in found:
            check(host, port, ip_address(entry["host"]), self._allowed)
        return found

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._resolver.close()


def check(name: str, port: int, address: Address, allowed: AllowedHosts) -> None:
    """Raise FetchError (permanent) unless `address`, which is that of `name`, may be fetched from."""
    if (kind := private(address)) is None or allowed.allow(host(name), port):
        return
    found = f"{address} is" if host(name) == address else f"{name} is {address},"
    raise FetchError(f"{found} {kind}", permanent=True, kind="address")
