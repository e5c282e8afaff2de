"""Who is on a media: its faces, compared with the known ones. While the database is down, that waits; nothing else."""

from __future__ import annotations

from typing import Any

from faust.types import EventT, StreamT

from streamapp.agents.channel import channel
from streamapp.app import app
from streamapp.delivery import payload
from streamapp.events import Recognised, decode_recognise, encode
from streamapp.names import POST_EVENTS, RECOGNITION_TASKS
from streamapp.times import now


async def handle(event: EventT[Any]) -> None:
    """One comparison."""
    task = decode_recognise(payload(event))
    known, matches = await app.resources.known_faces.match(task.faces)
    found = Recognised(
        post_id=task.post_id,
        media_id=task.media_id,
        generation=task.generation,
        known=known,
        at=now(),
        matches=matches,
    )
    await app.outbox.send(POST_EVENTS, key=task.post_id, value=encode(found))


lane = app.lane("recognition", handle, room=app.settings.tasks_in_flight, ordered=False)


@app.agent(channel(RECOGNITION_TASKS))
async def recognition(stream: StreamT[Any]) -> None:
    await lane.run(stream)
