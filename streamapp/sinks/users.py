"""The rows of users, and their end."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence

from streamapp.sinks.readmodels import DETECTED_FACES, FACE_SEARCH, FEED, KNOWN_FACES, USER_FACES, USER_SEARCH
from streamapp.sinks.statements import On, Statements

GONE_FOR = 60.0  # seconds until a user that the backend no longer has is believed to be deleted
_BEGIN = -(2**63)
_TABLES = (USER_SEARCH, KNOWN_FACES, USER_FACES, FEED, FACE_SEARCH, DETECTED_FACES)  # that know of users


class Users:
    """Rows of users, made of the backend's."""

    def __init__(self, send: Statements, *, gone_for: float = GONE_FOR) -> None:
        self._send = send
        self._gone_for = gone_for
        self._seen = _BEGIN
        self._gone: dict[int, float] = {}  # first seen to be gone, monotonic seconds

    async def write(self, on: On, user_ids: Sequence[int]) -> int:
        """Make the rows of some users right; how many changed."""
        return await self._send.change(on, "write_users", user_ids)

    async def sweep(self, on: On, limit: int = 100) -> tuple[int, list[int]]:
        """The same for the next users in line, after the last ones from the first on; also those of them who are
        gone for good."""
        found = [row["user_id"] for row in await self._send.fetch(on, "users_after", self._seen, limit)]
        self._seen = found[-1] if len(found) == limit else _BEGIN
        if not found:
            return 0, []
        gone = await self.gone(on, found)
        now = time.monotonic()
        for user in found:
            if user in gone:
                self._gone.setdefault(user, now)
            else:
                self._gone.pop(user, None)
        for_good = [user for user in gone if self._gone[user] + self._gone_for <= now]
        for user in for_good:
            del self._gone[user]
        return await self.write(on, found), for_good

    async def gone(self, on: On, user_ids: Sequence[int]) -> list[int]:
        """Those the backend has no longer, or has as deleted."""
        return [row["user_id"] for row in await self._send.fetch(on, "gone_users", user_ids)]

    async def leave(self, on: On, user_ids: Sequence[int], tables: Container[str]) -> int:
        """Take users out of those tables that are their own, or say whom somebody is shown or is; how many rows."""
        changed = 0
        for table in _TABLES:
            if table in tables:
                changed += await self._send.change(on, f"leave_{table}", user_ids)
        return changed
