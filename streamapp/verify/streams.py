"""The result streams: read once from beginning to end, of which only where each result lies is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

from redis.asyncio import Redis

from streamapp.contracts.dialect import RESULT_ID
from streamapp.contracts.streams import ENRICHED, ERRORS, FACES, INSIGHTS, RECOGNITIONS
from streamapp.ids import join

Fields: TypeAlias = dict[str, str]

STREAMS = (INSIGHTS, FACES, ENRICHED, RECOGNITIONS, ERRORS)
PAGE = 100  # entries; one with many faces has some hundred kB


class Streams:
    """Where the results lie, about 200 bytes each; with `only`, those of one post. Every method raises RedisError."""

    def __init__(self, redis: Redis, *, only: str | None = None) -> None:
        """`redis` must decode responses, with `surrogateescape`: a result may have bytes that are no text."""
        self._redis = redis
        self._prefix = "" if only is None else join(only, "")
        self._read = dict.fromkeys(STREAMS, "-")  # where to read on
        self._places: dict[bytes, str] = {}
        self._times: Counter[bytes] = Counter()  # of results that are there more than once
        self._last: dict[str, tuple[str, str]] = {}  # post, as in result ids -> result id and place of its aggregate
        self._first: dict[str, int] = {}  # ms since the epoch of the oldest entry of streams that lost older ones

    async def read(self) -> None:
        """Read what is new."""
        for stream in STREAMS:
            while entries := await self._page(stream):
                for entry_id, fields in entries:
                    self._note(stream, entry_id, fields.get(RESULT_ID.wire))
                self._read[stream] = f"({entries[-1][0]}"
            await self._note_losses(stream)

    async def _page(self, stream: str) -> list[tuple[str, Fields]]:
        page: Any = await self._redis.xrange(stream, min=self._read[stream], count=PAGE)
        return page  # type: ignore[no-any-return]  # of text, because the client decodes

    def _note(self, stream: str, entry_id: str, result_id: str | None) -> None:
        if result_id is None or not result_id.startswith(self._prefix):
            return
        key = _key(stream, result_id)
        if key in self._places:
            self._times[key] = max(1, self._times[key]) + 1
        self._places[key] = entry_id
        if stream == ENRICHED:
            self._last[result_id.partition(":")[0]] = result_id, entry_id

    async def _note_losses(self, stream: str) -> None:
        if not await self._redis.exists(stream):
            return
        info: dict[str, Any] = await self._redis.xinfo_stream(stream)
        if info["entries-added"] > info["length"]:
            first = info["first-entry"] or [info["last-generated-id"]]
            self._first[stream] = int(first[0].partition("-")[0])

    def place(self, stream: str, result_id: str) -> str | None:
        """The entry id of a result; of the last one where it is there more than once."""
        return self._places.get(_key(stream, result_id))

    def times(self, stream: str, result_id: str) -> int:
        """How often a result that is there is there."""
        return self._times.get(_key(stream, result_id), 1)

    def last(self, post_id: str) -> tuple[str, str] | None:
        """Result id and entry id of the last aggregate of a post."""
        return self._last.get(join(post_id))

    def trimmed(self, stream: str, at: int) -> bool:
        """Whether what was written at a time (ms since the epoch) is of the part that was cut off."""
        return at < self._first.get(stream, 0)

    async def entries(self, places: Sequence[tuple[str, str]]) -> list[Fields | None]:
        """The fields of entries, given as stream and entry id; None where one is gone by now."""
        pipe = self._redis.pipeline(transaction=False)
        for stream, entry_id in places:
            pipe.xrange(stream, entry_id, entry_id)
        return [found[0][1] if found else None for found in await pipe.execute()]


def _key(stream: str, result_id: str) -> bytes:
    return blake2b(f"{stream} {result_id}".encode("utf-8", "surrogateescape"), digest_size=12).digest()
