"""Hints of the backend that a row has changed: the row is put in the outbox again.

The outbox's triggers see every change by themselves, so a hint that comes before its commit, twice, or not at all does
no harm.
"""

from __future__ import annotations

from streamapp.errors import Unavailable
from streamapp.sinks import sql
from streamapp.sinks.indices import INDICES
from streamapp.sinks.parts import database_id
from streamapp.sinks.postgres import TROUBLE, Pool

_TABLES = {index.name: table for table, index in INDICES.items()}


class UnknownRow(ValueError):
    """No row of ours can be meant."""


async def hint(pool: Pool, index: str, document_id: str, *, bulk: bool = False) -> int:
    """Put a row, or with `bulk` all media rows of a post, in the outbox again; how many.

    Raises UnknownRow for an index that is not written or an id that is no 64-bit decimal, and Unavailable.
    """
    if (table := _TABLES.get(index)) is None:
        raise UnknownRow(f"index {index} is not written; there are {', '.join(_TABLES)}")
    if (key := database_id(document_id)) is None:
        raise UnknownRow(f"{index} has no document {document_id!r}: ids are 64-bit decimals")
    queries = sql.queries("outbox")
    try:
        async with pool.acquire() as connection, connection.transaction():
            keys = [row[0] for row in await connection.fetch(queries["media_of_post"], key)] if bulk else [key]
            await connection.execute(queries["hint"], table, keys)
            await connection.execute(queries["wake"])
    except TROUBLE as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    return len(keys)
