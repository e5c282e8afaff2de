"""What the bridge counted: in, out, skipped, seen, dead letters, retries and the rarer things."""

import asyncio
import logging
from collections import Counter

from bridge.trouble import pause

logger = logging.getLogger(__name__)

#: Seconds between two lines of counts.
PERIOD = 60.0


def line(counts: Counter[str]) -> str:
    """`dead_letters=0 in=12 …`: the usual counts always, the rarer ones when there is one."""
    usual = dict.fromkeys(("in", "out", "skipped", "seen", "dead_letters", "retries"), 0)
    return " ".join(f"{name}={count}" for name, count in sorted({**usual, **counts}.items()))


async def report(counts: Counter[str], stop: asyncio.Event, *, period: float = PERIOD) -> None:
    """Log the counts every `period` seconds if they changed, and once at the end."""
    last = Counter(counts)
    while not stop.is_set():
        await pause(stop, period)
        if counts != last and not stop.is_set():
            logger.info("counts %s", line(counts))
            last = Counter(counts)
