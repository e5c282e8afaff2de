"""Whatever a URL says, nothing but public addresses and allowed hosts is connected to, and each refusal has its reason.

Real servers on this machine: the allowed one, and an internal one that must never hear of it. Every connection that the
process begins is recorded, and those to other machines are ended there.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult

import samples
from streamapp.media.cache import Pictures
from streamapp.media.fetch import Fetcher, FetchError
from streamapp.media.image import ImageError
from streamapp.settings import Settings

LIMIT = 100_000
PUBLIC = "93.184.215.14"
_connected: list[str] | None = None  # addresses, while it is recorded


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect" and _connected is not None:
        address = str(arguments[1][0]) if isinstance(arguments[1], tuple) else ""
        _connected.append(address)
        if not address.startswith("127.") and address != "::1":
            raise OSError(errno.ENETUNREACH, "a test connects to nobody else")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def connected() -> Iterator[list[str]]:
    """The addresses connected to."""
    global _connected
    _connected = []
    yield _connected
    _connected = None


class Names(AbstractResolver):
    """Answers from a script, the last one for ever; names that are not in it are looked up for real."""

    def __init__(self, script: Mapping[str, list[list[str]]]) -> None:
        self.script = {name: list(answers) for name, answers in script.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        host = host.removesuffix(".")  # which not every C library knows how to look up
        self.asked.append(host)
        if (answers := self.script.get(host)) is None:
            return await ThreadedResolver().resolve(host, port, family)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if not answer:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in answer
        ]

    async def close(self) -> None:
        pass


class Server:
    """Answers as its paths say; keeps the headers of what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[Mapping[str, str]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers)
        match request.path:
            case "/to":
                headers = {"Location": request.query["url"], "Set-Cookie": "session=secret; Path=/"}
                return web.Response(status=302, headers=headers)
            case "/who":
                return web.Response(text=self.name)
            case "/picture.jpg":
                return web.Response(body=samples.path("beach").read_bytes())
            case "/page":
                return web.Response(text="<html>", content_type="image/jpeg")
            case "/huge.png":
                return web.Response(body=huge_png())
            case "/gzip":
                return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
            case "/ten-gigabytes":
                return await self._stream(request, bytes(2**16), {"Content-Length": str(10 * 2**30)}, 0)
            case "/endless":
                return await self._stream(request, bytes(2**16), {}, 0)
            case "/slow":
                return await self._stream(request, b"x", {}, 0.02)
        return web.Response(status=404)

    async def _stream(
        self, request: web.Request, part: bytes, headers: dict[str, str], pause: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        for _ in range(10 * 2**30 // 2**16):
            await response.write(part)
            await asyncio.sleep(pause)
        return response

    async def serve(self, *hosts: str, port: int = 0) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        for host in hosts:
            await web.TCPSite(runner, host, port).start()
            port = self.port = runner.addresses[0][1]
        return runner


def huge_png() -> bytes:
    """60000 x 60000, of a few bytes."""
    header, data = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0]), b"IDAT" + zlib.compress(bytes(9))
    chunks = [
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
async def site() -> AsyncIterator[Server]:
    """The allowed one."""
    site = Server("site")
    runner = await site.serve("127.0.0.1")
    yield site
    await runner.cleanup()


@pytest.fixture
async def internal() -> AsyncIterator[Server]:
    """On all names of this machine, like whatever else may run there."""
    internal = Server("internal")
    runner = await internal.serve("127.0.0.1", "127.0.0.2")
    yield internal
    await runner.cleanup()


def fetcher(site: Server, script: Mapping[str, list[list[str]]] | None = None, *more: str) -> Fetcher:
    return Fetcher(
        max_bytes=LIMIT,
        timeout_seconds=0.5,
        allowed_hosts=[f"127.0.0.1:{site.port}", *more],
        resolver=Names(script or {}),
    )


SCRIPT: dict[str, list[list[str]]] = {
    "rfc1918.test": [["10.1.2.3"]],
    "mixed.test": [[PUBLIC, "127.0.0.1"]],
    "mixed6.test": [["2606:4700::1111", "::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "nat64.test": [["64:ff9b::7f00:1"]],
    "zone.test": [["fe80::1%lo"]],
    "metadata.test": [["169.254.169.254"]],
    "rebound.test": [["127.0.0.1"]],
    "nowhere.test": [[]],
}

# {internal}, {site}: their ports. All are for good but the last.
TABLE = {
    # addresses as they are
    "loopback": ("http://127.0.0.1:{internal}/a", "127.0.0.1 is a loopback address"),
    "another loopback": ("http://127.0.0.2:{internal}/a", "127.0.0.2 is a loopback address"),
    "unspecified": ("http://0.0.0.0:{internal}/a", "0.0.0.0 is an unspecified address"),
    "private": ("http://192.168.0.1/a", "192.168.0.1 is a private address"),
    "carrier-grade NAT": ("http://100.64.0.1/a", "100.64.0.1 is a carrier-grade NAT address"),
    "link-local": ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is a link-local address"),
    "multicast": ("http://239.255.255.250:1900/a", "239.255.255.250 is a multicast address"),
    "broadcast": ("http://255.255.255.255/a", "255.255.255.255 is a reserved address"),
    "IPv6 loopback": ("http://[::1]:{internal}/a", "::1 is a loopback address"),
    "IPv6 unspecified": ("http://[::]:{internal}/a", ":: is an unspecified address"),
    "IPv4-mapped": ("http://[::ffff:127.0.0.1]:{internal}/a", "::ffff:7f00:1 is an IPv4-mapped address"),
    "IPv4-compatible": ("http://[::127.0.0.1]:{internal}/a", "::7f00:1 is an IPv4-compatible address"),
    "6to4": ("http://[2002:7f00:1::]/a", "2002:7f00:1:: is a 6to4 address"),
    "NAT64": ("http://[64:ff9b::127.0.0.1]/a", "64:ff9b::7f00:1 is a NAT64 address"),
    "Teredo": ("http://[2001:0:7f00:1::1]/a", "2001:0:7f00:1::1 is a Teredo address"),
    "IPv6 private": ("http://[fd00:ec2::254]/a", "fd00:ec2::254 is a private address"),
    "IPv6 with a zone": ("http://[fe80::1%25lo]:{internal}/a", "no address in its usual form"),
    # addresses in disguise
    "decimal": ("http://2130706433:{internal}/a", "'2130706433' is no host name and no address in its usual form"),
    "octal": ("http://0177.0.0.1:{internal}/a", "'0177.0.0.1' is no host name"),
    "octal number": ("http://017700000001:{internal}/a", "'017700000001' is no host name"),
    "hexadecimal": ("http://0x7f.0.0.1:{internal}/a", "'0x7f.0.0.1' is no host name"),
    "hexadecimal number": ("http://0x7f000001:{internal}/a", "'0x7f000001' is no host name"),
    "hexadecimal, short": ("http://0x7f.1:{internal}/a", "'0x7f.1' is no host name"),
    "short": ("http://127.1:{internal}/a", "'127.1' is no host name"),
    "zero": ("http://0:{internal}/a", "'0' is no host name"),
    "a dot at the end": ("http://127.0.0.1.:{internal}/a", "'127.0.0.1.' is no host name"),
    "escaped": ("http://%31%32%37.0.0.1:{internal}/a", "is no host name"),
    "wide digits": ("http://\uff11\uff12\uff17.0.0.1:{internal}/a", "127.0.0.1 is a loopback address"),
    "circled digits and ideographic dots": ("http://①②⑦。0。0。1:{internal}/a", "127.0.0.1 is a loopback address"),
    # names
    "localhost": ("http://localhost:{internal}/a", "localhost is 127.0.0.1, a loopback address"),
    "LOCALHOST.": ("http://LOCALHOST.:{internal}/a", "a loopback address"),
    "the allowed server by another name": ("http://localhost:{site}/picture.jpg", "a loopback address"),
    "a name of a private address": ("http://rfc1918.test/a", "rfc1918.test is 10.1.2.3, a private address"),
    "a name of the metadata service": ("http://metadata.test/a", "is 169.254.169.254, a link-local address"),
    "a private address among others": ("http://mixed.test/a", "mixed.test is 127.0.0.1, a loopback address"),
    "a private IPv6 address among others": ("http://mixed6.test/a", "mixed6.test is ::1, a loopback address"),
    "a name of a mapped address": ("http://mapped.test:{internal}/a", "an IPv4-mapped address"),
    "a name of a NAT64 address": ("http://nat64.test:{internal}/a", "a NAT64 address"),
    "a name of an address with a zone": ("http://zone.test:{internal}/a", "a link-local address"),
    # another port of an allowed host, and what is in a URL besides
    "another port": ("http://127.0.0.1:1/a", "127.0.0.1 is a loopback address"),
    "file": ("file:///etc/passwd", "unsupported scheme 'file', not http or https"),
    "ftp": ("ftp://127.0.0.1/a", "unsupported scheme 'ftp', not http or https"),
    "gopher": ("gopher://127.0.0.1:{internal}/_GET", "unsupported scheme 'gopher', not http or https"),
    "data": ("data:image/png;base64,AAAA", "unsupported scheme 'data', not http or https"),
    "credentials": ("http://ana:hunter2@127.0.0.1:{site}/a", "credentials in the URL, for 127.0.0.1"),
    "a name only": ("http://hunter2@127.0.0.1:{site}/a", "credentials in the URL, for 127.0.0.1"),
    "two hosts": ("http://127.0.0.1:{site}\\@127.0.0.1:{internal}/a", "malformed URL"),
    "an allowed host as credentials": ("http://127.0.0.1:{site}@127.0.0.1:{internal}/a", "credentials in the URL"),
    # redirects
    "redirect to loopback": (
        "http://127.0.0.1:{site}/to?url=http://127.0.0.1:{internal}/a",
        "redirected: 127.0.0.1 is a loopback address",
    ),
    "redirect to link-local": (
        "http://127.0.0.1:{site}/to?url=http://169.254.169.254/latest/hunter2",
        "redirected: 169.254.169.254 is a link-local address",
    ),
    "redirect to a decimal address": ("http://127.0.0.1:{site}/to?url=//2130706433/", "redirected: malformed URL"),
    "redirect to a name": (
        "http://127.0.0.1:{site}/to?url=http://localhost:{internal}/a",
        "redirected: localhost is 127.0.0.1, a loopback address",
    ),
    "redirect to a file": (
        "http://127.0.0.1:{site}/to?url=file:///etc/passwd",
        "redirected: unsupported scheme 'file'",
    ),
    "redirect with credentials": (
        "http://127.0.0.1:{site}/to?url=http://ana:hunter2@127.0.0.1:{site}/picture.jpg",
        "redirected: credentials in the URL",
    ),
    "redirect by a redirect": (
        "http://127.0.0.1:{site}/to?url=/to?url=http://[::1]:{internal}/a",
        "redirected: ::1 is a loopback address",
    ),
    # bodies
    "10 GB": ("http://127.0.0.1:{site}/ten-gigabytes", "larger than 100000 bytes, from 127.0.0.1"),
    "endless": ("http://127.0.0.1:{site}/endless", "larger than 100000 bytes, from 127.0.0.1"),
    "compressed": ("http://127.0.0.1:{site}/gzip", "content encoding 'gzip' from 127.0.0.1"),
    "decompression bomb": ("http://127.0.0.1:{site}/huge.png", "PNG of 60000x60000 is larger than 1000000 pixels"),
    "a page as an image": ("http://127.0.0.1:{site}/page", "not an image: starts with b'<html>'"),
    # worth another attempt
    "slow": ("http://127.0.0.1:{site}/slow", "no answer from 127.0.0.1 within 0.5 s"),
    "a name of nobody": ("http://nowhere.test/a", "no address found for nowhere.test"),
}
WORTH_ANOTHER_ATTEMPT = ("slow", "a name of nobody")


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 25


@pytest.mark.parametrize("case", TABLE)
async def test_refused(case: str, site: Server, internal: Server, connected: list[str]) -> None:
    url, reason = TABLE[case]
    url = url.replace("{internal}", str(internal.port)).replace("{site}", str(site.port))
    secret = "&key=hunter2" if "?" in url else "?key=hunter2"
    with ThreadPoolExecutor(1) as executor:
        async with aclosing(fetcher(site, SCRIPT)) as source:
            pictures = Pictures(fetch=source.fetch, executor=executor, max_bytes=LIMIT, max_pixels=1_000_000)
            with pytest.raises((FetchError, ImageError)) as caught:
                await pictures.get(url + secret, "1")
            await pictures.aclose()
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert "hunter2" not in message
    assert len(message) < 200
    assert getattr(caught.value, "permanent", True) is (case not in WORTH_ANOTHER_ATTEMPT)
    assert not internal.asked
    assert set(connected) <= {"127.0.0.1"}  # of the allowed server alone, as the internal one has heard nothing
    assert len(connected) <= len(site.asked)


async def test_what_is_allowed_is_fetched(site: Server) -> None:
    async with aclosing(fetcher(site, {"cdn.test": [["127.0.0.1"]]}, "cdn.test")) as source:
        for url in (f"http://127.0.0.1:{site.port}/who", f"http://CDN.test.:{site.port}/who"):
            assert await source.fetch(url) == b"site"
        to = f"http://127.0.0.1:{site.port}/to?url=http://cdn.test:{site.port}/who"
        assert await source.fetch(to) == b"site"


async def test_a_public_address_is_connected_to(site: Server, connected: list[str]) -> None:
    """As far as the test lets it."""
    script = {"cdn.test": [[PUBLIC]], "six.test": [["2606:4700::1111"]]}
    async with aclosing(fetcher(site, script)) as source:
        for host in ("cdn.test", "six.test", PUBLIC, "[2606:4700::1111]"):
            with pytest.raises(FetchError, match=r"no connection to .*: Network is unreachable") as caught:
                await source.fetch(f"http://{host}/a")
            assert not caught.value.permanent
    assert connected == [PUBLIC, "2606:4700::1111"] * 2


async def test_a_name_that_changes_between_check_and_connection(
    site: Server, internal: Server, connected: list[str]
) -> None:
    """The first answer is public and every later one private: the first is what is connected to, and nothing else."""
    async with aclosing(fetcher(site, {"rebind.test": [[PUBLIC], ["127.0.0.1"]]})) as source:
        names = source._resolver
        assert isinstance(names, Names)
        with pytest.raises(FetchError, match=r"no connection to rebind\.test") as caught:
            await source.fetch(f"http://rebind.test:{internal.port}/a")
        assert not caught.value.permanent
        assert names.asked == ["rebind.test"]
        assert connected == [PUBLIC]
        with pytest.raises(FetchError, match=r"rebind.test is 127\.0\.0\.1, a loopback address"):
            await source.fetch(f"http://rebind.test:{internal.port}/a")  # the next attempt
        assert names.asked == ["rebind.test"] * 2
        assert connected == [PUBLIC]
    assert not internal.asked


async def test_the_answer_that_was_checked_is_the_one_that_is_used(connected: list[str]) -> None:
    """Two servers on one port of two addresses, and a name that is the first, then the second."""
    first, second = Server("first"), Server("second")
    runners = [await first.serve("127.0.0.1"), await second.serve("127.0.0.2", port=first.port)]
    async with aclosing(fetcher(first, {"rebind.test": [["127.0.0.1"], ["127.0.0.2"]]}, "rebind.test")) as source:
        assert await source.fetch(f"http://rebind.test:{first.port}/who") == b"first"
        assert connected == ["127.0.0.1"]
        assert await source.fetch(f"http://rebind.test:{first.port}/who") == b"first"  # the connection is still there
    async with aclosing(fetcher(first, {"rebind.test": [["127.0.0.2"]]}, "rebind.test")) as source:
        assert await source.fetch(f"http://rebind.test:{first.port}/who") == b"second"
    assert connected == ["127.0.0.1", "127.0.0.2"]
    for runner in runners:
        await runner.cleanup()


async def test_a_redirect_that_changes_the_name_is_checked_by_its_new_answer(site: Server, internal: Server) -> None:
    script = {"rebind.test": [["127.0.0.1"], ["127.0.0.1"]]}
    async with aclosing(fetcher(site, script, f"rebind.test:{site.port}")) as source:
        url = f"http://rebind.test:{site.port}/to?url=http://rebind.test:{internal.port}/a"
        with pytest.raises(FetchError, match=r"redirected: rebind.test is 127\.0\.0\.1"):
            await source.fetch(url)
    assert not internal.asked


async def test_nothing_of_the_environment_or_of_an_earlier_answer_is_sent(
    site: Server, internal: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ana password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{internal.port}")
    async with aclosing(fetcher(site)) as source:
        for _ in range(2):
            assert await source.fetch(f"http://127.0.0.1:{site.port}/to?url=/who") == b"site"
    assert len(site.asked) == 4
    for headers in site.asked:
        assert not {"Cookie", "Authorization", "Proxy-Authorization", "Referer"} & set(headers)
    assert not internal.asked


def test_an_allowed_host_that_is_none_is_an_error_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_FETCH_ALLOWED_HOSTS", "minio:9000,http://cdn.example")
    with pytest.raises(ValueError, match=r"(?s)fetch_allowed_hosts.*'http://cdn.example' is no host"):
        Settings(_env_file=None)


TLS = """
import asyncio, ssl, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:3]
from aiohttp import web
from test_media_refusals import Names
from streamapp.media.fetch import Fetcher, FetchError

async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    app = web.Application()
    async def who(request): return web.Response(text=request.host.split(":")[0])
    app.router.add_get("/", who)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    names = ["good.test", "other.test"]
    resolver = Names({name: [["127.0.0.1"]] for name in names})
    fetcher = Fetcher(max_bytes=1000, timeout_seconds=5, allowed_hosts=[*names, "127.0.0.1"], resolver=resolver)
    for host in (*names, "127.0.0.1"):
        try:
            print(host, (await fetcher.fetch(f"https://{host}:{port}/")).decode())
        except FetchError as error:
            print(host, error.permanent, error)
    await fetcher.aclose()
    await runner.cleanup()

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_must_be_trusted_and_be_of_the_name_in_the_url(tmp_path: Path, trusted: bool) -> None:
    """In a process of its own: which certificates are trusted is read once."""
    pem = tmp_path / "good.pem"
    make = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=good.test -out -"
    more = ["-addext", "subjectAltName=DNS:good.test", "-keyout", str(pem)]
    made = subprocess.run(["openssl", *make.split(), *more], check=True, capture_output=True).stdout
    (tmp_path / "certificate.pem").write_bytes(made)
    pem.write_bytes(pem.read_bytes() + made)
    environment = os.environ | ({"SSL_CERT_FILE": str(tmp_path / "certificate.pem")} if trusted else {})
    child = subprocess.run(
        [sys.executable, "-c", TLS, str(pem), str(Path(__file__).parent)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    good, other, address = child.stdout.splitlines()
    if trusted:
        assert good == "good.test good.test"
        assert other.startswith("other.test False certificate of other.test refused: Hostname mismatch")
        assert address.startswith("127.0.0.1 False certificate of 127.0.0.1 refused: IP address mismatch")
    else:
        for line in (good, other, address):
            assert "refused: self-signed certificate" in line
