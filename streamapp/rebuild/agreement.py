"""Whether an index has the document of every row and no other: counts, and a hash of all that the documents say."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from streamapp.rebuild.successor import Successor
from streamapp.sinks.documents import document, encode, keys_present, same, select
from streamapp.sinks.parts import database_id
from streamapp.sinks.stored import ids, stored

Document: TypeAlias = dict[str, Any]

PAGE = 200  # documents; one with its vector has 6 kB
IDS_PAGE = 5000
PATIENCE = 60.0  # seconds that a document may be behind its row, while somebody indexes
PAUSE = 0.2
TOLD = 20  # keys in a message


class Disagreement(Exception):
    """Documents that are not those of their rows; the text names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """`refused` are keys whose document the index does not take, with its reason; `digest` is of all the others,
    vectors left out: an index does not give their last digits back."""

    rows: int
    documents: int
    refused: dict[int, str]
    digest: str


class Comparison:
    """The index that is built against the rows it is of. Documents that wait in the outbox are waited for."""

    def __init__(self, target: Successor, *, patience: float = PATIENCE) -> None:
        self.target = target
        self.index = target.index
        self.patience = patience
        self.refused: dict[int, str] = {}
        self._vectors = {name for name, field in self.index.fields.items() if field["type"] == "dense_vector"}
        self._hash = hashlib.sha256()

    async def all(self, progress: Callable[[int], None] = lambda rows: None) -> Agreement:
        """Raises Disagreement, and what Successor raises."""
        compared, documents, last = 0, 0, -(2**63)
        key, table = self.index.key, self.index.table
        # A row that comes after the last one of now is written for both indices: there is no end to waiting for those.
        end = await self.target.pool.fetchval(f"SELECT max({key}) FROM {table}")  # noqa: S608  # names are ours
        after = f"SELECT {key} FROM {table} WHERE {key} > $1 AND {key} <= $3 ORDER BY 1 LIMIT $2"  # noqa: S608
        while keys := [row[0] for row in await self.target.pool.fetch(after, last, PAGE, end)]:
            documents += await self._agree(keys)
            compared, last = compared + len(keys), keys[-1]
            progress(compared)
        await self.target.client.indices.refresh(index=self.target.next)
        await self._no_others()
        rows = documents + len(self.refused)
        return Agreement(rows=rows, documents=documents, refused=self.refused, digest=self._hash.hexdigest())

    async def _agree(self, keys: Sequence[int]) -> int:
        """Wait until each of these was equal once; how many documents there are of them.

        One that is never equal, because its row changes faster than it is written, counts as soon as a later version
        is there than the one that waited when it was first seen to differ.
        """
        end = time.monotonic() + self.patience
        agreed, awaited = dict[int, Document](), dict[int, int]()
        differing = list(keys)
        while True:
            made, there = await asyncio.gather(
                self._made(differing), stored(self.target.client, self.target.next, differing)
            )
            agreed |= {
                key: found["_source"] for key, found in there.items() if self._follows(key, found, made, awaited)
            }
            differing = [key for key in differing if key not in agreed and (key in made or key in there)]
            behind = await self.target.behind(differing) if differing else {}
            refused = {key: each.refused for key, each in behind.items() if each.refused is not None}
            self.refused |= refused
            if not (differing := [key for key in differing if key not in refused]):
                break
            if time.monotonic() > end:
                raise Disagreement(f"{self.target.next} differs from the rows {_listed(differing)}")
            if unknown := [key for key in differing if key not in behind]:
                await self.target.enter(unknown)
            awaited = {key: each.version for key, each in behind.items()} | awaited
            await asyncio.sleep(PAUSE)
        for _, one in sorted(agreed.items()):
            told = {name: value for name, value in one.items() if name not in self._vectors}
            self._hash.update(orjson.dumps(told, option=orjson.OPT_SORT_KEYS))
        return len(agreed)

    def _follows(
        self, key: int, found: Mapping[str, Any], made: Mapping[int, Document], awaited: Mapping[int, int]
    ) -> bool:
        return same(self.index, made.get(key), found["_source"]) or (
            key in awaited and found["_version"] >= awaited[key]
        )

    async def _no_others(self) -> None:
        """Documents without a row leave, or it is told that they do not."""
        every: dict[str, Any] = {"match_all": {}}
        async for page in ids(self.target.client, self.target.next, key=self.index.key, query=every, size=IDS_PAGE):
            keys = {each: database_id(each) for each in page}
            if odd := [name for name, key in keys.items() if key is None]:
                raise Disagreement(f"{self.target.next} has documents that no row can have: {_listed(odd)}")
            numbers = [key for key in keys.values() if key is not None]
            with_row = {row[0] for row in await self.target.pool.fetch(keys_present(self.index), numbers)}
            if stray := [key for key in numbers if key not in with_row]:
                await self._agree(stray)

    async def _made(self, keys: Sequence[int]) -> dict[int, Document]:
        rows = await self.target.pool.fetch(select(self.index), keys)
        return {row[self.index.key]: self._as_read(document(self.index, dict(row))) for row in rows}

    def _as_read(self, one: Document) -> Document:
        """A document as it comes out of JSON, but for its vectors: those are compared as they are."""
        vectors = {name: one.pop(name) for name in self._vectors & one.keys()}
        rest: Document = orjson.loads(encode(one))
        return rest | vectors


def _listed(keys: Sequence[object]) -> str:
    return ", ".join(map(str, keys[:TOLD])) + (f" and {len(keys) - TOLD} more" if len(keys) > TOLD else "")
