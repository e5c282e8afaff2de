"""Every index on real servers: each column arrives, and whatever happens in between, documents end equal to rows."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from documents_support import (
    Dead,
    Held,
    as_given,
    assert_equal_to_rows,
    change,
    changed,
    get,
    own_indices,
    put,
    running,
    types,
    waiting,
)
from elasticsearch import AsyncElasticsearch
from sinks_support import database, until

from streamapp.sinks import documents, indices
from streamapp.sinks.bulk import Operation, Verdict
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import INDICES, Index

pytestmark = pytest.mark.asyncio(loop_scope="module")

every_index = pytest.mark.parametrize("index", INDICES.values(), ids=[index.name for index in INDICES.values()])
FITTING = {
    "bigint": {"long"},
    "integer": {"integer"},
    "boolean": {"boolean"},
    "double precision": {"float"},
    "timestamp with time zone": {"date"},
    "text": {"text", "keyword"},
    "character varying": {"text", "keyword"},
    "vector": {"dense_vector"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(servers: Any) -> AsyncIterator[Pool]:
    async with database(servers.postgres_url) as url:
        pool = await open_pool(url, max_size=8)
        yield pool
        await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(servers: Any) -> AsyncIterator[AsyncElasticsearch]:
    async with indices.connect(servers.elasticsearch_url) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefix(client: AsyncElasticsearch) -> AsyncIterator[str]:
    async with own_indices(client) as prefix:
        yield prefix


@pytest_asyncio.fixture(loop_scope="module")
async def pool(whole: Pool, client: AsyncElasticsearch, prefix: str) -> Pool:
    """The database, its tables and the indices empty."""
    for table in INDICES:
        await whole.execute(f"DELETE FROM {table}")
    while await Indexer(whole, client, prefix=prefix, dead_letter=Dead()).step():
        pass
    assert await waiting(whole) == 0
    return whole


@pytest.fixture
def dead() -> Dead:
    return Dead()


@pytest.fixture
def indexer(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> Indexer:
    return Indexer(pool, client, prefix=prefix, dead_letter=dead)


@every_index
async def test_every_column_that_has_a_field_arrives_in_it(
    index: Index, pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    kinds = await types(pool, index.table)
    row = await put(pool, index)
    assert await indexer.step() == 1
    found = await get(client, prefix, index)
    assert dead == []
    assert found is not None
    assert found.keys() - {"_version"} == index.fields.keys()
    arrived = {name for name in kinds if name in index.fields}
    assert len(arrived) + len(documents.COMPUTED.keys() & index.fields.keys()) == len(index.fields)
    for name in arrived:
        given = as_given(row[name], kinds[name])
        assert found[name] == (pytest.approx(given, rel=1e-5) if kinds[name].startswith("vector") else given), name
        base, _, width = kinds[name].removesuffix("[]").rstrip(")").partition("(")
        field = index.fields[name]
        assert field["type"] in FITTING[base]
        assert base != "vector" or field["dims"] == int(width)
    for name in documents.COMPUTED.keys() & index.fields.keys():
        assert found[name] == documents.COMPUTED[name].value(*(row[c] for c in documents.COMPUTED[name].columns))


@every_index
async def test_a_row_of_what_must_be_there_is_indexed(
    index: Index, pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    required = {
        row["column_name"]
        for row in await pool.fetch(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = $1 AND (is_nullable = 'NO' OR column_name = $2)",
            index.table,
            index.key,
        )
    }
    await put(pool, index, 11, **dict.fromkeys(set(await types(pool, index.table)) - required))
    assert await indexer.step() == 1
    found = await get(client, prefix, index, 11)
    assert dead == []
    assert found is not None
    assert {name for name in found if name not in documents.COMPUTED} - {"_version"} == required & index.fields.keys()


@every_index
async def test_changed_deleted_and_inserted_again(
    index: Index, pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    await put(pool, index)
    await indexer.step()
    before = await get(client, prefix, index)
    await change(pool, index, changed(index, 5))
    assert await indexer.step() == 1
    found = await get(client, prefix, index)
    assert found is not None
    assert before is not None
    assert found["_version"] > before["_version"]
    await change(pool, index, changed(index, 5))  # says the same
    await pool.execute(f"UPDATE {index.table} SET revision = revision + 1")
    assert await indexer.step() == 0
    await pool.execute(f"DELETE FROM {index.table}")
    assert await indexer.step() == 1
    assert await get(client, prefix, index) is None
    await put(pool, index)
    assert await indexer.step() == 1
    await assert_equal_to_rows(pool, client, prefix, index)


@every_index
async def test_deleted_and_inserted_again_by_two_transactions(
    index: Index, pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    await put(pool, index)
    await indexer.step()
    async with pool.acquire() as one, one.transaction():
        await one.execute(f"DELETE FROM {index.table}")
        again = asyncio.create_task(put(pool, index, revision=7))  # waits for the first to end
        await asyncio.sleep(0.1)
        assert await indexer.step() == 0  # and the indexer waits for nobody
        assert not again.done()
    await again
    await indexer.step()
    assert await waiting(pool) == 0
    assert await get(client, prefix, index) is not None
    await assert_equal_to_rows(pool, client, prefix, index)


@every_index
async def test_a_stale_bulk_does_not_undo_a_deletion(
    index: Index, pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    late = Held(pool, client, prefix=prefix, dead_letter=dead)
    arrived, free = late.hold()
    await put(pool, index)
    step = asyncio.create_task(late.step())
    await arrived.wait()
    await pool.execute(f"DELETE FROM {index.table}")  # not kept waiting by the lease
    assert await indexer.step() == 1
    free.set()
    await step
    assert late.counts == {"stale": 1}
    assert await get(client, prefix, index) is None
    assert await waiting(pool) == 0


class Forgetful(Indexer):
    """Killed between the bulk and what is done with its answer."""

    async def _finish(self, operations: Sequence[Operation], verdicts: Sequence[tuple[Verdict, str]]) -> None:
        pass


class Killed(Indexer):
    """Killed between the commit of a row and the bulk."""

    async def _bulk(self, operations: Sequence[Operation]) -> list[tuple[Verdict, str]]:
        raise asyncio.CancelledError


@every_index
async def test_killed_before_and_after_the_bulk(
    index: Index, pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str, dead: Dead
) -> None:
    await put(pool, index)
    with pytest.raises(asyncio.CancelledError):
        await Killed(pool, client, prefix=prefix, dead_letter=dead, lease=0).step()
    await Forgetful(pool, client, prefix=prefix, dead_letter=dead, lease=0).step()
    assert await get(client, prefix, index) is not None
    assert await waiting(pool) == 1
    while await indexer.step():
        pass
    assert await waiting(pool) == 0
    assert indexer.counts == {"stale": 1, "done": 1}
    await assert_equal_to_rows(pool, client, prefix, index)


async def test_a_version_that_came_too_late_is_drawn_again(
    pool: Pool, indexer: Indexer, client: AsyncElasticsearch, prefix: str
) -> None:
    """Who draws a version and then hangs for long may find that the document has a newer one."""
    index = INDICES["read_model_media_search"]
    await put(pool, index)
    await indexer.step()
    before = await get(client, prefix, index)
    assert before is not None
    await change(pool, index, 77)
    await pool.execute("UPDATE es_outbox SET version = $1", before["_version"] - 1)
    assert await indexer.step() == 1
    assert await indexer.step() == 1
    found = await get(client, prefix, index)
    assert found is not None
    assert found["reaction_count"] == 77
    assert indexer.counts == {"done": 2, "stale": 1}


async def test_all_at_once_under_fire(pool: Pool, client: AsyncElasticsearch, prefix: str, dead: Dead) -> None:
    """Two indexers with leases that end too early, and a backend that inserts, updates and deletes everywhere."""
    random_ = random.Random(11)
    kinds = {table: await types(pool, table) for table in INDICES}
    assert all(kinds.values())
    indexers = [Indexer(pool, client, prefix=prefix, dead_letter=dead, batch=7, lease=0.02, poll=0.05) for _ in "12"]

    async def backend() -> None:
        for n in range(100):
            index = random_.choice(list(INDICES.values()))
            pk = random_.randrange(10, 14)
            chance = random_.random()
            if chance < 0.2:
                await pool.execute(f"DELETE FROM {index.table} WHERE {index.key} = $1", pk)
            elif chance < 0.6:
                try:
                    await put(pool, index, pk)
                except asyncpg.UniqueViolationError:
                    await change(pool, index, changed(index, n), pk)
            else:
                await change(pool, index, changed(index, n), pk)

    async def empty() -> bool:
        return await waiting(pool) == 0

    async with running(*indexers):
        await asyncio.gather(backend(), backend())
        await until(empty, seconds=60)
    assert dead == []
    await assert_equal_to_rows(pool, client, prefix)
