"""The rows of users, their end, and how a face is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, field

from streamapp.sinks.awaiting import Awaiting
from streamapp.sinks.people import said
from streamapp.sinks.readmodels import (
    DETECTED_FACES,
    FACE_SEARCH,
    FEED,
    KNOWN_FACES,
    MEDIA_SEARCH,
    POST_SEARCH,
    USER_FACES,
    USER_SEARCH,
)
from streamapp.sinks.statements import On, Statements

# That say who somebody is, that have users' faces, and that are users' own.
_TAGS = (POST_SEARCH, MEDIA_SEARCH, FACE_SEARCH, DETECTED_FACES)
_FACES = (USER_FACES, KNOWN_FACES)
_OWN = (USER_SEARCH, FEED)


@dataclass(slots=True, kw_only=True)
class Forgotten:
    """Rows that were deleted or that name somebody no more, by table; media whose state is told of it too."""

    rows: Counter[str] = field(default_factory=Counter)
    rechecked: int = 0


class Users:
    """Rows of users, made of the backend's: of all that are not deleted, whether they have posted or not."""

    def __init__(self, send: Statements, awaiting: Awaiting) -> None:
        self._send = send
        self._awaiting = awaiting

    async def write(self, on: On, user_ids: Sequence[int]) -> int:
        """Make the rows of some users right; how many changed."""
        return await self._send.change(on, "write_users", user_ids)

    async def gone(self, on: On, user_ids: Sequence[int]) -> list[int]:
        """Those the backend has no longer, or has as deleted."""
        return [row["user_id"] for row in await self._send.fetch(on, "gone_users", user_ids)]

    async def posts_with(self, on: On, user_ids: Sequence[int]) -> list[int]:
        """The posts whose rows, or what waits to be rows, say that somebody is on an image."""
        asked = user_ids, [said(user) for user in user_ids]
        return [row[0] for row in await self._send.fetch(on, "posts_with_users", *asked)]

    async def forget(
        self, on: On, user_ids: Sequence[int], tables: Container[str], *, also: Collection[tuple[str, str]] = ()
    ) -> Forgotten:
        """Take the faces of users out of those tables, and them off all images, in the lock of the posts that these are
        of. Nothing asked for before enrols them again. The state learns it by facts, as of every change of a known
        face; but nobody would find these media by their rows any more, so they are entered here. also: more of them."""
        done = Forgotten()
        found = await self._send.fetch(on, "media_with_users", user_ids)
        done.rows["enrolments"] = await self._send.change(on, "forget_enrolments", user_ids)
        await self._leave(on, user_ids, [table for table in _TAGS if table in tables], done)
        waiting = await self._awaiting.forget(on, user_ids)
        done.rows["awaiting"] = len(waiting)
        # Last: who deletes a known face draws a version, and nobody else draws one until he commits.
        await self._leave(on, user_ids, [table for table in _FACES if table in tables], done)
        rows = (*((row["post_id"], row["media_id"]) for row in found), *waiting)
        if media := sorted({*also, *((str(post_id), str(media_id)) for post_id, media_id in rows)}):
            await self._send.fetch(on, "draw_version", user_ids)
            posts, ids = map(list, zip(*media, strict=True))
            done.rechecked = await self._send.change(on, "recheck_forgotten", user_ids, posts, ids)
        return done

    async def leave(
        self, on: On, user_ids: Sequence[int], tables: Container[str], *, also: Collection[tuple[str, str]] = ()
    ) -> Forgotten:
        """The same, and their own rows."""
        done = await self.forget(on, user_ids, tables, also=also)
        await self._leave(on, user_ids, [table for table in _OWN if table in tables], done)
        return done

    async def _leave(self, on: On, user_ids: Sequence[int], tables: Sequence[str], done: Forgotten) -> None:
        for table in tables:
            done.rows[table] = await self._send.change(on, f"leave_{table}", user_ids)
