"""Hints of the backend that a row has changed: the row is read again.

The outbox's triggers see every change by themselves, so a hint that comes before its commit, twice, or not at all does
no harm. Where the backend's tables have no triggers of ours, hints are all there is: then every row is read again
after 1, 5 and 30 seconds, because a hint may come before its commit.

A row that is not as it was told, not there or not gone, is looked at at the same times, then reported; from then on it
is looked at now and then, and kept in the table es_hints until it is as it was told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import asyncpg
from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from streamapp.sinks import sql
from streamapp.sinks.database import TROUBLE, Connection, Pool, unavailable
from streamapp.sinks.indices import BY_NAME, INDICES
from streamapp.sinks.parts import database_id

logger = logging.getLogger(__name__)

LOOKS = (1.0, 5.0, 30.0)  # seconds after the hint
REPORTED_LOOK = 600.0  # seconds between looks at what was reported
LOCK_TIMEOUT = "50ms"
AT_ONCE = 500
LONGEST_LOOK = 1.0  # seconds, and the rest is for the next one
SEARCH_SECONDS = 5.0
SEARCHED_AT_ONCE = 10_000  # media; an index gives no more

Hint: TypeAlias = Mapping[str, Any]


class UnknownRow(ValueError):
    """No row of ours can be meant."""


class Hints:
    """Takes hints and looks again, with one connection at a time: who else needs one gets it.

    `counts` rows that were told of and never came (absent), and that were told deleted and are still there (kept).
    """

    def __init__(
        self, pool: Pool, client: AsyncElasticsearch, *, prefix: str = "", again: bool = False, poll: float = 1.0
    ) -> None:
        """`again`: every row is read again after LOOKS, whatever is there now. `poll`: seconds between looks."""
        self.counts: Counter[str] = Counter()
        self._pool = pool
        self._client = client
        self._media = BY_NAME["media_search"].alias(prefix)
        self._again = again
        self._poll = poll
        self._sql = sql.queries("hints")
        self._turn = asyncio.Lock()

    async def take(self, index: str, document_id: str, *, bulk: bool = False, deleted: bool = False) -> int:
        """Put a row, or with `bulk` all media rows of a post, in the outbox again; how many. `deleted`: there should
        be no row. Raises UnknownRow for an index that is not known or an id that is no 64-bit decimal, and
        Unavailable."""
        if index not in BY_NAME:
            raise UnknownRow(f"no index {index}; there are {', '.join(BY_NAME)}")
        if (key := database_id(document_id)) is None:
            raise UnknownRow(f"{index} has no document {document_id!r}: ids are 64-bit decimals")
        table, again = BY_NAME[index].table, self._again
        try:
            indexed = set[int]()
            if bulk and deleted and again:
                with suppress(ApiError, TransportError):  # looked at again
                    indexed = await self._indexed([key])
            async with self._turn, self._pool.acquire() as connection, connection.transaction():
                rows, there = await self._rows(connection, table, [key], bulk=bulk)
                try:
                    entered = await self._enter(connection, table, rows | indexed)
                except asyncpg.LockNotAvailableError:
                    entered, again = 0, True
                if again or bool(there) is deleted:
                    await connection.execute(self._sql["remember"], table, key, bulk, not deleted, again, LOOKS[0])
                else:
                    await connection.execute(self._sql["forget"], [table], [key], [bulk])
        except TROUBLE as error:
            raise unavailable(error) from error
        return entered

    async def run(self) -> None:
        """Look again for ever. Raises Unavailable."""
        while True:
            try:
                await self.look_again()
            except TROUBLE as error:
                raise unavailable(error) from error
            await asyncio.sleep(self._poll)

    async def look_again(self) -> list[Hint]:
        """Read the rows again that it is time for; those that are found for good not to be as was told, which are
        logged and counted. Any worker may. Raises OSError or asyncpg's errors."""
        odd = list[Hint]()
        at_once, end = AT_ONCE, time.monotonic() + LONGEST_LOOK
        while time.monotonic() < end:
            try:
                async with self._turn:
                    looked, found = await self._look(at_once)
            except asyncpg.LockNotAvailableError:
                if at_once == 1:
                    await self._pool.execute(self._sql["postpone_first"], LOOKS[0])
                at_once = 1  # a writer that holds one row keeps no other waiting
                continue
            odd += found
            if looked < at_once:
                break
        for hint in odd:
            what = f"media of post {hint['pk']}" if hint["bulk"] else f"row {hint['pk']}"
            if hint["wanted"]:
                self.counts["absent"] += 1
                logger.warning("%s has no %s, which the backend told of", hint["table_name"], what)
            else:
                self.counts["kept"] += 1
                logger.warning("%s has %s, which the backend told deleted", hint["table_name"], what)
        return odd

    async def of_post(self, post_id: int, media_ids: Sequence[int]) -> list[Hint]:
        """What was told of a post and its media and is still looked at. Raises Unavailable."""
        try:
            found = await self._pool.fetch(self._sql["of_post"], post_id, media_ids, len(LOOKS))
        except TROUBLE as error:
            raise unavailable(error) from error
        return [dict(row) for row in found]

    async def _look(self, limit: int) -> tuple[int, list[Hint]]:
        """How many it was time for, and those of them that are found for good not to be as was told."""
        settled, later, reported, busy = list[Hint](), list[Hint](), list[Hint](), list[Hint]()
        async with self._pool.acquire() as connection, connection.transaction():
            due = await connection.fetch(self._sql["due"], limit, list(INDICES))
            for (table, bulk), hints in _grouped(due).items():
                rows, there = await self._rows(connection, table, [hint["pk"] for hint in hints], bulk=bulk)
                try:
                    rows |= await self._indexed(
                        [h["pk"] for h in hints if h["bulk"] and h["again"] and not h["wanted"]]
                    )
                except (ApiError, TransportError):
                    busy += hints  # of one index; the others are looked at
                    continue
                never = {h["pk"] for h in hints if _reported(h) and h["wanted"] and h["pk"] not in there}
                await self._enter(connection, table, rows if bulk else rows - never)
                for hint in hints:
                    as_told = (hint["pk"] in there) is hint["wanted"]
                    if hint["looks"] + 1 < len(LOOKS) and (hint["again"] or not as_told):
                        later.append(hint)
                    else:
                        (settled if as_told else reported).append(hint)
            seconds = [LOOKS[hint["looks"] + 1] for hint in later]
            for name, hints, *values in (
                ("look_later", later, seconds),
                ("forget", settled),
                ("report", reported, REPORTED_LOOK),
                ("postpone", busy, LOOKS[0]),
            ):
                if hints:
                    await connection.execute(self._sql[name], *_columns(hints), *values)
        return len(due), [hint for hint in reported if not _reported(hint)]

    async def _rows(
        self, connection: Connection, table: str, keys: Sequence[int], *, bulk: bool
    ) -> tuple[set[int], set[int]]:
        """The keys of the rows that are meant, those that are gone too, and which of the given have any."""
        if bulk:
            media = await connection.fetch(self._sql["media_of_posts"], keys)
            return {row["media_id"] for row in media}, {row["post_id"] for row in media}
        key = INDICES[table].key
        statement = f"SELECT {key} FROM {table} WHERE {key} = ANY($1::bigint[])"  # noqa: S608  # names are ours
        return set(keys), {row[0] for row in await connection.fetch(statement, keys)}

    async def _indexed(self, posts: Sequence[int]) -> set[int]:
        """The media that the index has of posts, whose rows may be gone."""
        if not posts:
            return set()
        media, after = set[int](), None
        while True:
            found = await self._client.options(request_timeout=SEARCH_SECONDS).search(
                index=self._media,
                query={"terms": {"post_id": posts}},
                size=SEARCHED_AT_ONCE,
                sort=[{"media_id": "asc"}],
                search_after=after,
                source=False,
                ignore_unavailable=True,
            )
            hits = found["hits"]["hits"]
            media |= {int(hit["_id"]) for hit in hits}
            if len(hits) < SEARCHED_AT_ONCE:
                return media
            after = hits[-1]["sort"]

    async def _enter(self, connection: Connection, table: str, keys: set[int]) -> int:
        """Put rows in the outbox; how many. Raises asyncpg.LockNotAvailableError, among others, where somebody is
        writing one of them: he has its entry locked, and may take long."""
        if keys:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                await connection.execute(sql.queries("outbox")["enter"], table, keys)
                await connection.execute("SET LOCAL lock_timeout = DEFAULT")
        return len(keys)


def _grouped(due: Sequence[Hint]) -> dict[tuple[str, bool], list[Hint]]:
    groups = defaultdict[tuple[str, bool], list[Hint]](list)
    for hint in due:
        groups[hint["table_name"], hint["bulk"]].append(hint)
    return groups


def _reported(hint: Hint) -> bool:
    return bool(hint["looks"] >= len(LOOKS))


def _columns(hints: Sequence[Hint]) -> tuple[list[str], list[int], list[bool]]:
    return [h["table_name"] for h in hints], [h["pk"] for h in hints], [h["bulk"] for h in hints]
