"""The topics the bridge needs are there, with leaders."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import LeaderNotAvailableError, TopicAlreadyExistsError, for_code

from bridge.settings import Settings
from bridge.topic_ids import describe

logger = logging.getLogger(__name__)

#: Seconds until every partition of a created topic has a leader, usually well below one.
LEADER_SECONDS = 15.0


@asynccontextmanager
async def kafka_client(settings: Settings) -> AsyncIterator[AIOKafkaClient]:
    """A connected client for metadata. Raises KafkaConnectionError when no bootstrap server answers."""
    client = AIOKafkaClient(bootstrap_servers=settings.bootstrap_servers, request_timeout_ms=5_000)
    try:
        await client.bootstrap()
        yield client
    finally:
        await client.close()


async def ensure_topics(names: Sequence[str], settings: Settings) -> None:
    """Create the missing topics and return when all have leaders; an existing topic stays as it is.

    Raises KafkaError or TimeoutError, also when a topic has no leaders after LEADER_SECONDS.
    """
    async with kafka_client(settings) as client:
        missing = [name for name in names if name not in await describe(client, names)]
        if missing:
            logger.info("creating topics: %s", ", ".join(missing))
            await _create(missing, settings)
        deadline = asyncio.get_running_loop().time() + LEADER_SECONDS
        while True:
            topics = await describe(client, names)
            waiting = [name for name in names if name not in topics or not topics[name].has_leaders]
            if not waiting:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise LeaderNotAvailableError(", ".join(waiting))
            await asyncio.sleep(0.1)


async def _create(names: Sequence[str], settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers, request_timeout_ms=15_000)
    try:
        await admin.start()
        configs = {"cleanup.policy": "delete", "max.message.bytes": str(settings.max_message_bytes)}
        response = await admin.create_topics(
            [NewTopic(name, settings.partitions, settings.replication_factor, topic_configs=configs) for name in names]
        )
        for name, code, message in response.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:  # another bridge starts at the same time
                raise error(f"{name}: {message}")
    finally:
        await admin.close()
