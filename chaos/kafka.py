"""What Kafka tells of a system from outside: how far its consumers are, and its dead letters."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from bridge.names import DEAD_LETTERS, OUTBOUND
from streamapp.dead_letters import read_all

GROUP = "streamapp"
# What no agent reads: the state's own topics end in the suffix, the mirrored results are the bridge's.
UNREAD = {DEAD_LETTERS, *OUTBOUND}
CHANGELOG = "-changelog"


class Kafka:
    """Reads topics of one system. Every method connects anew: the broker dies now and then."""

    def __init__(self, url: str) -> None:
        self._servers = url.removeprefix("kafka://")

    async def ends(self) -> dict[TopicPartition, int]:
        """The end offset of every partition that ever had a record."""
        async with self._admin() as admin:
            topics = await admin.describe_topics()
        # Not of the consumer: it knows the partitions of its own topics only.
        partitions = [TopicPartition(topic["topic"], p["partition"]) for topic in topics for p in topic["partitions"]]
        consumer = AIOKafkaConsumer(bootstrap_servers=self._servers)
        await consumer.start()
        try:
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
            return {partition: end for partition, end in ends.items() if end > 0}
        finally:
            await consumer.stop()

    async def committed(self) -> dict[TopicPartition, int]:
        """How far the agents have acknowledged."""
        async with self._admin() as admin:
            offsets = await admin.list_consumer_group_offsets(GROUP)
            return {partition: entry.offset for partition, entry in offsets.items()}

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._servers)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()

    async def dead_letters(self) -> set[str]:
        """What was given up and why, without what differs between two runs: offsets, times, generations."""
        return {_gist(headers, value) async for headers, value in read_all([self._servers])}


def behind(ends: Mapping[TopicPartition, int], committed: Mapping[TopicPartition, int]) -> list[str]:
    """The partitions that agents have not acknowledged to their end."""
    return [
        f"{tp.topic}:{tp.partition} acknowledged to {committed.get(tp, 0)} of {end}"
        for tp, end in ends.items()
        if tp.topic not in UNREAD and not tp.topic.startswith("__") and not tp.topic.endswith(CHANGELOG)
        if committed.get(tp, 0) < end
    ]


def _gist(headers: Mapping[str, str], value: bytes | None) -> str:
    where = headers.get("origin", "").split(":")[1:2]
    try:
        content = json.loads(value or b"null")
    except ValueError:
        content = repr(value)
    if isinstance(content, dict):
        content.pop("generation", None)
    return f"{where} {headers.get('error')} {json.dumps(content, sort_keys=True)}"
