"""Moderation, tags, scenes and the image's vector, from one look."""

from __future__ import annotations

from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.agents.look import attend
from streamapp.app import app
from streamapp.names import TASKS


async def handle(event: EventT[Any]) -> None:
    await attend(event, app.resources.vision)


lane = app.lane("vision", handle, room=app.settings.tasks_in_flight, ordered=False)


@app.agent(channel(TASKS["vision"]))
async def vision(stream: StreamT[Any]) -> None:
    await lane.run(stream)
