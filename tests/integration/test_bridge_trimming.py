"""Trimming outbound streams: what goes, what stays, and what is said about it."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bridge_harness import Servers, add_entries, entries_of, eventually, running_until_stopped, settings_for, unique
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from bridge import trimming
from bridge.__main__ import new_redis
from bridge.settings import Settings
from bridge.trimming import SCRIPT, Trimmer

#: Entries of a node of a stream, Redis's default: what is trimmed is trimmed by nodes.
NODE = 100
KEPT = 500


class Place:
    """A stream of 2000 entries and a trimmer that is to leave KEPT."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stream = unique("stream")
        self.redis = new_redis(settings)
        self.counts: Counter[str] = Counter()
        self.ids: list[bytes] = []

    async def fill(self, count: int = 2000) -> None:
        self.ids += await add_entries(self.redis, self.stream, [{"n": str(n)} for n in range(count)])

    def trimmer(self, **changes: Any) -> Trimmer:
        settings = self.settings.model_copy(update={"bridge_stream_maxlen": KEPT, **changes})
        return Trimmer(streams=[unique("absent"), self.stream], redis=self.redis, settings=settings, counts=self.counts)

    async def group(self, *, read: int, acknowledged: int | None = None, name: str | None = None) -> str:
        """A group that has read so many entries and acknowledged all of them, or the first ones."""
        name = name or unique("group")
        await self.redis.xgroup_create(self.stream, name, id="0")
        if read:
            await self.redis.xreadgroup(name, "reader", {self.stream: ">"}, count=read)
            await self.redis.xack(self.stream, name, *self.ids[: read if acknowledged is None else acknowledged])
        return name

    async def left(self) -> list[bytes]:
        return [entry_id for entry_id, _ in await entries_of(self.redis, self.stream)]

    async def trimmed(self, **changes: Any) -> list[bytes]:
        """What is left after one look."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.trimmer(**changes).run(stop))
        asyncio.get_running_loop().call_later(0.3, stop.set)
        await task
        return await self.left()


@pytest.fixture
async def place(servers: Servers) -> AsyncIterator[Place]:
    place = Place(settings_for(servers))
    async with place.redis:
        await place.fill()
        yield place
        await place.redis.delete(place.stream)


async def test_what_everybody_has_read_is_trimmed_to_about_the_length(place: Place) -> None:
    await place.group(read=2000)
    left = await place.trimmed()
    assert KEPT <= len(left) < KEPT + NODE
    assert left == place.ids[-len(left) :]
    assert place.counts == {"trimmed": 2000 - len(left)}


async def test_a_group_that_has_read_half(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    name = await place.group(read=1000)
    left = await place.trimmed()
    assert set(place.ids[1000:]) <= set(left)
    assert len(left) <= 1000 + NODE
    assert place.counts == {"trimmed": 2000 - len(left), "trim_refused": 1}
    assert f"stays longer than {KEPT} by 500 entries: group {name} has not read" in caplog.text


async def test_pending_entries_are_unread(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await place.group(read=2000, acknowledged=700)
    left = await place.trimmed()
    assert set(place.ids[700:]) <= set(left)
    assert len(left) <= 1300 + NODE
    assert "by 800 entries" in caplog.text


async def test_the_slowest_of_two_groups_counts(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    await place.group(read=2000)
    slow = await place.group(read=300)
    left = await place.trimmed()
    assert set(place.ids[300:]) <= set(left)
    assert slow in caplog.text


@pytest.mark.parametrize("with_group", [False, True])
async def test_what_nobody_has_read_stays_and_is_said_once(
    place: Place, with_group: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trimming, "TRIM_SECONDS", 0.01)
    if with_group:
        await place.group(read=0)
    assert await place.trimmed() == place.ids
    assert place.counts["trim_refused"] > 2
    (said,) = [record.getMessage() for record in caplog.records]
    assert ("no consumer group is there" in said) != with_group
    assert "by 1500 entries" in said


async def test_what_is_unread_is_trimmed_when_told_to(place: Place) -> None:
    await place.group(read=0)
    left = await place.trimmed(bridge_trim_unread=True)
    assert KEPT <= len(left) < KEPT + NODE
    assert place.counts == {"trimmed": 2000 - len(left)}


async def test_nothing_is_trimmed_without_a_length(place: Place) -> None:
    await place.group(read=2000)
    assert await place.trimmed(bridge_stream_maxlen=0, bridge_trim_unread=True) == place.ids
    assert not place.counts


async def test_a_reader_that_catches_up_lets_it_go_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "TRIM_SECONDS", 0.05)
    monkeypatch.setattr(trimming, "TRIM_LIMIT", 300)  # several calls at each look
    name = await place.group(read=0)
    async with running_until_stopped(place.trimmer()):
        await eventually(lambda: place.counts["trim_refused"] > 0)
        await place.redis.xreadgroup(name, "reader", {place.stream: ">"})
        await place.redis.xack(place.stream, name, *place.ids)
        await eventually(lambda: place.counts["trimmed"] > 1400)
    assert KEPT <= len(await place.left()) < KEPT + NODE


async def test_a_stream_that_is_none_hurts_no_other(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await place.group(read=2000)
    wrong = unique("no-stream")
    await place.redis.set(wrong, "text", ex=60)
    settings = place.settings.model_copy(update={"bridge_stream_maxlen": KEPT})
    trimmer = Trimmer(streams=[wrong, place.stream], redis=place.redis, settings=settings, counts=place.counts)
    async with running_until_stopped(trimmer):
        await eventually(lambda: place.counts["trimmed"] > 1000)
    assert f"trimming {wrong}: waiting" in caplog.text


async def test_ids_are_compared_as_numbers(servers: Servers) -> None:
    """9-0 comes before 10-0, and parts may have 64 bits."""
    async with new_redis(settings_for(servers)) as redis:
        stream = unique("stream")
        large = 2**64 - 2
        ids = [f"{ms}-{seq}" for ms in (9, 10, large) for seq in (9, 10, large, large + 1)]
        for entry_id in ids:
            await redis.xadd(stream, {"a": "x" * 5000}, id=entry_id)  # so large that each has a node of its own
        for name, at in (("one", 9), ("two", 4)):
            await redis.xgroup_create(stream, name, id=ids[at])
        assert await redis.eval(SCRIPT, 1, stream, 0, 100, 0) == [4, 7, b"two"]
        assert (await entries_of(redis, stream))[0][0] == ids[4].encode()


@given(
    count=st.integers(0, 450),
    groups=st.lists(st.tuples(st.integers(0, 450), st.sets(st.integers(0, 449))), max_size=3),
    length=st.integers(1, 400),
    limit=st.integers(1, 500),
    unread=st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_unread_entry_goes(
    servers: Servers, count: int, groups: list[tuple[int, set[int]]], length: int, limit: int, unread: bool
) -> None:
    async with new_redis(settings_for(servers)) as redis:
        stream = unique("stream")
        ids = await add_entries(redis, stream, [{"n": str(n)} for n in range(count)])
        needed = count if groups else 0  # the first entry that some group has not acknowledged
        for number, (read, pending) in enumerate(groups if ids else ()):
            await _read(redis, stream, f"group-{number}", ids[:read], {n for n in pending if n < read})
            needed = min([needed, min(read, count), *(n for n in pending if n < min(read, count))])
        removed, refused, _ = await redis.eval(SCRIPT, 1, stream, length, limit, int(unread))
        left = [entry_id for entry_id, _ in await entries_of(redis, stream)]
        await redis.delete(stream)
    assert left == ids[removed:]
    assert removed <= min(limit, max(0, count - length))
    assert unread or removed <= needed
    excess = max(0, count - length)
    allowed = min(excess, limit, count if unread else needed)
    assert removed > allowed - NODE, "only a part of a node may be left"
    if unread or excess <= needed:
        assert refused == 0
    elif needed < limit:  # else the next call will see it
        assert refused == excess - needed


async def _read(redis: Redis, stream: str, group: str, ids: list[bytes], pending: set[int]) -> None:
    await redis.xgroup_create(stream, group, id="0")
    if ids:
        await redis.xreadgroup(group, "reader", {stream: ">"}, count=len(ids))
        done = [entry_id for number, entry_id in enumerate(ids) if number not in pending]
        if done:
            await redis.xack(stream, group, *done)
