"""Keeping outbound streams from growing without limit, without taking from their readers what they have not read."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.settings import Settings
from bridge.trouble import Trouble, pause

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("trim.lua").read_text()
#: Seconds between two looks; between them a stream grows beyond its length.
TRIM_SECONDS = 5.0
#: Entries that one call removes at most, so that Redis is soon there for others again.
TRIM_LIMIT = 10_000


class Trimmer:
    """Trims streams to `bridge_stream_maxlen` entries; 0 leaves them alone.

    Entries that some consumer group has not read and acknowledged stay, unless `bridge_trim_unread`; a stream
    without groups was read by nobody. Counted are `trimmed` entries and, in `trim_refused`, the looks at which a
    stream had to be left too long.
    """

    def __init__(self, *, streams: Sequence[str], redis: Redis, settings: Settings, counts: Counter[str]) -> None:
        self._script = redis.register_script(SCRIPT)
        self._maxlen = settings.bridge_stream_maxlen
        self._trim_unread = settings.bridge_trim_unread
        self._counts = counts
        self._troubles = {
            stream: Trouble(activity=f"trimming {stream}", counts=counts) for stream in streams if self._maxlen
        }
        self._said: set[tuple[str, bytes]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Trim now and every TRIM_SECONDS until `stop`. What fails for one stream is tried again at the next look."""
        while not stop.is_set():
            for stream, trouble in self._troubles.items():
                try:
                    await self._trim(stream, stop)
                    trouble.recovered()
                except (RedisError, OSError, TimeoutError) as error:
                    trouble.failed(error)
            await pause(stop, TRIM_SECONDS)

    async def _trim(self, stream: str, stop: asyncio.Event) -> None:
        arguments = [self._maxlen, TRIM_LIMIT, int(self._trim_unread)]
        while True:
            reply = await cast(Any, self._script)(keys=[stream], args=arguments)
            removed, refused, group = cast(tuple[int, int, bytes], tuple(reply))
            if removed:
                self._counts["trimmed"] += removed
            # Whole nodes are removed: a call that reached the limit removed somewhat less.
            if removed < TRIM_LIMIT / 2 or stop.is_set():
                break
        if refused:
            self._refused(stream, refused, group)

    def _refused(self, stream: str, entries: int, group: bytes) -> None:
        self._counts["trim_refused"] += 1
        if (stream, group) in self._said:  # once: a slow reader would be said at every look
            return
        self._said.add((stream, group))
        who = f"group {group.decode('utf-8', 'replace')} has not read and acknowledged them"
        logger.warning(
            "stream %s stays longer than %d by %d entries: %s (STREAMAPP_BRIDGE_TRIM_UNREAD would remove them)",
            *(stream, self._maxlen, entries, who if group else "no consumer group is there that has read them"),
        )
