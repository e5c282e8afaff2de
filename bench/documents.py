"""Documents: a rebuild of media_search against plain bulk requests of the same documents, and the indexer in steady
state against plain bulk requests of as many.

Plain requests have their documents ready, guard nothing and look at nothing afterwards; a rebuild reads every row,
keeps its place in the outbox, and compares all of it in the end. Both write through as many connections. The vectors
are random, which is the worst case for their index.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from elasticsearch import AsyncElasticsearch

from streamapp.rebuild.documents import INDEXERS, rebuild
from streamapp.sinks.bulk import Entry, Operation, requests
from streamapp.sinks.database import Pool, open_pool
from streamapp.sinks.documents import document, encode, select
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import BY_NAME, LIVE, connect, create
from streamapp.sinks.migrations import migrate

MEDIA = BY_NAME["media_search"]
BATCH = 100  # rows that change at once, in steady state
BATCHES = 30
PAGE = 1000  # documents made at a time for the plain requests
DIMENSIONS = 512


async def documents(postgres_url: str, elasticsearch_url: str, rows: int) -> dict[str, Any]:
    """Rates over so many rows, in a database and indices of its own."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    prefix = f"{name.replace('_', '-')}-"
    server = await asyncpg.connect(postgres_url)
    client = connect(elasticsearch_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        url = urlsplit(postgres_url)._replace(path=f"/{name}").geturl()
        await _fill(url, rows)
        pool = await open_pool(url, max_size=8)
        try:
            await create(client, MEDIA, MEDIA.concrete(prefix), alias=MEDIA.alias(prefix))
            return {"rows": rows, **await _rebuild(pool, client, prefix, rows), **await _steady(pool, client, prefix)}
        finally:
            await pool.close()
    finally:
        for index in await client.indices.get(index=f"{prefix}*"):
            await client.indices.delete(index=index)
        await client.close()
        await server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await server.close()


async def _fill(url: str, rows: int) -> None:
    """Media with a vector each. PostgreSQL's own index of them is not what is measured."""
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection)
        await connection.execute(f"DROP INDEX IF EXISTS {MEDIA.table}_hnsw")
        vector = f"(SELECT array_agg(random() - 0.5) FROM generate_series(1, {DIMENSIONS}) WHERE n > 0)::vector"
        await connection.execute(
            f"INSERT INTO {MEDIA.table} (media_id, post_id, post_title, post_all_tags, media_url, ai_caption, ai_tags, "
            "ai_scenes, image_embedding, is_safe, uploader_id, uploader_username, created_at) "
            "SELECT n, n / 4, 'title ' || n, ARRAY['beach', 'party', 'tag' || n % 50], 'http://images.test/' || n, "
            "'people on a beach, number ' || n, ARRAY['beach', 'tag' || n % 50], ARRAY['outdoor'], "
            f"{vector}, true, n % 10, 'u' || n % 10, now() FROM generate_series(1, {rows}) n",
        )
        await connection.execute("TRUNCATE es_outbox; ANALYZE")
    finally:
        await connection.close()


async def _rebuild(pool: Pool, client: AsyncElasticsearch, prefix: str, rows: int) -> dict[str, Any]:
    before = await _plain(pool, client, f"{prefix}plain-1", rows)
    phases: dict[str, float] = {}
    begin = time.perf_counter()

    def progress(what: str, done: int, total: int) -> None:
        phases[what] = time.perf_counter() - begin

    await rebuild(pool, client, MEDIA, prefix=prefix, drop_old=True, progress=progress)
    whole = time.perf_counter() - begin
    after = await _plain(pool, client, f"{prefix}plain-2", rows)  # a machine that is busy with other things shows
    plain = 2 * rows / (before + after)
    return {
        "plain_bulk_per_second": round(plain),
        "rebuild_per_second": round(rows / whole),
        "rebuild_of_plain_bulk": round(rows / whole / plain, 2),
        "written_of_plain_bulk": round(rows / phases["written"] / plain, 2),
    }


async def _plain(pool: Pool, client: AsyncElasticsearch, name: str, rows: int) -> float:
    """Seconds that the requests took."""
    await create(client, MEDIA, name, alias=f"{name}-alias")
    await client.indices.put_settings(index=name, settings={"refresh_interval": "-1"})  # as a rebuild has it
    seconds = 0.0
    async for operations in _operations(pool, f"{name}-alias", rows):
        begin = time.perf_counter()
        await _send(client, operations)
        seconds += time.perf_counter() - begin
    begin = time.perf_counter()
    await client.indices.refresh(index=name)
    seconds += time.perf_counter() - begin
    await client.indices.delete(index=name)
    return seconds


async def _operations(pool: Pool, alias: str, rows: int) -> AsyncIterator[list[Operation]]:
    for first in range(1, rows + 1, PAGE):
        keys = list(range(first, min(first + PAGE, rows + 1)))
        yield await _made(pool, alias, keys)


async def _made(pool: Pool, alias: str, keys: Sequence[int]) -> list[Operation]:
    found = await pool.fetch(select(MEDIA), keys)
    version = time.time_ns()
    return [
        Operation(
            entry=Entry(table_name=MEDIA.table, pk=row["media_id"], target=LIVE, version=version, attempts=1),
            index=alias,
            document=encode(document(MEDIA, dict(row))),
        )
        for row in found
    ]


async def _send(client: AsyncElasticsearch, operations: Sequence[Operation]) -> None:
    waiting = list(requests(operations))

    async def send() -> None:
        while waiting:
            answer = await client.bulk(operations=waiting.pop(), require_alias=True)  # type: ignore[arg-type]  # bytes
            assert not answer["errors"]

    await asyncio.gather(*(send() for _ in range(INDEXERS)))


async def _steady(pool: Pool, client: AsyncElasticsearch, prefix: str) -> dict[str, Any]:
    """Batches of rows that change: from the outbox to the index, and the same documents in plain requests, in turns."""
    indexer = Indexer(pool, client, prefix=prefix, dead_letter=_unwanted)
    while await indexer.step():
        pass
    name, alias = f"{prefix}steady", f"{prefix}steady-alias"
    await create(client, MEDIA, name, alias=alias)
    seconds = {"indexer": 0.0, "plain": 0.0}
    for n in range(BATCHES):
        keys = list(range(1 + n * BATCH, 1 + (n + 1) * BATCH))
        query = f"UPDATE {MEDIA.table} SET reaction_count = $2 WHERE media_id = ANY($1::bigint[])"
        changed = int((await pool.execute(query, keys, n + 1)).split()[1])
        begin = time.perf_counter()
        while await indexer.step():
            pass
        seconds["indexer"] += time.perf_counter() - begin
        operations = await _made(pool, alias, keys)
        begin = time.perf_counter()
        await _send(client, operations)
        seconds["plain"] += time.perf_counter() - begin
        assert changed == len(operations) == BATCH
    return {
        "steady_per_second": round(BATCHES * BATCH / seconds["indexer"]),
        "steady_of_plain_bulk": round(seconds["plain"] / seconds["indexer"], 2),
    }


async def _unwanted(table: str, pk: int, version: int, content: bytes, error: str) -> None:
    raise AssertionError(error)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(documents(sys.argv[1], sys.argv[2], int(sys.argv[3]))), indent=2))
