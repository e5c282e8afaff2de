"""When known faces change, the stored faces that this concerns are compared again.

Whoever changed them, a trigger has noted it in the same transaction. Here the faces are looked for by their vectors and
by whom they were taken for, their media entered in a queue, and the state told of each; the rest is the way of every
fact (docs/adr/0013). Any worker does it, several at once too; ended anywhere, it goes on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from streamapp.events import Recheck
from streamapp.faces.matching import Thresholds
from streamapp.sinks.database import TROUBLE, Pool, unavailable
from streamapp.sinks.statements import Statements
from streamapp.times import now

logger = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[Sequence[Recheck]], Awaitable[None]]
"""Sends facts, and returns when they are confirmed. Raises Unavailable."""

LEASE = dt.timedelta(seconds=15)  # until another worker takes media that were claimed
LOOKING = dt.timedelta(seconds=90)  # the same of a known face; longer than a statement may take (sinks/database.py)
AT_ONCE = 200  # media told of together
NEAREST = 1000  # stored faces looked through first; four times as many while all of them are near enough
# On until there are enough, whatever it takes: a scan also ends at work_mem times a multiplier.
SEARCH = (
    *("hnsw.ef_search = 1000", "hnsw.iterative_scan = strict_order"),
    *("hnsw.max_scan_tuples = 2000000000", "hnsw.scan_mem_multiplier = 1000"),
)
POLL = 0.5  # seconds
COUNT_EVERY = 5  # seconds


async def pending(pool: Pool, send: Statements) -> dict[str, Any]:
    """Known faces whose stored faces are to be looked for (`changes`), `media` to be compared again, `since` when, and
    enrolments `awaiting` the backend's user. Raises Unavailable."""
    try:
        (row,) = await send.fetch(pool, "corrections")
    except TROUBLE as error:
        raise unavailable(error) from error
    return dict(row)


class Corrections:
    """`counts`: known faces looked for, media entered, media told of, since the start. `last`: what was still to be
    done at `last_at` (milliseconds), for those who must not wait for the database; None: not known yet."""

    def __init__(self, pool: Pool, *, send: Statements, thresholds: Thresholds, tell: Tell) -> None:
        self.counts: Counter[str] = Counter()
        self.last: dict[str, Any] | None = None
        self.last_at = 0
        self._pool, self._send, self._thresholds, self._tell = pool, send, thresholds, tell

    async def run(self) -> None:
        """For ever. Raises Unavailable."""
        while True:
            if not await self.step():
                await asyncio.sleep(POLL)
            if now() >= self.last_at + 1000 * COUNT_EVERY:
                await self.pending()

    async def step(self) -> bool:
        """Look for the faces that one change concerns, and tell of one page of media; whether there was anything."""
        try:
            looked = await self._look()
            told = await self._tell_page()
        except TROUBLE as error:
            raise unavailable(error) from error
        return looked or told

    async def pending(self) -> dict[str, Any]:
        """What is still to be done, and since when. Raises Unavailable."""
        self.last, self.last_at = await pending(self._pool, self._send), now()
        return self.last

    async def _look(self) -> bool:
        claimed = await self._send.fetch(self._pool, "claim_change", LOOKING)
        if not claimed:
            return False
        user_id, version = claimed[0]
        limit, entered = NEAREST, 0
        async with self._pool.acquire() as connection, connection.transaction():
            # As exact as an index of neighbours is: all of its candidates, and on until there are enough.
            for setting in SEARCH:
                await connection.execute(f"SET LOCAL {setting}")
            while True:
                asked = user_id, self._thresholds.reach, limit, version
                ((near, some),) = await self._send.fetch(connection, "recheck_user", *asked)
                entered += some
                if near < limit:
                    break
                limit *= 4
            await self._send.fetch(connection, "looked_for", user_id, version)
        self.counts["changes"] += 1
        self.counts["entered"] += entered
        logger.info("the face of user %d has changed: %d media are compared again", user_id, entered)
        return True

    async def _tell_page(self) -> bool:
        due = await self._send.fetch(self._pool, "claim_rechecks", AT_ONCE, LEASE)
        if not due:
            return False
        await self._tell(
            [Recheck(post_id=post, media_id=media, known=version, at=now()) for post, media, version in due]
        )
        await self._send.fetch(self._pool, "told_rechecks", *map(list, zip(*due, strict=True)))
        self.counts["told"] += len(due)
        return True
