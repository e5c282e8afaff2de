"""Forgetting somebody's face: what is removed at once, what follows, and the proof that nothing is left.

The tables lose it in one transaction; documents follow by the outbox and the state by facts, both in running workers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from elasticsearch import ApiError, AsyncElasticsearch, TransportError

from streamapp.errors import Unavailable
from streamapp.faces import forget
from streamapp.faces.forget import Left, Removed
from streamapp.settings import READ_MODELS
from streamapp.sinks.database import TROUBLE, Pool, unavailable
from streamapp.sinks.indices import BY_NAME, NEXT, resolve
from streamapp.sinks.people import said
from streamapp.sinks.postgres import ReadModels
from streamapp.sinks.provision import generations
from streamapp.sinks.statements import Statements

logger = logging.getLogger(__name__)

State: TypeAlias = Callable[[int], Awaitable[Sequence[tuple[str, str]]]]
"""The media, by post and id, whose state says that a user is on them. Raises Unavailable."""

POLL = 0.5  # seconds between two checks
EXAMPLES = 5
DELETED_AT_ONCE = 1000  # documents


class Forgetting:
    """Any process may do it, several times too: what was begun and not ended is ended by the next one."""

    def __init__(
        self, pool: Pool, client: AsyncElasticsearch, *, models: ReadModels, state: State, prefix: str = ""
    ) -> None:
        self._pool, self._client, self._models, self._prefix = pool, client, models, prefix
        self._state = state
        self._send = Statements()

    async def forget(self, user_id: int) -> Removed:
        """Forget the face of a user. Where the backend does not have the user any more, everything of them goes.

        Raises Unavailable without the database. Without Elasticsearch or the state it does what it can.
        """
        also: Sequence[tuple[str, str]] = ()
        with suppress(Unavailable):  # told as left, unknown
            also = await self._state(user_id)  # what the rows do not say: of posts that have none, or a sink behind
        try:
            done = await self._models.sweep.forget(user_id, also=also)
            gone = await self._gone(user_id)
        except TROUBLE as error:
            raise unavailable(error) from error
        documents = {}
        try:
            async for name, query, used in self._indices(user_id, gone):
                if not used:  # nothing follows there
                    documents[name] = await self._empty(name, query)
        except (ApiError, TransportError, Unavailable) as error:  # also told as left
            logger.warning("documents of user %d may be left: %s", user_id, error)
        return Removed(rows=dict(done.rows), documents=documents, rechecked=done.rechecked)

    async def wait(self, user_id: int, seconds: float) -> list[Left]:
        """What is left when nothing is left any more, or the time is over. Raises Unavailable without the database."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and await self.left(user_id, everything=False):  # noqa: ASYNC110  # of servers
            await asyncio.sleep(POLL)
        return await self.left(user_id)

    async def left(self, user_id: int, *, everything: bool = True) -> list[Left]:
        """What is left, nothing being proof. everything: in all places, else in the first that has something.
        Raises Unavailable without the database."""
        found: list[Left] = []
        for look in (self._rows, self._documents, self._media):
            found += await look(user_id)
            if found and not everything:
                break
        return found

    async def known(self, user_id: int) -> dict[str, Any]:
        """What is known of the user's face. Raises Unavailable."""
        try:
            (row,) = await self._send.fetch(self._pool, "known_of_user", user_id)
        except TROUBLE as error:
            raise unavailable(error) from error
        return forget.known(user_id, dict(row))

    async def _gone(self, user_id: int) -> bool:
        return bool(await self._models.sweep.users.gone(self._pool, [user_id]))

    async def _rows(self, user_id: int) -> list[Left]:
        try:
            rows = await self._send.fetch(self._pool, "traces", user_id, said(user_id))
        except TROUBLE as error:
            raise unavailable(error) from error
        return [
            Left(
                place=row["place"],
                count=row["count"],
                examples=tuple(row["examples"]),
                note="" if row["place"] in self._models.tables or row["place"] not in READ_MODELS else forget.NOT_OURS,
            )
            for row in rows
        ]

    async def _documents(self, user_id: int) -> list[Left]:
        found = []
        try:
            async for name, query, used in self._indices(user_id, await self._gone(user_id)):
                await self._client.indices.refresh(index=name)
                answer = await self._client.search(
                    index=name, query=query, size=EXAMPLES, source=False, track_total_hits=True
                )
                if count := int(answer["hits"]["total"]["value"]):
                    examples = tuple(hit["_id"] for hit in answer["hits"]["hits"])
                    found.append(
                        Left(place=name, count=count, examples=examples, note="" if used else forget.NOT_SEARCHED)
                    )
        except TROUBLE as error:
            raise unavailable(error) from error
        except (ApiError, TransportError) as error:
            found.append(Left(place="documents", count=None, note=f"Elasticsearch: {error}"))
        return found

    async def _indices(self, user_id: int, gone: bool) -> AsyncIterator[tuple[str, dict[str, Any], bool]]:
        """Every index that may name the user, with the query for it, and whether it is searched or built."""
        for name, query in forget.queries(user_id, gone=gone).items():
            index = BY_NAME[name]
            used = await resolve(self._client, [index.alias(self._prefix), index.alias(self._prefix, NEXT)])
            for generation in (await generations(self._client, index, self._prefix)).values():
                yield generation, query, generation in used.values()

    async def _empty(self, name: str, query: dict[str, Any]) -> int:
        """Delete the documents that a query finds; how many. The bare server has no request for it."""
        deleted = 0
        while True:
            await self._client.indices.refresh(index=name)
            found = await self._client.search(index=name, query=query, size=DELETED_AT_ONCE, source=False)
            hits = found["hits"]["hits"]
            if not hits:
                return deleted
            operations = [{"delete": {"_id": hit["_id"]}} for hit in hits]
            answer = await self._client.bulk(index=name, operations=operations)
            if answer["errors"]:
                raise Unavailable(f"{name} does not delete: {answer['items'][0]}")
            deleted += len(hits)

    async def _media(self, user_id: int) -> list[Left]:
        try:
            media = await self._state(user_id)
        except Unavailable as error:
            return [Left(place="state", count=None, note=str(error))]
        examples = tuple(f"post {post} media {one}" for post, one in media[:EXAMPLES])
        return [Left(place="state", count=len(media), examples=examples)] if media else []
