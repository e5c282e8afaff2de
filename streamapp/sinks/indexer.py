"""Carry every change of a read model to its document: outbox entries in, versioned bulks out.

Any number of indexers may run. An entry leaves the outbox only when its version is in the index (or is rejected and
handed over), so whoever dies at any point loses nothing: the lease ends and another one takes the entry.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from streamapp.sinks import sql
from streamapp.sinks.bulk import LARGEST_DOCUMENT_BYTES, Entry, Operation, Verdict, requests, verdict
from streamapp.sinks.documents import document, encode, select
from streamapp.sinks.indices import INDICES
from streamapp.sinks.postgres import TROUBLE, Pool

logger = logging.getLogger(__name__)

# table, primary key, version, the document as JSON, the error
DeadLetter: TypeAlias = Callable[[str, int, int, bytes, str], Awaitable[None]]

CHANNEL = "es_outbox"
LONGEST_WAIT = 10.0  # seconds


class Indexer:
    """Follows the outbox. Its attributes say how it is.

    `counts` by verdict; `last_error` of a server or of an entry that is tried again; `waiting_since` (seconds since
    the epoch) while a server is not there.
    """

    def __init__(
        self,
        pool: Pool,
        client: AsyncElasticsearch,
        *,
        dead_letter: DeadLetter,
        prefix: str = "",
        batch: int = 500,
        poll: float = 1.0,
        lease: float = 10.0,
    ) -> None:
        """`pool` needs two connections: one listens. `poll` and `lease` are seconds; nothing but speed depends on
        them: versions order what two indexers send at once."""
        self.pool = pool
        self.client = client
        self.dead_letter = dead_letter
        self.prefix = prefix
        self.batch = batch
        self.poll = poll
        self.lease = dt.timedelta(seconds=lease)
        self.counts: Counter[str] = Counter()
        self.last_error: str | None = None
        self.waiting_since: float | None = None
        self._sql = sql.queries("outbox")
        self._selects = {table: select(index) for table, index in INDICES.items()}

    async def run(self) -> None:
        """Index for ever. A server that is not there is waited for, without limit."""
        failures = 0
        while True:
            try:
                async with self._woken() as woken:
                    while True:
                        taken = await self.step()
                        failures = 0
                        self._well()
                        if taken < self.batch:
                            await woken()
            except (*TROUBLE, ApiError, TransportError) as error:
                self._unwell(error)
                await asyncio.sleep(_wait(failures))
                failures += 1

    async def step(self) -> int:
        """Take at most one batch through; how many entries it had.

        Raises elasticsearch.ApiError, elasticsearch.TransportError, OSError or asyncpg's errors.
        """
        found = await self.pool.fetch(self._sql["lease"], self.batch, list(INDICES), self.lease)
        entries = [Entry(**entry) for entry in found]
        if not entries:
            return 0
        try:
            operations = await self._read(entries)
            verdicts = await self._bulk(operations)
        except (ApiError, TransportError) as error:
            with suppress(*TROUBLE):  # else the lease ends by itself
                await self._again([(entry, 0.0, str(error)) for entry in entries])
            raise
        await self._finish(operations, verdicts)
        return len(entries)

    async def _read(self, entries: Sequence[Entry]) -> list[Operation]:
        """The documents of the entries, of rows as they are after the lease: never older than their version."""
        keys = defaultdict[str, list[int]](list)
        for entry in entries:
            keys[entry.table_name].append(entry.pk)
        made: dict[tuple[str, int], bytes] = {}
        for table, pks in keys.items():
            index = INDICES[table]
            for row in await self.pool.fetch(self._selects[table], pks):
                made[table, row[index.key]] = encode(document(index, dict(row)))
        return [
            Operation(entry=e, alias=INDICES[e.table_name].alias(self.prefix), document=made.get((e.table_name, e.pk)))
            for e in entries
        ]

    async def _bulk(self, operations: Sequence[Operation]) -> list[tuple[Verdict, str]]:
        """The verdicts, in the order of the operations."""
        verdicts: list[tuple[Verdict, str]] = []
        for request in requests(operations):
            if request is None:
                verdicts.append((Verdict.REJECTED, f"the document is larger than {LARGEST_DOCUMENT_BYTES} bytes"))
                continue
            # An index that is missing must be missed, not made without its definition.
            answer = await self.client.bulk(operations=request, require_alias=True)  # type: ignore[arg-type]  # bytes
            verdicts += [verdict(item) for item in answer["items"]]
        return verdicts

    async def _finish(self, operations: Sequence[Operation], verdicts: Sequence[tuple[Verdict, str]]) -> None:
        done: list[Entry] = []
        later: list[tuple[Entry, float, str]] = []
        for operation, (ruling, error) in zip(operations, verdicts, strict=True):
            entry = operation.entry
            if ruling is Verdict.REJECTED:
                ruling, error = await self._hand_over(operation, error)
            if ruling is Verdict.LATER:
                later.append((entry, _wait(entry.attempts), error))
            else:
                done.append(entry)
            self.counts[ruling.value] += 1
        if done:
            await self.pool.execute(self._sql["done"], *_keys(done))
        if later:
            await self._again(later)
            if self.last_error is None:
                logger.warning("%d documents are tried again: %s", len(later), later[0][2])
        self.last_error = later[0][2] if later else None

    async def _hand_over(self, operation: Operation, error: str) -> tuple[Verdict, str]:
        """A rejected document goes to the dead letters before its entry goes."""
        entry = operation.entry
        logger.error("document %s of %s is rejected: %s", entry.pk, entry.table_name, error)
        try:
            await self.dead_letter(entry.table_name, entry.pk, entry.version, operation.document or b"", error)
        except Exception as failure:  # whatever it is made of: the document must not be lost by it
            logger.exception("document %s of %s is kept", entry.pk, entry.table_name)
            return Verdict.LATER, f"{error}; no dead letter: {failure!r}"
        return Verdict.REJECTED, error

    async def _again(self, later: Sequence[tuple[Entry, float, str]]) -> None:
        waits, errors = [wait for _, wait, _ in later], [error for _, _, error in later]
        await self.pool.execute(self._sql["again"], *_keys([entry for entry, _, _ in later]), waits, errors)

    @asynccontextmanager
    async def _woken(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """A function that waits until the outbox has something new, or for the time of a poll."""
        news = asyncio.Event()

        def notice(*_: object) -> None:
            news.set()

        async def woken() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), self.poll)
            news.clear()
            if connection.is_closed():
                raise ConnectionError("the listening connection was closed")

        async with self.pool.acquire() as connection:
            await connection.add_listener(CHANNEL, notice)
            try:
                yield woken
            finally:
                with suppress(*TROUBLE):  # of a connection that has ended
                    await connection.remove_listener(CHANNEL, notice)

    def _well(self) -> None:
        if self.waiting_since is not None:
            logger.info("indexing again after %.0f s", time.time() - self.waiting_since)
            self.waiting_since = self.last_error = None

    def _unwell(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}"
        if self.waiting_since is None:
            self.waiting_since = time.time()
            logger.warning("indexing waits: %s", self.last_error)


def _wait(failures: int) -> float:
    """Seconds: a quarter, a half, 1, 2 ... up to LONGEST_WAIT."""
    return float(min(LONGEST_WAIT, 0.25 * 2 ** min(failures, 10)))


def _keys(entries: Sequence[Entry]) -> tuple[list[str], list[int], list[int]]:
    return [e.table_name for e in entries], [e.pk for e in entries], [e.version for e in entries]
