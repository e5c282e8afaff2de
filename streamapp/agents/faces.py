"""Faces: where they are, and their vectors."""

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
    """The faces of one picture."""
    return app.resources.engine.faces([picture])


async def handle(event: EventT[Any]) -> None:
    await attend(event, look)


lane = app.lane("faces", handle, room=app.settings.tasks_in_flight, ordered=False)


@app.agent(channel(TASKS["faces"]))
async def faces(stream: StreamT[Any]) -> None:
    await lane.run(stream)
