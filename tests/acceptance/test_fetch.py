"""What may not be fetched or decoded is refused, with its reason where the backend and the operator look."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from results import aggregates
from system import System

import samples
from demo.backend import Backend, Fields, until

pytestmark = pytest.mark.timeout(180)
SERVICES = 6

# Reason by URL; {site} is the image server, whose host the worker is allowed to fetch from, {port} its port.
REFUSED = {
    # addresses that are not of the public internet, and names of them
    "http://localhost:{port}/beach.jpg": "localhost is 127.0.0.1, a loopback address",
    "http://127.0.0.2:{port}/beach.jpg": "127.0.0.2 is a loopback address",
    "http://0.0.0.0:{port}/beach.jpg": "0.0.0.0 is an unspecified address",
    "http://10.0.0.1/beach.jpg": "10.0.0.1 is a private address",
    "http://100.64.0.1/beach.jpg": "100.64.0.1 is a carrier-grade NAT address",
    "http://169.254.169.254/latest/meta-data/hunter2": "169.254.169.254 is a link-local address",
    "http://239.255.255.250:1900/beach.jpg": "239.255.255.250 is a multicast address",
    "http://[::1]:{port}/beach.jpg": "::1 is a loopback address",
    "http://[::ffff:127.0.0.1]:{port}/beach.jpg": "::ffff:7f00:1 is an IPv4-mapped address",
    "http://[::127.0.0.1]:{port}/beach.jpg": "::7f00:1 is an IPv4-compatible address",
    "http://[64:ff9b::127.0.0.1]/beach.jpg": "64:ff9b::7f00:1 is a NAT64 address",
    "http://[fd00:ec2::254]/latest/meta-data/hunter2": "fd00:ec2::254 is a private address",
    # the same in disguise
    "http://2130706433:{port}/beach.jpg": "'2130706433' is no host name and no address in its usual form",
    "http://0177.0.0.1:{port}/beach.jpg": "'0177.0.0.1' is no host name and no address in its usual form",
    "http://017700000001:{port}/beach.jpg": "'017700000001' is no host name and no address in its usual form",
    "http://0x7f.0.0.1:{port}/beach.jpg": "'0x7f.0.0.1' is no host name and no address in its usual form",
    "http://127.1:{port}/beach.jpg": "'127.1' is no host name and no address in its usual form",
    # what is in a URL besides
    "file:///etc/passwd": "unsupported scheme 'file', not http or https",
    "gopher://127.0.0.1:{port}/_GET": "unsupported scheme 'gopher', not http or https",
    "data:image/png;base64,AAAA": "unsupported scheme 'data', not http or https",
    "http://ana:hunter2@127.0.0.1:{port}/beach.jpg": "credentials in the URL, for 127.0.0.1",
    "http://127.0.0.1:{port}\\@127.0.0.2:{port}/beach.jpg": "malformed URL",
    # redirects
    "{site}/to?url=http://169.254.169.254/hunter2": "redirected: 169.254.169.254 is a link-local address",
    "{site}/to?url=http://localhost:{port}/beach.jpg": "redirected: localhost is 127.0.0.1, a loopback address",
    "{site}/to?url=/to?url=http://[::1]:{port}/beach.jpg": "redirected: ::1 is a loopback address",
    "{site}/to?url=//2130706433/beach.jpg": "redirected: malformed URL",
    "{site}/to?url=file:///etc/passwd": "redirected: unsupported scheme 'file'",
    "{site}/to?url=http://ana:hunter2@127.0.0.1:{port}/beach.jpg": "redirected: credentials in the URL",
    # bodies
    "{site}/ten-gigabytes?key=hunter2": "larger than 26214400 bytes, from 127.0.0.1",
    "{site}/endless": "larger than 26214400 bytes, from 127.0.0.1",
    "{site}/slow": "no answer from 127.0.0.1 within 2 s",
    "{site}/gzip": "content encoding 'gzip' from 127.0.0.1",
    "{site}/bomb.gif": "GIF of 65535x65535 is larger than 50000000 pixels",
    "{site}/text": "not an image: starts with b'I am a text'",
}


class _Handler(samples.Handler):
    def do_GET(self) -> None:  # noqa: N802 - the name is the base class's
        parts = urlsplit(self.path)
        match parts.path:
            case "/to":
                self.send_response(302)
                self.send_header("Location", parse_qs(parts.query)["url"][0])
                self.end_headers()
            case "/ten-gigabytes":
                self._stream(bytes(2**20), length=10 * 2**30)
            case "/endless":
                self._stream(bytes(2**20))
            case "/slow":
                self._stream(b"x", pause=0.1)
            case "/gzip":
                self.send_response(200)
                self.send_header("Content-Encoding", "gzip")
                self.end_headers()
            case "/bomb.gif":
                screen = (65_535).to_bytes(2, "little") * 2 + b"\x80\0\0" + bytes(6)
                self._stream(b"GIF89a" + screen + b"," + bytes(4) + b"\1\0\1\0\0\2\2\x44\1\0;", parts=1)
            case "/text":
                self._stream(b"I am a text", parts=1)
            case _:
                super().do_GET()

    def _stream(self, part: bytes, *, parts: int = 10_240, length: int | None = None, pause: float = 0) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        for _ in range(parts):
            self.wfile.write(part)
            time.sleep(pause)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """That a worker hangs up is what is wanted."""


@pytest.fixture
def site() -> Iterator[str]:
    with samples.serve(handler=_Handler, kind=_Server) as url:
        yield url


async def test_what_is_refused_is_told_with_its_reason(
    system: System, backend: Backend, site: str, post_id: int
) -> None:
    """One post with an image of each kind, and one that can be used."""
    port = site.rpartition(":")[2]
    expected: dict[str, str] = {}
    for n, (url, reason) in enumerate(REFUSED.items(), start=1):
        media_id = f"{post_id}-{n}"
        expected[media_id] = reason
        await backend.request_image(post_id, media_id, url.replace("{site}", site).replace("{port}", port))
    good = f"{post_id}-good"
    await backend.request_image(post_id, good, f"{site}/to?url=/beach.jpg")
    await backend.trigger(post_id, good, *expected)

    async def told() -> dict[str, list[Fields]] | None:
        errors = defaultdict(list)
        for error in await backend.results("ml-error-results", post_id):
            errors[error["mediaId"]].append(error)
        return errors if sum(map(len, errors.values())) >= SERVICES * len(expected) else None

    errors = await until(told, seconds=60, what="the errors of all services")
    assert set(errors) == set(expected)
    for media_id, reason in expected.items():
        assert len({error["service"] for error in errors[media_id]}) == SERVICES
        for error in errors[media_id]:
            assert reason in error["error"]
            assert "hunter2" not in json.dumps(error)
            assert "\n" not in error["error"]

    *_, enriched = await aggregates(backend, post_id)
    assert {lack["mediaId"] for lack in json.loads(enriched["missing"])} == set(expected)
    story = await backend.story(post_id)
    for media_id, reason in expected.items():
        attempts = "3 attempts" if reason.startswith("no answer") else "1 attempt:"
        line = next(line for line in story["why"] if media_id in line and reason in line)
        assert f"failed for good after {attempts}" in line
        assert "hunter2" not in line
