"""Fetch an image file over HTTP: from public addresses only, within limits of time, size and redirects."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import Counter
from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    InvalidURL,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver
from yarl import URL

from streamapp.media.addresses import AllowedHosts, host
from streamapp.media.errors import FetchError
from streamapp.media.lookups import Lookups
from streamapp.media.resolver import CheckedResolver, check

__all__ = ["FetchError", "Fetcher", "parse"]

MAX_REDIRECTS = 3
CHUNK_BYTES = 64 * 1024
# Client errors that another attempt may cure: Request Timeout, Too Early, Too Many Requests.
TRANSIENT_STATUSES = frozenset({408, 425, 429})
REDIRECTS = frozenset({301, 302, 303, 307, 308})


def parse(url: str) -> URL:
    """The URL, if it is one that can be fetched; addresses are not looked at. Raises FetchError (permanent)."""
    try:
        parsed = URL(url)
        name, port = parsed.raw_host, parsed.explicit_port  # both are checked only when read
    except ValueError:
        raise _refused("malformed URL") from None
    if parsed.scheme not in ("http", "https"):
        raise _refused(f"unsupported scheme {parsed.scheme[:16]!r}, not http or https")
    if not name or port == 0:
        raise _refused("malformed URL: no host or port")
    try:
        host(name)
    except ValueError:
        raise _refused(f"malformed URL: {name[:64]!a} is no host name and no address in its usual form") from None
    if parsed.raw_user is not None or parsed.raw_password is not None:
        raise _refused(f"credentials in the URL, for {name}")
    return parsed


class Fetcher:
    """Fetches files; one connection pool, opened by the first fetch and closed by `aclose`.

    max_bytes: largest file. timeout_seconds: for the whole of a fetch, redirects included.
    allowed_hosts: see AllowedHosts. resolver: of names, the system's when None.
    """

    def __init__(
        self,
        *,
        max_bytes: int,
        timeout_seconds: float,
        allowed_hosts: Iterable[str] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.max_bytes = max_bytes
        self.timeout_seconds = timeout_seconds
        self.failures: Counter[str] = Counter()  # fetches that failed, by FetchError.kind
        self._allowed = AllowedHosts(allowed_hosts)
        self._resolver = resolver
        self._session: ClientSession | None = None

    async def fetch(self, url: str) -> bytes:
        """The bytes at url. Raises FetchError."""
        try:
            target = parse(url)
            try:
                async with asyncio.timeout(self.timeout_seconds):
                    return await self._follow(target)
            except TimeoutError:
                raise FetchError(
                    f"no answer from {target.raw_host} within {self.timeout_seconds:g} s",
                    permanent=False,
                    kind="timeout",
                ) from None
        except FetchError as error:
            self.failures[error.kind] += 1
            raise

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _follow(self, url: URL) -> bytes:
        # Redirects are followed here, not by the session, so that every hop is checked like the first.
        for hop in range(MAX_REDIRECTS + 1):
            try:
                answer = await self._get(url)
                if isinstance(answer, bytes):
                    return answer
            except FetchError as error:
                if not hop:
                    raise
                raise FetchError(f"redirected: {error}", permanent=error.permanent, kind=error.kind) from error
            try:
                url = parse(answer)
            except FetchError as error:
                raise FetchError(f"redirected: {error}", permanent=True, kind=error.kind) from error
        raise FetchError(
            f"more than {MAX_REDIRECTS} redirects, last to {url.raw_host}", permanent=True, kind="redirects"
        )

    async def _get(self, url: URL) -> bytes | str:
        """The file, or where the server says that it is."""
        name = str(url.raw_host)
        address = host(name)
        if not isinstance(address, str):  # of a name the resolver checks what it finds
            check(name, url.port or 0, address, self._allowed)
        try:
            async with self._open().get(url, allow_redirects=False) as response:
                location = response.headers.get("Location")
                if response.status in REDIRECTS and location is not None:
                    return _joined(url, location)
                return await self._read(response, name)
        except InvalidURL:
            raise _refused("malformed URL") from None
        except (ClientError, OSError) as error:  # some of them are ValueErrors too
            raise FetchError(_trouble(error, name), permanent=False) from error
        except ValueError:  # of a URL that parses but cannot be encoded for the wire
            raise _refused("malformed URL") from None

    async def _read(self, response: ClientResponse, name: str) -> bytes:
        status = response.status
        if not 200 <= status < 300:
            permanent = status < 500 and status not in TRANSIENT_STATUSES
            raise FetchError(f"{_named(status)} from {name}", permanent=permanent, kind="status")
        # Not asked for, and images are compressed already: what comes compressed anyway may be a bomb.
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise FetchError(f"content encoding {encoding[:16]!r} from {name}", permanent=True, kind="encoding")
        too_large = FetchError(f"larger than {self.max_bytes} bytes, from {name}", permanent=True, kind="size")
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
            resolver = CheckedResolver(self._resolver or Lookups(), self._allowed)
            self._session = ClientSession(
                # No cache of names: what is connected to is what the resolver gave for this connection.
                connector=TCPConnector(resolver=resolver, use_dns_cache=False),
                cookie_jar=DummyCookieJar(),
                headers={"User-Agent": "streamapp", "Accept": "image/*", "Accept-Encoding": "identity"},
                auto_decompress=False,
                trust_env=False,  # a proxy would resolve names itself
                timeout=ClientTimeout(total=None),  # the whole fetch has one limit, in fetch()
            )
        return self._session


def _refused(message: str) -> FetchError:
    return FetchError(message, permanent=True, kind="url")


def _joined(url: URL, location: str) -> str:
    try:
        return str(url.join(URL(location)))
    except ValueError:
        return location  # parse() says what is wrong with it


def _trouble(error: ClientError | OSError, name: str) -> str:
    """What happened with a host. Texts of errors are not given on: they may quote the URL."""
    match error:
        case ClientConnectorDNSError():
            return f"no address found for {name}"
        case ClientConnectorCertificateError():
            cause = error.certificate_error
            reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "not valid"
            return f"certificate of {name} refused: {reason}"
        case ClientPayloadError():
            return f"the answer broke off, from {name}"
        case ClientResponseError():
            return f"no proper HTTP answer from {name}"
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number and number > 0 else type(error).__name__
    return f"no connection to {name}: {reason}"


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"unknown status {status}"
