"""Which kinds of work have a backlog that is being worked off, seen by what the workers have committed.

A post whose answers wait in such a backlog has not failed, so its timeout is put off.
"""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streamapp.errors import Unavailable
from streamapp.insights import Kind
from streamapp.names import TASKS
from streamapp.settings import Settings

EVERY = 2.0  # seconds between two looks
UNKNOWN = 60.0  # seconds without a look after which deadlines do not wait for one
STILL = 30.0  # seconds without progress after which a backlog stands still; the longest attempt takes 18


class Backlog:
    """`lag`: tasks by kind that no worker has finished; `behind`: the kinds with a backlog that is moving."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._partitions = {
            kind: [TopicPartition(topic, p) for p in range(settings.partitions)] for kind, topic in TASKS.items()
        }
        self._done: dict[Kind, int] = {}
        self._moved_at: dict[Kind, float] = {}
        self._looked_at = time.monotonic()
        self.lag: dict[Kind, int] = {}

    @property
    def behind(self) -> tuple[Kind, ...]:
        """Fewer tasks than one worker has in hand at once are no backlog."""
        since = time.monotonic() - STILL
        many = self._settings.tasks_in_flight
        return tuple(kind for kind, lag in self.lag.items() if lag > many and self._moved_at.get(kind, 0.0) > since)

    @property
    def known(self) -> bool:
        """Whether a look succeeded lately. Where none ever does (a broker may not allow it), no backlog is assumed."""
        silent = time.monotonic() - self._looked_at
        return silent > UNKNOWN or (bool(self.lag) and silent < 3 * EVERY)

    async def run(self) -> None:
        """Look again and again. Raises Unavailable."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka_servers)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._settings.kafka_servers)
        try:
            await admin.start()
            await consumer.start()
            while True:
                await self._look(admin, consumer)
                await asyncio.sleep(EVERY)
        except (KafkaError, OSError) as exc:
            raise Unavailable(f"Kafka: {exc!r}") from exc
        finally:
            await consumer.stop()
            await admin.close()

    async def _look(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        committed = await admin.list_consumer_group_offsets(self._settings.app_id)
        ends = await consumer.end_offsets([tp for partitions in self._partitions.values() for tp in partitions])
        for kind, partitions in self._partitions.items():
            done = {tp: max(0, committed[tp].offset) if tp in committed else 0 for tp in partitions}
            self.note(kind, done=sum(done.values()), lag=sum(max(0, ends[tp] - done[tp]) for tp in partitions))

    def note(self, kind: Kind, *, done: int, lag: int) -> None:
        """What a look found: tasks finished so far, and those that are not."""
        if done != self._done.get(kind):
            self._moved_at[kind] = time.monotonic()
        self._done[kind], self.lag[kind] = done, lag
        self._looked_at = time.monotonic()
