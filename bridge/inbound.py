"""Redis to Kafka: one stream, at least once, in the stream's order."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bridge.names import DEAD_LETTERS
from bridge.records import Record, dead_letter, from_entry, size_of
from bridge.sender import Sender
from bridge.settings import Settings
from bridge.trouble import Trouble, pause

logger = logging.getLogger(__name__)

READ = Path(__file__).with_name("read.lua").read_text()
#: JUSTID, which redis-py has without its cursor: the entries themselves may be large, and are read later.
CLAIM = "return redis.call('XAUTOCLAIM', KEYS[1], unpack(ARGV))"
#: XREADGROUP returns at once when an entry comes; this is only how soon a stop is noticed.
BLOCK_MS = 1000
#: How Redis says that the group, or its stream, is gone.
GROUP_GONE = ("NOGROUP", "UNBLOCKED")

Entry = tuple[bytes, dict[bytes, bytes]]


class Inbound:
    """Copies one stream to the topic of the same name.

    An entry is acknowledged only after Kafka has confirmed its record. After any trouble the group's list of
    pending entries is read again before anything new, so nothing is lost and the order stays; what was produced
    and not acknowledged comes twice, with the same `redis-id` header.
    """

    def __init__(
        self,
        *,
        stream: str,
        key_fields: Sequence[str],
        redis: Redis,
        producer_factory: Callable[[], AIOKafkaProducer],
        settings: Settings,
        counts: Counter[str],
        dead_letters: str = DEAD_LETTERS,
    ) -> None:
        self.ready = asyncio.Event()
        self._stream = stream
        self._key_fields = key_fields
        self._redis = redis
        self._reader = redis.register_script(READ)
        self._claimer = redis.register_script(CLAIM)
        self._settings = settings
        self._counts = counts
        self._dead_letters = dead_letters
        self._trouble = Trouble(activity=f"inbound {stream}", counts=counts)
        self._sender = Sender(factory=producer_factory, trouble=self._trouble)
        self._backlog = True
        self._claim_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until `stop`. Cancelling it loses nothing either: what is under way stays pending."""
        try:
            while not stop.is_set():
                try:
                    await self._round()
                    self._trouble.recovered()
                except (RedisError, KafkaError, OSError, TimeoutError) as error:
                    self._backlog = True
                    await pause(stop, self._trouble.failed(error))
        finally:
            await self._sender.close()

    async def _round(self) -> None:
        if not self.ready.is_set():
            await self._make_group()
            await self._sender.start()
            self.ready.set()
        try:
            if time.monotonic() >= self._claim_at:
                await self._claim()
            entries = await self._read()
        except ResponseError as error:
            if not str(error).startswith(GROUP_GONE):
                raise
            logger.warning("inbound %s: the group is gone, all entries are read again: %s", self._stream, error)
            self._counts["groups_made"] += 1
            await self._make_group()
            return
        if entries:
            await self._forward(entries)
        else:
            self._backlog = False

    async def _make_group(self) -> None:
        try:
            await self._redis.xgroup_create(self._stream, self._settings.bridge_group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def _read(self) -> list[Entry]:
        """The next entries: our own pending ones as long as there are some, then new ones."""
        settings = self._settings
        whose = ("0" if self._backlog else ">", settings.bridge_batch, settings.bridge_batch_bytes)
        arguments = [settings.bridge_group, settings.bridge_name, *whose]
        found = await cast(Any, self._reader)(keys=[self._stream], args=arguments)
        if found or self._backlog:
            return [(entry_id, _pairs(parts or ())) for entry_id, parts in found]
        # A script cannot wait.
        reply = await self._redis.xreadgroup(
            settings.bridge_group, settings.bridge_name, {self._stream: ">"}, count=1, block=BLOCK_MS
        )
        return cast(list[tuple[bytes, list[Entry]]], reply)[0][1] if reply else []

    async def _claim(self) -> None:
        """Take over what another bridge left behind; it joins our pending entries, which are read next."""
        seconds = self._settings.bridge_claim_seconds
        consumer = (self._settings.bridge_group, self._settings.bridge_name)
        cursor = b"0-0"
        claimed = 0
        while True:
            arguments = [*consumer, int(seconds * 1000), cursor, "COUNT", 100, "JUSTID"]
            cursor, ids, deleted = await cast(Any, self._claimer)(keys=[self._stream], args=arguments)
            claimed += len(ids)
            self._note_deleted(deleted)
            if cursor == b"0-0":
                break
        self._claim_at = time.monotonic() + seconds / 2
        if claimed:
            logger.info("inbound %s: claimed %d entries idle for %g s", self._stream, claimed, seconds)
            self._counts["claimed"] += claimed
            self._backlog = True

    async def _forward(self, entries: Sequence[Entry]) -> None:
        present = [entry for entry in entries if entry[1]]
        self._note_deleted([entry_id for entry_id, fields in entries if not fields])
        records = [
            from_entry(stream=self._stream, entry_id=entry_id, fields=fields, key_fields=self._key_fields)
            for entry_id, fields in present
        ]
        limit = self._settings.max_message_bytes
        sendable = [
            record if size_of(record) <= limit else self._refuse(record, f"larger than {limit} bytes")
            for record in records
        ]
        try:
            await self._sender.deliver(sendable)
        except MessageSizeTooLargeError:
            await self._deliver_one_by_one(sendable)
        await self._redis.xack(self._stream, self._settings.bridge_group, *(entry_id for entry_id, _ in entries))
        self._counts["in"] += len(present)

    async def _deliver_one_by_one(self, records: Sequence[Record]) -> None:
        """The topic has a smaller limit than ours: find the records it refuses."""
        for record in records:
            try:
                await self._sender.deliver([record])
            except MessageSizeTooLargeError as error:
                if record.topic == self._dead_letters:
                    raise
                await self._sender.deliver([self._refuse(record, f"refused by the broker: {error}")])

    def _refuse(self, record: Record, error: str) -> Record:
        origin = f"redis:{self._stream}:{dict(record.headers)['redis-id'].decode()}"
        logger.warning("dead letter %s: %s", origin, error)
        self._counts["dead_letters"] += 1
        now, limit = datetime.now(UTC), self._settings.max_message_bytes
        return dead_letter(record, origin=origin, error=error, now=now, limit=limit, topic=self._dead_letters)

    def _note_deleted(self, ids: Sequence[bytes]) -> None:
        for entry_id in ids:
            logger.warning("inbound %s: %s was deleted before it was read", self._stream, entry_id.decode())
            self._counts["deleted"] += 1


def _pairs(parts: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(parts[::2], parts[1::2], strict=True))
