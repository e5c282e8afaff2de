"""Time as a fact: tells unfinished posts of this worker that something is due."""

from __future__ import annotations

import time

from streamapp import tables
from streamapp.app import app
from streamapp.events import Ticked, encode
from streamapp.names import POST_EVENTS

REPEAT = 5.0  # seconds until a tick that changed nothing (it may have been lost) is told again

_topic = app.topic(POST_EVENTS, key_serializer="raw", value_serializer="raw")
_told: dict[tuple[str, int], float] = {}


@app.timer(interval=0.5)  # type: ignore[untyped-decorator]
async def tick() -> None:
    """Send a tick for each open post that is due. Confirmed by its effect: until the row changes, it is told again."""
    now = time.time()
    for told in [key for key, at in _told.items() if at + 2 * REPEAT < now]:
        del _told[told]
    for post_id, row in tables.open_posts.items():
        if row.due is None or row.due > now * 1000 or _told.get((post_id, row.due), 0.0) + REPEAT > now:
            continue
        _told[post_id, row.due] = now
        await _topic.send(key=post_id.encode(), value=encode(Ticked(post_id=post_id, at=int(now * 1000))))
