"""Servers that are away or hang while posts keep coming: all of it waits, catches up, and hurts nobody else."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from processes import frozen, terminate
from results import aggregates
from system import System
from traffic import Traffic, small_images

from demo.backend import Backend, until

pytestmark = pytest.mark.timeout(240)

LONG = pytest.param(60, marks=pytest.mark.slow)
CALM = 3  # seconds of traffic before and after


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with small_images(tmp_path_factory.mktemp("small")) as urls:
        yield urls


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of images whose server accepts (its kernel does) and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def assert_as_before(calm: Sequence[float], during: Sequence[float]) -> None:
    """The median is as it was: a stall shows in seconds, the noise of a busy machine in tenths."""
    before, then = statistics.median(calm), statistics.median(during)
    assert then < 1.5 * before + 250, f"median {then:.0f} ms, before {before:.0f} ms"


@pytest.mark.parametrize("seconds", [6, LONG])
@pytest.mark.parametrize("victim", ["kafka", "redis", "postgres", "elasticsearch"])
async def test_a_server_that_is_down_under_load_costs_nothing_but_time(
    system: System, backend: Backend, small: list[str], post_id: int, victim: str, seconds: int
) -> None:
    letters = len(await system.dead_letters())
    worker = system.pid("worker-0")
    traffic = Traffic(backend, small, first=post_id, posts=seconds + 2 * CALM)
    await traffic.prepare()
    sending = asyncio.create_task(traffic.run())
    await asyncio.sleep(CALM)
    await asyncio.to_thread(system.kill, victim)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(system.start, victim)
    await sending
    await traffic.finish(seconds=90)
    await traffic.check_once()
    async with Backend(system.environment) as after:  # the old connections are dead
        await traffic.check_stored(after)
    assert len(await system.dead_letters()) == letters
    assert system.pid("worker-0") == worker, "it was waited for, not restarted"


@pytest.mark.parametrize("seconds", [12, LONG])
@pytest.mark.parametrize("victim", ["postgres", "elasticsearch"])
async def test_a_server_that_hangs_does_not_hold_up_the_results(
    system: System, backend: Backend, small: list[str], post_id: int, victim: str, seconds: int
) -> None:
    # Answers to triggers, more than all queues of the stalled agent hold together: 256 at work, 1024 in its stream.
    flood = 1500
    await backend.add_post(post_id, 15, "Asked often", {post_id + 1: small[0]})
    await backend.request_image(post_id, post_id + 1, small[0])
    await aggregates(backend, post_id)
    letters = len(await system.dead_letters())
    calm = Traffic(backend, small, first=post_id, posts=8)
    during = Traffic(backend, small, first=post_id + 1, posts=seconds)
    await calm.prepare()
    await during.prepare()
    await calm.run()
    await calm.finish(seconds=30)

    with frozen(system, victim):
        begin = time.monotonic()
        pipeline = backend.redis.pipeline(transaction=False)
        for _ in range(flood):
            pipeline.xadd("post-aggregation-trigger", {"postId": post_id, "allMediaIds": post_id + 1})
        known = await backend.redis.xlen("post-insights-enriched")
        await pipeline.execute()

        async def all_answered() -> bool:
            return int(await backend.redis.xlen("post-insights-enriched")) >= known + flood

        await until(all_answered, what="the answers to all triggers", seconds=seconds)
        await during.run()
        await during.finish(seconds=5)
        stalled = time.monotonic() - begin
    assert stalled > seconds
    assert_as_before(calm.latencies(), during.latencies())
    async with Backend(system.environment) as after:
        for traffic in (calm, during):
            await traffic.check_once()
            await traffic.check_stored(after)
    assert len(await system.dead_letters()) == letters


async def answer(backend: Backend, post: int) -> float:
    """Milliseconds until a trigger of a finished post is answered."""
    stream = "post-insights-enriched"
    newest: Any = await backend.redis.xrevrange(stream, count=1)
    at = newest[0][0]
    begin = time.perf_counter()
    await backend.trigger(post, post * 10)
    while time.perf_counter() - begin < 30:
        found: Any = await backend.redis.xread({stream: at}, block=1000)
        for _, entries in found or ():
            if any(fields["postId"] == str(post) for _, fields in entries):
                return (time.perf_counter() - begin) * 1000
            at = entries[-1][0]
    raise TimeoutError(f"no answer for {post}")


async def delete(backend: Backend, post: int) -> float:
    """Milliseconds until a finished post is deleted and its row is gone."""

    async def gone() -> bool:
        query = "SELECT count(*) FROM read_model_post_search WHERE post_id = $1"
        return int(await backend.postgres.fetchval(query, post)) == 0

    begin = time.perf_counter()
    await backend.send("post-update-processing", postId=post, operation="DELETE")
    await until(gone, what=f"the deletion of {post}")
    return (time.perf_counter() - begin) * 1000


@pytest.mark.parametrize("victim", ["kafka", "postgres", "elasticsearch"])
async def test_a_worker_ends_in_time_also_while_a_server_hangs(
    system: System, backend: Backend, small: list[str], post_id: int, victim: str
) -> None:
    await system.restart_worker()  # a child of this process, so that its exit code can be known
    traffic = Traffic(backend, small, first=post_id, posts=10, interval=0)
    await traffic.prepare()
    await traffic.run()
    try:
        with frozen(system, victim):
            await asyncio.sleep(3)
            code, took = await terminate(system, "worker-0")
    finally:
        await asyncio.to_thread(system.start, "worker-0")
    await traffic.finish(seconds=60)
    await traffic.check_once()
    async with Backend(system.environment) as after:
        await traffic.check_stored(after)
    assert code == 0
    assert took < 10


@pytest.mark.parametrize("seconds", [12, LONG])
async def test_images_that_never_come_do_not_hold_up_other_posts(
    system: System, backend: Backend, small: list[str], post_id: int, seconds: int
) -> None:
    async def each(work: Callable[[Backend, int], Awaitable[float]], those: list[int]) -> list[float]:
        return [await work(backend, post) for post in those]

    posts = [post_id * 100 + n for n in range(20)]
    for post in posts:
        await backend.add_post(post, 15, "Finished", {post * 10: small[0]})
        await backend.request_image(post, post * 10, small[0])
        await backend.trigger(post, post * 10)
    for post in posts:
        await aggregates(backend, post)
    calm = await each(answer, posts), await each(delete, posts[:10])

    # 16 at a time, three attempts of 2 s each: less than three images are given up per second.
    hanging = [post_id * 100 + 50 + n for n in range(3 * (seconds + 10))]
    with silent_server() as url:
        begin = time.monotonic()
        for media_id in hanging:
            await backend.request_image(post_id, media_id, f"{url}/{media_id}.jpg")
        await backend.trigger(post_id, *hanging)
        await asyncio.sleep(1)
        answers: list[float] = []
        while time.monotonic() - begin < seconds:
            answers += await each(answer, posts[10:])
            await asyncio.sleep(0.5)
        deletions = await each(delete, posts[10:])
        assert not await _settled(backend, post_id), "the images were given up before the end of the test"
    assert_as_before(calm[0], answers)
    assert_as_before(calm[1], deletions)
    await until(lambda: _settled(backend, post_id), what="the end of the last attempt", seconds=60)
    partial = (await aggregates(backend, post_id))[-1]
    assert {missing["mediaId"] for missing in json.loads(partial["missing"])} == set(map(str, hanging))


async def _settled(backend: Backend, post_id: int) -> bool:
    """Whether nothing of a post is waited for any more."""
    async with backend.http.get(f"{backend.worker}/tables/open_posts/{post_id}") as response:
        return response.status == 404
