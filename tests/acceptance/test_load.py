"""Safety in every form it is written, big posts, deadlines, and more images at once than can be looked at."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from results import aggregates, answered, whole
from system import SETTINGS, System
from traffic import Traffic, small_images

import samples
import stack
from demo.backend import Backend, until

pytestmark = pytest.mark.timeout(240)

TIMEOUT_MS = float(SETTINGS["STREAMAPP_POST_TIMEOUT_SECONDS"]) * 1000
# What a worker may grow by in the burst: 5,000 pictures of 64 x 64 pixels, all of which its cache keeps (59 MiB); the
# caches and two write buffers each of three tables in eight partitions (24 x 16 MiB); what waits in its queues.
GROWTH_MIB = 512


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with small_images(tmp_path_factory.mktemp("small")) as urls:
        yield urls


async def ask(backend: Backend, post_id: int, urls: list[str], *, trigger: bool = True) -> list[int]:
    """Rows and messages of a post with these images; its media ids."""
    media = [post_id + n for n in range(1, len(urls) + 1)]
    await backend.add_post(post_id, 15, "Loaded", dict(zip(media, urls, strict=True)))
    for media_id, url in zip(media, urls, strict=True):
        await backend.request_image(post_id, media_id, url)
    if trigger:
        await backend.trigger(post_id, *media)
    return media


async def has_unsafe_media(backend: Backend, post_id: int) -> bool:
    """What the post's row says, once there is one with what the images said."""

    async def row() -> Any:
        return await backend.postgres.fetchrow(
            "SELECT has_unsafe_media FROM read_model_post_search WHERE post_id = $1 AND all_ai_tags <> '{}'", post_id
        )

    return bool((await until(row, what="the row of the post"))["has_unsafe_media"])


@pytest.mark.parametrize("unsafe", [False, "false", "False", 0], ids=repr)
@pytest.mark.parametrize("place", [0, 1])
async def test_what_the_backend_holds_unsafe_is_unsafe(
    backend: Backend, small: list[str], post_id: int, unsafe: object, place: int
) -> None:
    media = await ask(backend, post_id, small[:2], trigger=False)
    insights = [{"mediaId": media_id, "isSafe": True} for media_id in media]
    insights[place]["isSafe"] = unsafe  # type: ignore[assignment]
    await backend.send(
        "post-aggregation-trigger",
        postId=post_id,
        allMediaIds=json.dumps(media),
        mediaInsights=json.dumps(insights),
    )
    enriched = (await aggregates(backend, post_id))[-1]
    assert enriched["completeness"] == "complete"
    assert enriched["isSafe"] == "false"
    assert await has_unsafe_media(backend, post_id) is True


@pytest.mark.parametrize("place", [0, 1])
async def test_what_the_engine_finds_unsafe_is_unsafe(
    backend: Backend, images: str, small: list[str], post_id: int, place: int
) -> None:
    urls = [small[0], small[0]]
    urls[place] = f"{images}/unsafe.jpg"
    await ask(backend, post_id, urls)
    enriched = (await aggregates(backend, post_id))[-1]
    assert (enriched["completeness"], enriched["isSafe"]) == ("complete", "false")
    assert await has_unsafe_media(backend, post_id) is True


async def test_what_nobody_could_moderate_is_not_safe(
    backend: Backend, images: str, small: list[str], post_id: int
) -> None:
    await ask(backend, post_id, [small[0], f"{images}/not-there.jpg"])
    enriched = (await aggregates(backend, post_id))[-1]
    assert (enriched["completeness"], enriched["isSafe"]) == ("partial", "false")


async def test_two_messages_with_the_same_entry_id_on_two_streams_both_count(
    backend: Backend, small: list[str], post_id: int
) -> None:
    request = {"postId": str(post_id), "mediaId": str(post_id + 1), "mediaUrl": small[0], "uploaderId": "15"}
    trigger = {"postId": str(post_id), "allMediaIds": f"{post_id + 1},{post_id + 2}"}
    # Greater than what either stream has, and not so far ahead that those after it are not.
    entry = f"{int(time.time() * 1000) + 50}-7"
    await backend.redis.xadd("post-image-processing", request, id=entry)  # type: ignore[arg-type]
    await backend.redis.xadd("post-aggregation-trigger", trigger, id=entry)  # type: ignore[arg-type]
    await answered(backend, post_id, 1)
    partial = (await aggregates(backend, post_id))[-1]
    # The image was looked at, and the set the trigger names is waited for.
    assert json.loads(partial["missing"]) == [
        {"mediaId": str(post_id + 2), "reason": "named by the request, never registered"}
    ]
    await backend.request_image(post_id, post_id + 2, small[1])
    complete = await whole(backend, post_id)
    assert complete["mediaCount"] == "2"


