"""The rows of enrolled faces, made of the enrolments and of the backend's users."""

from __future__ import annotations

from collections.abc import Container, Sequence

from streamapp.sinks.readmodels import KNOWN_FACES, USER_FACES, USER_SEARCH
from streamapp.sinks.statements import On, Statements
from streamapp.sinks.users import Users

PATIENCE = "5s"  # versions of the known faces are drawn under a lock, which a backend may hold as long as it likes
AT_ONCE = 1000  # enrolments that wait for the backend's users, looked at together


class KnownFaceRows:
    """Those of `tables` that have faces of users."""

    def __init__(self, send: Statements, users: Users, *, tables: Container[str]) -> None:
        self._send, self._users, self._tables = send, users, tables

    async def write(self, on: On, user_ids: Sequence[int]) -> int:
        """Write what users were enrolled with and is not written yet; how many rows changed. What is of a user whom the
        backend has not yet waits. In a transaction of the caller's."""
        await on.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        await self._send.fetch(on, "lock_enrolments", user_ids)
        changed = 0
        for table in (USER_FACES, KNOWN_FACES):
            if table in self._tables:
                changed += await self._send.change(on, f"write_{table}", user_ids)
        await self._send.fetch(on, "enrolments_written", user_ids)
        if USER_SEARCH in self._tables:
            changed += await self._users.write(on, user_ids)  # they say whether a face is known
        return changed

    async def awaiting(self, on: On) -> list[int]:
        """Users whose enrolment can be written by now."""
        return [row["user_id"] for row in await self._send.fetch(on, "enrolments_awaiting", AT_ONCE)]

    async def tend(self, on: On, user_ids: Sequence[int]) -> int:
        """Take faces out of use and back as the backend does with their users, and copy names; how many rows."""
        if KNOWN_FACES not in self._tables:
            return 0
        await on.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        ours = USER_FACES in self._tables
        changed = await self._send.change(on, "suspend_known_faces", user_ids, ours)
        changed += await self._send.change(on, "resume_known_faces", user_ids, ours)
        return changed + await self._send.change(on, "copy_known_faces", user_ids)
