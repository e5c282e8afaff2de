"""Bad input: visible with its cause, and it hurts nobody else."""

from __future__ import annotations

import asyncio
import json

import pytest
from results import aggregates, answered, letter_of
from running import Servers
from system import System

from demo.backend import Backend, Fields, until

pytestmark = pytest.mark.timeout(180)


async def _error(backend: Backend, correlation_id: str) -> Fields:
    async def found() -> Fields | None:
        entries: list[tuple[str, Fields]] = await backend.redis.xrange("ml-error-results")  # type: ignore[assignment]
        return next((fields for _, fields in entries if fields.get("correlationId") == correlation_id), None)

    error: Fields = await until(found, what=f"the error of {correlation_id}")
    return error


async def test_bad_messages_are_dead_lettered_with_their_cause_and_neighbours_go_on(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    await backend.send("post-image-processing", mediaId=1, mediaUrl=f"{images}/beach.jpg", correlationId="no-post")
    await backend.send("post-aggregation-trigger", postId=post_id, allMediaIds='[1, {"no":', correlationId="bad-list")
    await backend.send("post-image-processing", postId=post_id, mediaId=post_id + 1, correlationId="no-url")
    await backend.request_image(post_id, post_id + 2, f"{images}/beach.jpg", unheardOf="yes", correlationId="fine")
    await answered(backend, post_id, 1)
    for correlation_id, field in (("no-post", "postId"), ("bad-list", "allMediaIds"), ("no-url", "mediaUrl")):
        error = await _error(backend, correlation_id)
        assert error["status"] == "FAILED"
        assert field in error["error"]
        letter = await letter_of(system, correlation_id)
        assert field in letter["error"]
        assert json.loads(letter["value"])["correlationId"] == correlation_id
        assert letter["redis-stream"] in ("post-image-processing", "post-aggregation-trigger")
        assert letter["origin"].startswith("kafka:")


@pytest.mark.parametrize(
    ("file", "cause"),
    [("gone.jpg", "404 Not Found"), ("text.jpg", "not an image"), ("note.json", "not an image")],
)
async def test_an_image_that_cannot_be_used(backend: Backend, images: str, post_id: int, file: str, cause: str) -> None:
    bad, good = post_id + 1, post_id + 2
    await backend.add_post(post_id, 15, "Half", {bad: f"{images}/{file}", good: f"{images}/forest.jpg"})
    await backend.request_image(post_id, bad, f"{images}/{file}")
    await backend.request_image(post_id, good, f"{images}/forest.jpg")
    await backend.trigger(post_id, bad, good)
    (enriched,) = await aggregates(backend, post_id)
    assert enriched["completeness"] == "partial"
    assert enriched["isSafe"] == "false"  # what was not moderated is not safe
    assert {lack["mediaId"] for lack in json.loads(enriched["missing"])} == {str(bad)}
    story = await backend.story(post_id)
    assert story["state"] == "partial"
    assert any(cause in line for line in story["why"])
    error = await _error(backend, f"request-{bad}")
    assert cause in error["error"]

    async def rows() -> bool:
        found = await backend.postgres.fetch(
            "SELECT media_id, ai_status FROM read_model_media_search WHERE post_id = $1", post_id
        )
        return dict(map(tuple, found)) == {bad: "FAILED", good: "COMPLETED"}

    await until(rows, what="the rows of both media")


async def test_a_server_that_does_not_answer_is_tried_again_and_then_given_up(backend: Backend, post_id: int) -> None:
    await backend.request_image(post_id, post_id + 1, "http://127.0.0.1:9/nobody.jpg")
    await backend.trigger(post_id, post_id + 1)

    async def given_up() -> bool:
        story = await backend.story(post_id)
        return bool(story) and story["state"] == "partial" and "failed for good after 3 attempts" in story["why"][0]

    await until(given_up, what="three attempts")


async def test_what_was_dead_lettered_and_refused_is_counted_where_health_is_asked(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    async def counted() -> tuple[int, int]:
        async with backend.http.get(f"{backend.worker}/health/ready") as response:
            body = await response.json()
        return body["deadLetters"], body["refused"].get("rows", 0)

    letters, rows = await counted()
    await backend.send("post-image-processing", postId=post_id, correlationId="no-media")
    await backend.request_image(f"no-number-{post_id}", 1, f"{images}/forest.jpg")

    async def more() -> bool:
        now_letters, now_rows = await counted()
        return now_letters > letters and now_rows > rows

    await until(more, what="the counters")


async def test_bytes_that_are_no_text(system: System, backend: Backend, post_id: int) -> None:
    await backend.redis.xadd("post-image-processing", {b"postId": b"\xff\xfe", b"correlationId": b"no-text"})
    letter = await letter_of(system, "no-text")
    assert "postId" in letter["error"]


async def test_an_empty_and_a_huge_message(backend: Backend, images: str, post_id: int) -> None:
    await backend.send("post-image-processing", nothing="")
    await backend.send("post-image-processing", postId=post_id, mediaId="9" * 2_000_000, mediaUrl="x")
    await backend.request_image(post_id, post_id + 1, f"{images}/beach.jpg")
    await answered(backend, post_id, 1)


async def test_a_row_that_the_backend_commits_late_is_written_then(
    backend: Backend, images: str, post_id: int, servers: Servers
) -> None:
    media_id = post_id + 1
    await backend.request_image(post_id, media_id, f"{images}/beach.jpg")
    await aggregates(backend, post_id)

    async def awaited() -> bool:
        return bool((await backend.story(post_id)).get("awaiting"))

    await until(awaited, what="the awaited rows in GET /posts/{id}")
    await asyncio.sleep(1)
    await backend.add_post(post_id, 15, "Committed late", {media_id: f"{images}/beach.jpg"})

    async def written() -> bool:
        return media_id in {hit.media_id for hit in await backend.search("committed late")}

    await until(written, what="the document of the late row", seconds=60)
