"""From rows to documents on real servers: whatever happens in between, the documents end equal to the rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from documents_support import Dead, Held, assert_equal_to_rows, get, own_indices, running, waiting
from elasticsearch import AsyncElasticsearch
from sinks_support import (
    backend_post,
    fresh_pool,
    insights,
    media_changed,
    post_deleted,
    until,
    view,
    whole,
)

import stack
from streamapp.sinks import indices
from streamapp.sinks.database import Pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.provision import ensure
from streamapp.sinks.readmodels import MEDIA_SEARCH, POST_SEARCH

MEDIA, POST = indices.INDICES[MEDIA_SEARCH], indices.INDICES[POST_SEARCH]


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client) as prefix:
        yield prefix


@pytest.fixture
def models(pool: Pool) -> ReadModels:
    return ReadModels(pool)


@pytest.fixture
def dead() -> Dead:
    return Dead()


@pytest.fixture
def indexer(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> Indexer:
    return Indexer(pool, client, prefix=prefix, dead_letter=dead)


async def remove(client: AsyncElasticsearch, prefix: str) -> None:
    for index in indices.INDICES.values():
        await client.indices.delete(index=index.concrete(prefix), ignore_unavailable=True)


async def put(pool: Pool, media_id: int = 10, **columns: Any) -> None:
    """A row as the backend might write it."""
    values: dict[str, Any] = {
        "media_id": media_id,
        "post_id": 1,
        "media_url": "u",
        "uploader_id": 7,
        "uploader_username": "ann",
    } | columns
    names, marks = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
    await pool.execute(
        f"INSERT INTO {MEDIA_SEARCH} ({names}, created_at) VALUES ({marks}, '2026-01-02T03:04:06Z')", *values.values()
    )


async def drained(indexer: Indexer) -> None:
    """All that waits, indexed."""
    while await indexer.step():
        pass
    assert await waiting(indexer.pool) == 0


async def test_a_document_is_its_row(
    pool: Pool, models: ReadModels, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    await backend_post(pool)
    await models.write(whole(view(), tags=["beach", "sea"]))
    await drained(indexer)
    media, post = await get(client, prefix, MEDIA), await get(client, prefix, POST, 1)
    assert media
    assert post
    assert media["created_at"] == "2026-01-02T03:04:06.000000Z"
    assert post["created_at"] == "2026-01-02T03:04:05.678000Z"
    assert media["post_all_tags"] == ["beach", "sea"]
    assert media["is_safe"] is True
    assert len(media["image_embedding"]) == 512
    assert indexer.counts.keys() == {"done"}
    await assert_equal_to_rows(pool, client, prefix)


async def test_the_same_and_the_stale_leave_the_document_alone(
    pool: Pool, models: ReadModels, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    await backend_post(pool)
    changes = whole(view(), revision=3)
    await models.write(changes)
    await drained(indexer)
    before = await get(client, prefix, MEDIA)
    await models.write(changes)
    await models.write([media_changed(view(answers=()), revision=2)])
    await models.write(whole(view(), revision=4))
    assert await indexer.step() == 0
    assert await get(client, prefix, MEDIA) == before


async def test_reactions_arrive_and_outlive_an_update(
    pool: Pool, models: ReadModels, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    await backend_post(pool)
    await models.write([media_changed(view())])
    await drained(indexer)
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET reaction_count = 5")
    await drained(indexer)
    found = await get(client, prefix, MEDIA)
    assert found
    assert found["reaction_count"] == 5
    await models.write([media_changed(view(answers=insights(2)), revision=2)])
    await drained(indexer)
    found = await get(client, prefix, MEDIA)
    assert found
    assert (found["reaction_count"], found["ai_caption"]) == (5, "caption 2")


async def test_a_deleted_post_leaves_the_indices(
    pool: Pool, models: ReadModels, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    await backend_post(pool)
    await models.write(whole(view()))
    await drained(indexer)
    assert await get(client, prefix, MEDIA)
    await models.write([post_deleted(revision=2)])
    await drained(indexer)
    assert (await get(client, prefix, MEDIA), await get(client, prefix, POST, 1)) == (None, None)
    for name in ("recommendations_knn", "feed_personalized", "face_search"):
        await client.indices.refresh(index=f"{prefix}{name}")
        assert (await client.count(index=f"{prefix}{name}"))["count"] == 0
    assert await waiting(pool) == 0


async def test_a_writer_that_takes_its_time_is_not_waited_for(pool: Pool, indexer: Indexer) -> None:
    await put(pool, 10)
    await put(pool, 11)
    async with pool.acquire() as writer, writer.transaction():
        await writer.execute(f"UPDATE {MEDIA_SEARCH} SET reaction_count = 1 WHERE media_id = 10")
        async with asyncio.timeout(10):
            assert await indexer.step() == 1
    assert await indexer.step() == 1


async def test_a_change_during_the_bulk_is_indexed_next(
    pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    indexer = Held(pool, client, prefix=prefix, dead_letter=dead)
    arrived, free = indexer.hold()
    await put(pool, ai_caption="old")
    step = asyncio.create_task(indexer.step())
    await arrived.wait()
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET ai_caption = 'new'")
    free.set()
    await step
    assert await waiting(pool) == 1
    assert await indexer.step() == 1
    found = await get(client, prefix, MEDIA)
    assert found
    assert found["ai_caption"] == "new"


async def test_killed_before_the_bulk(
    pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead, indexer: Indexer
) -> None:
    killed = Held(pool, client, prefix=prefix, dead_letter=dead, lease=0.3)
    arrived, _ = killed.hold()
    await put(pool)
    step = asyncio.create_task(killed.step())
    await arrived.wait()
    step.cancel()
    assert await indexer.step() == 0  # still leased

    async def taken() -> bool:
        return await indexer.step() == 1

    await until(taken)
    assert await get(client, prefix, MEDIA)


async def test_a_rejected_document_goes_alone_and_is_kept(
    pool: Pool, client: AsyncElasticsearch, prefix: str, indexer: Indexer, dead: Dead
) -> None:
    await put(pool, 10)
    await put(pool, 11, post_id=1)
    await put(pool, 12)
    # A time that the index does not know, and that Python does not either.
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET created_at = '20000-01-01' WHERE media_id = 11")
    assert await indexer.step() == 3
    ((table, pk, version, content, error),) = dead
    assert (table, pk) == (MEDIA_SEARCH, 11)
    assert version > 0
    assert orjson.loads(content)["created_at"] == "20000-01-01T00:00:00.000000Z"
    assert error.startswith("400 document_parsing_exception: ")
    assert "created_at" in error
    assert indexer.counts == {"done": 2, "rejected": 1}
    assert await waiting(pool) == 0
    assert await get(client, prefix, MEDIA, 12)


async def test_without_a_dead_letter_a_rejected_document_stays(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("no broker")

    indexer = Indexer(pool, client, prefix=prefix, dead_letter=fail)
    await put(pool)
    await pool.execute(f"UPDATE {MEDIA_SEARCH} SET created_at = '20000-01-01'")
    assert await indexer.step() == 1
    row = await pool.fetchrow("SELECT * FROM es_outbox")
    assert row is not None
    assert "no broker" in row["last_error"]
    assert indexer.last_error == row["last_error"]


async def test_a_missing_index_is_missed_and_not_made(
    pool: Pool, client: AsyncElasticsearch, prefix: str, indexer: Indexer, dead: Dead
) -> None:
    await remove(client, prefix)
    await put(pool)
    async with running(indexer):
        await until(lambda: indexer.counts["later"] >= 2)
        assert indexer.last_error == f"there is no index {MEDIA.alias(prefix)}"
        assert not await client.indices.exists(index=MEDIA.alias(prefix))
        async with pool.acquire() as connection:
            await ensure(connection, client, prefix)
        await until(lambda: indexer.counts["done"] == 1)
        await until(lambda: indexer.last_error is None)  # a moment later
    assert dead == []
    assert await get(client, prefix, MEDIA)


async def test_it_wakes_at_once(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> None:
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=dead, poll=60)
    async with running(indexer):
        await asyncio.sleep(0.3)
        await put(pool)
        await until(lambda: indexer.counts["done"] == 1, seconds=5)


async def test_it_polls_for_what_nobody_told(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> None:
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=dead, poll=0.1)
    async with running(indexer):
        await pool.execute("INSERT INTO es_outbox (table_name, pk, version) VALUES ($1, 10, 1)", MEDIA_SEARCH)
        await until(lambda: indexer.counts["done"] == 1, seconds=5)


async def test_a_broken_listener_is_renewed(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> None:
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=dead, poll=0.2)
    async with running(indexer):
        await asyncio.sleep(0.3)
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query"
        assert await pool.fetch(f"{query} LIKE 'LISTEN%'")
        await until(lambda: indexer.waiting_since is not None)
        indexer.poll = 60
        await until(lambda: indexer.waiting_since is None)
        await put(pool)
        await until(lambda: indexer.counts["done"] == 1, seconds=5)


async def test_more_than_a_batch_goes_in_batches(
    pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=dead, batch=10)
    for media_id in range(25):
        await put(pool, media_id)
    assert [await indexer.step() for _ in range(4)] == [10, 10, 5, 0]
    await assert_equal_to_rows(pool, client, prefix)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # one document can not be cut
async def test_large_documents_travel_apart_and_too_large_ones_not_at_all(
    pool: Pool, client: AsyncElasticsearch, prefix: str, indexer: Indexer, dead: Dead
) -> None:
    await put(pool, 0)
    for media_id, megabytes in ((1, 5), (2, 9), (3, 5)):
        await put(pool, media_id, ai_caption="word " * (megabytes * 2**20 // 5))
    assert await indexer.step() == 4
    assert indexer.counts == {"done": 3, "rejected": 1}
    assert [(pk, error) for _, pk, _, _, error in dead] == [(2, "the document is larger than 8388608 bytes")]
    assert len(dead[0][3]) > 9e6
    assert [bool(await get(client, prefix, MEDIA, pk)) for pk in range(4)] == [True, True, False, True]


class Gate:
    """A TCP relay that can be shut: its connections end, new ones are refused."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.target = parts.hostname, parts.port
        self.port = 0
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()

    def url(self, url: str) -> str:
        """The same through the gate."""
        login, at, _ = urlsplit(url).netloc.rpartition("@")
        return urlsplit(url)._replace(netloc=f"{login}{at}127.0.0.1:{self.port}").geturl()

    async def __aenter__(self) -> Gate:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    async def open(self) -> None:
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        assert self.server
        self.server.close()
        for writer in list(self.writers):
            writer.close()
        await self.server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(*self.target)
        self.writers |= {writer, forth}

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(copy(reader, forth), copy(back, writer))
        self.writers -= {writer, forth}


