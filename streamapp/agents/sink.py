"""Changes as rows: what waits together is written in one transaction. The outbox carries them to Elasticsearch."""

from __future__ import annotations

import logging
from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.delivery import payload
from streamapp.events import ServiceFailed, decode_change
from streamapp.names import POST_CHANGES

logger = logging.getLogger(__name__)


async def handle(event: EventT[Any]) -> None:
    """Write the rows of one change; a refused one is logged and counted, its results went out all the same."""
    change = decode_change(payload(event))
    if isinstance(change, ServiceFailed):
        return  # concerns the backend only; the media's own change says it to the rows
    if (refusal := await app.resources.rows.add(change)) is not None:
        app.refused["rows"] += 1
        logger.warning("rows of post %s revision %s refused: %s", change.post_id, change.revision, refusal)


lane = app.lane("sink", handle, ordered=False)


@app.agent(channel(POST_CHANGES))
async def sink(stream: StreamT[Any]) -> None:
    await lane.run(stream)
