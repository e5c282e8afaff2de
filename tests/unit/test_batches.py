from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest

from streamapp.batches import Batches
from streamapp.errors import Unavailable


async def test_whoever_waits_while_a_batch_is_at_work_forms_the_next() -> None:
    seen: list[list[int]] = []

    async def double(items: Sequence[int]) -> list[int]:
        seen.append(list(items))
        await asyncio.sleep(0.01)
        return [2 * item for item in items]

    batches = Batches(double, size=3)
    assert await asyncio.gather(*(batches.add(n) for n in range(6))) == [0, 2, 4, 6, 8, 10]
    assert seen == [[0, 1, 2], [3, 4, 5]]


async def test_a_failure_reaches_everybody_of_its_batch_and_nobody_else() -> None:
    async def fail_on_zero(items: Sequence[int]) -> list[int]:
        if 0 in items:
            raise ValueError("zero")
        return list(items)

    batches = Batches(fail_on_zero, size=2)
    results = await asyncio.gather(*(batches.add(n) for n in range(4)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["ValueError", "ValueError", "int", "int"]


async def test_an_abandoned_caller_does_not_stop_the_others() -> None:
    async def echo(items: Sequence[int]) -> list[int]:
        await asyncio.sleep(0.01)
        return list(items)

    batches = Batches(echo, size=10)
    first, second = asyncio.create_task(batches.add(1)), asyncio.create_task(batches.add(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await batches.add(3) == 3


async def test_unavailable_is_waited_out_in_place() -> None:
    """What came later must not be written before what came earlier."""
    written: list[int] = []
    down = 2

    async def write(items: Sequence[int]) -> list[int]:
        nonlocal down
        if down:
            down -= 1
            raise Unavailable("down")
        written.extend(items)
        return list(items)

    batches = Batches(write, size=2)
    tasks = [asyncio.create_task(batches.add(n)) for n in range(5)]
    await asyncio.sleep(0.05)
    assert batches.waiting_for == "down"
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert written == [0, 2, 3, 4]
    assert batches.waiting_since is None


async def test_a_batch_that_is_not_full_waits_for_its_time_unless_nothing_came_lately() -> None:
    begun: list[tuple[float, list[int]]] = []

    async def note(items: Sequence[int]) -> list[int]:
        begun.append((time.monotonic(), list(items)))
        return list(items)

    batches = Batches(note, size=3, every=0.2)
    start = time.monotonic()
    assert await batches.add(0) == 0
    assert begun[0][0] - start < 0.1
    await asyncio.gather(batches.add(1), batches.add(2))
    assert begun[1][0] - begun[0][0] >= 0.2
    await asyncio.gather(*(batches.add(n) for n in (3, 4, 5)))
    assert begun[2][0] - begun[1][0] < 0.2
    assert [items for _, items in begun] == [[0], [1, 2], [3, 4, 5]]
