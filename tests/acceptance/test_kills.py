"""Processes that die, stop and come in the middle of the work."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import Any

import pytest
from results import aggregates, answered
from system import System

from demo.backend import Backend, Fields, until

pytestmark = pytest.mark.timeout(240)

VARYING = {"postId", "mediaId", "timestamp", "revision", "resultId", "correlationId", "missing"}
NAMES = ("beach_people", "beach_sunset", "beach")


async def post_three(backend: Backend, images: str, post_id: int) -> dict[int, str]:
    """Rows and messages of scenario 2."""
    urls = {post_id + n: f"{images}/{name}.jpg" for n, name in enumerate(NAMES, 1)}
    await backend.add_post(post_id, 15, "Team day", urls)
    for position, (media_id, url) in enumerate(urls.items()):
        await backend.request_image(post_id, media_id, url, position=position)
    await backend.trigger(post_id, *urls)
    return urls


async def outcome(backend: Backend, post_id: int) -> dict[str, Any]:
    """What a post ended as: payload, rows and documents, up to ids, times and revisions."""

    async def whole() -> list[Fields] | None:
        found = await backend.results("post-insights-enriched", post_id)
        return found if found and found[-1]["completeness"] == "complete" else None

    async def indexed() -> bool:
        waiting = await backend.postgres.fetchval("SELECT count(*) FROM es_outbox")
        return waiting == 0 and len(await rows()) == 3

    async def rows() -> list[dict[str, Any]]:
        found = await backend.postgres.fetch(
            "SELECT media_id - $1 AS place, ai_status, is_safe, ai_caption, ai_tags, ai_scenes, post_all_tags,"
            " detected_face_count, image_embedding::text FROM read_model_media_search WHERE post_id = $1"
            " AND post_all_tags <> '{}' ORDER BY media_id",
            post_id,
        )
        return [dict(row) for row in found]

    payloads = await until(whole, what=f"the aggregate of {post_id}", seconds=90)
    await answered(backend, post_id, 3)
    await until(indexed, what=f"rows and documents of {post_id}", seconds=60)
    await backend.elasticsearch.indices.refresh(index="media_search")
    found = await backend.elasticsearch.search(index="media_search", query={"term": {"post_id": post_id}})
    documents = [
        {name: value for name, value in hit["_source"].items() if not name.endswith(("_id", "_at", "_url"))}
        for hit in sorted(found["hits"]["hits"], key=lambda hit: int(hit["_id"]))
    ]
    payload = {name: value for name, value in payloads[-1].items() if name not in VARYING}
    return {"payload": payload, "rows": await rows(), "documents": documents}


async def doubled(backend: Backend, post_id: int) -> list[str]:
    """Result ids that came more than once on a result stream."""
    ids = [
        message["resultId"]
        for stream in ("ml-insights-results", "face-detection-results", "post-insights-enriched")
        for message in await backend.results(stream, post_id)
    ]
    return sorted({result for result in ids if ids.count(result) > 1})


@pytest.mark.parametrize("victim", ["worker-0", "bridge"])
@pytest.mark.parametrize("after", [0.0, 0.15, 0.4])
async def test_kill_9_in_the_middle_changes_nothing(
    system: System, backend: Backend, images: str, post_id: int, victim: str, after: float
) -> None:
    calm = post_id + 5_000_000
    await post_three(backend, images, calm)
    undisturbed = await outcome(backend, calm)

    await post_three(backend, images, post_id)
    await asyncio.sleep(after)
    await asyncio.to_thread(system.kill, victim)
    await asyncio.to_thread(system.start, victim)
    assert await outcome(backend, post_id) == undisturbed
    assert await doubled(backend, post_id) == []
    insights = await backend.results("ml-insights-results", post_id)
    assert len({(m["mediaId"], m["service"]) for m in insights}) == len(insights) == 15


@pytest.mark.parametrize("victim", ["kafka", "redis", "postgres", "elasticsearch"])
async def test_kill_9_of_a_server_changes_nothing(
    system: System, backend: Backend, images: str, post_id: int, victim: str
) -> None:
    calm = post_id + 5_000_000
    await post_three(backend, images, calm)
    undisturbed = await outcome(backend, calm)

    await post_three(backend, images, post_id)
    await asyncio.sleep(0.15)
    await asyncio.to_thread(system.kill, victim)
    await asyncio.sleep(2)
    await asyncio.to_thread(system.start, victim)
    async with Backend(system.environment) as after:  # the old connections are dead
        assert await outcome(after, post_id) == undisturbed
        assert await doubled(after, post_id) == []


async def test_a_worker_that_was_frozen_leaves_instead_of_writing_old_state(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    await post_three(backend, images, post_id)
    pid = await asyncio.to_thread(system.pid, "worker-0")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(10)
    os.kill(pid, signal.SIGCONT)

    async def gone() -> bool:
        return await asyncio.to_thread(system.pid, "worker-0") is None

    await until(gone, what="the end of the frozen worker", seconds=5)
    await asyncio.to_thread(system.start, "worker-0")
    await outcome(backend, post_id)
    assert await doubled(backend, post_id) == []


async def test_sigterm_ends_both_quickly_and_loses_nothing(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    await post_three(backend, images, post_id)
    begin = time.monotonic()
    await asyncio.to_thread(system.down, "bridge")
    assert time.monotonic() - begin < 5
    begin = time.monotonic()
    await asyncio.to_thread(system.down, "worker-0")
    assert time.monotonic() - begin < 10
    await asyncio.to_thread(system.up)
    await outcome(backend, post_id)
    assert await doubled(backend, post_id) == []


async def test_any_of_two_workers_answers_for_any_post(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    posts = [f"{post_id}-{n}" for n in range(8)]
    for n, post in enumerate(posts):
        await backend.request_image(post, post_id + n, f"{images}/beach.jpg")
    for post in posts:
        await aggregates(backend, post)
    await asyncio.to_thread(system.up, workers=2)
    first = int(system.environment["STREAMAPP_WEB_PORT"])
    try:
        holders = set()
        for port in (first, first + 1):
            for post in posts:

                async def story(port: int = port, post: str = post) -> dict[str, Any] | None:
                    async with backend.http.get(f"http://127.0.0.1:{port}/posts/{post}") as response:
                        return await response.json() if response.status == 200 else None

                found = await until(story, what=f"{post} from the worker on {port}", seconds=60)
                assert found["state"] == "complete"
                holders.add(found["worker"])

            async def all_listed(port: int = port) -> bool:
                async with backend.http.get(f"http://127.0.0.1:{port}/tables/posts?limit=1000") as response:
                    return {row["key"] for row in (await response.json())["rows"]} >= set(posts)

            await until(all_listed, what="all posts in the list", seconds=60)
        assert len(holders) == 2
    finally:
        await asyncio.to_thread(system.down, "worker-1")

    async def alone() -> bool:
        return all([await backend.story(post) for post in posts])

    await until(alone, what="all posts in the worker that is left", seconds=60)


async def test_a_repeated_trigger_is_answered_with_the_same_content(
    backend: Backend, images: str, post_id: int
) -> None:
    urls = await post_three(backend, images, post_id)
    first = (await aggregates(backend, post_id))[-1]
    await backend.trigger(post_id, *urls)
    second = (await aggregates(backend, post_id, count=2))[-1]
    same = VARYING - {"missing"}
    assert {k: v for k, v in first.items() if k not in same} == {k: v for k, v in second.items() if k not in same}
    assert json.loads(second["missing"]) == []
