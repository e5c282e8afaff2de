"""Moderation, tags, scenes and the image's vector, from one look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.agents.look import attend
from streamapp.app import app
from streamapp.events import Insight
from streamapp.media.image import Picture
from streamapp.names import TASKS


def look(picture: Picture) -> Sequence[Insight]:
    """All four answers for one picture."""
    (sight,) = app.resources.engine.see([picture])
    return sight.insights


async def handle(event: EventT[Any]) -> None:
    await attend(event, look)


lane = app.lane("vision", handle, room=app.settings.tasks_in_flight, ordered=False)


@app.agent(channel(TASKS["vision"]))
async def vision(stream: StreamT[Any]) -> None:
    await lane.run(stream)
