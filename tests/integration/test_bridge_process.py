"""The bridge as a process: killed, stopped, without Kafka."""

import asyncio
import signal
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
    produce,
    read_topic,
    result,
    settings_for,
)
from bridge_process import Bridge, assert_all_arrived, everything_acknowledged, kafka
from redis.asyncio import Redis

from bridge.__main__ import new_redis
from bridge.names import DEAD_LETTERS, INBOUND, OUTBOUND
from bridge.topics import ensure_topics


@pytest.fixture
async def bridge(servers: Servers, tmp_path: Path) -> AsyncIterator[Bridge]:
    # A small batch is killed in its midst.
    bridge = Bridge(settings_for(servers, bridge_batch=50), tmp_path)
    await ensure_topics([*bridge.names], bridge.settings)
    yield bridge
    bridge.kill()


@pytest.fixture
async def redis(bridge: Bridge) -> AsyncIterator[Redis]:
    async with new_redis(bridge.settings) as redis:
        yield redis


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.mark.timeout(180)
async def test_killed_in_the_middle_of_both_directions(bridge: Bridge, redis: Redis) -> None:
    size, rounds = 3000, 3
    ids: list[bytes] = []

    async def feed(start: int) -> None:
        numbers = range(start, start + size)
        # Without result ids: what delivers once here is the checkpoint alone.
        records = [result(n, key=f"post{n % 7}", result_id="") for n in numbers]
        entries = [{"postId": str(n % 7), "n": str(n)} for n in numbers]
        _, added = await asyncio.gather(
            produce(bridge.settings, bridge.topic, records), add_entries(redis, bridge.stream, entries)
        )
        ids.extend(added)

    async def delivered() -> int:
        return int(await redis.xlen(bridge.topic))

    async def acknowledged() -> bool:
        return await everything_acknowledged(redis, bridge)

    in_the_middle: Counter[str] = Counter()
    for number in range(rounds):
        bridge.start()
        await bridge.started()
        before = await delivered()
        feeder = asyncio.create_task(feed(number * size))

        async def moves(before: int = before) -> bool:
            return await delivered() > before + 200

        await eventually(moves)
        bridge.kill()
        in_the_middle["in"] += not await acknowledged()
        in_the_middle["out"] += await delivered() < (number + 1) * size
        await feeder
    assert in_the_middle["in"] >= 1
    assert in_the_middle["out"] >= 1
    bridge.start()
    total = rounds * size

    async def all_there() -> bool:
        return await delivered() >= total and await acknowledged()

    await eventually(all_there, seconds=60)
    repeats = await assert_all_arrived(redis, bridge, ids)
    assert repeats <= rounds * bridge.settings.bridge_batch
    entries = await entries_of(redis, bridge.topic)
    assert by_key((fields[b"key"], int(fields[b"n"])) for _, fields in entries) == {
        b"post%d" % key: list(range(key, total, 7)) for key in range(7)
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopped_under_load(bridge: Bridge, redis: Redis, number: int) -> None:
    count = 20_000
    ids = await add_entries(
        redis, bridge.stream, [{"postId": str(n % 7), "n": str(n), "body": "x" * 500} for n in range(count)]
    )
    await produce(bridge.settings, bridge.topic, [result(n, key=f"post{n % 7}", result_id="") for n in range(count)])
    bridge.start()
    await bridge.started()
    code, seconds = bridge.terminate(number)
    assert code == 0
    assert seconds < 5
    assert "bridge stopped: " in bridge.log
    pending = await redis.xpending(bridge.stream, bridge.settings.bridge_group)
    assert pending["pending"] == 0, "what was in flight was confirmed and acknowledged"
    assert not await everything_acknowledged(redis, bridge), "there was load"
    bridge.start()

    async def all_there() -> bool:
        return int(await redis.xlen(bridge.topic)) >= count and await everything_acknowledged(redis, bridge)

    await eventually(all_there, seconds=60)
    assert await assert_all_arrived(redis, bridge, ids) == 0
    assert await redis.xlen(bridge.topic) == count


async def test_stopped_while_nothing_is_there(bridge: Bridge) -> None:
    bridge.start(STREAMAPP_KAFKA_URL="kafka://127.0.0.1:1", STREAMAPP_REDIS_URL="redis://127.0.0.1:1/0")
    await eventually(lambda: "retrying without limit" in bridge.log)
    await asyncio.sleep(1)
    assert bridge.log.count("retrying without limit") == 1, "once, not at every attempt"
    code, seconds = bridge.terminate()
    assert code == 0
    assert seconds < 5
    assert "Traceback" not in bridge.log


@pytest.mark.timeout(180)
async def test_kafka_killed_and_back(bridge: Bridge, redis: Redis, servers: Servers) -> None:
    bridge.start()
    await bridge.started()
    entries = [{"postId": str(n % 7), "n": str(n)} for n in range(600)]
    ids = await add_entries(redis, bridge.stream, entries[:200])
    await produce(bridge.settings, bridge.topic, [result(n, result_id="") for n in range(200)])
    await eventually(lambda: everything_acknowledged(redis, bridge))
    kafka("kill", servers)
    try:
        ids += await add_entries(redis, bridge.stream, entries[200:])
        await eventually(lambda: "retrying without limit" in bridge.log, seconds=30)
    finally:
        kafka("start", servers)
    await eventually(lambda: everything_acknowledged(redis, bridge), seconds=60)
    await produce(bridge.settings, bridge.topic, [result(n, result_id="") for n in range(200, 400)])

    async def all_there() -> bool:
        return int(await redis.xlen(bridge.topic)) >= 400

    await eventually(all_there, seconds=60)
    await assert_all_arrived(redis, bridge, ids)
    delivered = await entries_of(redis, bridge.topic)
    assert [int(fields[b"n"]) for _, fields in delivered] == list(range(400))
    assert "works again" in bridge.log
    assert bridge.terminate()[0] == 0
    assert "Traceback" not in bridge.log


async def test_the_real_command(bridge: Bridge, own_redis: RedisServer) -> None:
    # It makes the topics that everybody uses: with as many partitions as everybody wants.
    bridge.settings = bridge.settings.model_copy(update={"redis_url": own_redis.url, "partitions": 8})
    bridge.start("-m", "bridge")
    await bridge.started()
    async with new_redis(bridge.settings) as redis:
        for stream in INBOUND:
            (group,) = await redis.xinfo_groups(stream)
            assert group["name"] == bridge.settings.bridge_group.encode()
        known = await redis.hgetall("streamapp:topic-ids")
        assert set(known) == {name.encode() for name in OUTBOUND}
    code, seconds = bridge.terminate()
    assert code == 0
    assert seconds < 5
    for name in (*INBOUND, *OUTBOUND, DEAD_LETTERS):
        await read_topic(bridge.settings, name)
