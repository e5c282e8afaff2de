"""Rows from state, on a running system: what was lost or spoilt comes back, and what is right stays as it is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from results import aggregates
from system import ENGINE, System
from test_cli import streamapp

from demo.backend import Backend, until

pytestmark = pytest.mark.timeout(240)

TABLES = {
    "read_model_media_search": "post_id",
    "read_model_post_search": "post_id",
    "read_model_face_search": "post_id",
    "read_model_recommendations_knn": "post_id",
}


async def rows(backend: Backend, post_id: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of a post, without what is drawn or taken from the clock when a row is made."""
    found = {}
    for table, column in TABLES.items():
        made = await backend.postgres.fetch(f"SELECT to_jsonb(t) AS row FROM {table} t WHERE {column} = $1", post_id)
        drawn = ("id", "updated_at", "indexed_at", "revision")
        parsed = [{k: v for k, v in orjson.loads(row["row"]).items() if k not in drawn} for row in made]
        found[table] = sorted(parsed, key=orjson.dumps)
    return found


async def test_rows_come_back(system: System, backend: Backend, images: str, post_id: int) -> None:
    urls = {post_id + 1: f"{images}/beach_people.jpg", post_id + 2: f"{images}/forest.jpg"}
    await backend.add_post(post_id, 15, "Rebuilt", urls)
    for media_id, url in urls.items():
        await backend.request_image(post_id, media_id, url)
    await backend.trigger(post_id, *urls)
    await aggregates(backend, post_id)

    async def written() -> Any:
        there = await rows(backend, post_id)
        media = there["read_model_media_search"]
        return there if len(media) == 2 and all(m["post_all_tags"] for m in media) else None

    before = await until(written, what="the rows")
    assert all(before[table] for table in ("read_model_post_search", "read_model_recommendations_knn"))
    for table, column in TABLES.items():
        await backend.postgres.execute(f"DELETE FROM {table} WHERE {column} = $1", post_id)
    assert not any((await rows(backend, post_id)).values())
    code, text = await streamapp(system, "rebuild", "rows")
    assert code == 0, text
    assert await rows(backend, post_id) == before

    await backend.postgres.execute(
        "UPDATE read_model_media_search SET ai_caption = 'spoilt', reaction_count = 5 WHERE post_id = $1", post_id
    )
    code, text = await streamapp(system, "rebuild", "rows", "--json")
    assert code == 0, text
    assert orjson.loads(text)["changed"] >= 2
    repaired = await rows(backend, post_id)
    assert {m.pop("reaction_count") for m in repaired["read_model_media_search"]} == {5}  # the backend's own
    for media in before["read_model_media_search"]:
        del media["reaction_count"]
    assert repaired == before

    async def documents() -> bool:
        found = await backend.elasticsearch.mget(index="media_search", ids=list(map(str, urls)))
        captions = [hit["_source"].get("ai_caption") for hit in found["docs"] if hit["found"]]
        return len(captions) == 2 and "spoilt" not in captions

    await until(documents, what="the documents of the rows")


async def test_indices_under_a_running_system(system: System, backend: Backend, images: str, post_id: int) -> None:
    await backend.add_post(post_id, 15, f"Indexed {post_id}", {post_id + 1: f"{images}/forest.jpg"})
    await backend.request_image(post_id, post_id + 1, f"{images}/forest.jpg")
    await backend.trigger(post_id, post_id + 1)
    await aggregates(backend, post_id)
    code, text = await streamapp(system, "rebuild", "all", "--json", "--drop-old")
    assert code == 0, text
    done = orjson.loads(text)
    assert len(done) == 7
    assert all(each["agreement"]["rows"] == each["agreement"]["documents"] for each in done)

    async def found() -> Any:
        async with backend.http.get(f"{backend.worker}/search", params={"q": f"indexed {post_id}"}) as response:
            body = await response.json()
            return response.status == 200 and post_id + 1 in [hit["media_id"] for hit in body["hits"]]

    await until(found, what="the image by GET /search")


async def test_search_over_http(backend: Backend, system: System) -> None:
    async def get(**params: str) -> tuple[int, dict[str, Any]]:
        async with backend.http.get(f"{backend.worker}/search", params=params) as response:
            return response.status, await response.json()

    status, body = await get(q="nothinglikethis")
    if ENGINE == "models":  # to whose vectors every picture is more or less like any words
        assert (status, body["ways"], body["note"]) == (200, ["words", "picture"], None)
    else:
        assert (status, body["hits"], body["ways"]) == (200, [], ["words"])
        assert "no vectors of texts" in body["note"]
    assert (await get(like="1"))[0] == 404
    assert (await get(face="1"))[1] == {"error": "the face of user 1 is not known"}
    too_long = {"q": "word " * 700}, {"q": "a", "user": "u" * 5000}
    for wrong in ({}, {"q": "a", "limit": "0"}, {"like": "x"}, {"q": "a", "unknown": "1"}, *too_long):
        assert (await get(**wrong))[0] == 400
