"""Waiting out what is broken: said once when it breaks, once when it works again, tried without limit."""

import asyncio
import contextlib
import logging
from collections import Counter

logger = logging.getLogger(__name__)

#: Seconds between attempts: doubled from the first to the last, so a server that returns is found quickly.
FIRST_WAIT = 0.1
LONGEST_WAIT = 2.0


class Trouble:
    """Whether one activity works, and how long to wait before its next attempt."""

    def __init__(self, *, activity: str, counts: Counter[str]) -> None:
        self._activity = activity
        self._counts = counts
        self._kinds: set[str] = set()
        self._wait = FIRST_WAIT

    def failed(self, error: BaseException) -> float:
        """Count a failure, log it if it is the first of its kind in this trouble; the seconds to wait now."""
        self._counts["retries"] += 1
        kind = type(error).__name__
        if kind not in self._kinds:
            logger.warning("%s: waiting, retrying without limit: %s: %s", self._activity, kind, error)
        self._kinds.add(kind)
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        return wait

    def recovered(self) -> None:
        """The activity worked; logged if it had failed before."""
        if self._kinds:
            logger.info("%s: works again", self._activity)
        self._kinds.clear()
        self._wait = FIRST_WAIT


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but not beyond `stop`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
