"""Changes as result messages for the backend, in the chosen dialect. The bridge carries them to Redis."""

from __future__ import annotations

from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.contracts import DIALECTS, write
from streamapp.delivery import payload
from streamapp.events import decode_change
from streamapp.names import POST_CHANGES


async def handle(event: EventT[Any]) -> None:
    """Write every message of one change; the result id lets the bridge drop what was delivered already."""
    change = decode_change(payload(event))
    for message in write(change, dialect=app.settings.dialect):
        await app.outbox.send_message(message)


if app.settings.dialect not in DIALECTS:
    raise ValueError(f"STREAMAPP_DIALECT={app.settings.dialect!r} is unknown; there are {', '.join(DIALECTS)}")
lane = app.lane("publish", handle)


@app.agent(channel(POST_CHANGES))
async def publish(stream: StreamT[Any]) -> None:
    await lane.run(stream)
