"""What others have written into the changelogs: an old row after a newer one, and a newer one that is not ours."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2
from results import aggregates
from system import System

from demo.backend import Backend
from stack.instance import Instance

pytestmark = pytest.mark.timeout(120)
CHANGELOG = "streamapp-posts-changelog"


async def written(system: System, key: str) -> list[Any]:
    """All rows of a post in its changelog, oldest first."""
    kafka = system.servers.kafka_url.removeprefix("kafka://")
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        partitions = [TopicPartition(CHANGELOG, p) for p in range(8)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [record for record in records if record.key == key.encode()]
        return found
    finally:
        await consumer.stop()


async def write(system: System, record: Any, value: bytes) -> None:
    """As a worker does that no longer has the partition."""
    producer = AIOKafkaProducer(bootstrap_servers=system.servers.kafka_url.removeprefix("kafka://"), acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(CHANGELOG, key=record.key, value=value, partition=record.partition)
    finally:
        await producer.stop()


async def again(system: System, *, empty: bool) -> None:
    """The worker anew, with its local state or without."""
    await asyncio.to_thread(system.kill, "worker-0")
    if empty:
        shutil.rmtree(Instance(system.servers.instance).home / "worker-0")
    await asyncio.to_thread(system.start, "worker-0")


async def test_an_old_row_after_a_newer_one_does_not_count(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    await backend.request_image(post_id, post_id + 1, f"{images}/beach.jpg")
    await aggregates(backend, post_id)
    before = await backend.story(post_id)
    rows = await written(system, str(post_id))
    await write(system, rows[0], rows[0].value)
    await again(system, empty=True)
    after = await backend.story(post_id)
    assert after == before | {"awaiting": after["awaiting"]}
    assert after["state"] == "complete"


async def test_a_newer_row_of_another_worker_is_read_though_we_wrote_after_it(
    system: System, backend: Backend, images: str, post_id: int
) -> None:
    partition = murmur2(str(post_id).encode()) % 8
    other = next(f"{post_id}-{n}" for n in range(100) if murmur2(f"{post_id}-{n}".encode()) % 8 == partition)
    for post in (post_id, other):
        await backend.request_image(post, post_id + 1, f"{images}/beach.jpg")
        await aggregates(backend, post)
    *_, last = await written(system, other)
    row = msgspec.json.decode(last.value)
    await write(system, last, msgspec.json.encode(row | {"seen": row["seen"] + 1_000_000, "revision": 99}))
    await backend.trigger(post_id, post_id + 1)  # a row of ours after it
    await aggregates(backend, post_id, count=2)
    assert (await backend.story(other))["revision"] == row["revision"]
    await again(system, empty=False)
    assert (await backend.story(other))["revision"] == 99
