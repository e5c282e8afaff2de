"""Feeds: which media whom, and how far up. The rules are in docs/feed.md, the arithmetic is in sql/queries/feed.sql.

An item is a function of the rows of its media, of the backend's and of what its reader posted. The sink writes the
items of the media it writes; what moves them otherwise (a like, a new user, a post of the reader) is found by a sweep.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamapp.sinks.careful import Careful
from streamapp.sinks.database import Connection
from streamapp.sinks.statements import On, Statements

_BEGIN = "-infinity", -(2**63)  # before all media


class Feed:
    """Items for at most `users` readers of a public media."""

    def __init__(self, send: Statements, careful: Careful, *, users: int) -> None:
        self.users = users
        self._send = send
        self._careful = careful
        self._seen = _BEGIN

    async def write(self, on: On, media_ids: Sequence[int]) -> int:
        """Make the items of some media right; how many changed. Their posts are locked."""
        return await self._send.change(on, "write_feed", media_ids, self.users)

    async def sweep(self, connection: Connection, limit: int = 100) -> int:
        """The same for the next media in line, in a transaction; after the last ones it begins again."""
        found = await self._send.fetch(connection, "live_media", *self._seen, limit)
        self._seen = (found[-1]["created_at"], found[-1]["media_id"]) if len(found) == limit else _BEGIN
        if not found:
            return 0
        await self._send.fetch(connection, "lock_posts", [row["post_id"] for row in found])
        media_ids = [row["media_id"] for row in found]
        return await self._careful.write(connection, "feed items of media", media_ids, self.write)

    async def expire(self, on: On, limit: int = 1000) -> int:
        """Remove items whose time is over, the oldest first; how many."""
        return await self._send.change(on, "expire", limit)
