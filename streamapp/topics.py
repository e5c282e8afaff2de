"""Topics: made where missing, and checked. Every topic has the same partition count, so that a key's rows, facts and
changes meet in one worker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from streamapp.contracts import INBOUND, OUTBOUND
from streamapp.names import DEAD_LETTERS, INTERNAL, POST_EVENTS, TABLES
from streamapp.settings import Settings


class TopicMismatch(Exception):
    """Topics do not fit the settings, or each other."""


VISIBLE_SECONDS = 15.0  # until every broker tells of a topic that was just created; usually well below one


async def ensure(settings: Settings) -> list[str]:
    """Create missing topics, wait until they are there, and return their names.

    Raises TopicMismatch, TimeoutError, or aiokafka's KafkaError.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_servers)
    await admin.start()
    try:
        changelogs = {f"{settings.app_id}-{table}-changelog" for table in TABLES}
        wanted = {*INBOUND, *OUTBOUND, *INTERNAL, *changelogs}
        existing = await _checked(admin, wanted, settings.partitions)
        missing = sorted(wanted - existing)
        await _check_positions(f"{settings.app_id}-posts-changelog", existing, settings)
        if missing:
            await _create(admin, missing, changelogs, settings)
            async with asyncio.timeout(VISIBLE_SECONDS):
                while not wanted <= await _checked(admin, wanted, settings.partitions):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        return missing
    finally:
        await admin.close()


async def _checked(admin: AIOKafkaAdminClient, wanted: set[str], count: int) -> set[str]:
    """Those that are there, each with `count` partitions. Raises TopicMismatch."""
    existing = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    if wrong := {name: existing[name] for name in sorted(wanted & existing.keys()) if existing[name] not in (0, count)}:
        raise TopicMismatch(
            f"topics with another partition count than STREAMAPP_PARTITIONS={count}: {wrong}. "
            "Partitions of a keyed topic cannot be changed: set the setting to what exists, or use new topics."
        )
    return {name for name in wanted if existing.get(name) == count}


async def _check_positions(changelog: str, existing: set[str], settings: Settings) -> None:
    """Rows of state remember positions in post-events: in a log made anew every fact would count as a replayed one.
    Raises TopicMismatch."""
    if changelog not in existing:
        return
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_servers)
    await consumer.start()
    try:
        partitions = range(settings.partitions)
        rows = await consumer.end_offsets([TopicPartition(changelog, p) for p in partitions])
        facts = await consumer.end_offsets(
            [TopicPartition(POST_EVENTS, p) for p in partitions if POST_EVENTS in existing]
        )
    finally:
        await consumer.stop()
    if lost := without_facts(rows, facts):
        raise TopicMismatch(
            f"{POST_EVENTS} is empty in the partitions {lost}, but the state ({changelog}) was made from it: it was "
            "deleted or made anew. Restore it, or begin with an empty state: another STREAMAPP_APP_ID."
        )


def without_facts(rows: Mapping[TopicPartition, int], facts: Mapping[TopicPartition, int]) -> list[int]:
    """The partitions that have rows but never had a fact, by the ends of both logs."""
    told = {tp.partition for tp, end in facts.items() if end}
    return sorted(tp.partition for tp, end in rows.items() if end and tp.partition not in told)


async def _create(admin: AIOKafkaAdminClient, names: list[str], changelogs: set[str], settings: Settings) -> None:
    """Create topics; who else creates one at the same time does no harm."""
    response = await admin.create_topics(
        [
            NewTopic(
                name=name,
                num_partitions=settings.partitions,
                replication_factor=settings.replication_factor,
                topic_configs={
                    "max.message.bytes": str(settings.max_message_bytes),
                    "cleanup.policy": "compact" if name in changelogs else "delete",
                    # Dead letters stay until somebody has dealt with them.
                    **({"retention.ms": "-1"} if name == DEAD_LETTERS else {}),
                },
            )
            for name in names
        ]
    )
    for name, code, message in response.topic_errors:  # the client does not raise them
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{name}: {message}")
