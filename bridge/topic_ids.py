"""The id of a topic: what tells a recreated topic from the one before it.

aiokafka 0.14 asks for metadata in version 5 at most, which has no topic ids. This is version 12 (Kafka 3.1 and
newer), written after Kafka's MetadataRequest.json and MetadataResponse.json: a flexible version, so strings and
arrays are compact and every structure ends in tagged fields.
"""

import uuid
from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

from aiokafka import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class Uuid(AbstractType[uuid.UUID]):  # type: ignore[misc]
    """16 bytes; zero stands for none."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        return uuid.UUID(bytes=data.read(16))


class TopicMetadataResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("topic_authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class TopicMetadataRequestStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = TopicMetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicMetadataRequest(Request[TopicMetadataRequestStruct]):  # type: ignore[misc]
    """Metadata of the named topics; it creates none."""

    API_KEY = 3

    def __init__(self, names: Iterable[str]) -> None:
        no_tags: dict[int, bytes] = {}
        self._topics = [(uuid.UUID(int=0), name, no_tags) for name in names]

    def build(self, request_struct_class: type[TopicMetadataRequestStruct]) -> TopicMetadataRequestStruct:
        return request_struct_class(self._topics, False, False, {})


class Topic(NamedTuple):
    """An existing topic: its id, and whether every partition has a leader."""

    topic_id: uuid.UUID
    has_leaders: bool


async def describe(client: AIOKafkaClient, names: Iterable[str]) -> dict[str, Topic]:
    """The existing ones of the named topics, asked from any broker that `client` knows.

    Raises KafkaError: no broker answers, or one refuses a topic for another reason than its absence.
    """
    node = client.get_random_node()
    if node is None:
        raise NodeNotReadyError("no broker is known")
    response = await client.send(node, TopicMetadataRequest(names))
    topics: dict[str, Topic] = {}
    for error_code, name, topic_id, _, partitions, *_ in response.topics:
        error = for_code(error_code)
        if error_code == 0:
            has_leaders = bool(partitions) and all(leader >= 0 for _, _, leader, *_ in partitions)
            topics[name] = Topic(topic_id, has_leaders)
        elif error.__name__ not in ("UnknownTopicOrPartitionError", "LeaderNotAvailableError"):
            raise error(name)
    return topics
