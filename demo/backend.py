"""The part of the backend: its rows, its messages, and the results it reads. For the demo, the tests and the bench."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import aiohttp
import asyncpg
import redis.asyncio as redis

from streamapp.sinks.indices import connect
from streamapp.sinks.search import Hit, search

Fields = dict[str, str]


class Backend:
    """Connections to the four places a backend and its users look at. `environment`: the STREAMAPP_* URLs."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.redis = redis.Redis.from_url(environment["STREAMAPP_REDIS_URL"], decode_responses=True)
        self.elasticsearch = connect(environment["STREAMAPP_ELASTICSEARCH_URL"])
        self.worker = f"http://127.0.0.1:{environment['STREAMAPP_WEB_PORT']}"

    async def __aenter__(self) -> Self:
        self.postgres: asyncpg.Connection[Any] = await asyncpg.connect(self._environment["STREAMAPP_POSTGRES_URL"])
        self.http = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()
        await self.postgres.close()
        await self.elasticsearch.close()
        await self.redis.aclose()

    async def add_user(self, user_id: int, username: str) -> None:
        """A row in users."""
        await self.postgres.execute(
            "INSERT INTO users (user_id, username, email, password, department, role, account_status)"
            " VALUES ($1, $2, $3, '-', 'Product', 'USER', 'ACTIVE') ON CONFLICT DO NOTHING",
            user_id,
            username,
            f"{username}@example.org",
        )

    async def add_post(self, post_id: int, user_id: int, title: str, urls: Mapping[int, str]) -> None:
        """Rows in posts and post_media; urls by media id, in their order."""
        await self.postgres.execute(
            "INSERT INTO posts (post_id, user_id, title, body, status) VALUES ($1, $2, $3, '', 'PUBLISHED')",
            post_id,
            user_id,
            title,
        )
        await self.postgres.executemany(
            "INSERT INTO post_media (media_id, post_id, media_type, media_url, position)"
            " VALUES ($1, $2, 'IMAGE', $3, $4)",
            [(media_id, post_id, url, position) for position, (media_id, url) in enumerate(urls.items())],
        )

    async def send(self, stream: str, **fields: object) -> str:
        """XADD; the entry id."""
        return str(await self.redis.xadd(stream, {name: str(value) for name, value in fields.items()}))

    async def request_image(self, post_id: int | str, media_id: int | str, url: str, **more: object) -> str:
        """The message for one image, as the API reference has it."""
        fields = {"postId": post_id, "mediaId": media_id, "mediaUrl": url, "uploaderId": 15} | more
        return await self.send("post-image-processing", **({"correlationId": f"request-{media_id}"} | fields))

    async def trigger(self, post_id: int | str, *media_ids: int | str) -> str:
        """The message that asks for the aggregate, media ids as a comma list."""
        listed = ",".join(map(str, media_ids))
        return await self.send(
            "post-aggregation-trigger", postId=post_id, totalMedia=len(media_ids), allMediaIds=listed
        )

    async def results(self, stream: str, post_id: int | str) -> list[Fields]:
        """All messages of a post on a result stream, oldest first."""
        entries: list[tuple[str, Fields]] = await self.redis.xrange(stream)  # type: ignore[assignment]
        return [fields for _, fields in entries if fields.get("postId") == str(post_id)]

    async def story(self, post_id: int | str) -> dict[str, Any]:
        """GET /posts/{id}; empty when the worker does not know the post."""
        async with self.http.get(f"{self.worker}/posts/{post_id}") as response:
            return await response.json() if response.status == 200 else {}

    async def search(self, text: str) -> list[Hit]:
        """What users of the search see."""
        return await search(self.elasticsearch, text)


async def until(
    found: Callable[[], Awaitable[Any]], *, seconds: float = 30.0, what: str = "the expected result"
) -> Any:
    """The first true value of found(). Raises TimeoutError that names what was waited for."""
    end = time.monotonic() + seconds
    while not (value := await found()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:g} s")
        await asyncio.sleep(0.05)
    return value
