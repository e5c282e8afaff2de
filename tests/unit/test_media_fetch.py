"""Fetching, from a real HTTP server on this machine."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, suppress

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from streamapp.media.fetch import Fetcher, FetchError, parse

LIMIT = 100_000


class Site:
    """Answers as its paths say, and counts."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.sent = 0
        self.base = ""
        self.headers: Mapping[str, str] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        self.headers = request.headers
        kind, _, argument = request.path.strip("/").partition("/")
        match kind:
            case "bytes":
                return web.Response(body=b"x" * int(argument))
            case "status":
                return web.Response(status=int(argument))
            case "redirects" if int(argument) > 0:
                return web.Response(status=302, headers={"Location": f"/redirects/{int(argument) - 1}"})
            case "to":
                return web.Response(status=301, headers={"Location": request.query["url"]})
            case "gzip":
                body = gzip.compress(b"\0" * int(argument))
                return web.Response(body=body, headers={"Content-Encoding": "gzip"})
            case "liar":
                response = web.StreamResponse(headers={"Content-Length": argument})
                await response.prepare(request)
                assert request.transport is not None
                request.transport.write(b"x" * LIMIT)
                return response
            case "drip":
                return await self._stream(request, b"x", pause=0.02)
            case "endless":
                return await self._stream(request, b"x" * 10_000, pause=0)
            case "broken":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(b"x" * 10)
                assert request.transport is not None
                request.transport.abort()
                return response
        return web.Response(body=b"end")

    async def _stream(self, request: web.Request, chunk: bytes, *, pause: float) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(100_000):
            await response.write(chunk)
            self.sent += len(chunk)
            await asyncio.sleep(pause)
        return response


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with aclosing(Fetcher(max_bytes=LIMIT, timeout_seconds=5, allowed_hosts=["127.0.0.1"])) as fetcher:
        yield fetcher


async def test_gives_the_bytes(site: Site, fetcher: Fetcher) -> None:
    assert await fetcher.fetch(f"{site.base}/bytes/1234") == b"x" * 1234


async def test_one_fetcher_fetches_many_at_once(site: Site, fetcher: Fetcher) -> None:
    bodies = await asyncio.gather(*(fetcher.fetch(f"{site.base}/bytes/{n}") for n in range(50)))
    assert [len(body) for body in bodies] == list(range(50))


async def test_can_be_closed_unused_and_twice_and_used_again(site: Site) -> None:
    fetcher = Fetcher(max_bytes=LIMIT, timeout_seconds=5, allowed_hosts=["127.0.0.1"])
    await fetcher.aclose()
    assert await fetcher.fetch(f"{site.base}/bytes/1") == b"x"
    await fetcher.aclose()
    await fetcher.aclose()
    assert await fetcher.fetch(f"{site.base}/bytes/2") == b"xx"
    await fetcher.aclose()


@pytest.mark.parametrize(
    ("status", "name", "permanent"),
    [
        (400, "400 Bad Request", True),
        (403, "403 Forbidden", True),
        (404, "404 Not Found", True),
        (410, "410 Gone", True),
        (304, "304 Not Modified", True),
        (302, "302 Found", True),  # and says not where
        (408, "408 Request Timeout", False),
        (425, "425 Too Early", False),
        (429, "429 Too Many Requests", False),
        (500, "500 Internal Server Error", False),
        (503, "503 Service Unavailable", False),
        (599, "unknown status 599", False),
        (499, "unknown status 499", True),
    ],
)
async def test_a_status_tells_whether_to_try_again(
    site: Site, fetcher: Fetcher, status: int, name: str, permanent: bool
) -> None:
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(f"{site.base}/status/{status}?key=secret")
    assert str(caught.value) == f"{name} from 127.0.0.1"
    assert caught.value.permanent is permanent


async def test_the_limit_itself_is_allowed(site: Site, fetcher: Fetcher) -> None:
    assert len(await fetcher.fetch(f"{site.base}/bytes/{LIMIT}")) == LIMIT


async def test_a_declared_size_over_the_limit_is_refused(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match=f"larger than {LIMIT} bytes, from 127.0.0.1") as caught:
        await fetcher.fetch(f"{site.base}/bytes/{LIMIT + 1}")
    assert caught.value.permanent


