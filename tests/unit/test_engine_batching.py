"""Everybody gets the answer for his own picture, whoever else was in the batch, and however it went."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.engines.base import Sight
from streamapp.engines.batching import Looks, Threads
from streamapp.engines.pixel import Pixel
from streamapp.insights import ImageCaptioning, Insight
from streamapp.media.image import Picture


def picture(number: int, *, side: int = 1) -> Picture:
    """A picture that tells its number (of at most 24 bits) by its colour."""
    color = np.frombuffer(number.to_bytes(3, "big"), np.uint8)
    return Picture(pixels=np.broadcast_to(color, (side, side, 3)), digest=str(number))


def number(shown: Picture) -> int:
    return int.from_bytes(bytes(shown.pixels[0, 0]), "big")


class Seen:
    """Says the number of each picture, and remembers the batches. `bad`: numbers it raises for. While `gate` is not
    set it hangs."""

    def __init__(self, *, bad: frozenset[int] = frozenset()) -> None:
        self.bad = bad
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, pictures: Sequence[Picture]) -> list[tuple[Insight, ...]]:
        self.batches.append([number(shown) for shown in pictures])
        self.threads.add(threading.current_thread().name)
        self.gate.wait()
        if cause := self.bad & {number(shown) for shown in pictures}:
            raise ValueError(f"bad picture {min(cause)}")
        return [(ImageCaptioning(caption=str(number(shown))),) for shown in pictures]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def caption(answers: Sequence[Insight]) -> str:
    (answer,) = answers
    assert isinstance(answer, ImageCaptioning)
    return answer.caption


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what is waited for happens in a thread)
            await asyncio.sleep(0.001)


async def test_when_idle_a_picture_goes_at_once_and_alone(executor: ThreadPoolExecutor) -> None:
    seen = Seen()
    looks = Looks("m", seen, threads=Threads(executor, 1), size=8, delay=60.0)
    for each in range(3):
        assert caption(await looks.look(picture(each))) == str(each)
    assert seen.batches == [[0], [1], [2]]


async def test_those_who_wait_while_the_engine_is_busy_form_the_next_batches(executor: ThreadPoolExecutor) -> None:
    seen = Seen()
    seen.gate.clear()
    looks = Looks("m", seen, threads=Threads(executor, 1), size=4)
    first = asyncio.create_task(looks.look(picture(0)))
    await until(lambda: seen.batches)
    others = [asyncio.create_task(looks.look(picture(each))) for each in range(1, 7)]
    await asyncio.sleep(0)
    seen.gate.set()
    assert [caption(found) for found in await asyncio.gather(first, *others)] == [str(each) for each in range(7)]
    assert seen.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert (looks.pictures, looks.batches) == (7, 3)


async def test_a_batch_waits_for_more_only_while_another_is_at_work(executor: ThreadPoolExecutor) -> None:
    seen = Seen()
    seen.gate.clear()
    looks = Looks("m", seen, threads=Threads(executor, 2), size=2, delay=30.0)
    first = asyncio.create_task(looks.look(picture(0)))
    await until(lambda: seen.batches)
    second = asyncio.create_task(looks.look(picture(1)))
    await asyncio.sleep(0.05)
    assert seen.batches == [[0]]  # a thread is free, but the batch is not full
    third = asyncio.create_task(looks.look(picture(2)))
    await until(lambda: len(seen.batches) == 2)
    assert seen.batches == [[0], [1, 2]]
    seen.gate.set()
    await asyncio.gather(first, second, third)


async def test_a_bad_picture_fails_alone(executor: ThreadPoolExecutor) -> None:
    seen = Seen(bad=frozenset({2}))
    seen.gate.clear()
    looks = Looks("m", seen, threads=Threads(executor, 1), size=8)
    first = asyncio.create_task(looks.look(picture(0)))
    await until(lambda: seen.batches)
    others = [asyncio.create_task(looks.look(picture(each))) for each in (1, 2, 3)]
    await asyncio.sleep(0)
    seen.gate.set()
    found = await asyncio.gather(first, *others, return_exceptions=True)
    assert [str(each) if isinstance(each, BaseException) else caption(each) for each in found] == [
        "0",
        "1",
        "bad picture 2",
        "3",
    ]


async def test_too_few_answers_are_nobodys(executor: ThreadPoolExecutor) -> None:
    looks = Looks("m", lambda _: [], threads=Threads(executor, 1), size=8)
    with pytest.raises(ValueError, match="0 answers for 1 pictures"):
        await looks.look(picture(1))


async def test_a_panic_of_a_library_is_told_to_all_of_the_batch(executor: ThreadPoolExecutor) -> None:
    class Panic(BaseException):
        """As of libraries written in Rust."""

    def panics(_: object) -> list[tuple[Insight, ...]]:
        raise Panic("index out of bounds")

    threads = Threads(executor, 1)
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match=r"Panic.*index out of bounds"):
            await Looks("m", panics, threads=threads, size=8).look(picture(1))
        assert caption(await Looks("m", Seen(), threads=threads, size=8).look(picture(2))) == "2"


async def test_who_waits_when_the_engine_is_closed_is_cancelled() -> None:
    threads = ThreadPoolExecutor(1)
    busy = threading.Event()
    threads.submit(busy.wait)
    waiting = asyncio.create_task(Looks("m", Seen(), threads=Threads(threads, 1), size=8).look(picture(1)))
    await asyncio.sleep(0.01)
    threads.shutdown(wait=False, cancel_futures=True)
    busy.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)


async def test_a_second_attempt_is_looked_at_alone(executor: ThreadPoolExecutor) -> None:
    seen = Seen()
    seen.gate.clear()
    looks = Looks("m", seen, threads=Threads(executor, 1), size=8)
    wishes = [asyncio.create_task(looks.look(picture(each), alone=each == 3)) for each in range(6)]
    await asyncio.sleep(0)
    seen.gate.set()
    await asyncio.gather(*wishes)
    assert [3] in seen.batches
    assert sorted(each for batch in seen.batches for each in batch) == list(range(6))


async def test_a_look_that_hangs_is_given_up_and_keeps_its_turn_until_it_ends(executor: ThreadPoolExecutor) -> None:
    seen = Seen()
    seen.gate.clear()
    threads = Threads(executor, 1)
    hanging = Looks("slow", seen, threads=threads, size=8, patience=0.02)
    other = Looks("other", Seen(), threads=threads, size=8, patience=0.02)
    with pytest.raises(TimeoutError, match=r"not done within 0\.02 s"):
        await hanging.look(picture(1))
    ((since, told),) = threads.overdue.values()
    assert told == "slow: a look at 1 pictures is not done within 0.02 s"
    assert 0 < time.time() - since < 60
    behind = asyncio.create_task(other.look(picture(2)))
    await asyncio.sleep(0.1)  # five times the patience: waiting for a thread is not the picture's failure
    assert not behind.done()
    seen.gate.set()
    assert caption(await behind) == "2"
    assert threads.overdue == {}


async def test_who_gives_up_is_not_looked_at(executor: ThreadPoolExecutor) -> None:
    seen = Seen()
    seen.gate.clear()
    looks = Looks("m", seen, threads=Threads(executor, 1), size=8)
    first = asyncio.create_task(looks.look(picture(0)))
    await until(lambda: seen.batches)
    left, stays = (asyncio.create_task(looks.look(picture(each))) for each in (1, 2))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.sleep(0)
    seen.gate.set()
    assert caption(await stays) == "2"
    await first
    assert seen.batches == [[0], [2]]


async def test_parts_share_the_threads_and_the_event_loop_is_free(executor: ThreadPoolExecutor) -> None:
    seen = [Seen(), Seen(), Seen()]
    threads = Threads(executor, 2)
    parts = [Looks("m", each, threads=threads, size=4) for each in seen]
    await asyncio.gather(*(part.look(picture(each)) for each in range(40) for part in parts))
    assert threading.current_thread().name not in set.union(*(each.threads for each in seen))
    assert len(set.union(*(each.threads for each in seen))) <= 2


@given(seed=st.integers(0, 2**32), size=st.integers(1, 9), threads=st.integers(1, 3))
def test_any_composition_of_batches_gives_everybody_his_own(seed: int, size: int, threads: int) -> None:
    chance = random.Random(seed)
    numbers = [chance.randrange(2**24) for _ in range(chance.randrange(1, 40))]
    bad = frozenset(each for each in numbers if chance.random() < 0.15)
    seen = Seen(bad=bad)

    async def look() -> list[Sequence[Insight] | BaseException]:
        with ThreadPoolExecutor(threads) as executor:
            looks = Looks("m", seen, threads=Threads(executor, threads), size=size, delay=chance.choice((0, 0.001)))

            async def one(each: int) -> Sequence[Insight]:
                await asyncio.sleep(chance.choice((0, 0, 0.001)))
                return await looks.look(picture(each), alone=chance.random() < 0.2)

            return await asyncio.gather(*map(one, numbers), return_exceptions=True)

    for each, found in zip(numbers, asyncio.run(look()), strict=True):
        if each in bad:
            assert str(found) == f"bad picture {each}"
        else:
            assert not isinstance(found, BaseException)
            assert caption(found) == str(each)
    assert max(map(len, seen.batches)) <= size


async def test_the_pixel_engine_says_the_same_in_a_batch(executor: ThreadPoolExecutor) -> None:
    engine = Pixel(image_dim=64, face_dim=64, max_faces=4)
    shown = [picture(each * 4_000_037, side=24) for each in range(4)]

    def see(pictures: Sequence[Picture]) -> list[tuple[Insight, ...]]:
        return [sight.insights for sight in engine.see(pictures)]

    looks = Looks(engine.model, see, threads=Threads(executor, 2), size=3)
    alone: list[Sight] = [engine.see([each])[0] for each in shown]
    assert await asyncio.gather(*map(looks.look, shown)) == [each.insights for each in alone]
