"""Make the indices that are missing, and see to it that every row comes into them."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeAlias

import asyncpg
from elasticsearch import AsyncElasticsearch

from streamapp.sinks import sql
from streamapp.sinks.indices import Checked, Index, check, create

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"

ENTERED_AT_ONCE = 1000  # rows
# Less than the second after which the database looks for deadlocks: never is it the backend that has to give way.
LOCK_TIMEOUT = "500ms"
PATIENCE = 60.0  # seconds that somebody may be writing the same rows, or building the same index
PAUSE = 0.2
BUILDING = "hashtext($1 || ' is rebuilt')"  # the lock of whoever makes a generation of an index, by its table ($1)


async def ensure(connection: Connection, client: AsyncElasticsearch, prefix: str = "") -> list[Checked]:
    """Create the indices and aliases that are missing; any number of times, by any number of processes.

    One that was there before is lost: an older generation knows nothing of what has since changed or left, and the
    outbox tells of little of what was in it. So the index is a new one, and all rows are entered for it.

    Raises elasticsearch.ApiError, elasticsearch.TransportError, asyncpg's errors or OSError; of these TimeoutError
    where somebody has been writing the same rows, or building the same index, for PATIENCE.
    """
    return [
        await _make(connection, client, checked, prefix) if checked.state == "missing" else checked
        for checked in await check(client, prefix)
    ]


async def _make(connection: Connection, client: AsyncElasticsearch, missing: Checked, prefix: str) -> Checked:
    index = missing.index
    await _patiently(connection, index, f"SELECT pg_advisory_lock({BUILDING})", index.table)
    try:
        if (found := next(c for c in await check(client, prefix) if c.index is index)).state != "missing":
            return found
        await _enter_all(connection, index)  # before: who dies in between must not leave an empty index
        number = max(await generations(client, index, prefix), default=0) + 1
        created = await create(client, index, index.concrete(prefix, number), alias=missing.alias)
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({BUILDING})", index.table)
    return Checked(index, missing.alias, "created") if created else missing


async def generations(client: AsyncElasticsearch, index: Index, prefix: str) -> dict[int, str]:
    """The indices there are of one definition, by their number.

    Raises elasticsearch.ApiError or elasticsearch.TransportError.
    """
    found = await client.indices.get_alias(index=f"{index.alias(prefix)}-v*")
    numbers = {index.generation(prefix, name): name for name in found}
    return {number: name for number, name in sorted(numbers.items()) if number is not None}


async def _enter_all(connection: Connection, index: Index) -> None:
    """Every row into the outbox, those that are there once more: they may be on their way to the index that is lost."""
    statement = f"SELECT {index.key} FROM {index.table} WHERE {index.key} > $1 ORDER BY 1 LIMIT $2"  # noqa: S608
    last = -(2**63)
    while keys := [row[0] for row in await connection.fetch(statement, last, ENTERED_AT_ONCE)]:
        await _patiently(connection, index, sql.queries("outbox")["enter"], index.table, keys)
        last = keys[-1]


async def _patiently(connection: Connection, index: Index, statement: str, *values: Any) -> None:
    """Raises TimeoutError where it had to wait for too long."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                await connection.execute(statement, *values)
            return
        except asyncpg.LockNotAvailableError as error:
            if time.monotonic() > end:
                text = f"somebody has been writing {index.table}, or building its index, for {PATIENCE:.0f} s"
                raise TimeoutError(text) from error
        await asyncio.sleep(PAUSE)
