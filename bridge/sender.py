"""Producing to Kafka: in order, confirmed by all replicas, without limit of time."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from bridge.membership import client_id
from bridge.records import Record
from bridge.settings import Settings
from bridge.trouble import Trouble

#: Unconfirmed for so long is logged; meanwhile the client reconnects and retries by itself.
STALL_SECONDS = 5.0
#: Unconfirmed for so long, the producer is replaced, in case the client itself hangs.
CONFIRM_SECONDS = 120.0
START_SECONDS = 10.0
CLOSE_SECONDS = 1.0


def new_producer(settings: Settings) -> AIOKafkaProducer:
    """An idempotent producer as the bridge wants it; the caller is inside a running loop.

    Records with a key go to the partition that murmur2 of the key says (aiokafka's default, the same as
    Java's), records without one to any.
    """
    return AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=client_id(settings),
        acks="all",
        enable_idempotence=True,
        linger_ms=2,
        max_batch_size=256 * 1024,
        max_request_size=settings.max_message_bytes,
        request_timeout_ms=10_000,
    )


class Sender:
    """One producer, replaced after every failure.

    A batch that failed for good leaves a hole in an idempotent producer's sequence, after which the broker
    refuses all that follows. That keeps the order, but only a new producer can go on.
    """

    def __init__(self, *, factory: Callable[[], AIOKafkaProducer], trouble: Trouble) -> None:
        self._factory = factory
        self._trouble = trouble
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> AIOKafkaProducer:
        """The producer, connected. Raises KafkaError or TimeoutError."""
        if self._producer is None:
            self._producer = self._factory()
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._producer.start()
            except BaseException:
                await self.close()
                raise
        return self._producer

    async def deliver(self, records: Sequence[Record]) -> None:
        """Return when the broker has confirmed all records.

        Raises KafkaError or TimeoutError when that did not succeed: some of the records may be in Kafka, and of
        each partition only the first ones. MessageSizeTooLargeError says that one of them exceeds a limit.
        """
        futures: list[asyncio.Future[object]] = []
        try:
            producer = await self.start()
            for record in records:
                futures.append(
                    await producer.send(record.topic, record.value, key=record.key, headers=list(record.headers))
                )
            await self._confirmed(futures)
        except BaseException:
            for future in futures:
                future.cancel()
            await self.close()
            raise

    async def _confirmed(self, futures: Sequence[asyncio.Future[object]]) -> None:
        if not futures:
            return
        _, pending = await asyncio.wait(futures, timeout=STALL_SECONDS)
        if pending:
            self._trouble.failed(KafkaTimeoutError(f"{len(pending)} records are not confirmed yet"))
            _, pending = await asyncio.wait(pending, timeout=CONFIRM_SECONDS)
        if pending:
            raise KafkaTimeoutError(f"{len(pending)} records are not confirmed")
        errors = [error for error in (future.exception() for future in futures) if error is not None]
        if errors:
            raise errors[0]

    async def close(self) -> None:
        """Give up the producer with what it has not sent.

        Not by its `stop()`: that one flushes first, which an idempotent producer tries without limit of time.
        Hence the private names, of aiokafka 0.14.
        """
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer._closed = True  # else its finaliser warns
        task = producer._sender.sender_task
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=CLOSE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await producer.client.close()
