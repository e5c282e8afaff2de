"""Bridges in one Kafka group: restarted after a kill, and with one name by mistake."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from bridge_harness import Servers, eventually, produce, result, settings_for, unique
from bridge_process import Bridge
from redis.asyncio import Redis

from bridge import membership
from bridge.__main__ import new_redis
from bridge.membership import SESSION_SECONDS, Namesakes
from bridge.outbound import new_consumer
from bridge.settings import Settings
from bridge.topics import ensure_topics, kafka_client


@pytest.fixture
async def bridge(servers: Servers, tmp_path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(settings_for(servers), tmp_path)
    await ensure_topics([*bridge.names], bridge.settings)
    yield bridge
    bridge.kill()


@pytest.fixture
async def redis(bridge: Bridge) -> AsyncIterator[Redis]:
    async with new_redis(bridge.settings) as redis:
        yield redis


async def delivered(redis: Redis, bridge: Bridge, count: int) -> None:
    async def enough() -> bool:
        return int(await redis.xlen(bridge.topic)) >= count

    await eventually(enough, seconds=30)


async def test_a_killed_bridge_is_back_before_its_session_ends(bridge: Bridge, redis: Redis) -> None:
    bridge.start()
    await bridge.started()
    await produce(bridge.settings, bridge.topic, [result(0)])
    await delivered(redis, bridge, 1)
    bridge.kill()
    await produce(bridge.settings, bridge.topic, [result(1)])
    begin = time.monotonic()
    bridge.start()
    await delivered(redis, bridge, 2)
    seconds = time.monotonic() - begin
    print(f"delivered {seconds:.1f} s after the restart")
    assert seconds < SESSION_SECONDS - 2
    assert "who had our name" in bridge.log
    code, _ = bridge.terminate()
    assert code == 0
    assert "removed_members=1" in bridge.log


@pytest.fixture
async def settings(servers: Servers) -> Settings:
    return settings_for(servers, bridge_name="twin")


async def members(settings: Settings) -> list[str]:
    async with kafka_client(settings) as client:
        return await Namesakes(settings=settings, counts=Counter())._members(client)


async def test_only_members_of_the_same_name_and_group_are_removed(settings: Settings) -> None:
    topic = unique("topic")
    await ensure_topics([topic], settings)
    other = settings.model_copy(update={"bridge_name": "other"})
    elsewhere = settings.model_copy(update={"bridge_group": unique("elsewhere")})
    all_of_them = [new_consumer(one) for one in (settings, other, elsewhere)]
    counts: Counter[str] = Counter()
    try:
        for consumer in all_of_them:
            await consumer.start()
            consumer.subscribe([topic])
        for one in (settings, other, elsewhere):
            await eventually(partial(members, one))
        before = [await members(one) for one in (settings, other, elsewhere)]
        async with kafka_client(settings) as client:
            namesakes = Namesakes(settings=settings, counts=counts)
            await namesakes.remove(client)
            await namesakes.remove(client)  # only the first time: now it might be a living one
        after = [await members(one) for one in (settings, other, elsewhere)]
        assert not set(before[0]) & set(after[0])
        assert before[1:] == after[1:]
        assert counts == {"removed_members": 1}
    finally:
        for consumer in all_of_them:
            await consumer.stop()


async def test_a_living_namesake_is_said_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = unique("topic")
    await ensure_topics([topic], settings)
    monkeypatch.setattr(membership, "SESSION_SECONDS", 0.3)
    twins = [new_consumer(settings), new_consumer(settings)]
    counts: Counter[str] = Counter()
    namesakes = Namesakes(settings=settings, counts=counts)

    async def so_many(count: int) -> bool:
        return len(await members(settings)) == count

    async with kafka_client(settings) as client:
        try:
            for number, twin in enumerate(twins):
                await twin.start()
                twin.subscribe([topic])
                await eventually(partial(so_many, number + 1))
            await namesakes.look(client)
            assert not counts, "it may be one that was killed"
            await asyncio.sleep(0.4)
            await namesakes.look(client)
            await namesakes.look(client)
        finally:
            await twins[1].stop()
        await eventually(partial(so_many, 1))
        await namesakes.look(client)
        await twins[0].stop()
    assert counts == {"namesakes": 1}
    assert "another bridge is called twin" in caplog.text
    assert "STREAMAPP_BRIDGE_NAME" in caplog.text
