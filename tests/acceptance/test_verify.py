"""`streamapp verify` on a running system: good when nothing was touched, and names each thing that was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from results import aggregates, answered
from system import System
from test_cli import streamapp

from demo.backend import Backend, until
from streamapp.cli.verify import compare
from streamapp.settings import Settings

pytestmark = pytest.mark.timeout(180)

MEDIA_SEARCH = "read_model_media_search"
# Of a post with two media and two faces; the items of feeds are nobody's but their readers'.
ROWS, DOCUMENTS = 1 + 2 * 3 + 2 * 2, 1 + 2 * 2 + 2
BEFORE = '/"b:%25é ?'  # of a post id that is not easily told from other things
STRANGER = (
    "INSERT INTO read_model_post_search (post_id, author_id, author_username, created_at, revision)"
    " VALUES ($1, 15, 'ana', now(), 3)"
)


async def verify(system: System, post_id: int | str | None) -> tuple[bool, list[dict[str, Any]], str]:
    """Whether all is good, the differences, and the text."""
    given = {name.removeprefix("STREAMAPP_").lower(): value for name, value in system.environment.items()}
    settings = Settings(_env_file=None, **given)  # type: ignore[arg-type]  # texts, as from the environment
    good, body, text = await compare(settings, None if post_id is None else str(post_id), wait=0.1)
    return good, body["differences"], text


async def indexed(backend: Backend) -> None:
    """Wait until all documents are what their rows are."""

    async def none_waits() -> bool:
        waiting = "SELECT count(*) FROM es_outbox WHERE leased_until <= now() + interval '10 s'"
        return not await backend.postgres.fetchval(waiting)

    await until(none_waits, what="the documents")


@pytest.fixture
async def post(backend: Backend, images: str, post_id: int) -> int:
    """A complete post with two media, equal everywhere; before it in the streams another one."""
    before = f"{post_id}{BEFORE}"
    await backend.request_image(before, "007", f"{images}/street.jpg")
    await aggregates(backend, before)
    urls = {post_id + 1: f"{images}/beach_sunset.jpg", post_id + 2: f"{images}/forest.jpg"}
    await backend.add_post(post_id, 15, "Compared", urls)
    for media_id, url in urls.items():
        await backend.request_image(post_id, media_id, url)
    await backend.trigger(post_id, *urls)
    await answered(backend, post_id, 2)
    await aggregates(backend, post_id)

    async def written() -> bool:
        rows = "SELECT count(*) FROM read_model_media_search WHERE post_id = $1 AND ai_status = 'COMPLETED'"
        return bool(await backend.postgres.fetchval(rows, post_id) == 2)

    await until(written, what="the rows")
    await indexed(backend)
    return post_id


@asynccontextmanager
async def changed(backend: Backend, media_id: int, assignment: str) -> AsyncIterator[None]:
    """A media row after somebody's hand, put right afterwards."""
    post_id = media_id - media_id % 10
    kept = await backend.postgres.fetchval(f"SELECT row_to_json(m) FROM {MEDIA_SEARCH} m WHERE media_id = $1", media_id)
    try:
        await backend.postgres.execute(f"UPDATE {MEDIA_SEARCH} SET {assignment} WHERE media_id = $1", media_id)
        await indexed(backend)
        yield
    finally:
        again = f"INSERT INTO {MEDIA_SEARCH} SELECT * FROM json_populate_record(null::{MEDIA_SEARCH}, $1)"
        async with backend.postgres.transaction():
            await backend.postgres.execute(
                f"DELETE FROM {MEDIA_SEARCH} WHERE post_id = $1 AND media_id > $1 + 2", post_id
            )
            await backend.postgres.execute(f"DELETE FROM {MEDIA_SEARCH} WHERE media_id = $1", media_id)
            await backend.postgres.execute(again, kept)
        await indexed(backend)


async def items_of(backend: Backend, media_id: int) -> list[str]:
    """The items of feeds that show a media."""
    rows = await backend.postgres.fetch(
        "SELECT feed_item_id FROM read_model_feed_personalized WHERE media_id = $1", media_id
    )
    return [row[0] for row in rows]