async def test_a_post_of_200_media(system: System, backend: Backend, small: list[str], post_id: int) -> None:
    letters = len(await system.dead_letters())
    traffic = Traffic(backend, small, first=post_id, posts=1, per_post=200)
    await traffic.prepare()
    await traffic.run()
    await traffic.finish(seconds=120)
    await traffic.check_once()
    await traffic.check_stored(backend)
    (post,) = traffic.came
    enriched = (await backend.results("post-insights-enriched", post))[-1]
    assert (enriched["completeness"], enriched["mediaCount"]) == ("complete", "200")
    assert len(await system.dead_letters()) == letters


@contextmanager
def hesitant_server(image: bytes) -> Iterator[tuple[str, threading.Event]]:
    """The URL of an image whose server accepts at once, and answers when it is told to."""
    told = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.wait(60)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(image)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/late.jpg", told
        finally:
            told.set()
            server.shutdown()
            thread.join()


async def test_the_deadline_comes_by_itself_and_the_late_image_corrects(
    system: System, backend: Backend, small: list[str], post_id: int
) -> None:
    await system.restart_worker(STREAMAPP_FETCH_TIMEOUT_SECONDS="60")  # one attempt that is out all the time
    try:
        with hesitant_server(samples.path("forest").read_bytes()) as (url, told):
            _, late = await ask(backend, post_id, [small[0], url], trigger=False)
            asked = milliseconds(await backend.trigger(post_id, post_id + 1, late))
            (partial,) = await aggregates(backend, post_id)
            entries: Any = await backend.redis.xrevrange("post-insights-enriched", count=1)
            waited = milliseconds(entries[0][0]) - asked
            assert TIMEOUT_MS <= waited < TIMEOUT_MS + 2000
            assert (partial["completeness"], partial["mediaCount"]) == ("partial", "2")
            assert {missing["mediaId"] for missing in json.loads(partial["missing"])} == {str(late)}
            told.set()
            corrected = await whole(backend, post_id)
        assert json.loads(corrected["missing"]) == []
        assert int(corrected["revision"]) > int(partial["revision"])
    finally:
        await system.restart_worker()


def milliseconds(entry_id: str) -> int:
    """Redis's time of an entry."""
    return int(entry_id.partition("-")[0])


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_a_burst_of_5000_images(system: System, backend: Backend, small: list[str], post_id: int) -> None:
    pid = system.pid("worker-0")
    assert pid is not None
    log = stack.Instance(system.servers.instance).log("worker-0")
    read_before = log.stat().st_size
    members = await group_members(system)
    letters = len(await system.dead_letters())
    worker = psutil.Process(pid)
    traffic = Traffic(backend, small, first=post_id, posts=1000, interval=0, per_post=5)
    await traffic.prepare()
    resident = [worker.memory_info().rss / 2**20]
    finishing = asyncio.create_task(burst(traffic))
    while not finishing.done():
        resident.append(worker.memory_info().rss / 2**20)
        await asyncio.sleep(1)
    await finishing
    assert max(resident) - resident[0] < GROWTH_MIB, f"from {resident[0]:.0f} to {max(resident):.0f} MiB"
    await traffic.check_once()
    await traffic.check_stored(backend, seconds=120)
    assert await group_members(system) == members
    said = log.read_bytes()[read_before:].decode(errors="replace")
    assert [line for line in said.splitlines() if re.search("revoked|rejoin|leav|heartbeat", line, re.IGNORECASE)] == []
    assert system.pid("worker-0") == pid
    assert len(await system.dead_letters()) == letters


async def burst(traffic: Traffic) -> None:
    """All at once, until all are whole."""
    await traffic.run()
    await traffic.finish(seconds=1000)


async def group_members(system: System) -> list[str]:
    """The members of the workers' consumer group; one that was evicted comes back under another id."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.servers.kafka_url.removeprefix("kafka://"))
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups(["streamapp"])
        ((_, _, state, _, _, members),) = [group[:6] for group in answer.groups]
        assert state == "Stable"
        return sorted(member[0] for member in members)
    finally:
        await admin.close()
