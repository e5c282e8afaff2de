"""An index that is missing, refuses, or does not answer keeps no other waiting; what comes too late does no harm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
from documents_support import Dead, assert_equal_to_rows, change, get, own_indices, put, put_many, running, waiting
from elasticsearch import AsyncElasticsearch, ConnectionTimeout
from sinks_support import until

from streamapp.rebuild.documents import rebuild
from streamapp.rebuild.successor import Successor
from streamapp.sinks import indices
from streamapp.sinks.bulk import Operation
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, INDICES, Index
from streamapp.sinks.sending import Ruling

MEDIA, POSTS, USERS = BY_NAME["media_search"], BY_NAME["post_search"], BY_NAME["user_search"]
FACES = BY_NAME["face_search"]


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(url, max_size=10)
    await pool.execute(f"TRUNCATE {', '.join(INDICES)}, es_targets")
    await pool.execute("TRUNCATE es_outbox")
    yield pool
    await pool.close()


@pytest.fixture
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client, "post_search", "user_search", "face_search") as prefix:
        yield prefix


async def drained(indexer: Indexer) -> None:
    while await indexer.step():
        pass
    assert await waiting(indexer.pool) == 0


async def lose(client: AsyncElasticsearch, prefix: str, index: Index) -> None:
    await client.indices.delete(index=index.concrete(prefix))


async def redden(client: AsyncElasticsearch, prefix: str, index: Index) -> None:
    """The index is there, and no node may have its shards."""
    await lose(client, prefix, index)
    await client.indices.create(
        index=index.concrete(prefix),
        aliases={index.alias(prefix): {}},
        settings=index.settings() | {"routing.allocation.require._name": "nobody"},
        mappings=index.mappings(),
        wait_for_active_shards="0",
    )


async def has(pool: Pool, client: AsyncElasticsearch, prefix: str, n: int) -> float:
    """Seconds until a change of a post is in its document."""
    before = time.monotonic()
    await change(pool, POSTS, n)

    async def there() -> bool:
        found = await get(client, prefix, POSTS)
        return found is not None and found["total_reactions"] == n

    await until(there, seconds=90)
    return time.monotonic() - before


async def test_what_has_just_changed_comes_before_what_is_tried_again(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    await lose(client, prefix, USERS)
    await put_many(pool, USERS, 1, 100)
    await pool.execute("UPDATE es_outbox SET leased_until = now() - interval '1 s', attempts = 9")
    await put(pool, POSTS)
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), batch=10)
    assert await indexer.step() == 10
    assert await get(client, prefix, POSTS)
    assert indexer.counts == {"done": 1, "later": 9}


@pytest.mark.parametrize("trouble", [lose, redden])
async def test_an_index_that_takes_nothing_keeps_no_other_waiting(
    trouble: Any, pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    """Far more waits for it than is sent at once, and its documents are large."""
    await put(pool, POSTS)
    await trouble(client, prefix, FACES)
    await put_many(pool, FACES, 1, 3000)
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.1)
    async with running(indexer):
        for n in range(1, 9):
            assert await has(pool, client, prefix, n) < 5
            await asyncio.sleep(0.5)
        assert indexer.counts["later"]
        assert indexer.waiting_since is None
    # As soon as it takes documents again they come.
    await client.indices.delete(index=FACES.concrete(prefix), ignore_unavailable=True)
    await indices.create(client, FACES, FACES.concrete(prefix, 2), alias=FACES.alias(prefix))
    async with running(indexer):

        async def empty() -> bool:
            return await waiting(pool) == 0

        await until(empty, seconds=60)
    await assert_equal_to_rows(pool, client, prefix, POSTS, FACES)


async def test_a_batch_that_is_not_answered_is_not_the_next_one_again(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    class Poisoned(Indexer):
        """Elasticsearch never answers where a certain document is in the batch."""

        async def _bulk(self, operations: Sequence[Operation]) -> list[Ruling]:
            if any(operation.entry.table_name == USERS.table for operation in operations):
                raise ConnectionTimeout("no answer")
            return await super()._bulk(operations)

    await put_many(pool, USERS, 1, 10)
    await put_many(pool, POSTS, 10, 5)
    indexer = Poisoned(pool, client, prefix=prefix, dead_letter=Dead(), batch=10)
    with pytest.raises(ConnectionTimeout):
        await indexer.step()
    assert await indexer.step() == 5
    assert await get(client, prefix, POSTS)


async def test_an_index_of_another_answer_does_not_undo_what_others_have_taken(
    pool: Pool, client: AsyncElasticsearch, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(pool, USERS)
    await put(pool, POSTS)
    bulk = client.bulk

    async def deaf(*, operations: list[bytes], timeout: str) -> Any:
        if USERS.concrete(prefix).encode() in operations[0]:
            raise ConnectionTimeout("no answer")
        return await bulk(operations=operations, timeout=timeout)  # type: ignore[arg-type]  # bytes

    monkeypatch.setattr(client, "bulk", deaf)
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
    assert await indexer.step() == 2
    assert indexer.counts == {"done": 1, "later": 1}
    assert indexer.last_error == "Connection timed out"
    await pool.execute(f"DELETE FROM {POSTS.table}")
    await pool.execute("UPDATE es_outbox SET leased_until = '-infinity' WHERE table_name = $1", USERS.table)
    monkeypatch.setattr(client, "bulk", bulk)
    await asyncio.sleep(0.3)  # it rests
    await drained(indexer)
    await assert_equal_to_rows(pool, client, prefix, USERS, POSTS)


class Frozen(Indexer):
    """Stops between the rows and the bulk."""

    def freeze(self) -> tuple[asyncio.Event, asyncio.Event]:
        self.arrived, self.free = asyncio.Event(), asyncio.Event()
        return self.arrived, self.free

    async def _bulk(self, operations: Sequence[Operation]) -> list[Ruling]:
        self.arrived.set()
        await self.free.wait()
        return await super()._bulk(operations)


@pytest.mark.parametrize("drop_old", [False, True])
async def test_a_bulk_from_before_a_rebuild_brings_nothing_back(
    drop_old: bool, pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    await put_many(pool, USERS, 7, 2)
    frozen = Frozen(pool, client, prefix=prefix, dead_letter=Dead(), lease=0.2)
    other = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
    arrived, free = frozen.freeze()
    late = asyncio.create_task(frozen.step())
    await arrived.wait()
    await asyncio.sleep(0.3)
    await pool.execute(f"DELETE FROM {USERS.table} WHERE user_id = 7")
    await drained(other)
    await rebuild(pool, client, USERS, prefix=prefix, drop_old=drop_old)
    free.set()
    await late
    await drained(other)
    assert await get(client, prefix, USERS, 7) is None
    await assert_equal_to_rows(pool, client, prefix, USERS)


async def test_what_is_entered_late_for_an_index_that_has_taken_its_place_goes_there(
    url: str, pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    """A hint that began before the swap and commits after it."""
    await put_many(pool, USERS, 1, 3)
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead(), poll=0.1)
    target = Successor(pool, client, USERS, prefix=prefix)
    await target.begin()
    await target.seed()
    await drained(indexer)
    late = await asyncpg.connect(url)
    try:
        async with late.transaction():
            await late.execute("SELECT es_outbox_enter($1, ARRAY[2]::bigint[])", USERS.table)
            await rebuild(pool, client, USERS, prefix=prefix)
            assert await waiting(pool) == 0
    finally:
        await late.close()
    await pool.execute("DELETE FROM es_outbox WHERE target = 'live'")  # as if it had gone to the old one in time
    assert await waiting(pool) == 1
    before = await get(client, prefix, USERS, 2)
    await drained(indexer)
    after = await get(client, prefix, USERS, 2)
    assert before is not None
    assert after is not None
    assert after["_version"] > before["_version"]
    assert indexer.last_error is None


async def test_an_entry_of_an_index_that_is_still_built_is_kept(
    pool: Pool, client: AsyncElasticsearch, prefix: str
) -> None:
    """Its alias may be lost: whoever goes on with the rebuild puts it back."""
    await put(pool, USERS)
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=Dead())
    await drained(indexer)
    target = Successor(pool, client, USERS, prefix=prefix)
    name, _ = await target.begin()
    assert await target.seed() is False
    await client.indices.delete_alias(index=name, name=USERS.alias(prefix, "next"))
    assert await indexer.step() == 1
    assert indexer.last_error == f"there is no index {USERS.alias(prefix, 'next')}"
    assert await waiting(pool) == 1
