"""What a backend and an operator see of the main job, on a running system."""

from __future__ import annotations

import json
from typing import Any

import pytest
from results import aggregates, answered
from running import Servers

from demo.backend import Backend, until

pytestmark = pytest.mark.timeout(180)


async def test_the_documented_messages_give_the_documented_results(backend: Backend, images: str, post_id: int) -> None:
    media_id = post_id + 1
    await backend.add_post(post_id, 15, "Weekend", {media_id: f"{images}/beach.jpg"})
    await backend.request_image(post_id, media_id, f"{images}/beach.jpg", correlationId="abc-123-xyz-789")
    insights, faces = await answered(backend, post_id, 1)
    assert sorted(m["service"] for m in insights) == [
        "image_captioning",
        "image_embedding",
        "moderation",
        "scene_recognition",
        "tagging",
    ]
    assert [m["facesDetected"] for m in faces] == ["0"]
    for message in [*insights, *faces]:
        assert (message["postId"], message["mediaId"]) == (str(post_id), str(media_id))
        assert message["correlationId"] == "abc-123-xyz-789"
        assert message["timestamp"].endswith("Z")
    by_service = {m["service"]: m for m in insights}
    assert by_service["moderation"]["isSafe"] == "true"
    assert "beach" in json.loads(by_service["tagging"]["tags"])
    assert len(json.loads(by_service["image_embedding"]["imageEmbedding"])) == 512

    await backend.trigger(post_id, media_id)
    (enriched,) = await aggregates(backend, post_id)
    assert enriched["completeness"] == "complete"
    assert (enriched["mediaCount"], enriched["totalFaces"], enriched["isSafe"]) == ("1", "0", "true")
    assert enriched["correlationId"] == "abc-123-xyz-789"


async def test_three_images_one_post_and_the_search(backend: Backend, images: str, post_id: int) -> None:
    names = ("beach_people", "beach_sunset", "beach")
    urls = {post_id + n: f"{images}/{name}.jpg" for n, name in enumerate(names, 1)}
    await backend.add_post(post_id, 15, f"Reunion {post_id}", urls)  # a word that no other test's post has
    for media_id, url in urls.items():
        await backend.request_image(post_id, media_id, url)
    _, faces = await answered(backend, post_id, 3)
    assert {int(m["mediaId"]): m["facesDetected"] for m in faces} == dict(zip(urls, "020", strict=True))
    await backend.trigger(post_id, *urls)
    (enriched,) = await aggregates(backend, post_id)
    assert enriched["inferredEventType"] == "beach_party"
    assert enriched["totalFaces"] == "2"

    async def found() -> bool:
        return {hit.media_id for hit in await backend.search(f"beach party {post_id}")} >= set(urls)

    await until(found, what="all three images by “beach party”")
    rows = await backend.postgres.fetch(
        "SELECT media_id, ai_status, is_safe, post_all_tags FROM read_model_media_search WHERE post_id = $1", post_id
    )
    assert {row["media_id"] for row in rows} == set(urls)
    for row in rows:
        assert (row["ai_status"], row["is_safe"]) == ("COMPLETED", True)
        assert row["post_all_tags"] == json.loads(enriched["allAiTags"])
    event = await backend.postgres.fetchval(
        "SELECT inferred_event_type FROM read_model_post_search WHERE post_id = $1", post_id
    )
    assert event == "beach_party"


async def test_an_unsafe_image_makes_the_post_unsafe_and_is_not_found(
    backend: Backend, images: str, post_id: int
) -> None:
    urls = {post_id + 1: f"{images}/unsafe.jpg", post_id + 2: f"{images}/forest.jpg"}
    await backend.add_post(post_id, 15, "Mixed", urls)
    for media_id, url in urls.items():
        await backend.request_image(post_id, media_id, url)
    await backend.trigger(post_id, *urls)
    (enriched,) = await aggregates(backend, post_id)
    assert enriched["isSafe"] == "false"

    async def safe_one_is_found() -> bool:
        return post_id + 2 in {hit.media_id for hit in await backend.search("mixed forest")}

    await until(safe_one_is_found, what="the safe image")
    assert post_id + 1 not in {hit.media_id for hit in await backend.search("mixed forest")}


async def test_without_a_trigger_the_post_is_whole_when_quiet(backend: Backend, images: str, post_id: int) -> None:
    await backend.add_post(post_id, 15, "Alone", {post_id + 1: f"{images}/street.jpg"})
    await backend.request_image(post_id, post_id + 1, f"{images}/street.jpg")
    (enriched,) = await aggregates(backend, post_id)
    assert enriched["completeness"] == "complete"


async def test_a_deadline_gives_a_partial_answer_and_the_late_image_a_corrected_one(
    backend: Backend, images: str, post_id: int
) -> None:
    urls = {post_id + 1: f"{images}/street.jpg", post_id + 2: f"{images}/forest.jpg"}
    await backend.add_post(post_id, 15, "Late", urls)
    await backend.request_image(post_id, post_id + 1, urls[post_id + 1])
    await backend.trigger(post_id, *urls)
    (partial,) = await aggregates(backend, post_id, seconds=12)
    assert partial["completeness"] == "partial"
    assert json.loads(partial["missing"]) == [
        {"mediaId": str(post_id + 2), "reason": "named by the request, never registered"}
    ]
    await backend.request_image(post_id, post_id + 2, urls[post_id + 2])
    _, corrected = await aggregates(backend, post_id, count=2)
    assert corrected["completeness"] == "complete"
    assert int(corrected["revision"]) > int(partial["revision"])


async def test_an_id_that_is_no_number_gets_its_results(backend: Backend, images: str, post_id: int) -> None:
    name = f"post-{post_id}"
    await backend.request_image(name, "007", f"{images}/beach.jpg")
    insights, _ = await answered(backend, name, 1)
    assert {m["mediaId"] for m in insights} == {"007"}
    (enriched,) = await aggregates(backend, name)
    assert enriched["postId"] == name


async def test_tables_and_posts_over_http(backend: Backend, images: str, post_id: int) -> None:
    await backend.request_image(post_id, post_id + 1, f"{images}/beach.jpg")
    await aggregates(backend, post_id)

    async def get(path: str) -> tuple[int, Any]:
        async with backend.http.get(f"{backend.worker}{path}") as response:
            assert response.content_type == "application/json"
            return response.status, await response.json()

    status, listed = await get("/tables")
    assert status == 200
    assert [table["name"] for table in listed["tables"]] == ["posts", "media", "open_posts"]
    seen: list[str] = []
    after = ""
    while True:
        _, page = await get(f"/tables/posts?limit=2&after={after}")
        seen += [row["key"] for row in page["rows"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert str(post_id) in seen
    assert seen == sorted(set(seen))
    assert (await get(f"/tables/posts/{post_id}"))[1]["value"]["post_id"] == str(post_id)
    assert (await get(f'/tables/media/["{post_id}","{post_id + 1}"]'))[0] == 200
    assert (await get("/tables/nothing"))[0] == 404
    assert (await get("/tables/posts/nothing"))[0] == 404
    assert (await get("/tables/posts?limit=0"))[0] == 400
    assert (await get("/tables/posts?limit=x"))[0] == 400
    assert (await get("/posts/nothing"))[0] == 404
    assert (await get("/nothing"))[0] == 404
    assert (await get("/health/live"))[0] == 200
    assert (await get("/health/ready"))[1]["status"] == "ready"


def test_the_servers_of_the_tests_are_not_those_of_make_up(servers: Servers) -> None:
    assert "36379" not in servers.redis_url
    assert "39092" not in servers.kafka_url
