"""Workers that come and go while posts keep coming."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from processes import terminate
from system import System
from traffic import Traffic, small_images

from demo.backend import Backend

pytestmark = pytest.mark.timeout(240)

EXIT_SECONDS = 10  # what supervisors give, as `docker stop` does


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with small_images(tmp_path_factory.mktemp("small")) as urls:
        yield urls


async def finish(backend: Backend, traffic: Traffic) -> None:
    """Nothing is lost or doubled."""
    await traffic.finish(seconds=60)
    await traffic.check_once()
    await traffic.check_stored(backend)


async def test_sigterm_under_load(system: System, backend: Backend, small: list[str], post_id: int) -> None:
    letters = len(await system.dead_letters())
    await system.restart_worker()  # a child of this process, so that its exit code can be known
    traffic = Traffic(backend, small, first=post_id, posts=60, interval=0.2)
    await traffic.prepare()
    sending = asyncio.create_task(traffic.run())
    await asyncio.sleep(4)
    await traffic.read()
    started = [came for came in traffic.came.values() if came.asked]
    assert any(came.answers for came in started)
    assert not all(came.whole for came in started), "nothing is under way"
    code, took = await terminate(system, "worker-0")
    await asyncio.to_thread(system.start, "worker-0")
    await sending
    await finish(backend, traffic)
    assert code == 0
    assert took < EXIT_SECONDS
    assert len(await system.dead_letters()) == letters


async def test_one_worker_two_and_one_again_under_load(
    system: System, backend: Backend, small: list[str], post_id: int
) -> None:
    letters = len(await system.dead_letters())
    traffic = Traffic(backend, small, first=post_id, posts=60, interval=0.5)
    await traffic.prepare()
    sending = asyncio.create_task(traffic.run())
    await asyncio.sleep(3)
    await asyncio.to_thread(system.up, workers=2)
    try:
        await asyncio.sleep(3)
        assert await holds(system, backend) == [True, True]
        code, took = await terminate(system, "worker-1")
        assert not sending.done(), "the load ended too early"
        await sending
        await finish(backend, traffic)
    finally:
        await asyncio.to_thread(system.down, "worker-1")
    assert code == 0
    assert took < EXIT_SECONDS
    assert len(await system.dead_letters()) == letters


async def holds(system: System, backend: Backend) -> list[bool]:
    """Whether each of two workers has worked since its start."""
    first = int(system.environment["STREAMAPP_WEB_PORT"])
    found = []
    for port in (first, first + 1):
        async with backend.http.get(f"http://127.0.0.1:{port}/health/ready") as response:
            lanes = (await response.json())["lanes"]
            found.append(lanes["posts"]["done"] > 0)
    return found
