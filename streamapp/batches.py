"""Micro-batching: whoever comes while a batch is at work, or soon after it began, forms the next one.

No delay when idle.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from streamapp.errors import Unavailable

LONGEST_WAIT = 5.0  # seconds between attempts while a server is down
T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Collects items into calls of `work`, one at a time. Each caller gets the result of its own item.

    A batch that is not full begins `every` seconds after the one before it at the earliest.
    `work` takes at most `size` items and gives one result per item, in order; what it raises, every caller of that
    batch gets. Unavailable is not passed on but waited out, because what comes later must not pass the batch.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, size: int, every: float = 0.0) -> None:
        self._work, self._size, self._every = work, size, every
        self.waiting_for: str | None = None
        self.waiting_since: float | None = None
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._runner: asyncio.Task[None] | None = None
        self._full = asyncio.Event()
        self._began = -math.inf  # when the last batch did, monotonic

    async def add(self, item: T) -> R:
        """The result for item."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._waiting) >= self._size:
            self._full.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        wait = 0.1
        while self._waiting:
            await self._gather()
            if not self._drop_abandoned():
                break
            self._began = time.monotonic()
            batch = self._waiting[: self._size]
            try:
                await self._finish(batch)
            except Unavailable as exc:
                self.waiting_for = str(exc)
                self.waiting_since = self.waiting_since or time.time()
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                wait, self.waiting_for, self.waiting_since = 0.1, None, None
                del self._waiting[: len(batch)]
        self.waiting_for = self.waiting_since = None

    async def _gather(self) -> None:
        """Wait until a batch is full or due."""
        self._full.clear()
        left = self._began + self._every - time.monotonic()
        if left > 0 and len(self._waiting) < self._size:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._full.wait()

    def _drop_abandoned(self) -> bool:
        """Whether somebody still waits."""
        self._waiting = [(item, future) for item, future in self._waiting if not future.done()]
        return bool(self._waiting)

    async def _finish(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([item for item, _ in batch])
        except Unavailable:
            raise
        except Exception as exc:
            for _, future in batch:
                if not future.done():
                    future.set_exception(exc)
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)
