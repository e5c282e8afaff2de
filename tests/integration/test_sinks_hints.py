"""Messages of the backend that a row has changed: whatever comes first, the document ends as the row is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from documents_support import Dead, assert_equal_to_rows, change, get, own_indices, put, put_many, running, waiting
from elasticsearch import AsyncElasticsearch
from sinks_support import until

from streamapp.contracts import read
from streamapp.contracts.records import SyncRequest
from streamapp.errors import Unavailable
from streamapp.sinks import hints as module
from streamapp.sinks import indices
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.hints import Hints, UnknownRow
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, INDICES, Index

every_index = pytest.mark.parametrize("index", INDICES.values(), ids=list(BY_NAME))
MEDIA, POSTS, USERS = BY_NAME["media_search"], BY_NAME["post_search"], BY_NAME["user_search"]


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
def hints(pool: Pool, client: AsyncElasticsearch) -> Hints:
    return Hints(pool, client)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKS", (0.2, 0.6, 1.5))


async def entered(pool: Pool) -> set[tuple[str, int]]:
    """What waits to be indexed; emptied by being looked at."""
    return {(e["table_name"], e["pk"]) for e in await pool.fetch("DELETE FROM es_outbox RETURNING *")}


async def remembered(pool: Pool) -> list[dict[str, Any]]:
    return [dict(row) for row in await pool.fetch("SELECT * FROM es_hints ORDER BY pk")]


async def due(pool: Pool) -> None:
    """Let time pass."""
    await pool.execute("UPDATE es_hints SET next_look = now()")


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
    index: Index, form: dict[str, str], operation: dict[str, str], pool: Pool, hints: Hints
) -> None:
    await put(pool, index)
    await entered(pool)
    fields = {name: text.format(index=index.name, table=index.table, **operation) for name, text in form.items()}
    request = read("es-sync-queue", fields, "1-1")
    assert isinstance(request, SyncRequest)
    deleted = operation["lower"] == "delete"
    assert (request.operation == "delete") is deleted
    assert await hints.take(request.index, request.document_id, bulk=request.bulk, deleted=deleted) == 1
    assert await entered(pool) == {(index.table, 10)}
    # What becomes of a row that is there the triggers see; whether one goes that was told deleted is looked at.
    assert [entry["wanted"] for entry in await remembered(pool)] == [False] * deleted


async def test_a_post_means_all_its_media(pool: Pool, hints: Hints) -> None:
    for media_id, post_id in ((10, 1), (11, 1), (12, 2)):
        await put(pool, MEDIA, media_id, post_id=post_id)
    await entered(pool)
    assert await hints.take("media_search", "1", bulk=True) == 2
    assert await entered(pool) == {(MEDIA.table, 10), (MEDIA.table, 11)}


@pytest.mark.parametrize(
    ("index", "document_id"), [("nothing", "1"), ("media_search", "007"), ("media_search", str(2**63))]
)
async def test_what_no_row_can_be_is_refused(pool: Pool, hints: Hints, index: str, document_id: str) -> None:
    with pytest.raises(UnknownRow):
        await hints.take(index, document_id)
    assert (await entered(pool), await remembered(pool)) == (set(), [])


async def test_without_a_database_it_is_unavailable(client: AsyncElasticsearch) -> None:
    hints = Hints(await open_pool("postgresql://app@127.0.0.1:9/none"), client)
    for work in (hints.take("media_search", "1"), hints.run(), hints.of_post(1, [])):
        with pytest.raises(Unavailable):
            await work


@every_index
async def test_the_deletion_of_what_is_not_there_succeeds(
    index: Index, pool: Pool, client: AsyncElasticsearch, hints: Hints
) -> None:
    async with own_indices(client, index.name) as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
        await hints.take(index.name, "10", deleted=True)
        assert await indexer.step() == 1
        assert indexer.counts == {"done": 1}
    assert (await waiting(pool), await remembered(pool)) == (0, [])


async def test_a_row_that_is_not_there_is_awaited_then_reported(
    pool: Pool, hints: Hints, caplog: pytest.LogCaptureFixture
) -> None:
    await hints.take("post_search", "10")
    await hints.take("media_search", "1", bulk=True)
    assert [(e["pk"], e["bulk"], e["looks"]) for e in await remembered(pool)] == [(1, True, 0), (10, False, 0)]
    assert await hints.look_again() == []  # a second has not passed
    for looks in (1, 2):
        await due(pool)
        assert await hints.look_again() == []
        assert [e["looks"] for e in await remembered(pool)] == [looks, looks]
    await due(pool)
    with caplog.at_level(logging.WARNING):
        assert len(await hints.look_again()) == 2
    assert {record.getMessage() for record in caplog.records} == {
        "read_model_post_search has no row 10, which the backend told of",
        "read_model_media_search has no media of post 1, which the backend told of",
    }
    assert hints.counts == {"absent": 2}
    assert [(e["pk"], e["reported"]) for e in await hints.of_post(1, [])] == [(1, True)]
    assert [(e["pk"], e["reported"]) for e in await hints.of_post(10, [])] == [(10, True)]
    await entered(pool)
    for _ in range(2):
        await due(pool)
        assert await hints.look_again() == []  # said once, kept, and looked at now and then
    assert (len(await remembered(pool)), await entered(pool)) == (2, set())
    await put(pool, POSTS, 10)
    await put(pool, MEDIA, 11, post_id=1)
    await entered(pool)
    await due(pool)
    await hints.look_again()
    assert await remembered(pool) == []  # they came
    assert await entered(pool) == {(POSTS.table, 10), (MEDIA.table, 11)}
    assert hints.counts == {"absent": 2}


@pytest.mark.parametrize("bulk", [False, True])
async def test_a_row_that_was_told_deleted_and_stays_is_reported(
    bulk: bool, pool: Pool, hints: Hints, caplog: pytest.LogCaptureFixture
) -> None:
    await put(pool, MEDIA, 10, post_id=1)
    await hints.take("media_search", "1" if bulk else "10", bulk=bulk, deleted=True)
    for _ in range(2):
        await due(pool)
        assert await hints.look_again() == []
    assert [e["reported"] for e in await hints.of_post(1, [10])] == [False]
    await due(pool)
    with caplog.at_level(logging.WARNING):
        assert len(await hints.look_again()) == 1
    what = "media of post 1" if bulk else "row 10"
    text = f"read_model_media_search has {what}, which the backend told deleted"
    assert [record.getMessage() for record in caplog.records] == [text]
    assert hints.counts == {"kept": 1}
    assert [e["reported"] for e in await hints.of_post(1, [10])] == [True]
    await pool.execute(f"DELETE FROM {MEDIA.table}")
    await due(pool)
    assert await hints.look_again() == []
    assert await remembered(pool) == []


@pytest.mark.parametrize("index", ["media_search", "user_search"])
async def test_a_row_that_goes_after_it_was_told_deleted_is_forgotten(index: str, pool: Pool, hints: Hints) -> None:
    await put(pool, BY_NAME[index])
    await hints.take(index, "10", deleted=True)
    await pool.execute(f"DELETE FROM {BY_NAME[index].table}")
    await due(pool)
    assert await hints.look_again() == []
    assert (await remembered(pool), hints.counts) == ([], {})


async def test_times_of_the_looks(pool: Pool, hints: Hints) -> None:
    await hints.take("post_search", "10")
    for seconds in (1, 5, 30):
        assert await pool.fetchval("SELECT extract(epoch FROM next_look - since)::float FROM es_hints") == seconds
        await due(pool)
        await hints.look_again()
    assert 599 < await pool.fetchval("SELECT extract(epoch FROM next_look - now())::float FROM es_hints") <= 600


@pytest.mark.parametrize("form", ["row", "bulk"])
async def test_a_row_that_comes_is_forgotten(pool: Pool, hints: Hints, form: str) -> None:
    bulk = form == "bulk"
    await hints.take("media_search", "1" if bulk else "10", bulk=bulk)
    await put(pool, MEDIA, 10, post_id=1)
    await entered(pool)
    await due(pool)
    assert await hints.look_again() == []
    assert await remembered(pool) == []
    assert await entered(pool) == {(MEDIA.table, 10)}


@pytest.mark.parametrize("told", ["before the commit", "after the commit", "never"])
@pytest.mark.parametrize("n", [5, 6])
async def test_reactions_arrive_and_outlive_what_we_write(
    told: str, n: int, pool: Pool, client: AsyncElasticsearch, hints: Hints
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
                    await hints.take("media_search", "10")
                    await asyncio.sleep(0.3)  # long enough to be read too early
            if told == "after the commit":
                await hints.take("media_search", "10")
            await until(empty)
            await pool.execute(f"UPDATE {MEDIA.table} SET ai_caption = 'seen again', revision = 3")
            await until(empty)
        found = await get(client, prefix, MEDIA)
        assert found is not None
        assert (found["reaction_count"], found["ai_caption"]) == (n, "seen again")


async def test_a_writer_that_takes_its_time_keeps_nobody_waiting(pool: Pool, hints: Hints) -> None:
    for pk in (10, 11, 12):
        await put(pool, MEDIA, pk)
    await hints.take("media_search", "12", deleted=True)  # to be looked at
    await entered(pool)
    async with pool.acquire() as backend, backend.transaction():
        await backend.execute(f"UPDATE {MEDIA.table} SET reaction_count = 1 WHERE media_id = 10")
        async with asyncio.timeout(5):
            assert await hints.take("media_search", "10") == 0
            assert await hints.take("media_search", "11") == 1
            await due(pool)
            await hints.look_again()
        assert await entered(pool) == {(MEDIA.table, 11), (MEDIA.table, 12)}
        assert [(e["pk"], e["looks"]) for e in await remembered(pool)] == [(10, 0), (12, 1)]
    await due(pool)
    await hints.look_again()
    assert await entered(pool) == {(MEDIA.table, 10), (MEDIA.table, 12)}


async def test_many_locked_rows_keep_neither_the_indexer_nor_the_sink_waiting(
    url: str, pool: Pool, client: AsyncElasticsearch
) -> None:
    await put_many(pool, USERS, 1, 300)
    await put(pool, POSTS)
    async with own_indices(client, "user_search", "post_search") as prefix:
        worker = await open_pool(url, max_size=4)
        indexer = Indexer(worker, client, prefix=prefix, dead_letter=Dead(), poll=0.1)
        hints = Hints(worker, client, prefix=prefix, poll=0.1)
        async with running(indexer, hints):
            await until(lambda: indexer.counts["done"] == 301)
            async with pool.acquire() as backend, backend.transaction():
                await backend.execute(f"UPDATE {USERS.table} SET bio = 'held'")
                told = [asyncio.create_task(hints.take("user_search", str(pk))) for pk in range(1, 301)]
                await until(lambda: sum(task.done() for task in told) > 10)
                before = time.monotonic()
                async with asyncio.timeout(2):
                    await worker.execute("SELECT 1")  # as the sink
                await change(pool, POSTS, 7)
                await until(lambda: indexer.counts["done"] == 302, seconds=3)
                assert sum(task.done() for task in told) < 300  # or nothing was shown
                assert time.monotonic() - before < 3
                async with asyncio.timeout(60):
                    assert sum(await asyncio.gather(*told)) == 0
                await due(pool)
                await asyncio.sleep(0.5)  # long enough to have begun to look
                await change(pool, POSTS, 8)
                await until(lambda: indexer.counts["done"] == 303, seconds=3)
            assert len(await remembered(pool)) == 300
        await worker.close()


async def test_a_look_is_short_and_the_rest_comes_next(pool: Pool, hints: Hints) -> None:
    await put_many(pool, USERS, 1, 100)
    for pk in range(1, 101):
        await hints.take("user_search", str(pk), deleted=True)
    await hints.take("user_search", "200")
    await entered(pool)
    async with pool.acquire() as backend, backend.transaction():
        await backend.execute(f"UPDATE {USERS.table} SET bio = 'held'")
        await due(pool)
        before = time.monotonic()
        await hints.look_again()
        assert time.monotonic() - before < 2

        async def reached() -> bool:
            await hints.look_again()
            return (USERS.table, 200) in await entered(pool)

        await until(reached)


@pytest.mark.usefixtures("without_triggers")
async def test_without_triggers_all_documents_of_a_deleted_post_leave(pool: Pool, client: AsyncElasticsearch) -> None:
    async with own_indices(client, "media_search") as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
        hints = Hints(pool, client, prefix=prefix, again=True)
        for media_id, post_id in ((10, 1), (11, 1), (12, 2)):
            await put(pool, MEDIA, media_id, post_id=post_id)
            await hints.take("media_search", str(media_id))
        assert await indexer.step() == 3
        await pool.execute(f"DELETE FROM {MEDIA.table} WHERE media_id = 11")
        await hints.take("media_search", "1", bulk=True, deleted=True)  # cannot be searched yet, and one row is there
        await indexer.step()
        await pool.execute(f"DELETE FROM {MEDIA.table} WHERE post_id = 1")
        await client.indices.refresh(index=MEDIA.alias(prefix))
        await due(pool)
        await hints.look_again()
        await indexer.step()
        assert [bool(await get(client, prefix, MEDIA, pk)) for pk in (10, 11, 12)] == [False, False, True]


@pytest.mark.usefixtures("without_triggers")
async def test_an_index_that_is_away_keeps_other_hints_not_waiting(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    async with indices.connect("http://127.0.0.1:9") as nobody:
        hints = Hints(pool, nobody, again=True)
        await hints.take("media_search", "1", bulk=True, deleted=True)
        await hints.take("user_search", "10")
        await put(pool, USERS)
        await due(pool)
        assert await hints.look_again() == []
    assert await entered(pool) == {(USERS.table, 10)}
    assert [(e["pk"], e["looks"]) for e in await remembered(pool)] == [(1, 0), (10, 1)]


@pytest.mark.usefixtures("without_triggers", "soon")
@pytest.mark.parametrize("what", ["inserted", "updated", "deleted", "inserted with its post"])
async def test_without_triggers_a_hint_before_the_commit_is_enough(
    what: str, pool: Pool, client: AsyncElasticsearch
) -> None:
    async with own_indices(client, "media_search") as prefix:
        indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.05)
        hints = Hints(pool, client, prefix=prefix, again=True, poll=0.05)
        async with running(indexer, hints):
            if "inserted" not in what:
                await put(pool, MEDIA)
            bulk = what == "inserted with its post"
            await hints.take("media_search", "1" if bulk else "10", bulk=bulk, deleted=what == "deleted")
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
async def test_without_triggers_and_without_again_a_change_after_the_hint_is_not_seen(pool: Pool, hints: Hints) -> None:
    """What the setting is for."""
    await put(pool, MEDIA)
    await hints.take("media_search", "10")
    await entered(pool)
    await change(pool, MEDIA, 3)
    await due(pool)
    await hints.look_again()
    assert await entered(pool) == set()


@pytest.mark.usefixtures("soon")
async def test_it_looks_by_itself_and_counts_what_never_comes(pool: Pool, client: AsyncElasticsearch) -> None:
    hints = Hints(pool, client, poll=0.05)
    async with running(hints):
        for pk in (10, 11):
            await hints.take("user_search", str(pk))
        await until(lambda: hints.counts["absent"] == 2)
    assert [e["pk"] for e in await remembered(pool)] == [10, 11]
