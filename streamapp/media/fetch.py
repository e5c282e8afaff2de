"""Fetch an image file over HTTP within limits of time, size and redirects."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http import HTTPStatus

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, DummyCookieJar
from yarl import URL

MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
# Client errors that another attempt may cure: Request Timeout, Too Early, Too Many Requests.
TRANSIENT_STATUSES = frozenset({408, 425, 429})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """A file could not be fetched. `permanent` says that another attempt is useless."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent


def parse(url: str) -> URL:
    """The URL, if it is one that can be fetched. Raises FetchError (permanent)."""
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.explicit_port  # both are checked only when read
    except ValueError:
        raise FetchError("malformed URL", permanent=True) from None
    if parsed.scheme not in ("http", "https"):
        raise FetchError(f"unsupported scheme {parsed.scheme[:16]!r}, not http or https", permanent=True)
    if not host or port == 0:
        raise FetchError("malformed URL: no host or port", permanent=True)
    return parsed


class Fetcher:
    """Fetches files; one connection pool, opened by the first fetch and closed by `aclose`.

    max_bytes: largest file. timeout_seconds: for the whole of a fetch, redirects included.
    allowed_hosts: hosts that may be fetched from though their address is private.
    """

    def __init__(self, *, max_bytes: int, timeout_seconds: float, allowed_hosts: Collection[str] = ()) -> None:
        self.max_bytes = max_bytes
        self.timeout_seconds = timeout_seconds
        self.allowed_hosts = frozenset(allowed_hosts)
        self._session: ClientSession | None = None

    async def fetch(self, url: str) -> bytes:
        """The bytes at url. Raises FetchError."""
        target = parse(url)
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await self._follow(target)
        except TimeoutError:
            raise FetchError(
                f"no answer from {target.host} within {self.timeout_seconds:g} s", permanent=False
            ) from None
        except ValueError:  # InvalidURL too: a host that parses but cannot be encoded for the wire
            raise FetchError("malformed URL", permanent=True) from None
        except (ClientError, OSError) as error:
            raise FetchError(f"no connection to {target.host}: {type(error).__name__}", permanent=False) from error

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, url: URL) -> bytes:
        # Redirects are followed here, not by the session, so that every hop is checked like the first.
        for _ in range(MAX_REDIRECTS + 1):
            async with self._open().get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status not in REDIRECTS or location is None:
                    return await self._read(response)
                url = parse(str(url.join(URL(location))))
        raise FetchError(f"more than {MAX_REDIRECTS} redirects, last to {url.host}", permanent=True)

    async def _read(self, response: ClientResponse) -> bytes:
        status, host = response.status, response.url.host
        if not 200 <= status < 300:
            permanent = status < 500 and status not in TRANSIENT_STATUSES
            raise FetchError(f"{_named(status)} from {host}", permanent=permanent)
        too_large = FetchError(f"larger than {self.max_bytes} bytes, from {host}", permanent=True)
        if (response.content_length or 0) > self.max_bytes:
            raise too_large
        body = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > self.max_bytes:
                raise too_large
        return bytes(body)

    def _open(self) -> ClientSession:
        if self._session is None:  # here and not in __init__: a session belongs to a running event loop
            self._session = ClientSession(
                cookie_jar=DummyCookieJar(),
                # Images are compressed already; the size limit should be about what travels.
                headers={"User-Agent": "streamapp", "Accept": "image/*", "Accept-Encoding": "identity"},
                timeout=ClientTimeout(total=None),  # the whole fetch has one limit, in fetch()
            )
        return self._session


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"unknown status {status}"
