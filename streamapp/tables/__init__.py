"""The state: three tables of raw bytes, typed at this rim. Their keys partition like the facts that write them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

import msgspec

from streamapp.app import app
from streamapp.errors import Unavailable
from streamapp.posts.state import Media, OpenPost, Post

T = TypeVar("T")

SCANNED_AT_ONCE = 200  # rows


@contextmanager
def _local() -> Iterator[None]:
    """A full or broken disk is waited for, not the fault of a fact: rocksdict raises a bare Exception for it."""
    try:
        yield
    except Exception as exc:
        if type(exc) is Exception:
            raise Unavailable(f"local state: {exc}") from exc
        raise


class State(Generic[T]):
    """A changelog table of msgspec records by string key. Writes are only possible while an event is handled."""

    def __init__(self, name: str, kind: type[T]) -> None:
        self.name, self._kind = name, kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._table = app.Table(
            name,
            partitions=app.settings.partitions,
            key_type=bytes,
            value_type=bytes,
            extra_topic_configs={"max.message.bytes": str(app.settings.max_message_bytes)},
            recovery_buffer_size=50,  # rows of up to some hundred kB are held in memory
            # Per partition; the defaults allow 2 GB of cache each.
            options={"block_cache_size": 8 << 20, "write_buffer_size": 4 << 20},
        )

    def get(self, key: str) -> T | None:
        """The row of key. Raises msgspec.ValidationError where it was written by another version."""
        with _local():
            raw = self._table.get(key.encode())
        return None if raw is None else self._decode(raw)

    def encode(self, key: str, row: T) -> tuple[str, bytes]:
        """The bytes of a row, checked against the message limit before anything is written. Raises TooLarge."""
        raw = msgspec.json.encode(row)
        app.outbox.check(f"row {key} of table {self.name}", raw)
        return key, raw

    def put(self, key: str, raw: bytes) -> None:
        """Write encoded bytes."""
        with _local():
            self._table[key.encode()] = raw

    def delete(self, key: str) -> None:
        """Delete a row; deleting an absent one writes its tombstone again, which heals a lost one."""
        with _local():
            del self._table[key.encode()]

    def items(self) -> Iterator[tuple[str, T]]:
        """All rows of this worker, in no order."""
        for key, raw in self._table.items():
            yield key.decode(), self._decode(raw)

    def page(self, *, after: str, limit: int) -> list[tuple[str, T]]:
        """The first rows of this worker with a key greater than `after`, in byte order of the keys."""
        keys = heapq.nsmallest(limit, (key for key in self._table if key > after.encode()))
        return [(key.decode(), row) for key in keys if (row := self.get(key.decode())) is not None]

    async def saying(self, text: bytes) -> list[T]:
        """The rows of this worker with a text in their bytes; other work goes on between them. Raises Unavailable."""
        found = []
        with _local():
            keys = list(self._table)
        for n, key in enumerate(keys):
            if n % SCANNED_AT_ONCE == 0:
                await asyncio.sleep(0)
            with _local():
                raw = self._table.get(key)
            if raw is not None and text in raw:
                found.append(self._decode(raw))
        return found

    def count(self) -> int:
        """Rows of this worker."""
        return len(self._table)


posts = State("posts", Post)
media = State("media", Media)
open_posts = State("open_posts", OpenPost)
ALL = {state.name: state for state in (posts, media, open_posts)}