async def test_an_undeclared_size_is_cut_off_while_reading(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match="larger than") as caught:
        await fetcher.fetch(f"{site.base}/endless")
    assert caught.value.permanent
    assert site.sent < 100 * LIMIT


async def test_a_declared_size_that_is_too_small_gives_no_more_than_it_says(site: Site, fetcher: Fetcher) -> None:
    with suppress(FetchError):  # if the rest comes so soon that it is taken for a second answer
        assert await fetcher.fetch(f"{site.base}/liar/10") == b"x" * 10
    assert site.requests == ["/liar/10"]


async def test_a_compressed_answer_is_refused_unopened(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match=r"content encoding 'gzip' from 127\.0\.0\.1") as caught:
        await fetcher.fetch(f"{site.base}/gzip/{200 * LIMIT}")
    assert caught.value.permanent
    assert site.headers["Accept-Encoding"] == "identity"


async def test_failures_are_counted_by_kind(site: Site, fetcher: Fetcher) -> None:
    await fetcher.fetch(f"{site.base}/bytes/1")
    for path in ("status/404", "status/503", "endless", "gzip/1", "redirects/4", "to?url=http://[", "broken"):
        with pytest.raises(FetchError):
            await fetcher.fetch(f"{site.base}/{path}")
    assert fetcher.failures == {"status": 2, "size": 1, "encoding": 1, "redirects": 1, "url": 1, "connection": 1}


async def test_the_time_limit_is_for_the_whole_fetch(site: Site) -> None:
    async with aclosing(Fetcher(max_bytes=LIMIT, timeout_seconds=0.2, allowed_hosts=["127.0.0.1"])) as fetcher:
        with pytest.raises(FetchError, match=r"no answer from 127\.0\.0\.1 within 0\.2 s") as caught:
            await fetcher.fetch(f"{site.base}/drip")  # never silent for long
    assert not caught.value.permanent


async def test_three_redirects_are_followed(site: Site, fetcher: Fetcher) -> None:
    assert await fetcher.fetch(f"{site.base}/redirects/3") == b"end"
    assert len(site.requests) == 4


async def test_four_redirects_are_not(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError, match=r"more than 3 redirects, last to 127\.0\.0\.1") as caught:
        await fetcher.fetch(f"{site.base}/redirects/4")
    assert caught.value.permanent
    assert len(site.requests) == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://h", "http://h:0/", "http://["])
async def test_a_redirect_is_checked_like_the_first_url(site: Site, fetcher: Fetcher, target: str) -> None:
    with pytest.raises(FetchError, match=r"^redirected: (unsupported scheme|malformed URL)") as caught:
        await fetcher.fetch(f"{site.base}/to?url={target}")
    assert caught.value.permanent


async def test_nobody_there_is_worth_another_attempt(fetcher: Fetcher) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses connections
        with pytest.raises(FetchError, match=r"^no connection to 127\.0\.0\.1: Connection refused$") as caught:
            await fetcher.fetch(f"http://127.0.0.1:{taken.getsockname()[1]}/a.jpg")
    assert not caught.value.permanent


async def test_an_answer_that_breaks_off_is_worth_another_attempt(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(FetchError) as caught:
        await fetcher.fetch(f"{site.base}/broken")
    assert not caught.value.permanent


@pytest.mark.parametrize(
    "url",
    [
        "",
        "beach.jpg",
        "/a/b",
        "//host/a",
        "file:///etc/passwd",
        "data:image/png;base64,AA",
        "http:///a",
        "http://h:0/",
        "http://h:99999/",
        "http://[::1",
        "http://" + "a" * 300 + "\udcff/",
    ],
)
async def test_what_cannot_be_fetched_is_refused_for_good(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(FetchError, match=r"malformed URL|unsupported scheme") as caught:
        await fetcher.fetch(url)
    assert caught.value.permanent


@given(st.one_of(st.text(), st.text().map("http://".__add__), st.text().map("https://h:1/".__add__)))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    with suppress(FetchError):
        url = parse(text)
        assert url.scheme in ("http", "https")
        assert url.host
