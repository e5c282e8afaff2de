"""Rows that follow other rows, not a post's state: users follow the backend's, the items of feeds their media.

A sweep keeps both right, so what the backend has changed a few seconds ago may still differ.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from streamapp.sinks import sql
from streamapp.sinks.database import Pool
from streamapp.sinks.readmodels import FEED, USER_SEARCH
from streamapp.verify.findings import Difference, Findings, ids_of
from streamapp.verify.looks import look_again

PAGE = 1000  # rows


class Followers:
    """Those of the two that are in `tables`: they are ours. Raises OSError or asyncpg's errors."""

    def __init__(self, pool: Pool, *, tables: Sequence[str], wait: float) -> None:
        self.pool = pool
        self.tables = tables
        self.wait = wait
        self._sql = sql.queries("verify")

    async def all(self, *, post: int | None = None) -> Findings:
        """What differs; of a post only its items."""
        findings = Findings()
        if USER_SEARCH in self.tables and post is None:
            async for keys in self._pages("users_after"):
                findings.add(await look_again(self._users, keys, wait=self.wait))
        if FEED in self.tables:
            async for keys in self._pages("items_after", post):
                findings.add(await look_again(self._items, keys, wait=self.wait))
        return findings

    async def _pages(self, query: str, *only: int | None) -> AsyncIterator[list[int]]:
        last = -(2**63)
        while keys := [row[0] for row in await self.pool.fetch(self._sql[query], last, PAGE, *only)]:
            yield keys
            last = keys[-1]

    async def _users(self, user_ids: Sequence[int]) -> dict[int, Findings]:
        found = {user_id: Findings() for user_id in user_ids}
        for row in await self.pool.fetch(self._sql["users"], user_ids):
            findings = found[row["user_id"]]
            where = f"user {USER_SEARCH} {row['user_id']}"
            findings.compared["users"] += row["expected"]
            if row["expected"] and row["found"]:
                findings.differences += _differing(row, where)
            elif row["expected"]:
                findings.differences.append(Difference(kind="missing", where=where))
            elif row["found"]:
                reason = "the backend has no such user, or has it as deleted"
                findings.differences.append(Difference(kind="extra", where=where, expected=reason))
        return found

    async def _items(self, keys: Sequence[int]) -> dict[int, Findings]:
        found = {key: Findings() for key in keys}  # one that is removed meanwhile is none that differs
        for row in await self.pool.fetch(self._sql["items"], keys):
            findings = found[row["id"]]
            findings.compared["feed items"] += 1
            where = f"item {FEED} {row['feed_item_id']}"
            if row["wrong"] is not None:
                extra = Difference(kind="extra", where=where, expected=row["wrong"], **ids_of(row))
                findings.differences.append(extra)
            else:
                findings.differences += _differing(row, where)
        return found


def _differing(row: Mapping[str, Any], where: str) -> list[Difference]:
    return [
        Difference(kind="row", where=where, field=name, expected=expected, found=found, **ids_of(row))
        for name, expected, found in orjson.loads(row["differing"])
    ]
