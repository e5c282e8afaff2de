"""Hints of the backend that a row has changed: the row is read again.

The outbox's triggers see every change by themselves, so a hint that comes before its commit, twice, or not at all does
no harm. Where the backend's tables have no triggers of ours, hints are all there is: then every row is read again
after 1, 5 and 30 seconds, because a hint may come before its commit.

A row that is not there is looked for at the same times, then reported, and kept in the table es_hints.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import asyncpg

from streamapp.errors import Unavailable
from streamapp.sinks import sql
from streamapp.sinks.indices import BY_NAME, INDICES
from streamapp.sinks.parts import database_id
from streamapp.sinks.postgres import TROUBLE, Connection, Pool

logger = logging.getLogger(__name__)

LOOKS = (1.0, 5.0, 30.0)  # seconds after the hint
LOCK_TIMEOUT = "200ms"

Hint: TypeAlias = Mapping[str, Any]


class UnknownRow(ValueError):
    """No row of ours can be meant."""


async def hint(
    pool: Pool, index: str, document_id: str, *, bulk: bool = False, deleted: bool = False, again: bool = False
) -> int:
    """Put a row, or with `bulk` all media rows of a post, in the outbox again; how many.

    `deleted`: there should be no row. `again`: read it again after LOOKS, whatever is there now.
    Raises UnknownRow for an index that is not known or an id that is no 64-bit decimal, and Unavailable.
    """
    if index not in BY_NAME:
        raise UnknownRow(f"no index {index}; there are {', '.join(BY_NAME)}")
    if (key := database_id(document_id)) is None:
        raise UnknownRow(f"{index} has no document {document_id!r}: ids are 64-bit decimals")
    table, queries = BY_NAME[index].table, sql.queries("hints")
    try:
        async with pool.acquire() as connection, connection.transaction():
            try:
                entered, there = await _enter(connection, table, [key], bulk=bulk)
            except asyncpg.LockNotAvailableError:
                entered, there, again = 0, set(), True
            if again or not (there or deleted):
                await connection.execute(queries["remember"], table, key, bulk, not deleted, again, LOOKS[0])
            else:
                await connection.execute(queries["forget"], [table], [key], [bulk])
    except TROUBLE as error:
        raise Unavailable(f"{type(error).__name__}: {error}") from error
    return entered


async def look_again(pool: Pool, limit: int = 500) -> list[Hint]:
    """Read the rows again that it is time for; those that never came, which are logged and kept. Any worker may.

    Raises OSError or asyncpg's errors.
    """
    missing = list[Hint]()
    at_once = limit
    for _ in range(limit):
        try:
            looked, never = await _look(pool, at_once)
        except asyncpg.LockNotAvailableError:
            if at_once == 1:
                await pool.execute(sql.queries("hints")["postpone"], LOOKS[0])
            at_once = 1  # a writer that holds one row keeps no other waiting
            continue
        missing += never
        if looked < at_once or at_once == limit:
            break
    for entry in missing:
        what = "no media of post" if entry["bulk"] else "no row"
        logger.warning("%s has %s %s, which the backend told of", entry["table_name"], what, entry["pk"])
    return missing


async def _look(pool: Pool, limit: int) -> tuple[int, list[Hint]]:
    queries = sql.queries("hints")
    settled, later, missing = list[Hint](), list[Hint](), list[Hint]()
    async with pool.acquire() as connection, connection.transaction():
        due = await connection.fetch(queries["due"], limit)
        there = set[tuple[str, int, bool]]()
        for (table, bulk), keys in _grouped(due).items():
            _, found = await _enter(connection, table, keys, bulk=bulk)
            there |= {(table, key, bulk) for key in found}
        for entry in due:
            is_there = _key(entry) in there
            if entry["looks"] + 1 < len(LOOKS) and (entry["again"] or (entry["wanted"] and not is_there)):
                later.append(entry)
            elif is_there or not entry["wanted"]:
                settled.append(entry)
            else:
                missing.append(entry)
        if later:
            seconds = [LOOKS[entry["looks"] + 1] for entry in later]
            await connection.execute(queries["look_later"], *_columns(later), seconds)
        if settled:
            await connection.execute(queries["forget"], *_columns(settled))
        if missing:
            await connection.execute(queries["report"], *_columns(missing))
    return len(due), missing


async def _enter(connection: Connection, table: str, keys: Sequence[int], *, bulk: bool) -> tuple[int, set[int]]:
    """Put rows in the outbox, those that are gone too: how many, and which of the keys have any.

    Raises asyncpg.LockNotAvailableError, among others, where somebody is writing one of them.
    """
    if bulk:
        media = await connection.fetch(sql.queries("hints")["media_of_posts"], keys)
        entered, there = [row["media_id"] for row in media], {row["post_id"] for row in media}
    else:
        key = INDICES[table].key
        statement = f"SELECT {key} FROM {table} WHERE {key} = ANY($1::bigint[])"  # noqa: S608  # names are ours
        entered, there = list(keys), {row[0] for row in await connection.fetch(statement, keys)}
    if entered:
        # Who is writing one of these rows has its entry locked, and may take long.
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            await connection.execute(sql.queries("outbox")["enter"], table, entered)
            await connection.execute("SET LOCAL lock_timeout = DEFAULT")
    return len(entered), there


def _grouped(due: Sequence[Hint]) -> dict[tuple[str, bool], list[int]]:
    groups = defaultdict[tuple[str, bool], list[int]](list)
    for entry in due:
        if entry["table_name"] in INDICES:
            groups[entry["table_name"], entry["bulk"]].append(entry["pk"])
    return groups


def _key(entry: Hint) -> tuple[str, int, bool]:
    return entry["table_name"], entry["pk"], entry["bulk"]


def _columns(entries: Sequence[Hint]) -> tuple[list[str], list[int], list[bool]]:
    return [e["table_name"] for e in entries], [e["pk"] for e in entries], [e["bulk"] for e in entries]
