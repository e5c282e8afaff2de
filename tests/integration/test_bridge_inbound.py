"""Redis to Kafka on real servers."""

import asyncio
import hashlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from bridge_harness import (
    RedisServer,
    Servers,
    add_entries,
    by_key,
    entries_of,
    eventually,
    first_of_each,
    read_topic,
    redis_ids,
    running,
    settings_for,
    unique,
)
from redis.asyncio import Redis

from bridge.__main__ import new_redis
from bridge.inbound import Inbound
from bridge.sender import new_producer
from bridge.settings import Settings
from bridge.topics import ensure_topics


class Place:
    """A stream, its topic, a topic of dead letters, and bridges between them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stream = unique("stream")
        self.letters = unique("letters")
        self.redis = new_redis(settings)
        self.counts: Counter[str] = Counter()

    def bridge(self, **changes: Any) -> Inbound:
        settings = self.settings.model_copy(update=changes.pop("settings", {}))
        arguments: dict[str, Any] = {
            "stream": self.stream,
            "key_fields": ("postId",),
            "redis": self.redis,
            "producer_factory": lambda: new_producer(settings),
            "settings": settings,
            "counts": self.counts,
            "dead_letters": self.letters,
        }
        return Inbound(**{**arguments, **changes})

    async def add(self, count: int, *, start: int = 0) -> list[bytes]:
        numbers = range(start, start + count)
        return await add_entries(self.redis, self.stream, [{"postId": str(n % 3), "n": str(n)} for n in numbers])

    async def pending(self) -> int:
        """Entries a bridge has read and not acknowledged."""
        summary = await self.redis.xpending(self.stream, self.settings.bridge_group)
        return int(summary["pending"])

    async def all_confirmed(self) -> None:
        """Wait until the group has read all entries and none is pending."""
        name = self.settings.bridge_group.encode()

        async def done() -> bool:
            # Not the group's lag: after a restart of Redis it may be unknown.
            last = (await self.redis.xinfo_stream(self.stream))["last-generated-id"]
            groups = await self.redis.xinfo_groups(self.stream)
            read = [group["last-delivered-id"] for group in groups if group["name"] == name]
            return read == [last] and await self.pending() == 0

        await eventually(done)


@pytest.fixture
async def place(servers: Servers) -> AsyncIterator[Place]:
    place = Place(settings_for(servers))
    await ensure_topics([place.stream, place.letters], place.settings)
    yield place
    await place.redis.aclose()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def test_entries_become_records_in_order(place: Place) -> None:
    before = await place.add(20)
    async with running(place.bridge()):
        after = await place.add(20, start=20)
        await place.all_confirmed()
    records = await read_topic(place.settings, place.stream)
    assert sorted(redis_ids(records)) == sorted(before + after)
    documents = [(record.key.decode(), json.loads(record.value)) for record in records]
    assert all(document["postId"] == key for key, document in documents)
    for key, numbers in by_key((key, int(document["n"])) for key, document in documents).items():
        assert numbers == list(range(int(key), 40, 3))
    assert all(dict(record.headers)["redis-stream"] == place.stream.encode() for record in records)
    assert len({(record.key, record.partition) for record in records}) == 3, "one partition for each key"
    assert place.counts == {"in": 40}


async def test_bytes_that_are_no_text_come_back_exactly(place: Place) -> None:
    fields = {b"postId": b"\xff\x00", b"caf\xe9": b"\xed\xa0\x80 \xf0\x9f\x8f\x96", b"": b'"\\\n'}
    await place.redis.xadd(place.stream, fields)  # type: ignore[arg-type]
    async with running(place.bridge()):
        await place.all_confirmed()
    (record,) = await read_topic(place.settings, place.stream)
    back = {
        name.encode("utf-8", "surrogateescape"): text.encode("utf-8", "surrogateescape")
        for name, text in json.loads(record.value).items()
    }
    assert back == fields
    assert record.key == b"\xff\x00"


async def test_an_entry_over_the_limit_is_dead_lettered_and_hurts_no_other(place: Place) -> None:
    limit = 100_000
    ids = await add_entries(
        place.redis,
        place.stream,
        [{"postId": "1", "n": "0"}, {"postId": "1", "body": "x" * limit}, {"postId": "1", "n": "2"}],
    )
    async with running(place.bridge(settings={"max_message_bytes": limit})):
        await place.all_confirmed()
    assert redis_ids(await read_topic(place.settings, place.stream)) == [ids[0], ids[2]]
    (letter,) = await read_topic(place.settings, place.letters)
    headers = dict(letter.headers)
    whole = json.dumps({"postId": "1", "body": "x" * limit}, separators=(",", ":")).encode()
    assert headers["length"] == b"%d" % len(whole)
    assert headers["sha256"] == hashlib.sha256(whole).hexdigest().encode()
    assert whole.startswith(letter.value)
    assert letter.key == b"1"
    assert headers["origin"] == f"redis:{place.stream}:{ids[1].decode()}".encode()
    assert headers["redis-id"] == ids[1]
    assert b"larger than 100000 bytes" in headers["error"]
    assert headers["time"].endswith(b"Z")
    assert place.counts["dead_letters"] == 1


async def test_the_largest_entry_passes(place: Place) -> None:
    size = place.settings.max_message_bytes
    await add_entries(place.redis, place.stream, [{"postId": "1", "body": "x" * (size - 500)}])
    async with running(place.bridge()):
        await place.all_confirmed()
    (record,) = await read_topic(place.settings, place.stream)
    assert len(record.value) > size - 500
    assert place.counts == {"in": 1}


async def test_what_the_broker_refuses_is_dead_lettered_alone(place: Place, servers: Servers) -> None:
    place.stream = unique("narrow")
    narrow = settings_for(servers, max_message_bytes=64 * 1024, partitions=1)
    await ensure_topics([place.stream], narrow)
    sizes = [10, 70_000, 20, 80_000, 30]
    ids = await add_entries(place.redis, place.stream, [{"postId": "1", "body": "x" * size} for size in sizes])
    async with running(place.bridge()):
        await place.all_confirmed()
    records = first_of_each(await read_topic(place.settings, place.stream))
    assert redis_ids(records) == [ids[0], ids[2], ids[4]]
    letters = await read_topic(place.settings, place.letters)
    assert set(redis_ids(letters)) == {ids[1], ids[3]}
    assert all(len(letter.value) > 70_000 for letter in letters), "they fit into the dead letters whole"


async def read_without_acknowledging(place: Place, consumer: str, count: int) -> None:
    group = place.settings.bridge_group
    await place.redis.xgroup_create(place.stream, group, id="0", mkstream=True)
    await place.redis.xreadgroup(group, consumer, {place.stream: ">"}, count=count)


async def test_what_a_bridge_left_pending_comes_first_after_its_restart(place: Place) -> None:
    ids = await place.add(12)
    await read_without_acknowledging(place, place.settings.bridge_name, 6)
    async with running(place.bridge(settings={"bridge_batch": 4})):
        await place.all_confirmed()
    records = await read_topic(place.settings, place.stream)
    assert sorted(redis_ids(records)) == sorted(ids)
    for numbers in by_key((record.key, int(json.loads(record.value)["n"])) for record in records).values():
        assert numbers == sorted(numbers)


async def test_what_a_dead_bridge_left_pending_is_claimed(place: Place) -> None:
    ids = await place.add(250)
    await read_without_acknowledging(place, "dead-bridge", 230)
    async with running(place.bridge(settings={"bridge_claim_seconds": 0.3})):
        await place.all_confirmed()
    assert sorted(redis_ids(await read_topic(place.settings, place.stream))) == sorted(ids)
    assert place.counts["claimed"] == 230


async def test_what_another_bridge_works_at_is_not_claimed(place: Place) -> None:
    await place.add(3)
    await read_without_acknowledging(place, "living-bridge", 3)
    async with running(place.bridge(settings={"bridge_claim_seconds": 30})):
        await place.add(1, start=3)
        await eventually(lambda: place.counts["in"] == 1)
    assert await place.pending() == 3


async def test_deleted_entries_are_acknowledged_and_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    ids = await place.add(5)
    await read_without_acknowledging(place, place.settings.bridge_name, 5)
    await place.redis.xdel(place.stream, ids[1], ids[2])
    async with running(place.bridge()):
        await place.all_confirmed()
    assert set(redis_ids(await read_topic(place.settings, place.stream))) == {ids[0], ids[3], ids[4]}
    assert place.counts["deleted"] == 2
    assert f"{ids[1].decode()} was deleted" in caplog.text


async def test_a_destroyed_group_is_made_again_and_nothing_is_lost(place: Place) -> None:
    ids = await place.add(10)
    async with running(place.bridge()):
        await place.all_confirmed()
        await place.redis.xgroup_destroy(place.stream, place.settings.bridge_group)
        ids += await place.add(10, start=10)
        await eventually(lambda: place.counts["groups_made"] == 1)
        await place.all_confirmed()
    assert sorted(set(redis_ids(await read_topic(place.settings, place.stream)))) == ids


async def test_a_deleted_stream_begins_again(place: Place) -> None:
    async with running(place.bridge()):
        await place.add(3)
        await place.all_confirmed()
        await place.redis.delete(place.stream)
        ids = await place.add(3, start=3)
        await eventually(lambda: place.counts["in"] == 6)
    assert set(ids) <= set(redis_ids(await read_topic(place.settings, place.stream)))


async def test_a_recreated_topic_takes_new_entries(place: Place) -> None:
    async with running(place.bridge()):
        await place.add(10)
        await place.all_confirmed()
        admin = AIOKafkaAdminClient(bootstrap_servers=place.settings.bootstrap_servers)
        await admin.start()
        await admin.delete_topics([place.stream])
        await admin.close()
        ids = await place.add(10, start=10)
        await asyncio.sleep(0.5)
        await ensure_topics([place.stream], place.settings)
        await place.all_confirmed()
    assert set(ids) <= set(redis_ids(await read_topic(place.settings, place.stream)))


async def test_two_bridges_share_a_stream(place: Place) -> None:
    one = place.bridge(settings={"bridge_name": "one", "bridge_batch": 10})
    two = place.bridge(settings={"bridge_name": "two", "bridge_batch": 10})
    async with running(one, two):
        ids = await place.add(500)
        await place.all_confirmed()
    assert sorted(redis_ids(await read_topic(place.settings, place.stream))) == sorted(ids)


async def test_kafka_may_be_away_at_the_start(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bridge")
    nowhere = place.settings.model_copy(update={"kafka_url": "kafka://127.0.0.1:1"})
    tries = iter([nowhere, nowhere, nowhere])

    def factory() -> AIOKafkaProducer:
        return new_producer(next(tries, place.settings))

    ids = await place.add(3)
    async with running(place.bridge(producer_factory=factory)):
        await place.all_confirmed()
    assert sorted(redis_ids(await read_topic(place.settings, place.stream))) == sorted(ids)
    assert place.counts["retries"] == 3
    said = [record.getMessage() for record in caplog.records if record.name == "bridge.trouble"]
    assert len(said) == 2, "once that it broke, once that it works"


async def test_redis_restarted_under_load(servers: Servers, own_redis: RedisServer) -> None:
    place = Place(settings_for(servers, redis_url=own_redis.url, bridge_batch=20))
    await ensure_topics([place.stream, place.letters], place.settings)
    ids = await place.add(2000)
    async with place.redis, running(place.bridge()):
        await eventually(lambda: place.counts["in"] > 100)
        own_redis.kill()
        await eventually(lambda: place.counts["retries"] > 2)
        own_redis.start()
        client = Redis.from_url(own_redis.url)
        ids += await add_entries(client, place.stream, [{"postId": "x", "n": str(n)} for n in range(5)])
        await client.aclose()
        await asyncio.sleep(0.2)
        await place.all_confirmed()
        kept = {entry_id for entry_id, _ in await entries_of(place.redis, place.stream)}
    print("kept", len(kept), "of", len(ids))
    records = first_of_each(await read_topic(place.settings, place.stream))
    assert sorted(redis_ids(records)) == sorted(ids)
    for numbers in by_key((record.key, int(json.loads(record.value)["n"])) for record in records).values():
        assert numbers == sorted(numbers)