async def test_what_nobody_touched_is_equal(system: System, backend: Backend, post: int) -> None:
    code, text = await streamapp(system, "verify", "--post", str(post), "--json")
    body = json.loads(text)
    assert (code, body["differences"], body["told"]) == (0, [], [])
    items = len(await items_of(backend, post + 1) + await items_of(backend, post + 2))
    assert items > 0
    compared = {"posts": 1, "media": 2, "rows": ROWS, "documents": DOCUMENTS, "results": 13, "feed items": items}
    assert body["compared"] == compared
    good, _, text = await verify(system, f"{post}{BEFORE}")
    assert good
    assert "no difference: 2 rows of ids that are no numbers" in text
    assert "0 differences; compared 1 posts, 1 media, 0 rows, 0 documents, 7 results" in text
    _, differences, _ = await verify(system, None)
    assert [each for each in differences if each["post"] in (str(post), f"{post}{BEFORE}")] == []


async def test_a_changed_row_is_named(system: System, backend: Backend, post: int) -> None:
    change = "ai_tags = '{planted}', image_embedding = null, post_all_tags = '{other}', revision = 1000"
    async with changed(backend, post + 1, change):
        code, text = await streamapp(system, "verify", "--post", str(post))
    assert code == 1
    place = f"post {post} media {post + 1} row {MEDIA_SEARCH}"
    assert f"{place}.ai_tags: state has ['" in text
    assert "row has ['planted']" in text
    assert f"{place}.post_all_tags: state has ['" in text
    assert f"{place}.image_embedding: state has '[" in text
    assert f"{place}.revision: state has '1 to " in text
    assert f"\n4 differences; compared 1 posts, 2 media, {ROWS} rows, {DOCUMENTS} documents, 13 results" in text
    assert (await verify(system, post))[:2] == (True, [])


async def test_rows_that_are_gone_or_should_not_be_there(system: System, backend: Backend, post: int) -> None:
    items = await items_of(backend, post + 2)
    async with changed(backend, post + 2, f"media_id = {post + 3}"):
        good, differences, _ = await verify(system, post)
    assert not good
    assert {(each["kind"], each["media"], each["where"]) for each in differences} == {
        ("missing", str(post + 2), f"row {MEDIA_SEARCH}"),
        ("extra", str(post + 3), f"row {MEDIA_SEARCH}"),
        *(("extra", str(post + 2), f"item read_model_feed_personalized {each}") for each in items),
    }


async def test_each_row_of_a_media_is_compared(system: System, backend: Backend, post: int) -> None:
    face = await backend.postgres.fetchval(
        "SELECT min(face_id) FROM media_detected_faces WHERE media_id = $1", post + 1
    )
    rename = "UPDATE media_detected_faces SET face_id = $2 WHERE face_id = $1"
    turn = "UPDATE media_ai_insights SET caption = reverse(caption) WHERE media_id = $1"
    await backend.postgres.execute(rename, face, "stale")
    await backend.postgres.execute(turn, post + 2)
    good, differences, _ = await verify(system, post)
    await backend.postgres.execute(rename, "stale", face)
    await backend.postgres.execute(turn, post + 2)
    assert (await verify(system, post))[:2] == (True, [])
    assert not good
    assert {(each["kind"], each["media"], each["where"], each["field"]) for each in differences} == {
        ("missing", str(post + 1), f"row media_detected_faces {face}", None),
        ("extra", str(post + 1), "row media_detected_faces stale", None),
        ("row", str(post + 2), "row media_ai_insights", "caption"),
    }


async def test_a_row_of_the_backend_is_no_stranger(system: System, backend: Backend, post: int) -> None:
    async with changed(backend, post + 2, f"media_id = {post + 3}, revision = 0"):
        _, differences, _ = await verify(system, post)
    told = {(each["kind"], each["media"]) for each in differences if not each["where"].startswith("item ")}
    assert told == {("missing", str(post + 2))}


