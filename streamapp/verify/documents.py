"""Documents against rows, of every index: whoever wrote the row, its document follows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import orjson
from elasticsearch import AsyncElasticsearch

from streamapp.sinks import sql
from streamapp.sinks.database import Pool
from streamapp.sinks.documents import document, encode, keys_present, select
from streamapp.sinks.indices import Index
from streamapp.sinks.parts import database_id
from streamapp.sinks.stored import ids, stored
from streamapp.verify.findings import Difference, Findings, Kind, ids_of
from streamapp.verify.looks import look_again
from streamapp.verify.rejections import Rejections

Document: TypeAlias = Mapping[str, Any]

PAGE = 200  # documents; one with its vector has 6 kB
CLOSE = 1e-5  # relative: the index keeps direction and length of a vector apart


class Documents:
    """The documents of one index, and the rows they are made of; of one post only, if it is given.

    Every method raises OSError, asyncpg's errors, elasticsearch.ApiError or elasticsearch.TransportError, and
    aiokafka's KafkaError.
    """

    def __init__(
        self, pool: Pool, client: AsyncElasticsearch, index: Index, *, prefix: str, rejections: Rejections, wait: float
    ) -> None:
        self.pool = pool
        self.client = client
        self.index = index
        self.alias = index.alias(prefix)
        self.rejections = rejections
        self.wait = wait

    async def all(self, *, post: int | None = None) -> Findings:
        """What differs: the document of each row, then documents that have no row."""
        findings = Findings()
        says_post = "post_id" in self.index.fields
        if post is not None and not says_post and self.index.key != "media_id":
            return findings  # nothing in it is of a post
        if not await self.client.indices.exists(index=self.alias):
            findings.differences.append(Difference(kind="missing", where=f"index {self.alias}"))
            return findings
        async for keys in self._keys_of_rows(post):
            findings.add(await look_again(self._look, keys, wait=self.wait))
        if post is not None and not says_post:
            return findings  # which documents are of the post only their rows say
        async for page in self._ids(post):
            numbers = {each: database_id(each) for each in page}
            for other in (each for each, number in numbers.items() if number is None):
                reason = f"no row has the key {other!r}"
                findings.differences.append(Difference(kind="extra", where=f"document {self.alias}", expected=reason))
            keys = [number for number in numbers.values() if number is not None]
            with_row = {row[0] for row in await self.pool.fetch(keys_present(self.index), keys)}
            if stray := [key for key in keys if key not in with_row]:
                findings.add(await look_again(self._look, stray, wait=self.wait))
        return findings

    async def _keys_of_rows(self, post: int | None) -> AsyncIterator[list[int]]:
        last = -(2**63)
        statement, only = keys_after(self.index, of_post=post is not None), [] if post is None else [post]
        while page := await self.pool.fetch(statement, last, PAGE, *only):
            yield [row[0] for row in page]
            last = page[-1][0]

    def _ids(self, post: int | None) -> AsyncIterator[list[str]]:
        query = {"match_all": {}} if post is None else {"term": {"post_id": post}}
        return ids(self.client, self.alias, key=self.index.key, query=query, size=PAGE)

    async def _look(self, keys: Sequence[int]) -> dict[int, Findings]:
        rows = {row[self.index.key]: dict(row) for row in await self.pool.fetch(select(self.index), keys)}
        indexed = await stored(self.client, self.alias, keys)
        found = {key: Findings() for key in keys}
        for key, findings in found.items():
            made = orjson.loads(encode(document(self.index, rows[key]))) if key in rows else None
            there = indexed.get(key, {}).get("_source")
            findings.compared["documents"] += made is not None
            findings.differences += different(self.index, self.alias, key, made, there)
        if differing := [key for key, findings in found.items() if findings.differences]:
            waiting = await self.pool.fetch(sql.queries("verify")["outbox"], self.index.table, differing)
            pending = {row["pk"]: _waits(row) for row in waiting}
            for key in differing:
                version = indexed.get(key, {}).get("_version", 0)
                if key in pending:
                    found[key].differences = [_because(found[key], "pending", pending[key])]
                elif (error := await self.rejections.of(self.index.table, key, after=version)) is not None:
                    found[key].differences = [_because(found[key], "rejected", error)]
        return found


def different(
    index: Index, alias: str, key: int, made: Document | None, there: Document | None
) -> Iterator[Difference]:
    """How the document of a key (None: it has none) differs from the one that its row makes (None: there is no row)."""
    ids = ids_of(made or there or {})
    where = f"document {alias}" + ("" if index.key in ("post_id", "media_id") else f" {key}")
    if made is None:
        if there is not None:
            yield Difference(kind="extra", where=where, expected=f"{index.table} has no row {key}", **ids)
    elif there is None:
        yield Difference(kind="missing", where=where, **ids)
    else:
        for name in sorted(made.keys() | there.keys()):
            expected, found = made.get(name), there.get(name)
            if not _same(index.fields.get(name, {}).get("type"), expected, found):
                yield Difference(kind="document", where=where, field=name, expected=expected, found=found, **ids)


def _same(kind: str | None, expected: Any, found: Any) -> bool:
    if kind != "dense_vector" or expected is None or found is None:
        return bool(expected == found)
    return len(expected) == len(found) and bool(np.allclose(found, expected, rtol=CLOSE, atol=0.0))


def _because(findings: Findings, kind: Kind, reason: str) -> Difference:
    """One difference for all of a document, by its cause."""
    first = findings.differences[0]
    return replace(first, kind=kind, field=None, expected=None, found=reason)


def _waits(entry: Mapping[str, Any]) -> str:
    error = f", last error: {entry['last_error']}" if entry["last_error"] else ""
    return f"in the outbox since {entry['created_at']:%Y-%m-%d %H:%M:%SZ}, {entry['attempts']} attempts{error}"


def keys_after(index: Index, *, of_post: bool) -> str:
    """Keys of rows after one, in their order; of_post: those of one post."""
    only = " AND post_id = $3" if of_post else ""
    return f"SELECT {index.key} FROM {index.table} WHERE {index.key} > $1{only} ORDER BY 1 LIMIT $2"  # noqa: S608
