"""Sharing of pictures between callers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from streamapp.media.cache import Pictures
from streamapp.media.fetch import FetchError
from streamapp.media.files import Files
from streamapp.media.image import ImageError

SIDE = 20
PICTURE_BYTES = SIDE * SIDE * 3


def png(side: int = SIDE) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (side, side), "teal").save(buffer, "PNG")
    return buffer.getvalue()


class Source:
    """Gives files when allowed to, counts the fetches, and fails as told."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.body = png()

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        return self.body


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="decoder") as executor:
        yield executor


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
async def pictures(source: Source, executor: ThreadPoolExecutor) -> AsyncIterator[Pictures]:
    pictures = Pictures(fetch=source.fetch, executor=executor, max_bytes=3 * PICTURE_BYTES, max_pixels=10 * SIDE * SIDE)
    yield pictures
    await pictures.aclose()


async def test_a_picture_is_fetched_once(source: Source, pictures: Pictures) -> None:
    first = await pictures.get("a", "1")
    assert first.width == SIDE
    assert await pictures.get("a", "1") is first
    assert source.fetched == ["a"]


async def test_another_generation_is_fetched_anew(source: Source, pictures: Pictures) -> None:
    assert await pictures.get("a", "1") is not await pictures.get("a", "2")
    assert source.fetched == ["a", "a"]


async def test_callers_at_the_same_time_share_a_flight(source: Source, pictures: Pictures) -> None:
    source.gate.clear()
    callers = [asyncio.create_task(pictures.get("a", "1")) for _ in range(5)]
    other = asyncio.create_task(pictures.get("b", "1"))
    await asyncio.sleep(0)
    source.gate.set()
    found = await asyncio.gather(*callers)
    assert all(picture is found[0] for picture in found)
    assert await other is not found[0]
    assert sorted(source.fetched) == ["a", "b"]


async def test_a_caller_that_gives_up_leaves_the_flight_to_the_others(source: Source, pictures: Pictures) -> None:
    source.gate.clear()
    gone, stays = (asyncio.create_task(pictures.get("a", "1")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    source.gate.set()
    assert (await stays).width == SIDE
    assert source.fetched == ["a"]


async def test_a_flight_whose_callers_all_gave_up_is_used_by_the_next(source: Source, pictures: Pictures) -> None:
    source.gate.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pictures.get("a", "1"), 0.01)
    source.gate.set()
    assert (await pictures.get("a", "1")).width == SIDE
    assert source.fetched == ["a"]


async def test_a_failure_is_shared_by_a_flight_and_not_kept(source: Source, pictures: Pictures) -> None:
    source.failures = [FetchError("503 from there", permanent=False)]
    source.gate.clear()
    callers = [asyncio.create_task(pictures.get("a", "1")) for _ in range(3)]
    await asyncio.sleep(0)
    source.gate.set()
    for result in await asyncio.gather(*callers, return_exceptions=True):
        assert isinstance(result, FetchError)
    assert (await pictures.get("a", "1")).width == SIDE
    assert source.fetched == ["a", "a"]


async def test_a_failure_that_nobody_awaits_any_more_is_silent(source: Source, pictures: Pictures) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    source.failures = [FetchError("503 from there", permanent=False)]
    source.gate.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pictures.get("a", "1"), 0.01)
    source.gate.set()
    await asyncio.sleep(0.01)
    assert (await pictures.get("a", "1")).width == SIDE
    assert not complaints


async def test_a_file_that_is_no_image_is_an_error_each_time(source: Source, pictures: Pictures) -> None:
    source.body = b"nothing"
    for _ in range(2):
        with pytest.raises(ImageError, match="not an image"):
            await pictures.get("a", "1")
    source.body = png(side=4 * SIDE)
    with pytest.raises(ImageError, match="larger than 4000 pixels"):
        await pictures.get("a", "1")
    assert pictures.kept_bytes == 0


async def test_the_least_recently_used_is_dropped_first(source: Source, pictures: Pictures) -> None:
    for url in "abc":
        await pictures.get(url, "1")
    await pictures.get("a", "1")
    await pictures.get("d", "1")
    assert pictures.kept_bytes == 3 * PICTURE_BYTES
    for url in "acd":
        await pictures.get(url, "1")
    assert source.fetched == list("abcd")
    await pictures.get("b", "1")
    assert source.fetched == list("abcdb")


async def test_a_picture_larger_than_all_room_pushes_nobody_out(source: Source, pictures: Pictures) -> None:
    await pictures.get("a", "1")
    source.body = png(side=2 * SIDE)
    assert (await pictures.get("large", "1")).width == 2 * SIDE
    assert pictures.kept_bytes == PICTURE_BYTES
    await pictures.get("a", "1")
    assert source.fetched == ["a", "large"]


async def test_decoding_happens_in_the_executor(
    source: Source, pictures: Pictures, executor: ThreadPoolExecutor
) -> None:
    busy = threading.Event()
    occupied = executor.submit(busy.wait)
    waiting = asyncio.create_task(pictures.get("a", "1"))
    await asyncio.sleep(0.05)
    assert source.fetched == ["a"]
    assert not waiting.done()  # its one thread is occupied, and the event loop was free all the time
    busy.set()
    assert (await waiting).width == SIDE
    assert occupied.result()


async def test_closing_ends_what_is_under_way(source: Source, pictures: Pictures) -> None:
    await pictures.get("a", "1")
    source.gate.clear()
    waiting = asyncio.create_task(pictures.get("b", "1"))
    await asyncio.sleep(0)
    await pictures.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pictures.kept_bytes == 0


async def test_a_picture_on_disk_is_not_fetched_again(
    source: Source, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    def anew() -> Pictures:
        files = Files(tmp_path, max_bytes=100_000)
        return Pictures(fetch=source.fetch, executor=executor, max_bytes=PICTURE_BYTES, max_pixels=10_000, files=files)

    before = anew()
    first = await before.get("a", "1")
    await before.get("a", "1")
    await asyncio.gather(before.get("b", "1"), before.get("b", "1"))
    assert before.sources == {"fetched": 2, "memory": 1, "shared": 1}
    await before.aclose()

    after = anew()
    assert (await after.get("a", "1")).digest == first.digest
    assert source.fetched == ["a", "b"]
    source.body = png(side=30)  # replaced, and asked for by a new request
    assert (await after.get("a", "2")).width == 30
    assert source.fetched == ["a", "b", "a"]
    assert after.sources == {"disk": 1, "fetched": 1}
    await after.aclose()


async def test_what_is_no_picture_is_not_kept_on_disk(
    source: Source, executor: ThreadPoolExecutor, tmp_path: Path
) -> None:
    files = Files(tmp_path, max_bytes=100_000)
    pictures = Pictures(fetch=source.fetch, executor=executor, max_bytes=0, max_pixels=10_000, files=files)
    source.body = b"nothing"
    for _ in range(2):
        with pytest.raises(ImageError):
            await pictures.get("a", "1")
    assert source.fetched == ["a", "a"]
    assert files.get("a", "1") is None
    await pictures.aclose()


async def test_large_pictures_are_kept_small(source: Source, executor: ThreadPoolExecutor) -> None:
    pictures = Pictures(fetch=source.fetch, executor=executor, max_bytes=100_000, max_pixels=10_000, min_side=20)
    source.body = png(side=80)
    picture = await pictures.get("a", "1")
    assert (picture.width, picture.scale, picture.full_width) == (20, 4, 80)
    assert pictures.kept_bytes == PICTURE_BYTES
    await pictures.aclose()
