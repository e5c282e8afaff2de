"""Rows that are made of the backend's: one whose values no row can have must not cost the others theirs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from streamapp.sinks.database import DATA_ERRORS, Connection

Write: TypeAlias = Callable[[Connection, Sequence[int]], Awaitable[int]]
"""Writes what belongs to some ids; how many rows changed."""

logger = logging.getLogger(__name__)


class Careful:
    """`refused` counts what could not be written; each is logged once, though it is tried again and again."""

    def __init__(self) -> None:
        self.refused = 0
        self._told: set[tuple[str, int]] = set()

    async def write(self, connection: Connection, what: str, ids: Sequence[int], write: Write) -> int:
        """Write all at once; where the database refuses a value, each half by itself, until those are left whose it is.
        How many rows changed. In a transaction of its own, or in a part of the one that was begun."""
        if not ids:
            return 0
        try:
            async with connection.transaction():
                return await write(connection, ids)
        except DATA_ERRORS as error:
            if len(ids) == 1:
                self._refuse(what, ids[0], error)
                return 0
        middle = len(ids) // 2
        first = await self.write(connection, what, ids[:middle], write)
        return first + await self.write(connection, what, ids[middle:], write)

    def _refuse(self, what: str, id_: int, error: Exception) -> None:
        self.refused += 1
        if (what, id_) not in self._told:
            self._told.add((what, id_))
            logger.error("%s %d is left as it is: %s", what, id_, error)
