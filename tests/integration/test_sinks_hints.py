"""Messages of the backend that a row has changed: whatever comes first, the document ends as the row is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from documents_support import Dead, assert_equal_to_rows, change, get, own_indices, put, running, waiting
from elasticsearch import AsyncElasticsearch
from sinks_support import database, until

from streamapp.contracts import read
from streamapp.contracts.records import SyncRequest
from streamapp.errors import Unavailable
from streamapp.sinks import hints, indices
from streamapp.sinks.hints import UnknownRow, hint, look_again
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, INDICES, Index
from streamapp.sinks.postgres import Pool, open_pool

every_index = pytest.mark.parametrize("index", INDICES.values(), ids=list(BY_NAME))
MEDIA = BY_NAME["media_search"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(servers: Any) -> AsyncIterator[str]:
    async with database(servers.postgres_url) as url:
        yield url


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url, max_size=6)
    await pool.execute(f"TRUNCATE {', '.join(INDICES)}, es_outbox, es_hints")
    yield pool
    await pool.close()


@pytest.fixture
async def without_triggers(pool: Pool) -> AsyncIterator[None]:
    """As where the backend's role owns the read models and lets nobody put triggers on them."""
    for table in INDICES:
        await pool.execute(f"ALTER TABLE {table} DISABLE TRIGGER es_outbox")
    yield
    for table in INDICES:
        await pool.execute(f"ALTER TABLE {table} ENABLE TRIGGER es_outbox")


@pytest.fixture
async def client(servers: Any) -> AsyncIterator[AsyncElasticsearch]:
    async with indices.connect(servers.elasticsearch_url) as client:
        yield client


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "LOOKS", (0.2, 0.6, 1.5))


async def entered(pool: Pool) -> set[tuple[str, int]]:
    """What waits to be indexed; emptied by being looked at."""
    return {(e["table_name"], e["pk"]) for e in await pool.fetch("DELETE FROM es_outbox RETURNING *")}


async def remembered(pool: Pool) -> list[dict[str, Any]]:
    return [dict(row) for row in await pool.fetch("SELECT * FROM es_hints ORDER BY pk")]


async def due(pool: Pool) -> None:
    """Let time pass."""
    await pool.execute("UPDATE es_hints SET next_look = now() WHERE next_look < 'infinity'")


FORMS = [
    {"operation": "{lower}", "indexType": "{index}", "documentId": "10"},
    {"operation": "{upper}", "indexName": "{index}", "documentId": "10"},
    {"operation": "{verb}", "tableName": "{table}", "recordId": "10", "data": "null"},
]
OPERATIONS = [
    {"lower": "index", "upper": "INDEX", "verb": "UPDATE"},
    {"lower": "delete", "upper": "DELETE", "verb": "DELETE"},
]


@every_index
@pytest.mark.parametrize("form", FORMS, ids=["api-reference", "integration-spec", "message-formats"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=["index", "delete"])
async def test_every_form_of_every_index(
    index: Index, form: dict[str, str], operation: dict[str, str], pool: Pool
) -> None:
    await put(pool, index)
    await entered(pool)
    fields = {name: text.format(index=index.name, table=index.table, **operation) for name, text in form.items()}
    request = read("es-sync-queue", fields, "1-1")
    assert isinstance(request, SyncRequest)
    deleted = operation["lower"] == "delete"
    assert (request.operation == "delete") is deleted
    assert await hint(pool, request.index, request.document_id, bulk=request.bulk, deleted=deleted) == 1
    assert await entered(pool) == {(index.table, 10)}
    assert await remembered(pool) == []  # the row is there, and what becomes of it the triggers see


async def test_a_post_means_all_its_media(pool: Pool) -> None:
    for media_id, post_id in ((10, 1), (11, 1), (12, 2)):
        await put(pool, MEDIA, media_id, post_id=post_id)
    await entered(pool)
    assert await hint(pool, "media_search", "1", bulk=True) == 2
    assert await entered(pool) == {(MEDIA.table, 10), (MEDIA.table, 11)}


@pytest.mark.parametrize(
    ("index", "document_id"), [("nothing", "1"), ("media_search", "007"), ("media_search", str(2**63))]
)
async def test_what_no_row_can_be_is_refused(pool: Pool, index: str, document_id: str) -> None:
    with pytest.raises(UnknownRow):
        await hint(pool, index, document_id)
    assert (await entered(pool), await remembered(pool)) == (set(), [])


async def test_without_a_database_it_is_unavailable() -> None:
    pool = await open_pool("postgresql://app@127.0.0.1:9/none")
    with pytest.raises(Unavailable):
        await hint(pool, "media_search", "1")


@every_index
async def test_the_deletion_of_what_is_not_there_succeeds(index: Index, pool: Pool, client: AsyncElasticsearch) -> None:
    async with own_indices(client, index.name) as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
        await hint(pool, index.name, "10", deleted=True)
        assert await indexer.step() == 1
        assert indexer.counts == {"done": 1}
    assert (await waiting(pool), await remembered(pool)) == (0, [])


async def test_a_row_that_is_not_there_is_awaited_then_reported(pool: Pool, caplog: pytest.LogCaptureFixture) -> None:
    await hint(pool, "post_search", "10")
    await hint(pool, "media_search", "1", bulk=True)
    assert [(e["pk"], e["bulk"], e["looks"]) for e in await remembered(pool)] == [(1, True, 0), (10, False, 0)]
    assert await look_again(pool) == []  # a second has not passed
    for looks in (1, 2):
        await due(pool)
        assert await look_again(pool) == []
        assert [e["looks"] for e in await remembered(pool)] == [looks, looks]
    await due(pool)
    with caplog.at_level(logging.WARNING):
        assert len(await look_again(pool)) == 2
    assert {record.getMessage() for record in caplog.records} == {
        "read_model_post_search has no row 10, which the backend told of",
        "read_model_media_search has no media of post 1, which the backend told of",
    }
    assert len(await remembered(pool)) == 2  # kept, and not looked for any more
    await due(pool)
    assert await look_again(pool) == []
    await put(pool, MEDIA, 11, post_id=1)
    await hint(pool, "media_search", "1", bulk=True)
    assert [e["pk"] for e in await remembered(pool)] == [10]  # told of again, and there


async def test_times_of_the_looks(pool: Pool) -> None:
    await hint(pool, "post_search", "10")
    for seconds in (1, 5, 30):
        assert await pool.fetchval("SELECT extract(epoch FROM next_look - since)::float FROM es_hints") == seconds
        await due(pool)
        await look_again(pool)
    assert await pool.fetchval("SELECT next_look = 'infinity' FROM es_hints")


@pytest.mark.parametrize("form", ["row", "bulk"])
async def test_a_row_that_comes_is_forgotten(pool: Pool, form: str) -> None:
    bulk = form == "bulk"
    await hint(pool, "media_search", "1" if bulk else "10", bulk=bulk)
    await put(pool, MEDIA, 10, post_id=1)
    await entered(pool)
    await due(pool)
    assert await look_again(pool) == []
    assert await remembered(pool) == []
    assert await entered(pool) == {(MEDIA.table, 10)}


@pytest.mark.parametrize("told", ["before the commit", "after the commit", "never"])
@pytest.mark.parametrize("n", [5, 6])
async def test_reactions_arrive_and_outlive_what_we_write(
    told: str, n: int, pool: Pool, client: AsyncElasticsearch
) -> None:
    async with own_indices(client, "media_search") as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.1)
        await put(pool, MEDIA)

        async def empty() -> bool:
            return await waiting(pool) == 0

        async with running(indexer):
            await until(empty)
            async with pool.acquire() as backend, backend.transaction():
                await backend.execute(f"UPDATE {MEDIA.table} SET reaction_count = $1", n)
                if told == "before the commit":
                    await hint(pool, "media_search", "10")
                    await asyncio.sleep(0.3)  # long enough to be read too early
            if told == "after the commit":
                await hint(pool, "media_search", "10")
            await until(empty)
            await pool.execute(f"UPDATE {MEDIA.table} SET ai_caption = 'seen again', revision = 3")
            await until(empty)
        found = await get(client, prefix, MEDIA)
        assert found is not None
        assert (found["reaction_count"], found["ai_caption"]) == (n, "seen again")


