"""The Redis side of outbound: how far each topic is delivered, and delivering the next record.

Keys:
- `streamapp:checkpoint:<topic id>`: hash, partition -> offset of the last record delivered;
- `streamapp:seen:<record key>`: hash of `<stream>:<result id>` that were delivered; expires some days after the
  last result with that key. About 130 bytes a result: a post with 6 results for each of 10 images takes 8 KB;
- `streamapp:topic-ids`: hash, topic name -> the topic id that was last seen under this name.

The three keys of a delivery hash to different slots: this is for one Redis, not for a Redis Cluster.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import UUID

from aiokafka import TopicPartition
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("deliver.lua").read_text()
#: HSET, unless another bridge has moved the checkpoint since it was read.
REWIND = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '-1') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
CHECKPOINT_KEY = "streamapp:checkpoint:{}"
SEEN_KEY = b"streamapp:seen:"
TOPIC_IDS_KEY = "streamapp:topic-ids"


class Delivery(NamedTuple):
    """One record on its way to the stream of its topic's name; without fields only the checkpoint advances."""

    topic: str
    topic_id: UUID
    partition: int
    offset: int
    previous: int
    key: bytes | None
    result_id: bytes | None
    fields: Sequence[bytes]


class Checkpoints:
    """Reads and moves checkpoints. Every method raises RedisError when Redis does not do its part."""

    def __init__(self, *, redis: Redis, seen_seconds: int) -> None:
        self._redis = redis
        self._seen_seconds = seen_seconds
        self._sha: str | None = None

    async def read(self, topic_ids: Mapping[str, UUID]) -> dict[TopicPartition, int]:
        """The checkpoints of the given topics; a partition without one is absent."""
        pipe = self._redis.pipeline(transaction=False)
        for topic_id in topic_ids.values():
            pipe.hgetall(CHECKPOINT_KEY.format(topic_id))
        replies = cast(list[dict[bytes, bytes]], await pipe.execute())
        return {
            TopicPartition(topic, int(partition)): int(offset)
            for topic, reply in zip(topic_ids, replies, strict=True)
            for partition, offset in reply.items()
        }

    async def rewind(self, topic_id: UUID, partition: int, *, old: int, new: int) -> bool:
        """Set one checkpoint back; False if it is not `old` any more, and then nothing was done."""
        arguments = [str(partition), str(old), str(new)]
        return bool(await cast(Any, self._redis.eval(REWIND, 1, CHECKPOINT_KEY.format(topic_id), *arguments)))

    async def remember(self, topic_ids: Mapping[str, UUID]) -> int:
        """Keep the topics' ids, say which topics were recreated since the last time, and return how many."""
        if not topic_ids:
            return 0
        known = cast(list[bytes | None], await self._redis.hmget(TOPIC_IDS_KEY, list(topic_ids)))
        changed: list[str] = []
        recreated = 0
        for (topic, topic_id), before in zip(topic_ids.items(), known, strict=True):
            if before == str(topic_id).encode():
                continue
            changed += [topic, str(topic_id)]
            if before is not None:
                recreated += 1
                logger.warning(
                    "topic %s was recreated: its id is %s, was %s; the old checkpoints do not count for it, it is "
                    "delivered from its beginning, but for results that were delivered already",
                    *(topic, topic_id, before.decode()),
                )
        if changed:
            await self._redis.hset(TOPIC_IDS_KEY, items=changed)
        return recreated

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[str]:
        """Run the script for every delivery, in order; its outcomes, as described in deliver.lua.

        When one fails, the error is raised and what follows it in its partition was not delivered either.
        """
        replies = await self._run(deliveries)
        if any(isinstance(reply, NoScriptError) for reply in replies):  # Redis restarted: its scripts are gone
            self._sha = None
            replies = await self._run(deliveries)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [reply.decode() for reply in replies]

    async def _run(self, deliveries: Sequence[Delivery]) -> list[Any]:
        if self._sha is None:
            self._sha = await self._redis.script_load(SCRIPT)
        pipe = self._redis.pipeline(transaction=False)
        for delivery in deliveries:
            pipe.evalsha(self._sha, 3, *self._arguments(delivery))
        return await pipe.execute(raise_on_error=False)

    def _arguments(self, delivery: Delivery) -> list[bytes | str | int]:
        seen = b""
        # A result without a key is remembered by itself.
        seen_key = delivery.key
        if delivery.result_id:
            seen = delivery.topic.encode() + b":" + delivery.result_id
            seen_key = delivery.result_id if seen_key is None else seen_key
        return [
            CHECKPOINT_KEY.format(delivery.topic_id),
            delivery.topic,
            SEEN_KEY + (seen_key or b""),
            *(delivery.partition, delivery.offset, delivery.previous),
            *(seen, self._seen_seconds),
            *delivery.fields,
        ]
