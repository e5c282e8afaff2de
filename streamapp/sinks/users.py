"""The rows of users, and their end."""

from __future__ import annotations

from collections.abc import Container, Sequence

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

# That know of users.
_TABLES = (USER_SEARCH, KNOWN_FACES, USER_FACES, FEED, POST_SEARCH, MEDIA_SEARCH, FACE_SEARCH, DETECTED_FACES)


class Users:
    """Rows of users, made of the backend's: of all that are not deleted, whether they have posted or not."""

    def __init__(self, send: Statements) -> None:
        self._send = send

    async def write(self, on: On, user_ids: Sequence[int]) -> int:
        """Make the rows of some users right; how many changed."""
        return await self._send.change(on, "write_users", user_ids)

    async def gone(self, on: On, user_ids: Sequence[int]) -> list[int]:
        """Those the backend has no longer, or has as deleted."""
        return [row["user_id"] for row in await self._send.fetch(on, "gone_users", user_ids)]

    async def leave(self, on: On, user_ids: Sequence[int], tables: Container[str]) -> int:
        """Take users out of those tables that are their own, or say whom somebody is shown or is; how many rows."""
        changed = await self._send.change(on, "leave_enrolments", user_ids)
        for table in _TABLES:
            if table in tables:
                changed += await self._send.change(on, f"leave_{table}", user_ids)
        return changed
