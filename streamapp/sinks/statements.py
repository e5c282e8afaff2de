"""The sink's statements by name, counted."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import asyncpg

from streamapp.sinks import copies, sql
from streamapp.sinks.readmodels import FEED, READ_MODELS, delete_by

On: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any] | asyncpg.Pool[Any]"

_COLUMNS = {**{table: model.columns for table, model in READ_MODELS.items()}, FEED: {"post_id": "", "media_id": ""}}

TABLES_OF = {what: [table for table, names in _COLUMNS.items() if f"{what}_id" in names] for what in ("post", "media")}
"""The tables with rows of a post, and of a media, in the order of writing."""


# By which rows are deleted. Of a media by its post too: revisions are a post's own, and it may have come to another.
_KEYS = {"post": ("post_id",), "media": ("post_id", "media_id")}


FILES = "sink", "users", "feed", "sweep", "faces", "forget"  # in sql/queries


@cache
def texts() -> dict[str, str]:
    """All statements: those of the files, and those that are made of the definitions of the tables."""
    made = {f"write_{table}": model.write() for table, model in READ_MODELS.items()}
    for what, key in _KEYS.items():
        made |= {f"delete_{table}_of_{what}": delete_by(table, key) for table in TABLES_OF[what]}
    made |= copies.statements()
    return made | {name: text for file in FILES for name, text in sql.queries(file).items()}


class Statements:
    """Sends statements; `sent` is how many so far, transaction control not counted."""

    def __init__(self) -> None:
        self.sent = 0

    async def fetch(self, on: On, name: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a statement."""
        self.sent += 1
        return await on.fetch(texts()[name], *arguments)

    async def change(self, on: On, name: str, *arguments: Any) -> int:
        """How many rows a statement changed, of one that says so itself."""
        ((changed,),) = await self.fetch(on, name, *arguments)
        return int(changed)
