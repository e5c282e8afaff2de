from __future__ import annotations

from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from running import Servers

from streamapp import topics
from streamapp.names import TABLES
from streamapp.settings import Settings


async def test_missing_topics_are_made_once_and_counts_are_checked(servers: Servers) -> None:
    settings = Settings(kafka_url=servers.kafka_url, app_id=f"topics-{uuid4()}")
    made = await topics.ensure(settings)
    assert {f"{settings.app_id}-{table}-changelog" for table in TABLES} <= set(made)
    assert await topics.ensure(settings) == []
    with pytest.raises(topics.TopicMismatch, match=r"STREAMAPP_PARTITIONS=9.*post-events"):
        await topics.ensure(settings.model_copy(update={"partitions": 9}))


async def test_state_topics_are_compacted_and_take_large_records(servers: Servers) -> None:
    settings = Settings(kafka_url=servers.kafka_url, app_id=f"topics-{uuid4()}")
    await topics.ensure(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_servers)
    await admin.start()
    try:
        for name, policy in {f"{settings.app_id}-posts-changelog": "compact", "post-events": "delete"}.items():
            (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
            found = {entry[0]: entry[1] for entry in response.resources[0][4]}
            assert found["cleanup.policy"] == policy
            assert found["max.message.bytes"] == str(settings.max_message_bytes)
    finally:
        await admin.close()


async def test_a_topic_that_cannot_be_made_is_an_error(servers: Servers) -> None:
    with pytest.raises(Exception, match="InvalidReplicationFactor"):
        await topics.ensure(Settings(kafka_url=servers.kafka_url, app_id="topics-test2", replication_factor=3))
