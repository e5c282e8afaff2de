"""The database: a pool of connections, and whose fault an error is."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg
import orjson
from pgvector.asyncpg import register_vector

from streamapp.errors import Unavailable

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"

# Faults of the values themselves: another attempt with the same values is useless. Whatever else the database says
# (it is down, full, locked, read-only, lacks a table or a right) is no fault of a change and is waited for.
DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    orjson.JSONEncodeError,
)

# What the database or the way to it can say; anything else is an error of this program. InternalClientError is what
# asyncpg says when the server ends the connection while it begins a statement.
TROUBLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def unavailable(error: Exception) -> Unavailable:
    """What the trouble is for whoever waits."""
    return Unavailable(f"{type(error).__name__}: {error}")


EF_SEARCH = 100
"""Candidates that an index of neighbours keeps while it searches; pgvector's default is 40. What it costs and what is
found by it: bench/faces.py."""


async def open_pool(url: str, *, max_size: int = 4, ef_search: int = EF_SEARCH) -> Pool:
    """A pool that knows vectors. It connects when it is asked for a connection: a database that is down, or that was
    never migrated, is noticed (and waited for) then."""
    return await asyncpg.create_pool(
        url,
        min_size=0,
        max_size=max_size,
        init=_know_vectors,
        command_timeout=60,
        # A worker that is frozen in a transaction must not keep a post locked.
        server_settings={
            "application_name": "streamapp",
            "idle_in_transaction_session_timeout": "60s",
            "hnsw.ef_search": str(ef_search),
        },
    )


async def _know_vectors(connection: asyncpg.Connection[Any]) -> None:
    try:
        await register_vector(connection)
    except ValueError as error:  # it has no type of this name
        raise asyncpg.UndefinedObjectError(
            f"pgvector is not installed, are the migrations applied? ({error})"
        ) from error
