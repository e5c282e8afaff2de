"""Looking names up, in threads that may hang as long as they like: with the system's lookup, made to wait here."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from streamapp.media.fetch import Fetcher, FetchError
from streamapp.media.lookups import Lookups

# A process whose only lookup hangs for half a minute.
CHILD = """
import asyncio, socket, time
from streamapp.media.fetch import Fetcher, FetchError
socket.getaddrinfo = lambda *_, **__: time.sleep(30)

async def main():
    fetcher = Fetcher(max_bytes=1, timeout_seconds=0.1)
    try:
        await fetcher.fetch("http://slow.example/x")
    except FetchError as error:
        print(error.kind)
    await fetcher.aclose()

asyncio.run(main())
print(time.monotonic())
"""


class Slow:
    """Names beginning with "slow" are not answered before `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []
        self._look_up = socket.getaddrinfo

    def __call__(self, host: str, *args: Any, **options: Any) -> Any:
        self.asked.append(host)
        if not host.startswith("slow"):
            return self._look_up(host, *args, **options)
        self.go.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", args[0]))]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    slow = Slow()
    monkeypatch.setattr(socket, "getaddrinfo", slow)
    yield slow
    slow.go.set()


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """Of a server on localhost that answers "here"."""

    async def here(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_get("/", here)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def given_up(lookups: Lookups, host: str) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await lookups.resolve(host, 80)


async def test_names_that_are_not_answered_keep_nobody_from_another(slow: Slow, port: int) -> None:
    async with aclosing(Fetcher(max_bytes=100, timeout_seconds=1, allowed_hosts=["localhost"])) as fetcher:
        bad = [fetcher.fetch(f"http://slow{n}.example/x") for n in range(48)]
        failures = await asyncio.gather(*bad, return_exceptions=True)
        assert {failure.kind for failure in failures if isinstance(failure, FetchError)} == {"timeout"}
        assert len(slow.asked) == len(failures) == 48
        assert await fetcher.fetch(f"http://localhost:{port}/") == b"here"


async def test_what_was_given_up_before_its_turn_is_not_looked_up(slow: Slow) -> None:
    lookups = Lookups(limit=1)
    await given_up(lookups, "slow1.example")
    await given_up(lookups, "slow2.example")
    assert slow.asked == ["slow1.example"]
    third = asyncio.create_task(lookups.resolve("localhost", 80))
    await asyncio.sleep(0.05)
    assert not third.done()  # the first is given up, and still has its thread
    slow.go.set()
    assert "127.0.0.1" in [entry["host"] for entry in await third]
    assert slow.asked == ["slow1.example", "localhost"]


async def test_a_limit_is_not_used_up(slow: Slow) -> None:
    lookups = Lookups(limit=2)
    for _ in range(10):
        await lookups.resolve("127.0.0.1", 80)
        with pytest.raises(socket.gaierror):
            await lookups.resolve("name.invalid", 80)
        with pytest.raises(UnicodeError):
            await lookups.resolve("x" * 64 + ".example", 80)
    slow.go.set()
    found = await asyncio.gather(*(lookups.resolve(f"slow{n}.example", n) for n in range(20)))
    assert [entry["port"] for (entry,) in found] == list(range(20))


async def test_a_machine_without_another_thread_uses_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lookups = Lookups(limit=1)
    with monkeypatch.context() as patch:
        patch.setattr(
            threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
        )
        with pytest.raises(RuntimeError, match="new thread"):
            await lookups.resolve("127.0.0.1", 80)
    assert await lookups.resolve("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("address", "host", "family"),
    [
        (("192.0.2.1", 80), "192.0.2.1", socket.AF_INET),
        (("2001:db8::1", 80, 0, 0), "2001:db8::1", socket.AF_INET6),
        (("fe80::1", 80, 0, 3), "fe80::1%3", socket.AF_INET6),  # another link's fe80::1 is another machine
    ],
)
async def test_what_is_told_of_an_address(
    monkeypatch: pytest.MonkeyPatch, address: tuple[object, ...], host: str, family: int
) -> None:
    found = [(family, socket.SOCK_STREAM, 6, "", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    (entry,) = await Lookups().resolve("cdn.example", 80)
    assert entry == {
        "hostname": "cdn.example",
        "host": host,
        "port": 80,
        "family": family,
        "proto": 6,
        "flags": flags,
    }


def test_neither_closing_nor_the_end_of_the_process_waits_for_a_lookup() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=True)
    kind, closed = child.stdout.split()
    assert kind == "timeout"
    assert time.monotonic() - float(closed) < 10
    assert not child.stderr