@pytest.mark.parametrize("which", ["elasticsearch", "postgres"])
async def test_a_server_that_is_away_is_waited_for(
    which: str, servers: Any, url: str, pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    away = {"elasticsearch": servers.elasticsearch_url, "postgres": url}

    async def empty() -> bool:
        return await waiting(pool) == 0

    async with Gate(away[which]) as gate:
        away[which] = gate.url(away[which])
        async with indices.connect(away["elasticsearch"]) as gated, fresh_pool(away["postgres"]) as gated_pool:
            indexer = Indexer(gated_pool, gated, prefix=prefix, dead_letter=dead)
            async with running(indexer):
                await put(pool, 10)
                await until(empty)
                await gate.shut()
                await put(pool, 11)
                await until(lambda: indexer.waiting_since is not None)
                assert indexer.last_error
                await asyncio.sleep(1)
                await gate.open()
                await until(empty)
                await until(lambda: indexer.waiting_since is None)
                assert indexer.last_error is None
    assert await get(client, prefix, MEDIA, 11)


@pytest.mark.parametrize("seconds", [pytest.param(s, marks=pytest.mark.slow) for s in (2, 300)])
@pytest.mark.timeout(420)
async def test_elasticsearch_is_killed_and_started_again(
    servers: Any, pool: Pool, client: AsyncElasticsearch, prefix: str, indexer: Indexer, seconds: int
) -> None:
    async def empty() -> bool:
        return await waiting(pool) == 0

    async with running(indexer):
        await put(pool, 10)
        await until(lambda: indexer.counts["done"] == 1)
        await asyncio.to_thread(stack.kill, "elasticsearch", servers.instance)
        try:
            for media_id in range(11, 31):
                await put(pool, media_id)
                await pool.execute(f"DELETE FROM {MEDIA_SEARCH} WHERE media_id = $1 - 5", media_id)
                await asyncio.sleep(seconds / 20)
            assert indexer.waiting_since is not None
        finally:
            await asyncio.to_thread(stack.start, "elasticsearch", servers.instance)
        await until(empty, seconds=60)
    await assert_equal_to_rows(pool, client, prefix)


async def test_indices_are_made_once_and_a_difference_is_seen(pool: Pool, client: AsyncElasticsearch) -> None:
    async with own_indices(client, "post_search") as prefix, pool.acquire() as connection:
        missing = {checked.alias for checked in await indices.check(client, prefix) if checked.state == "missing"}
        assert len(missing) == len(indices.INDICES) - 1
        first = {checked.alias: checked.state for checked in await ensure(connection, client, prefix)}
        assert first == dict.fromkeys(missing, "created") | {POST.alias(prefix): "present"}
        again = {(checked.alias, checked.state) for checked in await ensure(connection, client, prefix)}
        assert again == {(f"{prefix}{index.name}", "present") for index in indices.INDICES.values()}
        await client.indices.put_mapping(index=MEDIA.alias(prefix), meta={"definition": "another"})
        (differing,) = [c for c in await ensure(connection, client, prefix) if c.state == "differs"]
        assert (differing.index, differing.remedy) == (MEDIA, "run: streamapp rebuild media_search")


async def test_what_an_index_of_another_definition_refuses_waits_for_its_rebuild(
    pool: Pool, client: AsyncElasticsearch, prefix: str, indexer: Indexer, dead: Dead, caplog: pytest.LogCaptureFixture
) -> None:
    name = MEDIA.concrete(prefix)
    await client.indices.delete(index=name)
    old = {field: kind for field, kind in MEDIA.fields.items() if field != "ai_caption"}
    mappings = MEDIA.mappings() | {"properties": old, "_meta": {"definition": "of last year"}}
    aliases: dict[str, Any] = {MEDIA.alias(prefix): {}}
    await client.indices.create(index=name, aliases=aliases, settings=MEDIA.settings(), mappings=mappings)
    await put(pool, 10, ai_caption="new in this release")
    async with running(indexer):
        await until(lambda: indexer.last_error)
    told = f"index {MEDIA.alias(prefix)} has another definition than this release, run: streamapp rebuild media_search"
    assert told in [record.getMessage() for record in caplog.records]
    assert "strict_dynamic_mapping_exception" in (indexer.last_error or "")
    assert "run: streamapp rebuild media_search" in (indexer.last_error or "")
    assert (dead, await waiting(pool)) == ([], 1)
