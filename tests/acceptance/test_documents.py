"""Each message of each document, sent to a running system as it stands there but for ids and address of the image."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest
import spring
from results import aggregates, answered
from system import System

from demo.backend import Backend, Fields, until
from streamapp.contracts import DIALECTS

pytestmark = pytest.mark.timeout(240)

GOLDEN = Path(__file__).parents[1] / "golden"


def samples(stream: str) -> list[Any]:
    """The samples of a stream as parameters, each with its document and name."""
    paths = sorted(GOLDEN.glob(f"*/{stream}/*.json"))
    return [pytest.param(json.loads(path.read_text()), id=f"{path.parents[1].name}-{path.stem}") for path in paths]


def adapted(sample: dict[str, Any], **values: str) -> Fields:
    """The fields of a sample with some of what was read from it replaced, in whatever field and form it stands."""
    fields = dict(sample["fields"])
    for attribute, value in values.items():
        old = str(sample["record"][attribute])
        name = next(name for name, text in fields.items() if old in text and name in NAMES[attribute])
        fields[name] = fields[name].replace(old, value)
    return fields


NAMES = {
    "post_id": ("postId",),
    "media_id": ("mediaId",),
    "url": ("mediaUrl", "imageUrl"),
}


@pytest.mark.parametrize("sample", samples("post-image-processing"))
async def test_image_requests(backend: Backend, images: str, post_id: int, sample: dict[str, Any]) -> None:
    url = f"{images}/forest.jpg"
    fields = adapted(sample, post_id=str(post_id), media_id=str(post_id + 1), url=url)
    await backend.send("post-image-processing", **fields)
    insights, faces = await answered(backend, post_id, 1)
    for message in [*insights, *faces]:
        assert message["mediaId"] == str(post_id + 1)
        derived = sample["record"]["correlation_id"].startswith("post-image-processing:")
        assert derived or message["correlationId"] == sample["record"]["correlation_id"]


@pytest.mark.parametrize("sample", samples("post-aggregation-trigger"))
async def test_triggers(backend: Backend, images: str, post_id: int, sample: dict[str, Any]) -> None:
    for media_id in sample["record"]["media_ids"] or ("201",):
        await backend.request_image(post_id, media_id, f"{images}/forest.jpg")
    await backend.send("post-aggregation-trigger", **adapted(sample, post_id=str(post_id)))
    enriched = (await aggregates(backend, post_id))[-1]
    assert enriched["postId"] == str(post_id)


@pytest.mark.parametrize("sample", samples("post-update-processing"))
async def test_updates(backend: Backend, images: str, post_id: int, sample: dict[str, Any]) -> None:
    for media_id in ("201", "202", "203"):
        await backend.request_image(post_id, media_id, f"{images}/forest.jpg")
    await answered(backend, post_id, 3)
    before = (await backend.story(post_id))["revision"]
    await backend.send("post-update-processing", **adapted(sample, post_id=str(post_id)))

    async def accepted() -> bool:
        story = await backend.story(post_id)
        return bool(story["revision"] > before and (story["state"] == "deleted") is sample["record"]["deleted"])

    await until(accepted, what="the update in the story of the post")


async def test_sync_hints(system: System, backend: Backend, images: str, post_id: int) -> None:
    """A hint puts its row in the outbox again, in every form that names it."""
    media_id = post_id + 1
    await backend.add_post(post_id, 15, "Hinted", {media_id: f"{images}/forest.jpg"})
    await backend.request_image(post_id, media_id, f"{images}/forest.jpg")
    await aggregates(backend, post_id)

    async def version() -> int:
        if not await backend.elasticsearch.exists(index="media_search", id=str(media_id)):
            return 0
        return int((await backend.elasticsearch.get(index="media_search", id=str(media_id)))["_version"])

    async def settled() -> bool:
        return not await backend.postgres.fetchval(
            "SELECT count(*) FROM es_outbox WHERE pk = ANY($1)", [post_id, media_id]
        )

    await until(version, what="the document")
    await until(settled, what="an empty outbox")
    letters = len(await system.dead_letters())
    forms: list[Fields] = [
        {"operation": "index", "indexType": "media_search", "documentId": str(media_id)},
        {"indexName": "media_search", "operation": "INDEX", "documentId": str(media_id)},
        {"indexName": "media_search_bulk", "operation": "INDEX", "documentId": str(post_id)},
        {"tableName": "media_search_read_model", "operation": "UPDATE", "recordId": str(media_id), "data": "{}"},
    ]
    for form in forms:
        before = await version()
        await backend.send("es-sync-queue", **form)

        async def newer(before: int = before) -> bool:
            return await version() > before

        await until(newer, what=f"the document written again after {form}")
    for sample in samples("es-sync-queue"):
        await backend.send("es-sync-queue", **sample.values[0]["fields"])
    await backend.send("es-sync-queue", **forms[0])
    assert len(await system.dead_letters()) == letters


async def test_what_was_told_deleted_and_is_there_is_in_the_story(backend: Backend, images: str, post_id: int) -> None:
    media_id = post_id + 1
    await backend.add_post(post_id, 15, "Told", {media_id: f"{images}/forest.jpg"})
    await backend.request_image(post_id, media_id, f"{images}/forest.jpg")
    await aggregates(backend, post_id)
    await backend.send("es-sync-queue", operation="DELETE", indexName="media_search", documentId=str(media_id))

    async def told() -> Any:
        return (await backend.story(post_id))["hints"]

    await until(told, what="the hint in the story")
    (hint,) = await told()
    assert (hint["table_name"], hint["pk"], hint["wanted"]) == ("read_model_media_search", media_id, False)
    async with backend.http.get(f"{backend.worker}/health/ready") as response:
        assert isinstance((await response.json())["hints"], dict)


@pytest.mark.parametrize(
    "form",
    [
        {"operation": "delete", "indexType": "post_search", "documentId": "{}"},
        {"indexName": "post_search", "operation": "DELETE", "documentId": "{}"},
        {"tableName": "read_model_post_search", "operation": "DELETE", "recordId": "{}", "data": "null"},
    ],
    ids=["index type", "index name", "table name"],
)
async def test_a_post_that_is_to_leave_its_index_is_deleted(
    backend: Backend, images: str, post_id: int, form: Fields
) -> None:
    media_id = post_id + 1
    await backend.add_post(post_id, 15, "Deleted", {media_id: f"{images}/forest.jpg"})
    await backend.request_image(post_id, media_id, f"{images}/forest.jpg")
    await aggregates(backend, post_id)
    documents = [("post_search", post_id), ("media_search", media_id), ("recommendations_knn", media_id)]

    async def there() -> list[bool]:
        return [bool(await backend.elasticsearch.exists(index=index, id=str(key))) for index, key in documents]

    async def indexed() -> bool:
        return all(await there())

    async def gone() -> bool:
        return not any(await there())

    await until(indexed, what="documents of the post and its media")
    await backend.send("es-sync-queue", **{name: text.format(post_id) for name, text in form.items()})
    await until(gone, what="no documents")
    assert (await backend.story(post_id))["state"] == "deleted"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_is_read_by_its_consumers(
    system: System, backend: Backend, images: str, post_id: int, dialect: str
) -> None:
    await system.restart_worker(STREAMAPP_DIALECT=dialect)
    try:
        urls = {post_id + n: f"{images}/{name}.jpg" for n, name in enumerate(("beach_sunset", "forest", "gone"), 1)}
        for media_id, url in urls.items():
            await backend.request_image(post_id, media_id, url)
        await backend.trigger(post_id, *urls)
        await aggregates(backend, post_id)
        good = 2

        async def whole() -> list[tuple[str, Any]] | None:
            streams = ("ml-insights-results", "face-detection-results", "post-insights-enriched", "ml-error-results")
            entries = [(stream, await backend.redis.xrange(stream)) for stream in streams]
            mine = {str(post_id), *map(str, urls)}  # a face message of backend-dto has no post id
            found = [
                (stream, fields)
                for stream, listed in entries
                for _, fields in listed or ()
                if fields and {fields.get("postId"), fields.get("mediaId")} & mine
            ]
            faces = [m for stream, m in found if stream == "face-detection-results"]
            return found if len(faces) >= good else None

        found = await until(whole, what="the results of all media")
        for stream, message in found:
            spring.parse(stream, message, dialect)
        by_media = itertools.groupby(sorted(m["mediaId"] for s, m in found if s == "ml-insights-results"))
        count = {media_id: len(list(group)) for media_id, group in by_media}
        if DIALECTS[dialect].combined:
            assert count == {str(media_id): 1 for media_id in urls}  # the one that failed as well, with all fields
        else:
            per_media = 5 if dialect == "api-reference" else 4  # message-formats has no message for the vector
            assert count == {str(media_id): per_media for media_id in list(urls)[:good]}
    finally:
        await system.restart_worker()


async def test_ids_come_back_as_they_came(backend: Backend, images: str, post_id: int) -> None:
    ids = ["007", "0", "550e8400-e29b-41d4-a716-446655440000", str(2**53 + 1)]
    for media_id in ids:
        correlation_id = f'{{"n":{media_id!r}}}'
        await backend.request_image(f"0{post_id}", media_id, f"{images}/forest.jpg", correlationId=correlation_id)
    insights, faces = await answered(backend, f"0{post_id}", len(ids))
    for message in [*insights, *faces]:
        assert message["mediaId"] in ids
        assert message["correlationId"] == f'{{"n":{message["mediaId"]!r}}}'


def test_no_settings_of_this_shell_reach_the_system() -> None:
    assert not [name for name in os.environ if name.startswith("STREAMAPP_")]
