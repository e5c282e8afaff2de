"""Rows with a value in every column, for any read model, and the documents that come of them."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import numpy as np
import orjson
from elasticsearch import AsyncElasticsearch, NotFoundError
from pgvector import Vector

from streamapp.sinks import documents, indices
from streamapp.sinks.bulk import Operation, Verdict
from streamapp.sinks.database import Pool
from streamapp.sinks.hints import Hints
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import LIVE, Index, Target

TIME = "2026-01-02T03:04:05.678000Z"
COUNTED = {  # a column of each that users see change
    "media_search": "reaction_count",
    "post_search": "total_reactions",
    "user_search": "total_followers",
    "face_search": "match_confidence",
    "recommendations_knn": "caption",
    "feed_personalized": "combined_score",
    "known_faces_index": "department",
}


async def types(pool: Pool, table: str) -> dict[str, str]:
    """Column -> SQL type, as the database writes it."""
    rows = await pool.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute "
        "WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {row["attname"]: row["type"] for row in rows}


def value(name: str, kind: str, pk: int) -> Any:
    """A value that no other column has, as JSON for the database."""
    if kind.endswith("[]"):
        return [value(name, kind[:-2], pk), value(f"{name}s", kind[:-2], pk)]
    if width := re.fullmatch(r"vector\((\d+)\)", kind):
        seed = np.random.default_rng([pk, *name.encode()])
        return seed.normal(size=int(width[1])).astype("<f4").tolist()
    if length := re.fullmatch(r"character varying\((\d+)\)", kind):
        return f"{pk} {name}"[: int(length[1])]
    return {
        "text": f"{pk} {name}",
        "bigint": pk * 1000 + sum(name.encode()),
        "integer": pk + sum(name.encode()),
        "double precision": pk + len(name) / 128,
        "boolean": True,
        "timestamp with time zone": TIME,
        "jsonb": {name: pk},
    }[kind]


async def put(pool: Pool, index: Index, pk: int = 10, **columns: Any) -> dict[str, Any]:
    """A whole row, as the backend might write it; what it was made of."""
    kinds = await types(pool, index.table)
    row = {name: value(name, kind, pk) for name, kind in kinds.items()} | {index.key: pk, "revision": 0} | columns
    texts = {name: str(row[name]) for name, kind in kinds.items() if kind.startswith("vector") and row[name]}
    await pool.execute(
        f"INSERT INTO {index.table} SELECT * FROM json_populate_record(NULL::{index.table}, $1::json)",
        orjson.dumps(row | texts).decode(),
    )
    return row


async def put_many(pool: Pool, index: Index, first: int, count: int) -> None:
    """Whole rows that differ in their key and what is unique only."""
    columns = await types(pool, index.table)
    row = await put(pool, index, first)
    unique = {name for name in ("face_id", "feed_item_id") if name in columns}
    made = ", ".join("n" if name == index.key else f"n::text AS {name}" if name in unique else name for name in columns)
    await pool.execute(
        f"INSERT INTO {index.table} SELECT {made} FROM {index.table}, generate_series($1::bigint, $2) AS n "
        f"WHERE {index.key} = $3",
        first + 1,
        first + count - 1,
        row[index.key],
    )


async def change(pool: Pool, index: Index, to: Any, pk: int = 10) -> None:
    """What the backend does to a row."""
    column = COUNTED[index.name]
    await pool.execute(f"UPDATE {index.table} SET {column} = $2 WHERE {index.key} = $1", pk, to)


def changed(index: Index, n: int) -> Any:
    """The nth value of the column that changes."""
    kind = index.fields[COUNTED[index.name]]["type"]
    return {"integer": n, "float": n + 0.5}.get(kind, f"the {n}th")


async def get(
    client: AsyncElasticsearch, prefix: str, index: Index, pk: int = 10, target: Target = LIVE
) -> dict[str, Any] | None:
    """The document, its vector and its version with it, or None."""
    try:
        found = await client.get(index=index.alias(prefix, target), id=str(pk), source_exclude_vectors=False)
    except NotFoundError:
        return None
    source: dict[str, Any] = found["_source"]
    return source | {"_version": found["_version"]}


async def waiting(pool: Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM es_outbox")
    return count


async def assert_equal_to_rows(
    pool: Pool, client: AsyncElasticsearch, prefix: str, *only: Index, target: Target = LIVE
) -> None:
    """Every index has the documents of its rows and no others."""
    for index in only or indices.INDICES.values():
        alias = index.alias(prefix, target)
        await client.indices.refresh(index=alias)
        found = await client.search(index=alias, size=10000, source_exclude_vectors=False)
        indexed = {int(hit["_id"]): hit["_source"] for hit in found["hits"]["hits"]}
        keys = [row[0] for row in await pool.fetch(f"SELECT {index.key} FROM {index.table}")]
        rows = await pool.fetch(documents.select(index), keys)
        expected = {
            row[index.key]: orjson.loads(documents.encode(documents.document(index, dict(row)))) for row in rows
        }
        assert indexed.keys() == expected.keys()
        for key, document in expected.items():
            assert documents.same(index, document, indexed[key]), (index.name, key)


def as_given(given: Any, kind: str) -> Any:
    """A value as it comes back from an index."""
    return Vector(given).to_numpy() if kind.startswith("vector") else given


class Dead(list[tuple[str, int, int, bytes, str]]):
    """The dead letters of a test."""

    async def __call__(self, table: str, pk: int, version: int, content: bytes, error: str) -> None:
        self.append((table, pk, version, content, error))


@asynccontextmanager
async def own_indices(client: AsyncElasticsearch, *names: str) -> AsyncIterator[str]:
    """Indices of one's own (all, or the named), under a prefix."""
    prefix = f"t{uuid.uuid4().hex[:10]}-"
    for index in indices.INDICES.values():
        if not names or index.name in names:
            await indices.create(client, index, index.concrete(prefix), alias=index.alias(prefix))
    try:
        yield prefix
    finally:
        for name in await client.indices.get(index=f"{prefix}*"):
            await client.indices.delete(index=name)


class Held(Indexer):
    """Its bulk waits until it is let go, as one that a slow network holds."""

    def hold(self) -> tuple[asyncio.Event, asyncio.Event]:
        self.arrived, self.free = asyncio.Event(), asyncio.Event()
        return self.arrived, self.free

    async def _bulk(self, operations: Sequence[Operation]) -> list[tuple[Verdict, str]]:
        self.arrived.set()
        await self.free.wait()
        return await super()._bulk(operations)


@asynccontextmanager
async def running(*workers: Indexer | Hints) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
