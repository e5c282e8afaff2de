"""Topics: made where missing, and checked. Every topic has the same partition count, so that a key's rows, facts and
changes meet in one worker."""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streamapp.contracts import INBOUND, OUTBOUND
from streamapp.names import INTERNAL, TABLES
from streamapp.settings import Settings


class TopicMismatch(Exception):
    """A topic exists with another number of partitions than the setting."""


async def ensure(settings: Settings) -> list[str]:
    """Create missing topics and return their names. Raises TopicMismatch, or aiokafka's KafkaError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_servers)
    await admin.start()
    try:
        existing = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        changelogs = {f"{settings.app_id}-{table}-changelog" for table in TABLES}
        wanted = (*INBOUND, *OUTBOUND, *INTERNAL, *sorted(changelogs))
        count = settings.partitions
        if wrong := {name: existing[name] for name in wanted if existing.get(name, count) != count}:
            raise TopicMismatch(
                f"topics with another partition count than STREAMAPP_PARTITIONS={count}: {wrong}. "
                "Partitions of a keyed topic cannot be changed: set the setting to what exists, or use new topics."
            )
        missing = [name for name in wanted if name not in existing]
        if missing:
            await _create(admin, {name: "compact" if name in changelogs else "delete" for name in missing}, settings)
        return missing
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, cleanup: dict[str, str], settings: Settings) -> None:
    """Create topics by name with their cleanup policy; who else creates one at the same time does no harm."""
    response = await admin.create_topics(
        [
            NewTopic(
                name=name,
                num_partitions=settings.partitions,
                replication_factor=settings.replication_factor,
                topic_configs={"max.message.bytes": str(settings.max_message_bytes), "cleanup.policy": policy},
            )
            for name, policy in cleanup.items()
        ]
    )
    for name, code, message in response.topic_errors:  # the client does not raise them
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message}")
