"""Captions: their own topic, because real models take far longer for them than for all the rest."""

from __future__ import annotations

from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.agents.look import attend
from streamapp.app import app
from streamapp.names import TASKS


async def handle(event: EventT[Any]) -> None:
    await attend(event, app.resources.captions)


lane = app.lane("captions", handle, room=app.settings.tasks_in_flight, ordered=False)


@app.agent(channel(TASKS["captions"]))
async def captions(stream: StreamT[Any]) -> None:
    await lane.run(stream)
