"""Changes as rows: what waits together is written in one transaction. The outbox carries them to Elasticsearch."""

from __future__ import annotations

import logging
from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.delivery import payload
from streamapp.events import decode_change
from streamapp.names import ROW_CHANGES

logger = logging.getLogger(__name__)


async def handle(event: EventT[Any]) -> None:
    """Write the rows of one change; a refused one is logged and counted, its results went out all the same."""
    change = decode_change(payload(event))
    if (refusal := await app.resources.rows.add(change)) is not None:
        app.refused["rows"] += 1
        logger.warning("rows of post %s refused: %s", change.post_id, refusal)


lane = app.lane("sink", handle, ordered=False)


@app.agent(channel(ROW_CHANGES))
async def sink(stream: StreamT[Any]) -> None:
    await lane.run(stream)
