"""The tasks of a burst of images, over the partitions that workers share out among themselves."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from results import answered
from running import Servers

from demo.backend import Backend
from streamapp.events import decode_task
from streamapp.names import TASKS

pytestmark = pytest.mark.timeout(120)
PARTITIONS = 8


async def test_each_partition_gets_as_many_images_and_an_image_one_partition(
    backend: Backend, servers: Servers, images: str, post_id: int
) -> None:
    media = [f"{post_id}-{n}" for n in range(4 * PARTITIONS)]  # no numbers: no rows
    for media_id in media:
        await backend.request_image(post_id, media_id, f"{images}/beach.jpg")
    await answered(backend, post_id, len(media))

    where = defaultdict[str, set[int]](set)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers.kafka_url.removeprefix("kafka://"), auto_offset_reset="earliest", group_id=None
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, n) for topic in TASKS.values() for n in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    where[decode_task(record.value).media_id].add(record.partition)
    finally:
        await consumer.stop()
    assert all(len(where[media_id]) == 1 for media_id in media)
    counts = Counter(partition for media_id in media for partition in where[media_id])
    # Four each; an attempt of another test's image may have taken a turn among them.
    assert all(3 <= counts[partition] <= 5 for partition in range(PARTITIONS))