async def test_a_writer_that_takes_its_time_keeps_nobody_waiting(pool: Pool) -> None:
    for pk in (10, 11, 12):
        await put(pool, MEDIA, pk)
    await hint(pool, "media_search", "12", again=True)
    await entered(pool)
    async with pool.acquire() as backend, backend.transaction():
        await backend.execute(f"UPDATE {MEDIA.table} SET reaction_count = 1 WHERE media_id = 10")
        async with asyncio.timeout(5):
            assert await hint(pool, "media_search", "10") == 0
            assert await hint(pool, "media_search", "11") == 1
            await due(pool)
            await look_again(pool)
        assert await entered(pool) == {(MEDIA.table, 11), (MEDIA.table, 12)}
        assert [(e["pk"], e["looks"]) for e in await remembered(pool)] == [(10, 0), (12, 1)]
    await due(pool)
    await look_again(pool)
    assert await entered(pool) == {(MEDIA.table, 10), (MEDIA.table, 12)}


@pytest.mark.usefixtures("without_triggers", "soon")
@pytest.mark.parametrize("what", ["inserted", "updated", "deleted", "inserted with its post"])
async def test_without_triggers_a_hint_before_the_commit_is_enough(
    what: str, pool: Pool, client: AsyncElasticsearch
) -> None:
    async with own_indices(client, "media_search") as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.05)
        async with running(indexer):
            if "inserted" not in what:
                await put(pool, MEDIA)
            bulk = what == "inserted with its post"
            await hint(pool, "media_search", "1" if bulk else "10", bulk=bulk, deleted=what == "deleted", again=True)
            await asyncio.sleep(0.3)  # the first two reads come too early
            if "inserted" in what:
                await put(pool, MEDIA, post_id=1, reaction_count=3)
            elif what == "updated":
                await change(pool, MEDIA, 3)
            else:
                await pool.execute(f"DELETE FROM {MEDIA.table}")

            async def settled() -> bool:
                return await waiting(pool) == 0 and await remembered(pool) == []

            await until(settled)
        found = await get(client, prefix, MEDIA)
        assert (found is None) if what == "deleted" else (found is not None and found["reaction_count"] == 3)
        await assert_equal_to_rows(pool, client, prefix, MEDIA)


@pytest.mark.usefixtures("without_triggers")
async def test_without_triggers_and_without_again_a_change_after_the_hint_is_not_seen(pool: Pool) -> None:
    """What the setting is for."""
    await put(pool, MEDIA)
    await hint(pool, "media_search", "10")
    await entered(pool)
    await change(pool, MEDIA, 3)
    await due(pool)
    await look_again(pool)
    assert await entered(pool) == set()


@pytest.mark.usefixtures("soon")
async def test_the_indexer_looks_and_counts_what_never_comes(pool: Pool, client: AsyncElasticsearch) -> None:
    async with own_indices(client) as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.1)
        async with running(indexer):
            for pk in (10, 11):
                await hint(pool, "user_search", str(pk))
            await until(lambda: indexer.counts["absent"] == 2)
    assert [e["pk"] for e in await remembered(pool)] == [10, 11]
