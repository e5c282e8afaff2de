"""Build an index anew from its rows, beside the one that is searched, and put it in its place."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from elasticsearch import AsyncElasticsearch

from streamapp.rebuild.agreement import PATIENCE, Agreement, Comparison
from streamapp.rebuild.successor import Busy, Successor
from streamapp.sinks.database import Pool
from streamapp.sinks.indexer import Indexer
from streamapp.sinks.indices import NEXT, Index

Progress: TypeAlias = Callable[[str, int, int], None]
"""What is done, how many rows of it, and of how many."""

INDEXERS = 2  # one makes documents while the server works on those of the other
SHORTEST = 0.05  # seconds between looks at what is left, which are counted; they get longer
POLL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What came of it. `resumed`: an earlier run had begun it; `agreement` is None where that run had compared it."""

    index: str
    name: str
    resumed: bool
    agreement: Agreement | None
    dropped: list[str]


async def rebuild(
    pool: Pool,
    client: AsyncElasticsearch,
    index: Index,
    *,
    prefix: str = "",
    drop_old: bool = False,
    patience: float = PATIENCE,
    progress: Progress = lambda what, done, total: None,
) -> Rebuilt:
    """Rebuild one index. Ended anywhere, it goes on there when it is run again, and live changes reach both indices.

    `pool` needs five connections. Raises Busy, Disagreement, OSError, asyncpg's errors, elasticsearch.ApiError or
    elasticsearch.TransportError.
    """
    target = Successor(pool, client, index, prefix=prefix)
    async with target.alone():
        name, resumed = await target.begin()
        agreement: Agreement | None = None
        if await target.searched(name):
            await target.release(name)
        else:
            async with _indexing(target):
                await _write(target, progress)
                agreement = await _compare(target, patience, progress)
                await _swap(target, name, patience)
        dropped = await target.drop_old() if drop_old else []
    return Rebuilt(index=index.name, name=name, resumed=resumed, agreement=agreement, dropped=dropped)


async def _write(target: Successor, progress: Progress) -> None:
    """Every row in the outbox, and every document out of it. What is changed meanwhile is waited for later, by who
    compares: it may never be nothing."""
    total = await _rows(target)
    while await target.seed():
        progress("written", max(0, await target.seeded(total) - await target.waiting()), total)
    last, pause = await target.last_version(), SHORTEST
    while left := await target.waiting(last):
        progress("written", max(0, total - left), total)
        await asyncio.sleep(pause)
        pause = min(POLL, 2 * pause)
    progress("written", total, total)


async def _compare(target: Successor, patience: float, progress: Progress) -> Agreement:
    total = await _rows(target)
    comparison = Comparison(target, patience=patience)
    return await comparison.all(lambda rows: progress("compared", rows, max(rows, total)))


async def _swap(target: Successor, name: str, patience: float) -> None:
    """Put it in its place when its queue is empty; not now, where that does not come."""
    end = time.monotonic() + patience
    while not await target.swap(name):
        if time.monotonic() > end:
            raise Busy(f"{await target.waiting()} documents of {name} are still to be written")
        await asyncio.sleep(SHORTEST)


async def _rows(target: Successor) -> int:
    return int(await target.pool.fetchval(f"SELECT count(*) FROM {target.index.table}"))  # noqa: S608  # ours


@asynccontextmanager
async def _indexing(target: Successor) -> AsyncIterator[None]:
    """Indexers of our own: no worker need run, and those that do are helped."""
    indexers = [
        Indexer(
            target.pool,
            target.client,
            dead_letter=_none,
            prefix=target.prefix,
            tables=[target.index.table],
            targets=[NEXT],
        )
        for _ in range(INDEXERS)
    ]
    tasks = [asyncio.create_task(indexer.run()) for indexer in indexers]
    body = asyncio.current_task()
    assert body is not None
    for task in tasks:  # they wait for servers; whatever else ends one would leave us waiting for it
        task.add_done_callback(lambda done: done.cancelled() or body.cancel())
    try:
        yield
    except asyncio.CancelledError:
        for task in tasks:
            if task.done() and (error := task.exception()) is not None:
                raise error from None
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _none(table: str, pk: int, version: int, document: bytes, error: str) -> None:
    raise AssertionError("what the index that is built refuses stays in the outbox")
