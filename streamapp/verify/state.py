"""The state, asked of a running worker: it answers for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from streamapp.posts.state import Media, Post, media_key
from streamapp.verify.wanted import Known

T = TypeVar("T")

PAGE = 200  # posts
AT_ONCE = 8  # requests
PATIENCE = aiohttp.ClientTimeout(total=30.0)  # seconds; a page of another worker takes 3 at most


class StateUnavailable(Exception):
    """No worker answers, or not for all of the state; the text says why."""


class _Row(msgspec.Struct, Generic[T]):
    value: T


class _Page(msgspec.Struct):
    rows: list[_Row[Post]]
    next: str | None
    unreachable: dict[str, str] = {}


class _Named(msgspec.Struct):
    media: list[tuple[str, str]]


class State:
    """The tables behind the worker at `url`. Every method raises StateUnavailable."""

    def __init__(self, url: str, *, headers: Mapping[str, str]) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(headers=headers, timeout=PATIENCE)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        await self._session.close()

    async def ready(self) -> None:
        """Nothing, when the worker has its tables."""
        status, body = await self._get("/health/ready")
        if status != 200:
            raise StateUnavailable(f"the worker at {self.url} is not ready: {_error(body)}")

    async def posts(self) -> AsyncIterator[list[Post]]:
        """All posts, in pages."""
        after: str | None = ""
        while after is not None:
            status, body = await self._get(f"/tables/posts?limit={PAGE}&after={quote(after, safe='')}")
            if status != 200:
                raise StateUnavailable(f"{self.url} answers {status}: {_error(body)}")
            page = _decode(body, _Page)
            if page.unreachable:
                raise StateUnavailable(f"workers that have a part of the state do not answer: {page.unreachable}")
            yield [row.value for row in page.rows]
            after = page.next

    async def known(self, post_id: str) -> Known:
        """A post with its media as they are now."""
        if (post := await self._post(post_id)) is None:
            return Known(post_id)
        rows = await asyncio.gather(*(self._row("media", media_key(post_id, each), Media) for each in post.media))
        return Known(post_id, post, {row.media_id: row for row in rows if row is not None})

    async def media_with(self, user_id: int) -> list[tuple[str, str]]:
        """Post and media of each media that a user is said to be on."""
        status, body = await self._get(f"/users/{user_id}/faces?of=state")
        if status != 200:
            raise StateUnavailable(f"{self.url} answers {status}: {_error(body)}")
        return _decode(body, _Named).media

    async def _post(self, post_id: str) -> Post | None:
        if (post := await self._row("posts", post_id, Post)) is not None:
            return post
        # A worker that recovers its tables does not know all of them yet; only here it says so.
        status, body = await self._get(f"/posts/{quote(post_id, safe='')}")
        if status not in (200, 404):
            raise StateUnavailable(f"whether post {post_id} is known can not be told: {_error(body)}")
        return await self._row("posts", post_id, Post) if status == 200 else None

    async def _row(self, table: str, key: str, kind: type[T]) -> T | None:
        status, body = await self._get(f"/tables/{table}/{quote(key, safe='')}")
        if status == 404:
            return None
        if status != 200:
            raise StateUnavailable(f"{self.url} answers {status} for {key} of {table}: {_error(body)}")
        return _decode(body, _Row[kind]).value  # type: ignore[valid-type]

    async def _get(self, path: str) -> tuple[int, bytes]:
        try:
            async with self._turns, self._session.get(self.url + path) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as exc:
            raise StateUnavailable(f"no worker answers at {self.url}: {exc or type(exc).__name__}") from exc


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as exc:
        raise StateUnavailable(f"a row can not be read; is the worker of another version? {exc}") from exc


def _error(body: bytes) -> Any:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return body[:200].decode(errors="replace")
    return answer.get("error") or answer.get("reasons") or answer if isinstance(answer, dict) else answer
