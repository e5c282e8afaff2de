"""The bridge's place in its Kafka group, which shares out the partitions of outbound topics among bridges.

A killed member keeps its partitions until its session ends. A bridge that starts under its name takes it out of the
group instead. Kafka's own way would be static membership, but aiokafka 0.14 takes being fenced for being forgotten
and joins again: two bridges with one name would throw each other out for ever.
"""

import logging
import time
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaClient
from aiokafka.client import CoordinationType
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.group import LeaveGroupRequest

from bridge.settings import Settings

logger = logging.getLogger(__name__)

#: A member that does not answer for so long is out of the group.
SESSION_SECONDS = 10.0


def client_id(settings: Settings) -> str:
    """What a bridge calls itself in Kafka."""
    return f"bridge-{settings.bridge_name}"


def group_id(settings: Settings) -> str:
    """The group that shares out the partitions; it keeps no offsets."""
    return f"{settings.bridge_group}-bridge"


class Namesakes:
    """The members of the group with this bridge's name: itself, dead ones, and another bridge by mistake."""

    def __init__(self, *, settings: Settings, counts: Counter[str]) -> None:
        self._settings = settings
        self._counts = counts
        self._removed = False
        self._since: float | None = None
        self._said = False

    async def remove(self, client: AIOKafkaClient) -> None:
        """Before the first consumer joins: take whoever has our name out of the group.

        A living one comes back by itself, so this is done once. Without it the group is only slower.
        """
        if self._removed:
            return
        self._removed = True
        try:
            for member in await self._members(client):
                await self._ask(client, LeaveGroupRequest(group_id(self._settings), member))
                logger.info("group %s: removed %s, who had our name", group_id(self._settings), member)
                self._counts["removed_members"] += 1
        except (KafkaError, OSError, TimeoutError) as error:
            logger.info("group %s: not looked for members of our name: %r", group_id(self._settings), error)

    async def look(self, client: AIOKafkaClient) -> None:
        """Say so if there is another living bridge with our name."""
        try:
            members = await self._members(client)
        except (KafkaError, OSError, TimeoutError):  # whoever needs the group will say it
            return
        if len(members) < 2:
            self._since, self._said = None, False
            return
        self._since = self._since or time.monotonic()
        if not self._said and time.monotonic() - self._since > SESSION_SECONDS:  # not one that was killed
            self._said = True
            self._counts["namesakes"] += 1
            logger.error(
                "another bridge is called %s: nothing is lost or delivered twice, but entries may be read twice; "
                "give each bridge its own STREAMAPP_BRIDGE_NAME",
                self._settings.bridge_name,
            )

    async def _members(self, client: AIOKafkaClient) -> list[str]:
        response = await self._ask(client, DescribeGroupsRequest([group_id(self._settings)]))
        ((code, _, _, _, _, members, *_),) = response.groups
        if code:
            raise for_code(code)(group_id(self._settings))
        return [member_id for member_id, name, *_ in members if name == client_id(self._settings)]

    async def _ask(self, client: AIOKafkaClient, request: Request[RequestStruct]) -> Any:
        node = await client.coordinator_lookup(CoordinationType.GROUP, group_id(self._settings))
        return await client.send(node, request)
