"""Kafka to Redis: each result once in its stream, in the order of its partition.

A recreated topic has another id, so no checkpoint: it is reported with both ids and delivered from its beginning,
and result ids absorb what was delivered from the one before it (docs/adr/0006-checkpointed-xadd.md).
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.checkpoints import Checkpoints, Delivery
from bridge.membership import SESSION_SECONDS, Namesakes, client_id, group_id
from bridge.names import DEAD_LETTERS, OUTBOUND
from bridge.placement import NOTHING, place
from bridge.records import Record, Unusable, chunks, dead_letter, to_fields
from bridge.sender import Sender
from bridge.settings import Settings
from bridge.topic_ids import describe
from bridge.topics import kafka_client
from bridge.trouble import Trouble, pause

logger = logging.getLogger(__name__)

#: How soon a stop or a new assignment is noticed when no record comes; a record ends the wait.
POLL_MS = 200
#: Seconds between two looks at whether Redis still has what was delivered and the topics are still the same.
CHECK_SECONDS = 5.0
START_SECONDS = 10.0
CLOSE_SECONDS = 1.0


def new_consumer(settings: Settings) -> AIOKafkaConsumer:
    """A consumer whose group only shares out partitions: offsets are kept in Redis, not in Kafka."""
    return AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=client_id(settings),
        group_id=group_id(settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(SESSION_SECONDS * 1000),
        heartbeat_interval_ms=3_000,
        request_timeout_ms=10_000,
        fetch_max_wait_ms=POLL_MS,
        # A batch that is larger comes all the same, alone. Fetched ahead is up to one batch of each partition.
        fetch_max_bytes=settings.bridge_batch_bytes,
        max_partition_fetch_bytes=min(1024 * 1024, settings.bridge_batch_bytes),
        # How soon a recreated topic is assigned again: a rebalance while it is away leaves it out.
        metadata_max_age_ms=5_000,
    )


class Outbound(ConsumerRebalanceListener):  # type: ignore[misc]
    """Copies topics to the streams of the same names.

    Where a partition goes on is decided by its checkpoint in Redis, which moves atomically with the stream. A
    partition is placed when the consumer was sent to its checkpoint. `_done` has the last offset of each placed
    partition that is known to be in Redis; when that is in doubt, the partition is placed again.
    """

    def __init__(
        self,
        *,
        redis: Redis,
        consumer_factory: Callable[[], AIOKafkaConsumer],
        producer_factory: Callable[[], AIOKafkaProducer],
        settings: Settings,
        counts: Counter[str],
        topics: Sequence[str] = OUTBOUND,
        dead_letters: str = DEAD_LETTERS,
    ) -> None:
        self.ready = asyncio.Event()
        self._topics = topics
        self._consumer_factory = consumer_factory
        self._settings = settings
        self._counts = counts
        self._dead_letters = dead_letters
        self._trouble = Trouble(activity="outbound", counts=counts)
        self._sender = Sender(factory=producer_factory, trouble=self._trouble)
        self._checkpoints = Checkpoints(
            redis=redis,
            seen_seconds=max(1, int(settings.seen_days * 86400)),
        )
        self._namesakes = Namesakes(settings=settings, counts=counts)
        self._ids: dict[str, UUID] = {}
        self._assigned = False
        self._unplaced: set[TopicPartition] = set()
        self._done: dict[TopicPartition, int] = {}
        self._check_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until `stop`. Cancelling it loses nothing either."""
        try:
            while not stop.is_set():
                try:
                    await self._consume(stop)
                except (KafkaError, OSError, TimeoutError) as error:
                    await pause(stop, self._trouble.failed(error))
        finally:
            await self._sender.close()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Called by the consumer. What is under way may still be delivered: the script refuses what is late."""
        self._assigned = False
        self._unplaced.clear()
        self._done.clear()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Called by the consumer, with all its partitions. Placing them may wait for Redis, so not here."""
        self._assigned = True
        self._unplaced = set(assigned)

    async def _consume(self, stop: asyncio.Event) -> None:
        self.on_partitions_revoked(())
        async with kafka_client(self._settings) as client:
            await self._namesakes.remove(client)
            consumer = self._consumer_factory()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await consumer.start()
                consumer.subscribe(self._topics, listener=self)
                while not stop.is_set():
                    try:
                        await self._round(consumer, client)
                        self._trouble.recovered()
                    except (RedisError, KafkaError, OSError, TimeoutError) as error:
                        self._unplaced |= self._done.keys()
                        await pause(stop, self._trouble.failed(error))
            finally:
                with contextlib.suppress(TimeoutError, KafkaError):
                    async with asyncio.timeout(CLOSE_SECONDS):
                        await consumer.stop()

    async def _round(self, consumer: AIOKafkaConsumer, client: AIOKafkaClient) -> None:
        if self._unplaced or time.monotonic() >= self._check_at:
            await self._place(consumer, client)
        polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._settings.bridge_batch)
        # A new assignment may have come during the poll. Its records come again once it is placed.
        placed = self._done.keys() - self._unplaced
        records = [record for tp in placed for record in polled.get(tp, ())]
        if records:
            await self._deliver(records)

    async def _place(self, consumer: AIOKafkaConsumer, client: AIOKafkaClient) -> None:
        """Send the consumer to the checkpoint in every partition where it is not known to follow it."""
        if not self._unplaced:
            await self._namesakes.look(client)
        ids = {name: topic.topic_id for name, topic in (await describe(client, self._topics)).items()}
        if recreated := await self._checkpoints.remember(ids):
            self._counts["recreated"] += recreated
        checkpoints = await self._checkpoints.read(ids)
        self._compare(ids, checkpoints)
        partitions = [tp for tp in self._unplaced if tp.topic in ids]
        # After the checkpoints: the end only grows, so one that is before a checkpoint tells of a loss.
        beginnings = await consumer.beginning_offsets(partitions) if partitions else {}
        ends = await consumer.end_offsets(partitions) if partitions else {}
        for tp in partitions:
            old = checkpoints.get(tp, NOTHING)
            placement = place(checkpoint=old, beginning=beginnings[tp], end=ends[tp])
            if placement.problem:
                logger.error("%s: %s", _name(tp), placement.problem)
                self._counts["problems"] += 1
            if placement.checkpoint != old and not await self._checkpoints.rewind(
                ids[tp.topic], tp.partition, old=old, new=placement.checkpoint
            ):
                continue  # another bridge was faster: see in the next round where it is now
            if tp in self._unplaced and tp in consumer.assignment():
                consumer.seek(tp, placement.position)
                self._done[tp] = placement.checkpoint
                self._unplaced.discard(tp)
        self._check_at = time.monotonic() + CHECK_SECONDS
        if self._assigned and not self._unplaced:
            self.ready.set()

    def _compare(self, ids: dict[str, UUID], checkpoints: dict[TopicPartition, int]) -> None:
        """Find placed partitions that are not any more where they were: Redis or the topic is another."""
        for tp, done in list(self._done.items()):
            kept = checkpoints.get(tp, NOTHING)
            if ids.get(tp.topic) != self._ids.get(tp.topic):
                del self._done[tp]
                self._unplaced.add(tp)
            elif kept < done:
                logger.warning("%s: Redis lost records %d to %d, they are delivered again", _name(tp), kept + 1, done)
                self._counts["rewound"] += 1
                self._unplaced.add(tp)
        self._ids = ids

    async def _deliver(self, records: Sequence[ConsumerRecord]) -> None:
        """Deliver records of any partitions, each partition's in order, not too many bytes at once."""
        # One chain through all chunks: what follows a record that was not delivered is not delivered either.
        previous = dict(self._done)
        sizes = [len(record.key or b"") + len(record.value or b"") for record in records]
        for chunk in chunks(records, sizes, limit=self._settings.bridge_batch_bytes):
            await self._deliver_chunk(chunk, previous)

    async def _deliver_chunk(self, records: Sequence[ConsumerRecord], previous: dict[TopicPartition, int]) -> None:
        deliveries, letters = [], []
        for record in records:
            tp = TopicPartition(record.topic, record.partition)
            fields: Sequence[bytes] = ()
            try:
                fields = to_fields(record.value)
            except Unusable as error:
                letters.append(self._refuse(record, str(error)))
            deliveries.append(
                Delivery(
                    topic=record.topic,
                    topic_id=self._ids[record.topic],
                    partition=record.partition,
                    offset=record.offset,
                    previous=previous[tp],
                    key=record.key,
                    result_id=next((value for name, value in record.headers if name == "result-id"), None),
                    fields=fields,
                )
            )
            previous[tp] = record.offset
        await self._sender.deliver(letters)  # before the checkpoint passes them
        outcomes = await self._checkpoints.deliver(deliveries)
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            self._counts[outcome] += 1
            tp = TopicPartition(delivery.topic, delivery.partition)
            if outcome == "behind":
                self._unplaced.add(tp)
            elif tp in self._done:
                self._done[tp] = delivery.offset

    def _refuse(self, record: ConsumerRecord, error: str) -> Record:
        origin = f"kafka:{record.topic}:{record.partition}:{record.offset}"
        logger.warning("dead letter %s: %s", origin, error)
        self._counts["dead_letters"] += 1
        return dead_letter(
            Record(record.topic, record.key, record.value or b"", record.headers),
            origin=origin,
            error=error,
            now=datetime.now(UTC),
            limit=self._settings.max_message_bytes,
            topic=self._dead_letters,
        )


def _name(tp: TopicPartition) -> str:
    return f"outbound {tp.topic}:{tp.partition}"
