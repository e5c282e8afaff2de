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
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from streamapp.sinks import sql
from streamapp.sinks.bulk import Entry, Operation, Verdict
from streamapp.sinks.database import TROUBLE, Pool
from streamapp.sinks.documents import document, encode, select
from streamapp.sinks.indices import INDICES, LIVE, NEXT, Target, check, resolve
from streamapp.sinks.sending import Rests, Ruling, backoff, send

logger = logging.getLogger(__name__)

# table, primary key, version, the document as JSON, the error
DeadLetter: TypeAlias = Callable[[str, int, int, bytes, str], Awaitable[None]]

CHANNEL = "es_outbox"
NEVER = float("inf")

RESTORED = "the index has newer versions than the database draws; was it restored? run: streamapp rebuild all"
_HOW = {
    "differs": "has another definition than this release",
    "missing": "is missing",
    "occupied": "is an index of somebody else's",
}


class Indexer:
    """Follows the outbox. Its attributes say how it is.

    `counts` by verdict, and of documents that an index in the making refused; `last_error` of a server or of an entry
    that is tried again; `waiting_since` (seconds since the epoch) while a server is not there.
    """

    def __init__(
        self,
        pool: Pool,
        client: AsyncElasticsearch,
        *,
        dead_letter: DeadLetter,
        prefix: str = "",
        tables: Collection[str] = tuple(INDICES),
        targets: Collection[Target] = (LIVE, NEXT),
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
        self.tables = list(tables)
        self.targets = list(targets)
        self.batch = batch
        self.poll = poll
        self.lease = dt.timedelta(seconds=lease)
        self.counts: Counter[str] = Counter()
        self.last_error: str | None = None
        self.waiting_since: float | None = None
        self._sql = sql.queries("outbox")
        self._selects = {table: select(INDICES[table]) for table in self.tables}
        self._rests = Rests()

    async def run(self) -> None:
        """Index for ever. A server that is not there is waited for, without limit."""
        failures = 0
        while True:
            try:
                async with self._woken() as woken:
                    await self._compare_definitions()
                    while True:
                        taken = await self.step()
                        failures = 0
                        self._well()
                        if taken < self.batch:
                            await woken()
            except (*TROUBLE, ApiError, TransportError) as error:
                self._unwell(error)
                await asyncio.sleep(backoff(failures))
                failures += 1

    async def step(self) -> int:
        """Take at most one batch through; how many entries it had.

        Raises elasticsearch.ApiError, elasticsearch.TransportError, OSError or asyncpg's errors.
        """
        tables = [self._rests.awake(self.tables, target) if target in self.targets else [] for target in (LIVE, NEXT)]
        found = await self.pool.fetch(self._sql["lease"], self.batch, *tables, self.lease)
        entries = [Entry(**entry) for entry in found]
        if not entries:
            return 0
        try:
            # First the indices, then the rows: what is read goes nowhere else. An index that takes their place later
            # has the later changes of its rows in the outbox.
            indices = await resolve(self.client, {self._alias(entry) for entry in entries})
            lost = await self._without_orphans([entry for entry in entries if self._alias(entry) not in indices])
            operations = await self._read([entry for entry in entries if self._alias(entry) in indices], indices)
            verdicts = await self._bulk(operations)
        except (ApiError, TransportError) as error:
            with suppress(*TROUBLE):  # else the lease ends by itself
                await self._again([(entry, backoff(entry.attempts), str(error)) for entry in entries])
            raise
        operations += [Operation(entry=entry, index="", document=None) for entry in lost]
        verdicts += [(Verdict.LATER, f"there is no index {self._alias(entry)}") for entry in lost]
        self._rests.note(operations, verdicts)
        await self._finish(operations, verdicts)
        return len(entries)

    def _alias(self, entry: Entry) -> str:
        return INDICES[entry.table_name].alias(self.prefix, entry.target)

    async def _without_orphans(self, lost: Sequence[Entry]) -> list[Entry]:
        """Without what was entered, by a transaction that ended late, for an index that has taken its place since:
        that goes where searches go now."""
        if not any(entry.target == NEXT for entry in lost):
            return list(lost)
        orphans = defaultdict[str, set[int]](set)
        async with self.pool.acquire() as connection, connection.transaction():
            for table, pk in await connection.fetch(self._sql["orphans"], *_keys(lost)):
                orphans[table].add(pk)
            for table, pks in orphans.items():
                await connection.execute(self._sql["enter"], table, pks)
        return [entry for entry in lost if entry.target == LIVE or entry.pk not in orphans[entry.table_name]]

    async def _read(self, entries: Sequence[Entry], indices: Mapping[str, str]) -> list[Operation]:
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
            Operation(entry=entry, index=indices[self._alias(entry)], document=made.get((entry.table_name, entry.pk)))
            for entry in entries
        ]

    async def _bulk(self, operations: Sequence[Operation]) -> list[Ruling]:
        """The verdicts, in the order of the operations."""
        return await send(self.client, operations)

    async def _finish(self, operations: Sequence[Operation], verdicts: Sequence[Ruling]) -> None:
        ruled = defaultdict[Verdict, list[tuple[Operation, str]]](list)
        for operation, (ruling, error) in zip(operations, verdicts, strict=True):
            ruled[ruling].append((operation, error))
        if ruled[Verdict.REJECTED]:
            rejected, kept = await self._reject(ruled[Verdict.REJECTED])
            ruled[Verdict.REJECTED] = rejected
            ruled[Verdict.LATER] += kept
        for ruling, those in ruled.items():
            if those:
                self.counts[ruling.value] += len(those)

        done = [o.entry for verdict in (Verdict.DONE, Verdict.REJECTED) for o, _ in ruled[verdict]]
        if done:
            await self.pool.execute(self._sql["done"], *_keys(done))
        if stale := [operation.entry for operation, _ in ruled[Verdict.STALE]]:
            await self._draw_again(stale)
        later = [
            (operation.entry, backoff(operation.entry.attempts), error) for operation, error in ruled[Verdict.LATER]
        ]
        if later:
            await self._again(later)
            if self.last_error is None:
                logger.warning("%d documents are tried again: %s", len(later), later[0][2])
        self.last_error = later[0][2] if later else None

    async def _draw_again(self, stale: Sequence[Entry]) -> None:
        """Another version for entries that the index has a newer one of. Once or twice it is another indexer's doing;
        more often, and the database draws versions that it has drawn before."""
        waits = [0.0 if entry.attempts < 4 else backoff(entry.attempts) for entry in stale]
        errors = [None if entry.attempts < 4 else RESTORED for entry in stale]
        await self.pool.execute(self._sql["newer"], *_keys(stale), waits, errors)
        if any(errors):
            logger.warning("%d documents of %s: %s", len(stale), {entry.table_name for entry in stale}, RESTORED)

    async def _reject(
        self, rejected: Sequence[tuple[Operation, str]]
    ) -> tuple[list[tuple[Operation, str]], list[tuple[Operation, str]]]:
        """Those that are kept as dead letters, and those that are tried again."""
        differing = {c.alias: c.remedy for c in await check(self.client, self.prefix) if c.state == "differs"}
        # Asked after that: of the index that a rebuild has just replaced, neither says anything any more.
        now = await resolve(self.client, {self._alias(operation.entry) for operation, _ in rejected})
        handed_over, kept = list[tuple[Operation, str]](), list[tuple[Operation, str]]()
        for operation, error in rejected:
            if operation.entry.target == NEXT:
                # Seen by who builds the index; the same document goes to the live one, which has dead letters.
                await self._again([(operation.entry, NEVER, error)])
                self.counts["refused"] += 1
            elif (remedy := differing.get(alias := self._alias(operation.entry))) is not None:
                kept.append((operation, f"{error}; {alias} has another definition, {remedy}"))
            elif operation.index != now.get(alias):
                kept.append((operation, f"{error}; {alias} stands for another index by now"))
            elif (failure := await self._hand_over(operation, error)) is not None:
                kept.append((operation, failure))
            else:
                handed_over.append((operation, error))
        return handed_over, kept

    async def _hand_over(self, operation: Operation, error: str) -> str | None:
        """A rejected document goes to the dead letters before its entry goes; why it could not."""
        entry = operation.entry
        logger.error("document %s of %s is rejected: %s", entry.pk, entry.table_name, error)
        try:
            await self.dead_letter(entry.table_name, entry.pk, entry.version, operation.document or b"", error)
        except Exception as failure:  # whatever it is made of: the document must not be lost by it
            logger.exception("document %s of %s is kept", entry.pk, entry.table_name)
            return f"{error}; no dead letter: {failure!r}"
        return None

    async def _again(self, later: Sequence[tuple[Entry, float, str]]) -> None:
        waits, errors = [wait for _, wait, _ in later], [error for _, _, error in later]
        await self.pool.execute(self._sql["again"], *_keys([entry for entry, _, _ in later]), waits, errors)

    async def _compare_definitions(self) -> None:
        for checked in await check(self.client, self.prefix):
            if checked.remedy is not None and LIVE in self.targets:
                logger.warning("index %s %s, %s", checked.alias, _HOW[checked.state], checked.remedy)

    @asynccontextmanager
    async def _woken(self) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """A function that waits until the outbox has something new, or for the time of a poll."""
        news = asyncio.Event()

        def notice(*_: object) -> None:
            news.set()

        async def woken() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.poll):  # wait_for of Python 3.11 can lose a cancellation to the news
                    await news.wait()
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


def _keys(entries: Sequence[Entry]) -> tuple[list[str], list[int], list[Target], list[int]]:
    return (
        [entry.table_name for entry in entries],
        [entry.pk for entry in entries],
        [entry.target for entry in entries],
        [entry.version for entry in entries],
    )
