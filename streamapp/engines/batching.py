"""Micro-batching: the pictures that wait while the engine is busy form its next batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeAlias

from streamapp.insights import Insight
from streamapp.media.image import Picture

logger = logging.getLogger(__name__)

Answers: TypeAlias = Sequence[Insight]
See: TypeAlias = Callable[[Sequence[Picture]], Sequence[Answers]]


@dataclass(eq=False)
class Threads:
    """The threads that engines look in. A turn lasts until its look really ended, though nobody may wait for it any
    more: a thread cannot be stopped, and a later look behind a thread that hangs would be taken for hanging too."""

    executor: Executor
    count: int
    overdue: dict[int, tuple[float, str]] = field(default_factory=dict)  # looks given up that go on: since when, what

    def __post_init__(self) -> None:
        self.turns = asyncio.Semaphore(self.count)


@dataclass(eq=False, frozen=True)
class _Wish:
    picture: Picture
    alone: bool
    answer: asyncio.Future[Answers]


class Looks:
    """One part of the engine, asked for one picture at a time.

    model: of the answers. see: the part's work for a thread, one answer per picture, in order.
    size: pictures of a batch at most. delay: seconds that a batch which is not full waits for more while an earlier
    one is at work; nothing waits when none is. patience: seconds per picture until a look is given up.
    """

    def __init__(
        self, model: str, see: See, *, threads: Threads, size: int, delay: float = 0.0, patience: float = 10.0
    ) -> None:
        self.model = model
        self._see, self._threads = see, threads
        self._size, self._delay, self._patience = size, delay, patience
        self._waiting: deque[_Wish] = deque()
        self._came = asyncio.Event()
        self._at_work = 0
        self._dispatcher: asyncio.Task[None] | None = None
        self.pictures = self.batches = 0

    async def look(self, picture: Picture, *, alone: bool = False) -> Answers:
        """The part's answers for the picture, whatever becomes of the others in its batch; alone: in a batch of one,
        as befits a picture that may have been the cause of a batch's failure.

        Raises what the engine raised for this picture, TimeoutError when the batch took too long.
        """
        answer: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Wish(picture, alone, answer))
        self._came.set()
        if self._dispatcher is None or self._dispatcher.done():
            self._dispatcher = asyncio.create_task(self._dispatch())
        return await answer

    async def _dispatch(self) -> None:
        while self._waiting:
            if self._at_work and self._delay:
                await self._gather()
            await self._threads.turns.acquire()
            if batch := self._next():
                self._begin(batch)
            else:
                self._threads.turns.release()

    async def _gather(self) -> None:
        """Wait until a batch is full, at most for the delay."""
        try:
            async with asyncio.timeout(self._delay):
                while len(self._waiting) < self._size:
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            pass

    def _next(self) -> list[_Wish]:
        """The next batch of those still wanted."""
        batch: list[_Wish] = []
        while self._waiting and len(batch) < self._size and not (batch and self._waiting[0].alone):
            wish = self._waiting.popleft()
            if not wish.answer.done():
                batch.append(wish)
                if wish.alone:
                    break
        return batch

    def _begin(self, batch: list[_Wish]) -> None:
        self._at_work += 1
        self.batches += 1
        self.pictures += len(batch)
        loop = asyncio.get_running_loop()
        patience = self._patience * len(batch)
        looking = loop.run_in_executor(self._threads.executor, _look, self._see, [wish.picture for wish in batch])
        overdue = loop.call_later(patience, self._give_up, looking, batch, patience)

        def end(ended: asyncio.Future[list[Answers | Exception]]) -> None:
            overdue.cancel()
            self._at_work -= 1
            self._threads.overdue.pop(id(looking), None)
            self._threads.turns.release()
            if ended.cancelled():  # the executor was shut down
                for wish in batch:
                    wish.answer.cancel()
            elif (error := ended.exception()) is not None:  # no Exception, or _look had caught it: a library's panic
                _tell(batch, [RuntimeError(repr(error))] * len(batch))
            else:
                _tell(batch, ended.result())

        looking.add_done_callback(end)

    def _give_up(self, looking: object, batch: list[_Wish], patience: float) -> None:
        told = f"{self.model}: a look at {len(batch)} pictures is not done within {patience:g} s"
        logger.warning("%s", told)
        self._threads.overdue[id(looking)] = (time.time() - patience, told)
        _tell(batch, [TimeoutError(f"not done within {patience:g} s")] * len(batch))


def _look(see: See, pictures: Sequence[Picture]) -> list[Answers | Exception]:
    """In a thread: one answer or one failure per picture. What fails as a batch is looked at one by one."""
    try:
        answers = list(see(pictures))
        if len(answers) != len(pictures):
            raise ValueError(f"{len(answers)} answers for {len(pictures)} pictures")
        return [*answers]
    except Exception as exc:
        if len(pictures) == 1:
            return [exc]
        logger.warning("a batch of %d pictures failed, each is looked at alone: %r", len(pictures), exc)
        return [found for picture in pictures for found in _look(see, [picture])]


def _tell(batch: Sequence[_Wish], found: Sequence[Answers | Exception]) -> None:
    for wish, answer in zip(batch, found, strict=True):
        if wish.answer.done():
            continue
        if isinstance(answer, Exception):
            wish.answer.set_exception(answer)
        else:
            wish.answer.set_result(answer)
