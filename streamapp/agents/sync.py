"""The backend's hints that rows have changed."""

from __future__ import annotations

import logging
from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.agents.ingest import entry_id_of, fact_of, request_of
from streamapp.app import app
from streamapp.contracts import SyncRequest
from streamapp.contracts.streams import SYNC
from streamapp.events import encode
from streamapp.names import POST_EVENTS
from streamapp.sinks.hints import UnknownRow
from streamapp.times import now

logger = logging.getLogger(__name__)


async def handle(event: EventT[Any]) -> None:
    """Have the rows of one hint read again; one that names no row of ours is counted and logged. A post that is to
    leave its index was deleted."""
    request = await request_of(event)
    if not isinstance(request, SyncRequest):
        return
    if (deleted := request.operation == "delete") and request.index == "post_search":
        fact = fact_of(request, clock=entry_id_of(event), at=now())
        await app.outbox.send(POST_EVENTS, key=fact.post_id, value=encode(fact))
    try:
        await app.resources.hints.take(request.index, request.document_id, bulk=request.bulk, deleted=deleted)
    except UnknownRow as exc:
        app.refused["hints"] += 1
        logger.warning("hint refused: %s", exc)


lane = app.lane("sync", handle, ordered=False, room=app.settings.tasks_in_flight)


@app.agent(channel(SYNC))
async def sync(stream: StreamT[Any]) -> None:
    await lane.run(stream)