async def test_a_document_that_waits_is_pending(system: System, backend: Backend, post: int) -> None:
    async with backend.postgres.transaction():
        await backend.postgres.execute(
            f"UPDATE {MEDIA_SEARCH} SET view_count = 1, reaction_count = 7 WHERE post_id = $1", post
        )
        hold = "UPDATE es_outbox SET leased_until = now() + '1 hour' WHERE pk BETWEEN $1 AND $1 + 9"
        await backend.postgres.execute(hold, post)
    good, differences, text = await verify(system, post)
    await backend.postgres.execute("UPDATE es_outbox SET leased_until = now() WHERE pk BETWEEN $1 AND $1 + 9", post)
    assert (good, [each["kind"] for each in differences]) == (False, ["pending", "pending"])
    assert f"post {post} media {post + 1} document media_search: pending: in the outbox since" in text
    await indexed(backend)
    assert (await verify(system, post))[:2] == (True, [])


async def test_a_document_that_was_refused_is_named_with_the_cause(system: System, backend: Backend, post: int) -> None:
    async with changed(backend, post + 1, "created_at = '20000-01-01'"):
        _, differences, text = await verify(system, post)
    assert {each["kind"] for each in differences} == {"row", "rejected"}
    assert f"post {post} media {post + 1} document media_search: rejected: version " in text
    assert "lies in dead-letters: " in text

    async def forgotten() -> bool:
        return (await verify(system, post))[:2] == (True, [])

    await until(forgotten, what="that what was refused once is of no importance any more")


async def test_documents_that_are_gone_or_differ(system: System, backend: Backend, post: int) -> None:
    # What another test has put back may still be on its way to the index, with a newer version.
    assert (await verify(system, post))[:2] == (True, [])
    client, kept = backend.elasticsearch, dict[int, dict[str, Any]]()
    for media_id in (post + 1, post + 2):
        hit = await client.get(index="media_search", id=str(media_id), source_exclude_vectors=False)
        # With their own versions, so that what the indexer sends later still counts.
        kept[media_id] = {"document": hit["_source"], "version": hit["_version"], "version_type": "external_gte"}
    gone, other = kept
    await client.delete(index="media_search", id=str(gone), version=kept[gone]["version"], version_type="external_gte")
    vector = [-number for number in kept[other]["document"]["image_embedding"]]
    planted = kept[other]["document"] | {"ai_caption": "planted", "created_at": None, "image_embedding": vector}
    await client.index(index="media_search", id=str(other), **(kept[other] | {"document": planted}))
    try:
        good, differences, _ = await verify(system, post)
    finally:
        for media_id, whole in kept.items():
            await client.index(index="media_search", id=str(media_id), **whole)
    assert not good
    assert {(each["kind"], each["media"], each["where"], each["field"]) for each in differences} == {
        ("missing", str(gone), "document media_search", None),
        ("document", str(other), "document media_search", "ai_caption"),
        ("document", str(other), "document media_search", "created_at"),
        ("document", str(other), "document media_search", "image_embedding"),
    }
    assert (await verify(system, post))[:2] == (True, [])


async def test_a_document_without_a_row(system: System, backend: Backend, post: int) -> None:
    document = {"media_id": post + 5, "post_id": post, "ai_caption": "planted"}
    await backend.elasticsearch.index(index="media_search", id=str(post + 5), document=document, refresh=True)
    try:
        good, _, text = await verify(system, post)
    finally:
        await backend.elasticsearch.delete(index="media_search", id=str(post + 5), refresh=True)
    assert not good
    await backend.elasticsearch.index(index="media_search", id="other", document=document, refresh=True)
    try:
        _, differences, _ = await verify(system, post)
    finally:
        await backend.elasticsearch.delete(index="media_search", id="other", refresh=True)
    assert [each["expected"] for each in differences] == ["no row has the key 'other'"]
    line = f"post {post} media {post + 5} document media_search: should not be there: {MEDIA_SEARCH} has no row"
    assert line in text


