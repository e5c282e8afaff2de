"""Servers away for long, a Redis set back to an older state, and two bridges where one should be."""

import asyncio
import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from bridge_harness import (
    RedisServer,
    Servers,
    add_entries,
    by_key,
    entries_of,
    eventually,
    first_of_each,
    produce,
    read_topic,
    redis_ids,
    result,
    settings_for,
)
from bridge_process import Bridge, assert_all_arrived, everything_acknowledged, kafka
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bridge.topics import ensure_topics

KEYS = 7


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def bridge(servers: Servers, own_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(settings_for(servers, redis_url=own_redis.url, bridge_batch=50), tmp_path)
    await ensure_topics([*bridge.names], bridge.settings)
    yield bridge
    bridge.kill()


@pytest.fixture
async def redis(bridge: Bridge) -> AsyncIterator[Redis]:
    # Not the bridge's client: a busy machine may answer a test later than that one waits.
    async with Redis.from_url(bridge.settings.redis_url, retry=Retry(NoBackoff(), 0), socket_timeout=60) as redis:
        yield redis


class Load:
    """Entries and records that are written all the time, as far as their server is there."""

    def __init__(self, bridge: Bridge, redis: Redis, *, both: int = 0) -> None:
        self._bridge = bridge
        self._redis = redis
        self._limit = both
        self.enough = False
        self.ids: list[bytes] = []
        self.records = 0

    async def add(self) -> None:
        while not self.enough and (not self._limit or len(self.ids) < self._limit):
            start = len(self.ids)
            entries = [{"postId": str(n % KEYS), "n": str(n)} for n in range(start, start + 20)]
            self.ids += await add_entries(self._redis, self._bridge.stream, entries)
            await asyncio.sleep(0.05)

    async def produce(self) -> None:
        # Without result ids: what delivers once here is the checkpoint alone.
        while not self.enough and (not self._limit or self.records < self._limit):
            numbers = range(self.records, self.records + 20)
            await produce(self._bridge.settings, self._bridge.topic, [record(n) for n in numbers])
            self.records += 20
            await asyncio.sleep(0.05)

    async def carried(self) -> bool:
        """Whether all that was written so far is on the other side."""
        return int(await self._redis.xlen(self._bridge.topic)) >= self.records and (
            not self.ids or await everything_acknowledged(self._redis, self._bridge)
        )


def record(number: int) -> dict[str, object]:
    return result(number, key=f"post{number % KEYS}", result_id="")


async def assert_each_once_and_in_order(redis: Redis, bridge: Bridge, count: int) -> None:
    entries = await entries_of(redis, bridge.topic)
    assert by_key((fields[b"key"], int(fields[b"n"])) for _, fields in entries) == {
        b"post%d" % key: list(range(key, count, KEYS)) for key in range(KEYS)
    }


OUTAGES = [6, pytest.param(60, marks=pytest.mark.slow)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", OUTAGES)
async def test_redis_away_for_long(bridge: Bridge, redis: Redis, own_redis: RedisServer, seconds: int) -> None:
    bridge.start()
    await bridge.started()
    load = Load(bridge, redis)
    producing = asyncio.create_task(load.produce())
    adding = asyncio.create_task(load.add())
    await eventually(lambda: load.records > 100 and len(load.ids) > 100)
    own_redis.kill()
    with pytest.raises((RedisError, OSError)):
        await adding
    before = load.records
    await asyncio.sleep(seconds)
    own_redis.start()
    begin = time.monotonic()
    await eventually(lambda: load.records > before + 100)
    load.enough = True
    await producing
    # The last entries were written without an answer, perhaps.
    load.ids = [entry_id for entry_id, _ in await entries_of(redis, bridge.stream)]
    await eventually(load.carried, seconds=60)
    print(f"caught up {time.monotonic() - begin:.1f} s after Redis was back")
    await assert_all_arrived(redis, bridge, load.ids)
    await assert_each_once_and_in_order(redis, bridge, load.records)
    await assert_calm(bridge)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seconds", OUTAGES)
async def test_kafka_away_for_long(bridge: Bridge, redis: Redis, servers: Servers, seconds: int) -> None:
    bridge.start()
    await bridge.started()
    load = Load(bridge, redis)
    adding = asyncio.create_task(load.add())
    for start in range(0, 200, 20):
        await produce(bridge.settings, bridge.topic, [record(n) for n in range(start, start + 20)])
    kafka("kill", servers)
    try:
        await asyncio.sleep(seconds)
    finally:
        kafka("start", servers)
    begin = time.monotonic()
    await produce(bridge.settings, bridge.topic, [record(n) for n in range(200, 400)])
    load.records = 400
    load.enough = True
    await adding
    await eventually(load.carried, seconds=60)
    print(f"caught up {time.monotonic() - begin:.1f} s after Kafka was back")
    assert len(load.ids) > 400
    await assert_all_arrived(redis, bridge, load.ids)
    await assert_each_once_and_in_order(redis, bridge, load.records)
    await assert_calm(bridge)


async def assert_calm(bridge: Bridge) -> None:
    """Nothing was given up, the trouble was said and is over."""
    assert await read_topic(bridge.settings, bridge.letters) == []
    assert bridge.terminate()[0] == 0
    assert "dead_letters=0" in bridge.log
    assert "retrying without limit" in bridge.log
    assert "works again" in bridge.log
    assert "Traceback" not in bridge.log


@pytest.mark.timeout(180)
async def test_a_redis_set_back_under_load_gets_again_what_followed(
    bridge: Bridge, redis: Redis, own_redis: RedisServer, tmp_path: Path
) -> None:
    bridge.start()
    await bridge.started()
    load = Load(bridge, redis)
    producing = asyncio.create_task(load.produce())

    async def delivered(count: int) -> bool:
        with contextlib.suppress(RedisError, OSError):  # the connection is gone with every kill
            return int(await redis.xlen(bridge.topic)) >= count
        return False

    await eventually(lambda: delivered(200))
    own_redis.kill()
    shutil.copytree(tmp_path / "redis", tmp_path / "older")
    own_redis.start()
    await eventually(lambda: delivered(200))
    older = await redis.xlen(bridge.topic)
    await eventually(lambda: delivered(older + 400))
    own_redis.kill()
    shutil.rmtree(tmp_path / "redis")
    shutil.move(tmp_path / "older", tmp_path / "redis")
    own_redis.start()
    await eventually(lambda: delivered(older + 800))
    load.enough = True
    await producing
    await eventually(load.carried, seconds=60)
    await assert_each_once_and_in_order(redis, bridge, load.records)
    again = [line for line in bridge.log.splitlines() if "they are delivered again" in line]
    assert len(again) == 2, "one line for each partition"
    lost = 0
    for line in again:
        first, last = line.partition("Redis lost records ")[2].partition(",")[0].split(" to ")
        lost += int(last) - int(first) + 1
    assert lost >= 400 - 2 * bridge.settings.bridge_batch
    assert bridge.terminate()[0] == 0
    assert "rewound=2" in bridge.log


@pytest.mark.parametrize("name", ["bridge-1", "bridge-2"])
async def test_two_bridges_by_mistake(bridge: Bridge, redis: Redis, name: str) -> None:
    """Of one name, or of two: nothing is lost, a result comes once, an entry that comes twice has one id."""
    count = 2000
    second = bridge.another(bridge_name=name)
    load = Load(bridge, redis, both=count)
    bridge.start()
    await bridge.started()
    writing = asyncio.gather(load.add(), load.produce())
    try:
        await eventually(lambda: load.records > 200)
        second.start()
        await second.started()
        await writing
        await eventually(load.carried, seconds=60)
        assert [one.terminate()[0] for one in (bridge, second)] == [0, 0]
    finally:
        second.kill()
    assert ("who had our name" in second.log) == (name == bridge.settings.bridge_name)
    await assert_each_once_and_in_order(redis, bridge, count)
    records = await read_topic(bridge.settings, bridge.stream)
    assert Counter(redis_ids(first_of_each(records))) == Counter(load.ids)
    numbers = {dict(one.headers)["redis-id"]: json.loads(one.value)["n"] for one in records}
    assert [int(numbers[entry_id]) for entry_id in load.ids] == list(range(count)), "repeats are the same entry"
    assert await read_topic(bridge.settings, bridge.letters) == []
    assert "Traceback" not in bridge.log + second.log
