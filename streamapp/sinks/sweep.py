"""What no change tells of: rows whose backend's rows are gone or say something else by now, users, feeds."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from streamapp.sinks.awaiting import Awaiting
from streamapp.sinks.careful import Careful
from streamapp.sinks.copies import COPIED
from streamapp.sinks.database import TROUBLE, Connection, Pool, unavailable
from streamapp.sinks.feed import Feed
from streamapp.sinks.known_faces import PATIENCE, KnownFaceRows
from streamapp.sinks.readmodels import DETECTED_FACES, FACE_SEARCH, FEED, MEDIA_SEARCH, POST_SEARCH, USER_SEARCH
from streamapp.sinks.statements import On, Statements
from streamapp.sinks.users import Forgotten, Users

logger = logging.getLogger(__name__)

GONE_FOR = 60.0  # seconds until what the backend no longer has is believed to be deleted
PAGE = 1000  # posts or users that are looked at together
PAGES = 20  # of each in one call: with a call every ten seconds, 100,000 posts within a minute
DELETED_AT_ONCE = 100  # posts, media or users in one transaction
_BEGIN = -(2**63)  # before all ids

Delete: TypeAlias = Callable[[Connection, str, Sequence[tuple[int, ...]]], Awaitable[int]]
"""Deletes posts, or media of posts (`post`, `media`), up to a revision each; how many rows."""


class Sweep:
    """Any worker may sweep, several at once too. What is gone, and since when, the database remembers."""

    def __init__(
        self,
        pool: Pool,
        send: Statements,
        *,
        awaiting: Awaiting,
        tables: Iterable[str],
        feed_users: int,
        delete: Delete,
    ) -> None:
        self.gone_for = GONE_FOR
        self.page = PAGE
        self.careful = Careful()
        self.feed = Feed(send, self.careful, users=feed_users)
        self.users = Users(send, awaiting)
        self.faces = KnownFaceRows(send, self.users, tables=frozenset(tables))
        self._pool = pool
        self._send = send
        self._tables = sorted(tables)
        self._delete = delete
        self._last = {"posts": _BEGIN, "users": _BEGIN}  # seen

    async def tend(self) -> int:
        """A bounded piece of all that; how many rows changed. What one step meets does not stop the others.
        Raises Unavailable."""
        changed, troubles, errors = 0, list[Exception](), list[Exception]()
        steps: list[Callable[[], Awaitable[int]]] = [
            partial(self._walk, "posts", self._look_at_posts),
            partial(self._walk, "users", self._look_at_users),
            self._end,
            self._enrol,
            partial(self._tend_faces, self._pool),
            self._expire,
            self._tend_feed,
        ]
        for step in steps:
            try:
                changed += await step()
            except TROUBLE as error:
                troubles.append(error)
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("tending", errors + troubles)
        if troubles:
            raise unavailable(troubles[0]) from troubles[0]
        return changed

    async def _walk(self, what: str, look: Callable[[Connection, list[int]], Awaitable[int]]) -> int:
        """Look at the next pages, after the last ones from the first on."""
        changed = 0
        async with self._pool.acquire() as connection:
            for _ in range(PAGES):
                asked = self._last[what], self.page, self._tables
                ids = [row[0] for row in await self._send.fetch(connection, f"{what}_after", *asked)]
                self._last[what] = ids[-1] if len(ids) == self.page else _BEGIN
                if ids:
                    changed += await look(connection, ids)
                if len(ids) < self.page:
                    break
        return changed

    async def _look_at_posts(self, connection: Connection, post_ids: list[int]) -> int:
        await self._send.fetch(connection, "note_gone_of_posts", post_ids, self._tables)
        differing = [row[0] for row in await self._send.fetch(connection, "differing", post_ids, self._tables)]
        renamed = [row[0] for row in await self._send.fetch(connection, "renamed", post_ids, self._tables)]
        changed = await self.careful.write(connection, "names in post", renamed, self._rename)
        return changed + await self.careful.write(connection, "rows of post", differing, self._copy)

    async def _rename(self, connection: Connection, post_ids: Sequence[int]) -> int:
        """Make the names of who is on images of some posts those of the backend."""
        await self._send.fetch(connection, "lock_posts", post_ids)
        changed = 0
        for table in (MEDIA_SEARCH, FACE_SEARCH):
            if table in self._tables:
                changed += await self._send.change(connection, f"rename_{table}", post_ids)
        if {MEDIA_SEARCH, POST_SEARCH} <= set(self._tables):
            await self._send.fetch(connection, "tell_post", post_ids)
        return changed

    async def _copy(self, connection: Connection, post_ids: Sequence[int]) -> int:
        """Make right what rows have of the backend's posts, media and users."""
        await self._send.fetch(connection, "lock_posts", post_ids)
        changed = 0
        for table in COPIED:
            changed += await self._send.change(connection, f"copy_{table}", post_ids, self._tables)
        if FEED in self._tables:  # whom a post is shown follows at once
            media = await self._send.fetch(connection, "live_media_of_posts", post_ids)
            changed += await self.careful.write(
                connection, "feed items of media", [row[0] for row in media], self.feed.write
            )
        return changed

    async def _look_at_users(self, connection: Connection, user_ids: list[int]) -> int:
        await self._send.fetch(connection, "note_gone_users", user_ids, self._tables)
        changed = await self.careful.write(connection, "the known face of user", user_ids, self.faces.tend)
        if USER_SEARCH not in self._tables:
            return changed
        return changed + await self.careful.write(connection, "the row of user", user_ids, self.users.write)

    async def _enrol(self) -> int:
        """Write the faces of users whom the backend did not have when they were enrolled."""
        async with self._pool.acquire() as connection:
            ids = await self.faces.awaiting(connection)
            return await self.careful.write(connection, "the enrolled face of user", ids, self.faces.write)

    async def _end(self) -> int:
        """Delete what is gone for good."""
        changed = 0
        async with self._pool.acquire() as connection:
            await self._send.fetch(connection, "forget_returned")
            for what, delete in (
                ("user", self._delete_users),
                ("post", self._delete_posts),
                ("media", self._delete_media),
            ):
                for _ in range(PAGES):
                    asked = what, self.gone_for, DELETED_AT_ONCE
                    ids = [row[0] for row in await self._send.fetch(connection, "gone_for_good", *asked)]
                    changed += await self.careful.write(connection, f"deleted {what}", ids, delete)
                    if len(ids) < DELETED_AT_ONCE:
                        break
        return changed

    async def delete_users(self, user_ids: Sequence[int]) -> int:
        """Remove the rows of users, of their posts and their items, and their names from what others posted; how many.
        One whom the backend still has, and not as deleted, keeps them."""
        async with self._pool.acquire() as connection:
            return await self.careful.write(connection, "deleted user", user_ids, self._delete_users)

    async def forget(self, user_id: int, *, also: Collection[tuple[str, str]] = ()) -> Forgotten:
        """Take a user's face out of all tables that are ours, and them off all images; one whom the backend does not
        have any more leaves them as a whole, without a wait. also: post and media that say more than their rows."""
        async with self._pool.acquire() as connection, connection.transaction():
            if await self.users.gone(connection, [user_id]):
                forgotten = await self._take_out(connection, [user_id], also=also)
                await self._send.fetch(connection, "forget_gone", "user", [user_id])
                return forgotten
            await self._lock_known_faces(connection)
            await self._send.fetch(connection, "lock_posts", await self.users.posts_with(connection, [user_id]))
            forgotten = await self.users.forget(connection, [user_id], self._tables, also=also)
            if USER_SEARCH in self._tables:  # it says whether a face is known
                written = await self.careful.write(connection, "the row of user", [user_id], self.users.write)
                forgotten.rows[USER_SEARCH] = written
        return forgotten

    async def _delete_users(self, connection: Connection, user_ids: Sequence[int]) -> int:
        gone = await self.users.gone(connection, user_ids)
        changed = (await self._take_out(connection, gone)).rows.total() if gone else 0
        return await self._done(connection, "user", user_ids, gone, changed)

    async def _take_out(
        self, connection: Connection, gone: Sequence[int], *, also: Collection[tuple[str, str]] = ()
    ) -> Forgotten:
        await self._lock_known_faces(connection)
        theirs = [row[0] for row in await self._send.fetch(connection, "posts_of_users", gone)]
        await self._send.fetch(connection, "lock_posts", theirs + await self.users.posts_with(connection, gone))
        # Again: what was written meanwhile, and of the posts in the lock nothing more can be.
        theirs = [row[0] for row in await self._send.fetch(connection, "posts_of_users", gone)]
        of_posts = await self._sweep(connection, "post", theirs)
        forgotten = await self.users.leave(connection, gone, self._tables, also=also)
        forgotten.rows[DETECTED_FACES] += await self._tend_faces(connection)
        forgotten.rows["rows of their posts"] = of_posts
        return forgotten

    async def _lock_known_faces(self, connection: Connection) -> None:
        """Before the posts: who waits for a backend's transaction must not hold up the sinks of all workers."""
        await connection.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        await self._send.fetch(connection, "lock_known_faces")

    async def _delete_posts(self, connection: Connection, post_ids: Sequence[int]) -> int:
        await self._send.fetch(connection, "lock_posts", post_ids)
        gone = [row[0] for row in await self._send.fetch(connection, "gone_posts", post_ids)]
        return await self._done(connection, "post", post_ids, gone, await self._sweep(connection, "post", gone))

    async def _delete_media(self, connection: Connection, media_ids: Sequence[int]) -> int:
        written = await self._send.fetch(connection, "written_media", media_ids, self._tables)
        await self._send.fetch(connection, "lock_posts", [row["post_id"] for row in written])
        gone = [row[0] for row in await self._send.fetch(connection, "gone_media", media_ids)]
        return await self._done(connection, "media", media_ids, gone, await self._sweep(connection, "media", gone))

    async def _sweep(self, connection: Connection, what: str, ids: Sequence[int]) -> int:
        """Delete posts or media with the newest revision that was written, in the lock of their posts."""
        name = {"post": "written_posts", "media": "written_media"}[what]
        keys = ("post_id", "revision") if what == "post" else ("post_id", "media_id", "revision")
        written = await self._send.fetch(connection, name, ids, self._tables)
        ended = [tuple(row[key] for key in keys) for row in written]
        if not ended:
            return 0
        changed = await self._delete(connection, what, ended)
        await self._send.fetch(connection, f"swept_{what}", *map(list, zip(*ended, strict=True)))
        return changed

    async def _done(
        self, connection: Connection, what: str, ids: Sequence[int], gone: Sequence[int], changed: int
    ) -> int:
        await self._send.fetch(connection, "forget_gone", what, ids)
        if changed:
            logger.info("the backend has no %s %s: %d rows", what, ", ".join(map(str, gone)), changed)
        return changed

    async def _tend_faces(self, on: On) -> int:
        return await self._send.change(on, "faces_of_nobody") if DETECTED_FACES in self._tables else 0

    async def _expire(self) -> int:
        return await self.feed.expire(self._pool) if FEED in self._tables else 0

    async def _tend_feed(self) -> int:
        if FEED not in self._tables:
            return 0
        async with self._pool.acquire() as connection, connection.transaction():
            return await self.feed.sweep(connection)