@pytest.mark.parametrize("stream", ["ml-insights-results", "face-detection-results", "post-insights-enriched"])
async def test_results_that_are_gone_doubled_or_changed(
    system: System, backend: Backend, post: int, stream: str
) -> None:
    entries: Any = await backend.redis.xrange(stream)
    entry_id, fields = next((entry_id, fields) for entry_id, fields in entries if fields.get("postId") == str(post))
    await backend.redis.xdel(stream, entry_id)
    good, differences, _ = await verify(system, post)
    assert (good, [(each["kind"], each["where"]) for each in differences]) == (False, [("missing", f"result {stream}")])
    assert differences[0]["expected"] == fields["resultId"]

    second = await backend.redis.xadd(stream, fields)
    assert (await verify(system, post))[:2] == (True, [])
    third = await backend.redis.xadd(stream, fields)
    good, differences, _ = await verify(system, post)
    assert (good, [each["kind"] for each in differences]) == (False, ["doubled"])

    await backend.redis.xdel(stream, second, third)
    planted = await backend.redis.xadd(stream, fields | {"correlationId": "planted"})
    good, differences, _ = await verify(system, post)
    assert (good, [(each["kind"], each["field"]) for each in differences]) == (False, [("result", "correlation_id")])
    await backend.redis.xdel(stream, planted)
    await backend.redis.xadd(stream, fields)
    assert (await verify(system, post))[:2] == (True, [])


async def test_results_that_were_cut_off_are_told_apart(system: System, backend: Backend, post: int) -> None:
    stream = "face-detection-results"
    kept: Any = await backend.redis.xrange(stream)
    await backend.send(stream, later="yes")
    await backend.redis.xtrim(stream, maxlen=1, approximate=False)
    good, _, text = await verify(system, post)
    for _, fields in kept:
        await backend.redis.xadd(stream, fields)
    assert good
    assert f"no difference: 2 results that {stream} no longer keeps" in text


async def test_rows_that_wait_for_the_backend_are_told_apart(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    await backend.request_image(post_id, post_id + 1, f"{images}/beach.jpg")
    await aggregates(backend, post_id)

    async def waits() -> bool:
        return bool(await backend.postgres.fetchval("SELECT count(*) FROM awaiting WHERE post_id = $1", post_id) == 2)

    await until(waits, what="both rows in awaiting")
    good, _, text = await verify(system, post_id)
    assert good, text
    assert "no difference: 2 rows that await the backend's posts" in text


async def test_a_deleted_post_has_no_rows(system: System, backend: Backend, post: int) -> None:
    await backend.send("post-update-processing", postId=post, operation="DELETE")

    async def gone() -> bool:
        return not await backend.postgres.fetchval(
            "SELECT count(*) FROM read_model_post_search WHERE post_id = $1", post
        )

    await until(gone, what="the deletion")
    await indexed(backend)
    assert (await verify(system, post))[:2] == (True, [])
    await backend.postgres.execute(STRANGER, post)
    good, _, text = await verify(system, post)
    await backend.postgres.execute("DELETE FROM read_model_post_search WHERE post_id = $1", post)
    assert not good
    assert f"post {post} row read_model_post_search: should not be there: the post was deleted" in text


async def test_rows_of_a_post_that_no_state_knows(system: System, backend: Backend, post_id: int) -> None:
    good, _, text = await verify(system, post_id)
    nothing = "0 differences; compared 0 posts, 0 media, 0 rows, 0 documents, 0 results"
    assert (good, text) == (False, f"no state knows post {post_id}\n{nothing}")
    await backend.postgres.execute(STRANGER, post_id)
    good, _, text = await verify(system, None)
    await backend.postgres.execute("DELETE FROM read_model_post_search WHERE post_id = $1", post_id)
    assert not good
    assert f"post {post_id} row read_model_post_search: should not be there: no state knows the post" in text


async def test_without_a_worker_or_a_server_it_says_so(system: System) -> None:
    code, text = await streamapp(system, "verify", port="9")
    assert code == 1
    assert "cannot compare: no worker answers at http://127.0.0.1:9" in text
    assert (await streamapp(system, "verify", "101"))[0] == 2
    for server in ("REDIS_URL", "POSTGRES_URL", "ELASTICSEARCH_URL"):
        given = {name.removeprefix("STREAMAPP_").lower(): value for name, value in system.environment.items()}
        scheme = given[server.lower()].partition("://")[0]
        settings = Settings(_env_file=None, **(given | {server.lower(): f"{scheme}://127.0.0.1:9"}))  # type: ignore[arg-type]
        good, body, text = await compare(settings, "101", wait=0.0)
        assert not good
        assert text.startswith("cannot compare: ")
        assert body["error"] in text
