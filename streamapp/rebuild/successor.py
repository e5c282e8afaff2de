"""The index that is built beside the one that is searched: where it stands in the database and in Elasticsearch.

While it is registered, every change of its read model goes to both by the same statement.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import asyncpg
from elasticsearch import AsyncElasticsearch, NotFoundError

from streamapp.sinks import sql
from streamapp.sinks.database import TROUBLE, Connection, Pool
from streamapp.sinks.indices import NEXT, REFRESH, Index, create
from streamapp.sinks.provision import BUILDING, generations

SEEDED_AT_ONCE = 5000  # rows
LOCK_TIMEOUT = "5s"
GONE = "{} is no longer being rebuilt: another process has ended or abandoned that"
HELD = 3.0  # seconds that writers wait at most while the last documents are written
POLL = 0.05


class Busy(Exception):
    """It cannot be done now; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A row whose document is still to be written. `refused`: why the index does not take it."""

    version: int
    refused: str | None


class Successor:
    """The next generation of one index. It is written by whoever indexes; here is what surrounds that.

    Every method raises OSError, asyncpg's errors, elasticsearch.ApiError or elasticsearch.TransportError.
    """

    def __init__(self, pool: Pool, client: AsyncElasticsearch, index: Index, *, prefix: str) -> None:
        self.pool = pool
        self.client = client
        self.index = index
        self.prefix = prefix
        self.alias = index.alias(prefix)
        self.next = index.alias(prefix, NEXT)
        self._sql = sql.queries("rebuild")
        self._lock: Connection | None = None

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Nobody else builds this index meanwhile. The lock ends with the process. Raises Busy."""
        async with self.pool.acquire() as connection:
            if not await connection.fetchval(f"SELECT pg_try_advisory_lock({BUILDING})", self.index.table):
                raise Busy(f"{self.alias} is being rebuilt by another process")
            self._lock = connection
            try:
                yield
            finally:
                self._lock = None
                with suppress(*TROUBLE):  # the lock has ended with its connection
                    await connection.execute(f"SELECT pg_advisory_unlock({BUILDING})", self.index.table)

    async def begin(self) -> tuple[str, bool]:
        """The name of the index that is built, and whether that had been begun before. Raises Busy."""
        known = await self.pool.fetchrow(self._sql["target"], self.index.table)
        if known is not None:
            name: str = known["index_name"]
            if known["definition"] == self.index.fingerprint() and await self.client.indices.exists(index=name):
                if not await self.searched(name):
                    await self._point(self.next, name)  # else nothing could be written to it
                return name, True
            await self.abandon()
        name = self.index.concrete(self.prefix, max(await self.generations(), default=0) + 1)
        await create(self.client, self.index, name)
        await self.client.indices.put_settings(index=name, settings={"refresh_interval": "-1"})  # nobody searches it
        await self._point(self.next, name)
        try:
            async with self._no_writer() as connection:
                await connection.execute(self._sql["register"], self.index.table, name, self.index.fingerprint())
        except Busy:
            await self.client.indices.delete(index=name)
            raise
        return name, False

    async def seed(self) -> bool:
        """Put the next rows in the outbox, each for this target only; whether there may be more. Raises Busy."""
        key, table = self.index.key, self.index.table
        statement = f"""
            WITH page AS (
                SELECT {key} AS pk FROM {table} WHERE {key} > (SELECT seeded_to FROM es_targets WHERE table_name = $1)
                ORDER BY 1 LIMIT $2
            ), entered AS (
                INSERT INTO es_outbox (table_name, pk, target, version)
                SELECT $1, pk, '{NEXT}', nextval('es_version') FROM page ON CONFLICT DO NOTHING
            )
            UPDATE es_targets
            SET seeded_to = coalesce((SELECT max(pk) FROM page), seeded_to), seeded = (SELECT count(*) FROM page) < $2
            WHERE table_name = $1
            RETURNING seeded
        """  # noqa: S608
        seeded = await self.pool.fetchval(statement, table, SEEDED_AT_ONCE)
        if seeded is None:
            raise Busy(GONE.format(self.alias))
        return not seeded

    async def seeded(self, total: int) -> int:
        """Rows that are, or have been, in the outbox, of so many in all."""
        seeded = f"SELECT count(*) FROM {self.index.table}, es_targets"  # noqa: S608  # names are ours
        statement = f"{seeded} WHERE table_name = $1 AND {self.index.key} <= seeded_to"
        return min(total, int(await self.pool.fetchval(statement, self.index.table)))

    async def last_version(self) -> int:
        """The last version that was drawn so far, for whichever document."""
        return int(await self.pool.fetchval("SELECT last_value FROM es_version"))

    async def waiting(self, until: int = 2**63 - 1) -> int:
        """Documents still to be written, of versions up to this one; those that the index refused wait for nobody."""
        return int(await self.pool.fetchval(self._sql["waiting"], self.index.table, until))

    async def behind(self, keys: Sequence[int]) -> dict[int, Behind]:
        """Which of these rows wait to be written."""
        rows = await self.pool.fetch(self._sql["behind"], self.index.table, keys)
        return {row["pk"]: Behind(version=row["version"], refused=row["refused"]) for row in rows}

    async def enter(self, keys: Sequence[int]) -> None:
        """Write the documents of these rows once more."""
        await self.pool.execute(sql.queries("outbox")["enter"], self.index.table, keys)

    async def searched(self, name: str) -> bool:
        """Whether the index has taken its place."""
        return bool(await self.client.indices.exists_alias(index=name, name=self.alias))

    async def swap(self, name: str) -> bool:
        """From now on searches, and what is written for the index that is searched, go to this one. Nobody writes
        rows meanwhile, so that it has all that the other one has; False where that would take longer than HELD.

        Somebody must be indexing. Raises Busy.
        """
        await self.client.indices.put_settings(index=name, settings={"refresh_interval": REFRESH})
        await self.client.indices.refresh(index=name)  # most of it while rows are still written
        async with self._no_writer() as connection:
            await self._still_alone()
            if not await self._emptied():
                return False
            await self.client.indices.refresh(index=name)
            await self._unregister(connection, name)
            await self._point(self.alias, name)
        await self._point(self.next, None)
        return True

    async def release(self, name: str) -> None:
        """The index has taken its place: nothing is written for two any more. Raises Busy."""
        async with self._no_writer() as connection:
            await self._unregister(connection, name)
        await self._point(self.next, None)

    async def abandon(self) -> list[str]:
        """Give up what was begun, and delete it, also what was made by who ended before the database knew; the names.
        Raises Busy."""
        known = await self.pool.fetchrow(self._sql["target"], self.index.table)
        given_up: list[str] = []
        if known is not None and await self.searched(known["index_name"]):
            await self.release(known["index_name"])
        elif known is not None:
            given_up.append(known["index_name"])
            async with self._no_writer() as connection:
                await connection.execute(self._sql["unregister"], self.index.table, known["index_name"])
                await connection.execute(self._sql["rest"], self.index.table)
        given_up += [name for name in await self._later() if name not in given_up]
        for name in given_up:
            await self.client.indices.delete(index=name, ignore_unavailable=True)
        return given_up

    async def drop_old(self) -> list[str]:
        """Delete the generations that are not searched; their names."""
        old = [name for name in (await self.generations()).values() if not await self.searched(name)]
        for name in old:
            await self.client.indices.delete(index=name)
        return old

    async def generations(self) -> dict[int, str]:
        """The indices there are, by their number."""
        return await generations(self.client, self.index, self.prefix)

    async def _later(self) -> list[str]:
        """The generations after the one that is searched; none where none is."""
        generations = await self.generations()
        searched = [number for number, name in generations.items() if await self.searched(name)]
        return [name for number, name in generations.items() if searched and number > max(searched)]

    async def _unregister(self, connection: Connection, name: str) -> None:
        if not await connection.fetch(self._sql["unregister"], self.index.table, name):
            raise Busy(GONE.format(self.alias))
        # What was still to go to the index that was built goes to the one that is searched, which it is now.
        rest = [row["pk"] for row in await connection.fetch(self._sql["rest"], self.index.table)]
        await connection.execute(sql.queries("outbox")["enter"], self.index.table, rest)

    async def _still_alone(self) -> None:
        """Raises Busy where the lock has ended, and another process may have begun."""
        if self._lock is None:
            return
        try:
            await self._lock.execute("SELECT 1")
        except TROUBLE as error:
            raise Busy(f"the lock on the rebuild of {self.alias} was lost: {error}") from error

    async def _emptied(self) -> bool:
        """Wait until nothing is still to be written."""
        end = time.monotonic() + HELD
        while await self.waiting():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(POLL)
        return True

    async def _point(self, alias: str, name: str | None) -> None:
        """The alias on this index (None: on none) and on no other, in one step."""
        try:
            holders = list(await self.client.indices.get_alias(name=alias))
        except NotFoundError:
            holders = []
        actions = [{"remove": {"index": holder, "alias": alias}} for holder in holders if holder != name]
        if name is not None:
            actions.append({"add": {"index": name, "alias": alias}})
        if actions:
            await self.client.indices.update_aliases(actions=actions)

    @asynccontextmanager
    async def _no_writer(self) -> AsyncIterator[Connection]:
        """A transaction while nobody writes the read model: each of its writers sees the target in all that it writes,
        or in nothing. Raises Busy."""
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                await connection.execute(f"LOCK TABLE {self.index.table} IN SHARE MODE")
                yield connection
        except asyncpg.LockNotAvailableError as error:
            raise Busy(f"somebody has been writing {self.index.table} for {LOCK_TIMEOUT}: try again later") from error
