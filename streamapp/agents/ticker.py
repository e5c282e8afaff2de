"""Time as a fact: tells unfinished posts of this worker that something is due."""

from __future__ import annotations

import logging
import time

from streamapp import tables
from streamapp.app import app
from streamapp.delivery import TROUBLE
from streamapp.events import Ticked, encode
from streamapp.names import POST_EVENTS

logger = logging.getLogger(__name__)

REPEAT = 5.0  # seconds until a tick that changed nothing (it may have been lost, or waits) is told again; doubles

_topic = app.topic(POST_EVENTS, key_serializer="raw", value_serializer="raw")
_told: dict[tuple[str, int], tuple[float, float]] = {}  # when it is told again, and the wait after that


@app.timer(interval=0.5)  # type: ignore[untyped-decorator]
async def tick() -> None:
    """Send a tick for each open post that is due. Confirmed by its effect: until the row changes, it is told again."""
    if not app.resources.backlog.known:
        return  # whether a deadline waits for a backlog cannot be told: most likely Kafka is away, and ticks with it
    now = time.time()
    # Collected first: a rebalance while a send is awaited changes what is iterated.
    due = {(post_id, row.due) for post_id, row in tables.open_posts.items() if row.due and row.due <= now * 1000}
    for old in _told.keys() - due:
        del _told[old]
    for key in due:
        at, wait = _told.get(key, (0.0, REPEAT))
        if at <= now:
            _told[key] = now + wait, 2 * wait
            await _send(Ticked(post_id=key[0], at=int(now * 1000), behind=app.resources.backlog.behind))


async def _send(fact: Ticked) -> None:
    try:
        await _topic.send(key=fact.post_id.encode(), value=encode(fact))
    except TROUBLE as exc:  # told again
        logger.warning("a tick of post %s was not sent: %r", fact.post_id, exc)
