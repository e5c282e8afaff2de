"""Large entries and records: what is in memory at once is bounded by bytes, and each of them gets through."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bridge_harness import Servers, eventually, produce, read_topic, redis_ids, settings_for
from bridge_process import Bridge, everything_acknowledged
from redis.asyncio import Redis

from bridge.__main__ import new_redis
from bridge.topics import ensure_topics

MIB = 1024 * 1024
COUNT = 32
SIZE = 5 * MIB


@pytest.fixture
async def bridge(servers: Servers, tmp_path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(settings_for(servers, bridge_batch_bytes=8 * MIB, partitions=8), tmp_path)
    await ensure_topics([*bridge.names], bridge.settings)
    async with new_redis(bridge.settings) as redis:
        yield bridge
        bridge.kill()
        await redis.delete(bridge.stream, bridge.topic)


@pytest.fixture
async def redis(bridge: Bridge) -> AsyncIterator[Redis]:
    async with new_redis(bridge.settings) as redis:
        yield redis


async def idle_memory(bridge: Bridge) -> int:
    """What a bridge takes that has nothing to do."""
    bridge.start()
    await bridge.started()
    bytes_ = bridge.peak_memory
    assert bridge.terminate()[0] == 0
    return bytes_


async def test_large_entries_inbound(bridge: Bridge, redis: Redis) -> None:
    idle = await idle_memory(bridge)
    body = "x" * SIZE
    ids = [await redis.xadd(bridge.stream, {"postId": str(n), "body": body}) for n in range(COUNT)]
    # As many as fit were read by a bridge that died: they are read again, and the rest claimed from another.
    group = bridge.settings.bridge_group
    await redis.xreadgroup(group, bridge.settings.bridge_name, {bridge.stream: ">"}, count=COUNT // 4)
    await redis.xreadgroup(group, "dead-bridge", {bridge.stream: ">"}, count=COUNT // 4)
    bridge.start(STREAMAPP_BRIDGE_CLAIM_SECONDS="0.5")
    await eventually(lambda: everything_acknowledged(redis, bridge), seconds=60)
    peak = bridge.peak_memory - idle
    print(f"peak {peak / MIB:.0f} MiB for {COUNT * SIZE / MIB:.0f} MiB")
    assert peak < 16 * bridge.settings.bridge_batch_bytes
    assert set(redis_ids(await read_topic(bridge.settings, bridge.stream))) == set(ids)


async def test_large_records_outbound(bridge: Bridge, redis: Redis) -> None:
    idle = await idle_memory(bridge)
    value = json.dumps({"body": "x" * SIZE}).encode()
    limit = json.dumps({"body": "x" * (bridge.settings.max_message_bytes - 500)}).encode()  # the largest one
    for n in range(COUNT):
        record = {"value": limit if n == COUNT // 2 else value, "key": b"%d" % n}
        await produce(bridge.settings, bridge.topic, [record | {"headers": [("result-id", b"%d" % n)]}])
    bridge.start()

    async def all_there() -> bool:
        return int(await redis.xlen(bridge.topic)) >= COUNT

    await eventually(all_there, seconds=60)
    peak = bridge.peak_memory - idle
    print(f"peak {peak / MIB:.0f} MiB for {COUNT * SIZE / MIB:.0f} MiB")
    assert peak < 16 * bridge.settings.bridge_batch_bytes
    assert await redis.xlen(bridge.topic) == COUNT
